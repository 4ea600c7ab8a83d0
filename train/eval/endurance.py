"""Endurance test of live play.

    python -m train.eval.endurance --model DIR --out DIR [--hours 2]

The input is examples/funk.flac, twelve bars that loop seamlessly, repeated for `--hours`; `sideman live` runs
file to file, faster than real time. The report has the largest deviation of a click, memory use over time,
level and silence of each ten minutes, and the entropy of the tokens at the start and at the end.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import soundfile
from safetensors.numpy import load_file

from .stability import db, entropy
from .onset import onsets

RATE = 32000
BPM, BAR1, BARS = 100, 0.5, 12
BEAT = RATE * 60 // BPM  # 19200, exactly
TEN = 600 * RATE


def bass(path: Path, seconds: float) -> int:
    """Writes the looped bass line and returns its length in samples."""
    x, rate = soundfile.read("examples/funk.flac", dtype="float32")
    assert rate == RATE
    loop = x[int(BAR1 * RATE):int(BAR1 * RATE) + BARS * 4 * BEAT]
    total = int(seconds * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as f:
        f.write(x[:int(BAR1 * RATE)])
        left = total - int(BAR1 * RATE)
        while left > 0:
            f.write(loop[:left])
            left -= len(loop)
    return total


def memory(pid: int) -> int:
    """Resident megabytes."""
    for row in Path(f"/proc/{pid}/status").read_text().splitlines():
        if row.startswith("VmRSS"):
            return int(row.split()[1]) // 1024
    return 0


def clicks(path: Path) -> dict:
    """Number of clicks, and their largest deviation from the clock in samples."""
    worst, count, at = 0, 0, 0
    with soundfile.SoundFile(path) as f:
        while at < f.frames:
            f.seek(at)
            x = f.read(min(TEN, f.frames - at), dtype="float32")
            loud = np.flatnonzero(np.abs(x) > 1e-4)
            first = loud[np.flatnonzero(np.diff(loud, prepend=-BEAT) > BEAT // 3)] + at - int(BAR1 * RATE)
            off = np.abs((first + BEAT // 2) % BEAT - BEAT // 2)
            worst, count, at = max(worst, int(off.max(initial=0))), count + len(first), at + len(x)
    return {"count": count, "max_deviation_samples": worst}


def stretches(path: Path) -> list[dict]:
    """Level, share of silent seconds and (drums) share of onsets near a sixteenth, for each ten minutes."""
    out = []
    with soundfile.SoundFile(path) as f:
        while f.tell() < f.frames:
            at = f.tell()
            x = f.read(TEN, dtype="float32")
            if len(x) < TEN // 2:
                break
            x = x if x.ndim == 1 else x.mean(1)
            seconds = x[:len(x) // RATE * RATE].reshape(-1, RATE)
            row = {"rms_db": round(float(db(np.sqrt((x**2).mean()))), 2),
                   "silent": round(float((db(np.sqrt((seconds**2).mean(1))) < -50).mean()), 4)}
            if "drums" in path.name:
                o = onsets(x[:120 * RATE])
                o = np.asarray(o[0] if isinstance(o, tuple) else o) + at / RATE - BAR1
                step = 60 / BPM / 4
                row["near_16th"] = round(float((np.abs((o + step / 2) % step - step / 2) < 0.02).mean()), 3)
            out.append(row)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, help="model directory")
    p.add_argument("--sideman", default="target/release/sideman", help="the program")
    p.add_argument("--hours", type=float, default=2)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--lag", type=int, default=8, help="in frames of 20 ms")
    p.add_argument("--out", required=True)
    a = p.parse_args()
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    samples = bass(out / "in.wav", a.hours * 3600)
    command = [a.sideman, "live", "--headless", "--from", str(out / "in.wav"), "--to", str(out / "to"), "--model", a.model,
               "--tempo", str(BPM), "--bar1", str(BAR1), "--lag", str(a.lag), "--seed", "7", "--threads", str(a.threads), "--click"]
    start, memory_mb = time.time(), []
    with open(out / "log", "w") as log:
        run = subprocess.Popen(command, stderr=log, stdout=log)
        while run.poll() is None:
            time.sleep(5)
            if run.poll() is None and (len(memory_mb) == 0 or time.time() - start > 30 * len(memory_mb)):
                memory_mb.append(memory(run.pid))
    if run.returncode:
        raise SystemExit(f"{' '.join(command)}: {(out / 'log').read_text()[-400:]}")
    took = time.time() - start
    take = out / "to"
    tokens = load_file(take / "tokens.safetensors")["tokens"]
    tens = [tokens[i:i + 30000] for i in range(0, len(tokens) - 15000, 30000)]
    report = {"hours": a.hours, "times_real_time": round(a.hours * 3600 / took, 2), "memory_mb_every_30_s": memory_mb,
              "lengths_equal": len({soundfile.info(f).frames for f in take.glob("*.wav")} | {samples}) == 1,
              "clicks": clicks(take / "click.wav"),
              "token_entropy_bits_each_10_min": [[round(entropy(t[:, k]), 2) for k in range(tokens.shape[1])] for t in tens],
              **{s: stretches(take / f"{s}.wav") for s in ("drums", "other")}}
    (out / "endurance.json").write_text(json.dumps(report, indent=1))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
