"""Evaluates a model on a recording of a musician.

    python -m train.eval.recording --bass FILE --model DIR --tempo 105 [--drums FILE] --out DIR

Only tempo and bar 1 of a recording are known, so references come from the recording itself: BEAT uses
madmom's beats of the recording (with its drums if given), HAR the bass's pitch, the grid the clock. Controls:
no bass, and the generated stems shifted by a third of a beat. With --codecs it also measures how well the
codecs keep the bass's pitch and the drums' onsets.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from . import beat, grid, harmony, stability
from .onset import f_measure, onsets
from .pitch import cents
from .runner import Runner
from .songs import RATE, Song


def read(path: Path, seconds: float) -> np.ndarray:
    """A file as mono, 32 kHz, peak 0.7, repeated up to `seconds`."""
    x, rate = soundfile.read(path, dtype="float32", always_2d=True)
    g = np.gcd(rate, RATE)
    x = scipy.signal.resample_poly(x.mean(1), RATE // g, rate // g)
    return np.resize((0.7 * x / np.abs(x).max()).astype(np.float32), max(len(x), int(seconds * RATE)))


def coded(folder: Path, stem: str, x: np.ndarray) -> np.ndarray:
    """`x` after encoding and decoding by a stem's codec."""
    import torch

    from ..lm.tokens import load_codec
    codec = load_codec(folder / f"{stem}.pt")
    return codec.decode(codec.encode(torch.from_numpy(x)[None]))[0].numpy()[:len(x)]


def pitch_kept(x: np.ndarray, y: np.ndarray) -> dict:
    """Of the frames with a confident pitch in x: how many, the share that is confident in y too, and the
    share of those within 50 cents (`folded`: octave errors ignored)."""
    (t, a), (s, b) = harmony.bass_pitch(x), harmony.bass_pitch(y)
    after = dict(zip(np.round(s * 200).astype(int), b))
    both = [(p, after[k]) for k, p in zip(np.round(t * 200).astype(int), a) if k in after]
    off = np.array([abs(cents(np.array([q]), np.array([p]))[0]) for p, q in both])
    return {"confident": len(t), "still_confident": len(both) / max(1, len(t)), "right": float((off < 50).mean()), "folded": float((np.minimum(off % 1200, 1200 - off % 1200) < 50).mean())}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bass", type=Path, required=True)
    p.add_argument("--drums", type=Path, help="the drums of the same recording, as a reference")
    p.add_argument("--tempo", type=float, required=True, help="quarter notes per minute")
    p.add_argument("--bar1", type=float, default=0.0, help="second of the first bar line")
    p.add_argument("--seconds", type=float, default=30, help="a shorter recording is repeated up to this length")
    p.add_argument("--model", required=True)
    p.add_argument("--codecs", type=Path, help="folder of codec checkpoints")
    p.add_argument("--sideman", default="target/release/sideman")
    p.add_argument("--lag", type=int, default=8)
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    bass = read(a.bass, a.seconds)
    truth = read(a.drums, a.seconds)[:len(bass)] if a.drums else None
    n, beat_s = len(bass), 60 / a.tempo
    beats = np.arange(a.bar1, n / RATE, beat_s)
    song = Song({"bpm": a.tempo, "meter": [4, 4], "triplet": False, "id": a.bass.stem}, {"bass": bass, "drums": truth}, beats, beats[::4], [])
    reference = beat.beats(bass + truth if truth is not None else bass)
    runner = Runner(a.sideman, a.model, a.lag)
    takes = {"played": bass, "no bass": np.zeros_like(bass)}
    takes = {name: runner.accompany(x, a.out / name, None, clock=(a.tempo, a.bar1)) for name, x in takes.items()}
    takes["shifted by a third of a beat"] = {s: np.roll(x, int(RATE * beat_s / 3)) for s, x in takes["played"].items()}
    pitch, rows = harmony.bass_pitch(bass), {}
    if truth is not None:
        rows["drums of the recording"] = {"beat_drums": beat.score(reference, beat.beats(truth)), "near": grid.score(truth, song)["near"]}
    for name, stems in takes.items():
        drums = grid.score(stems["drums"], song)
        rows[name] = {"beat_drums": beat.score(reference, beat.beats(stems["drums"])), "near": drums["near"], "onsets_s": drums["onsets_s"],
                      "har": harmony.har(pitch, harmony.chords(stems["other"])), **{f"rests_{s}": stability.rests(x) for s, x in stems.items()}}
    if a.codecs:
        rows["codec"] = {f"pitch_{k}": v for k, v in pitch_kept(bass, coded(a.codecs, "bass", bass)).items()}
        if truth is not None:
            rows["codec"]["drum_onsets_f"] = f_measure(onsets(truth), onsets(coded(a.codecs, "drums", truth)))
    (a.out / "recording.json").write_text(json.dumps(rows, indent=1))
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
