"""Measures how soon `other` follows a change of root in the bass.

    python -m train.eval.reaction --model DIR --out DIR

The input is a line of eighths with a new root every two bars, `--changes` times, on a sampled bass that
training never used (the samples of train.data are needed). sideman gets the clock and no chords. For each
change this finds the time after which `other` fits a chord on the new root better than one on the old root
for 0.4 s. The control is a root that the bass did not move to.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np

from .runner import Runner

RATE, HOP, N = 32000, 320, 4096
BAR1 = 0.5


def line(changes: int, bpm: float, bars: int, rng: random.Random) -> tuple[list, list[tuple[float, int, int, int]]]:
    """Notes (on s, off s, midi, velocity) and changes (s, old root, new root, control root)."""
    eighth = 30 / bpm
    root, notes, moves = rng.randrange(12), [], []
    for k in range(changes + 1):
        at = BAR1 + k * bars * 8 * eighth
        if k:
            # Not a third away: such chords share two of three notes.
            near = [(root + i) % 12 for i in (2, 5, 7, 10, 6, 1, 11)]
            new = rng.choice(near)
            moves.append((at, root, new, rng.choice([r for r in near if r != new])))
            root = new
        midi = 28 + (root - 4) % 12
        notes += [(at + i * eighth, at + (i + 0.9) * eighth, midi, 108 if i % 8 == 0 else 94) for i in range(bars * 8)]
    return notes, moves


def chroma(x: np.ndarray) -> np.ndarray:
    """Chroma [frames of 10 ms, 12] from 150 Hz to 2.5 kHz, centred frames, maximum 1 in each; zeros where it
    is quiet."""
    padded = np.pad(x, N // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(N).astype(np.float32), axis=1)) ** 2
    hz = np.fft.rfftfreq(N, 1 / RATE)
    ok = (hz > 150) & (hz < 2500)
    which = np.round(69 + 12 * np.log2(hz[ok] / 440)).astype(int) % 12
    out = np.zeros((len(frames), 12))
    for c in range(12):
        out[:, c] = np.sqrt(power[:, ok][:, which == c]).sum(1)
    loud = out.sum(1, keepdims=True)
    return np.where(loud > 0.01 * loud.max(), out / (out.max(1, keepdims=True) + 1e-9), 0)


def fits(c: np.ndarray, root: int) -> np.ndarray:
    """Score [T] of chroma [T, 12] for a chord on `root`: root, fifth and the stronger third, minus foreign
    notes."""
    at = lambda i: c[:, (root + i) % 12]
    return at(0) + at(7) + np.maximum(at(3), at(4)) - (at(1) + at(6) + at(8) + at(11)) / 2


def reaction(c: np.ndarray, at: float, old: int, new: int, until: float) -> float | None:
    """Milliseconds from `at` until `new` fits better than `old` for 0.4 s; None if not within `until`
    seconds."""
    a, b = int(at * 100), int((at + until) * 100)
    better = fits(c[a:b], new) > fits(c[a:b], old)
    held = np.convolve(better, np.ones(40), "valid") >= 36
    return float(np.argmax(held) * 10) if held.any() else None


def score(other: np.ndarray, moves, until: float) -> dict:
    """Share of changes followed, for the new root and for the control root, and reaction times in ms."""
    c = chroma(other)
    ms = [reaction(c, at, old, new, until) for at, old, new, _ in moves]
    chance = [reaction(c, at, old, wrong, until) for at, old, _, wrong in moves]
    times_ms = sorted(m for m in ms if m is not None)
    return {"changes": len(moves), "followed": len(times_ms) / len(moves), "followed_wrong_root": sum(m is not None for m in chance) / len(moves),
            "median_ms": times_ms[len(times_ms) // 2] if times_ms else None, "p90_ms": times_ms[int(0.9 * (len(times_ms) - 1))] if times_ms else None, "each_ms": ms}


def main():
    from ..data import mix, sampler

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, help="model directory")
    p.add_argument("--sideman", default="target/release/sideman", help="the program")
    p.add_argument("--lags", type=int, nargs="+", default=[4, 8, 12, 25], help="in frames of 20 ms")
    p.add_argument("--changes", type=int, default=50)
    p.add_argument("--bpm", type=float, default=104)
    p.add_argument("--bars", type=int, default=2, help="between changes")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--out", required=True)
    a = p.parse_args()
    out = Path(a.out)
    rng = random.Random("reaction")
    notes, moves = line(a.changes, a.bpm, a.bars, rng)
    dry = sampler.bass("electric-bass-yr").render(notes, int((notes[-1][1] + 0.5) * RATE), 0.0, rng, 0.07)
    chain = {"low_db": 0.0, "high_db": -1.0, "bell_db": 0.0, "bell_hz": 800, "drive": 0.0, "squeeze": 0.35, "room_s": 0.3, "wet": 0.05,
             "rms_db": -19.0, "floor_db": -80.0}
    bass = mix.process(dry, chain, [7, 4]).astype(np.float32) / 32768
    until = a.bars * 240 / a.bpm
    rows = {}
    for lag in a.lags:
        runner = Runner(a.sideman, a.model, lag, a.threads)
        stems = runner.accompany(bass, out / f"lag-{lag}", None, clock=(a.bpm, BAR1))
        rows[lag] = score(stems["other"], moves, until)
        print(f"lag {lag} ({20 * lag} ms): " + json.dumps({k: v for k, v in rows[lag].items() if k != "each_ms"}), flush=True)
    (out / "reaction.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
