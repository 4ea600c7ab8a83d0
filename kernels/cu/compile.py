"""Compile the kernels to PTX with NVRTC: `python kernels/cu/compile.py [--check] [--report]`.

The PTX in ptx/ is what users run, so it comes from one pinned compiler: nvidia-cuda-nvrtc-cu12==12.0.140 (PTX ISA 8.0, drivers
from 525 on), installed in the Python this is run with. Each text begins with the SHA-256 of its sources, which a Rust test
compares with the sources on machines without NVRTC.

--check   compares with the committed files byte for byte instead of writing.
--report  compiles for every real architecture that this NVRTC knows, prints the registers of each kernel (the table of
          docs/explanation/cuda.md), and fails on a spill. Run it with nvidia-cuda-nvrtc==13.0.88 as well for sm_100 and sm_120.
"""

import argparse
import ctypes
import glob
import hashlib
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# PTX for an architecture runs on all later ones.
SHIPPED = {"tiles": "80"}
OLDEST = "75"
HEADERS = ["common.cuh", "linear.cuh"]
FLAGS = ["--std=c++14", "--fmad=false", "-diag-suppress=177"]


def load_nvrtc():
    """Find libnvrtc in this Python's site-packages (the PyPI wheels put it there)."""
    for path in sys.path:
        found = glob.glob(os.path.join(path, "nvidia", "*", "lib", "libnvrtc.so.*"))
        if found:
            for builtins in glob.glob(os.path.join(os.path.dirname(found[0]), "libnvrtc-builtins.so.*")):
                ctypes.CDLL(builtins, mode=ctypes.RTLD_GLOBAL)
            return ctypes.CDLL(found[0])
    sys.exit("no NVRTC here: pip install nvidia-cuda-nvrtc-cu12==12.0.140")


def read(name):
    """Return the bytes of a file in this folder."""
    with open(os.path.join(HERE, name), "rb") as file:
        return file.read()


def compile_file(nvrtc, name, arch, want, more=()):
    """Return (PTX or CUBIN of <name> for an arch such as compute_80, the compiler's log)."""
    program = ctypes.c_void_p()
    headers = (ctypes.c_char_p * len(HEADERS))(*[read(header) for header in HEADERS])
    names = (ctypes.c_char_p * len(HEADERS))(*[header.encode() for header in HEADERS])
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), read(name), name.encode(), len(HEADERS), headers, names)
    flags = [f"--gpu-architecture={arch}", *FLAGS, *more]
    result = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*[f.encode() for f in flags]))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    if result != 0:
        sys.exit(f"{name} for {arch}: {log.value.decode()}")
    getattr(nvrtc, f"nvrtcGet{want}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{want}")(program, text)
    return text.raw[: size.value].rstrip(b"\0"), log.value.decode()


def archs(nvrtc):
    """Return the real architectures from sm_75 on that this NVRTC compiles for."""
    count = ctypes.c_int()
    nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    all_of_them = (ctypes.c_int * count.value)()
    nvrtc.nvrtcGetSupportedArchs(all_of_them)
    return [a for a in all_of_them if a >= 75]


def report(nvrtc, sources):
    """Print registers and spills of every kernel on every architecture; exit on a spill."""
    spilled = []
    known = archs(nvrtc)
    table = {}
    for name in sources:
        for arch in known:
            _, log = compile_file(nvrtc, name, f"sm_{arch}", "CUBIN", ["--ptxas-options=-v"])
            for kernel, body in re.findall(r"entry function '(\w+)'(.*?)(?=Compiling entry|\Z)", log, re.S):
                registers = int(re.search(r"Used (\d+) registers", body).group(1))
                spills = [int(n) for n in re.findall(r"(\d+) bytes spill", body)]
                table.setdefault(kernel, []).append(str(registers))
                if any(spills):
                    spilled.append(f"{kernel} on sm_{arch}: {max(spills)} bytes")
    print("| kernel | " + " | ".join(f"sm_{arch}" for arch in known) + " |")
    print("|---" * (len(known) + 1) + "|")
    for kernel, line in sorted(table.items()):
        print(f"| {kernel} | {' | '.join(line)} |")
    if spilled:
        sys.exit("spills: " + "; ".join(spilled))
    print("no spills")


def main():
    """Write, compare or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    nvrtc = load_nvrtc()
    sources = sorted(os.path.basename(p) for p in glob.glob(os.path.join(HERE, "*.cu")))
    if args.report:
        return report(nvrtc, sources)
    stale = []
    os.makedirs(os.path.join(HERE, "ptx"), exist_ok=True)
    for name in sources:
        digest = hashlib.sha256(b"".join(read(header) for header in HEADERS) + read(name)).hexdigest()
        arch = SHIPPED.get(name[:-3], OLDEST)
        ptx, _ = compile_file(nvrtc, name, f"compute_{arch}", "PTX")
        ptx = f"// sources {digest}\n".encode() + ptx
        out = os.path.join("ptx", f"{name[:-3]}.sm_{arch}.ptx")
        if not args.check:
            with open(os.path.join(HERE, out), "wb") as file:
                file.write(ptx)
        elif not os.path.exists(os.path.join(HERE, out)) or read(out) != ptx:
            stale.append(out)
    if stale:
        sys.exit("stale, run compile.py: " + ", ".join(stale))


if __name__ == "__main__":
    main()
