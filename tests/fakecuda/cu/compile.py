"""Compiles the test kernels to PTX with NVRTC: `python compile.py [--check]`. The PTX files are committed.

sm_75, sm_80 and sm_90 come from nvidia-cuda-nvrtc-cu12==12.0.140 (PTX ISA 8.0), sm_120 from
nvidia-cuda-nvrtc==13.0.88; install one of them and run `compile.py --arch 75 80 90` or `compile.py --arch
120`. `--check` compares with the committed files byte for byte and writes nothing. Each kernel is also
compiled to machine code (sm_XX) by the ptxas inside NVRTC, which finds errors in inline assembly.
"""

import argparse
import ctypes
import glob
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def load_nvrtc():
    """Loads libnvrtc from this Python's site-packages, where its package installs it."""
    for path in sys.path:
        found = glob.glob(os.path.join(path, "nvidia", "*", "lib", "libnvrtc.so.*"))
        if found:
            folder = os.path.dirname(found[0])
            for builtins in glob.glob(os.path.join(folder, "libnvrtc-builtins.so.*")):
                ctypes.CDLL(builtins, mode=ctypes.RTLD_GLOBAL)
            return ctypes.CDLL(found[0])
    sys.exit("NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12==12.0.140 (or nvidia-cuda-nvrtc==13.0.88 for sm_120)")


def compile_file(nvrtc, name, arch, want):
    """The PTX or machine code of cu/<name> for an arch such as compute_80; `want` is 'PTX' or 'CUBIN'."""
    source = open(os.path.join(HERE, name), "rb").read()
    header = open(os.path.join(HERE, "common.cuh"), "rb").read()
    program = ctypes.c_void_p()
    headers, names = (ctypes.c_char_p * 1)(header), (ctypes.c_char_p * 1)(b"common.cuh")
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, name.encode(), 1, headers, names)
    flags = [f"--gpu-architecture={arch}", "--std=c++14", "--generate-line-info", "-diag-suppress=177"]
    options = (ctypes.c_char_p * len(flags))(*[f.encode() for f in flags])
    result = nvrtc.nvrtcCompileProgram(program, len(flags), options)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    if result != 0:
        sys.exit(f"{name} for {arch}: {log.value.decode()}")
    getattr(nvrtc, f"nvrtcGet{want}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{want}")(program, text)
    return text.raw[: size.value].rstrip(b"\0")


def main():
    """Compiles every .cu file for each --arch, and writes or compares the PTX."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", nargs="+", default=["75", "80", "90"])
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    nvrtc = load_nvrtc()
    os.chdir("/")  # line information contains paths relative to the working directory
    stale = []
    for path in sorted(glob.glob(os.path.join(HERE, "*.cu"))):
        name = os.path.basename(path)
        for arch in args.arch:
            compile_file(nvrtc, name, f"sm_{arch}", "CUBIN")
            ptx = compile_file(nvrtc, name, f"compute_{arch}", "PTX")
            out = os.path.join(HERE, "ptx", f"{name[:-3]}.sm_{arch}.ptx")
            if args.check:
                if not os.path.exists(out) or open(out, "rb").read() != ptx:
                    stale.append(out)
            else:
                open(out, "wb").write(ptx)
    if stale:
        sys.exit("out of date, run compile.py: " + ", ".join(os.path.basename(p) for p in stale))


if __name__ == "__main__":
    main()
