"""Writes listen.wav and listen.json: a signal, and its features by train/listen.py. `python listen.py`; it needs
numpy and soundfile alone."""

import json
import sys
from pathlib import Path

import numpy as np
import soundfile

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
from train import listen  # noqa: E402

RATE = 32000


def pluck(midi: float, start: float, seconds: float, gain: float = 0.3) -> np.ndarray:
    """A plucked tone of eight harmonics in 1.6 s of silence."""
    t = np.arange(int(1.6 * RATE)) / RATE - start
    hz = 440 * 2 ** ((midi - 69) / 12)
    tone = sum(np.sin(2 * np.pi * hz * h * t) / h * np.exp(-t.clip(0) * h) for h in range(1, 9))
    return gain * tone * ((t >= 0) & (t < seconds))


def signal() -> np.ndarray:
    """A low note, another one, a dead note, a chord and silence: int16."""
    noise = np.random.default_rng(1).normal(size=int(1.6 * RATE))
    t = np.arange(len(noise)) / RATE
    dead = 0.2 * noise * np.exp(-80 * (t - 0.75).clip(0)) * (t >= 0.75)
    chord = sum(pluck(m, 0.95, 0.4, 0.12) for m in (57, 60, 64, 69))
    x = pluck(28, 0.1, 0.3) + pluck(40.3, 0.4, 0.33) + dead + chord + 1e-4 * noise
    return np.round(np.clip(x, -1, 1) * 32767).astype(np.int16)


if __name__ == "__main__":
    x = signal()
    soundfile.write(HERE / "listen.wav", x, RATE, subtype="PCM_16")
    f = listen.features(x / 32768)
    frames = [{"pitch": round(p, 8), "confidence": round(c, 8), "level": round(v, 8), "sounding": bool(s), "chroma": k.tolist()}
              for p, c, v, s, k in zip(f.pitch, f.confidence, f.level, f.sounding, f.chroma)]
    onsets = [{"frame": a, "sample": b, "strength": round(c, 8), "ranges": [round(r, 8) for r in d]} for a, b, c, d in f.onsets]
    rows = lambda items: "[\n" + ",\n".join(json.dumps(item) for item in items) + "\n]"  # noqa: E731
    (HERE / "listen.json").write_text(f'{{"onsets": {rows(onsets)},\n"frames": {rows(frames)}}}\n')
