"""HAR, the MusicGen-Stem paper's measure: share of the bass's frames whose pitch class is in the chord of
`other`. Also chords against the chart.

Chords are estimated by Chordino, the bass's pitch by PESTO (confidence above 0.75) if installed, else by YIN
(pitch.py, aperiodicity below 0.15). Chordino and PESTO run as separate programs (chordino.py, pesto_bass.py).
As in docs/explanation/musicgen-stem.md section 12, frames with chord "N" are left out and the bass after a
slash is ignored.
"""

import functools
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from .beat import GATE, loudness
from .pitch import yin
from .songs import RATE

ROOTS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
TONES = {"": (0, 4, 7), "m": (0, 3, 7), "6": (0, 4, 7, 9), "m6": (0, 3, 7, 9), "7": (0, 4, 7, 10), "maj7": (0, 4, 7, 11), "m7": (0, 3, 7, 10),
         "dim": (0, 3, 6), "dim7": (0, 3, 6, 9), "m7b5": (0, 3, 6, 10), "aug": (0, 4, 8)}
HERE = Path(__file__).parent
N, HOP = 8192, 640


def tones(name: str) -> tuple[int, frozenset[int]] | None:
    """(root, pitch classes) of a chord name of Chordino such as "Bbm7" or "F#/A"; None for "N"."""
    m = re.fullmatch(r"([A-G])([#b]*)([^/]*)(?:/.*)?", name)
    if m is None or m[3] not in TONES:
        return None
    root = (ROOTS[m[1]] + m[2].count("#") - m[2].count("b")) % 12
    return root, frozenset((root + t) % 12 for t in TONES[m[3]])


def run(script: str, *arguments: str) -> str:
    """Runs a script of this folder in this Python and returns its output."""
    r = subprocess.run([sys.executable, str(HERE / script), *arguments], capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(f"{script}: {r.stderr.strip()[-400:]}")
    return r.stdout


def chords(x: np.ndarray) -> list[tuple[float, float, str]]:
    """(from, to, name) of the chords in 32 kHz audio; a single "N" if it is below the gate."""
    end = len(x) / RATE
    if loudness(x) < GATE:
        return [(0.0, end, "N")]
    with tempfile.TemporaryDirectory() as d:
        soundfile.write(f"{d}/x.wav", scipy.signal.resample_poly(x, 441, 640), 22050)
        found = json.loads(run("chordino.py", f"{d}/x.wav"))
    times = [t for t, _ in found[1:]] + [end]
    return [(t, e, name) for (t, name), e in zip(found, times)]


@functools.cache
def pitch_by() -> str:
    """The pitch tracker that `bass_pitch` uses."""
    have = all(importlib.util.find_spec(m) for m in ("pesto", "torch"))
    return "PESTO an octave up" if have else "YIN"


def bass_pitch(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(seconds, Hz) of the frames of a bass with a confident pitch."""
    if loudness(x) < GATE:
        return np.zeros(0), np.zeros(0)
    if pitch_by() == "YIN":
        hz, rough = yin(x)
        sure = rough < 0.15
        return (np.arange(len(hz)) * 0.02 + 0.01)[sure], hz[sure]
    with tempfile.TemporaryDirectory() as d:
        soundfile.write(f"{d}/x.wav", x, RATE, subtype="FLOAT")
        run("pesto_bass.py", f"{d}/x.wav", f"{d}/p.npy")
        t, hz, confidence = np.load(f"{d}/p.npy")
    sure = confidence > 0.75
    return t[sure], hz[sure]


def chord_at(segments: list[tuple[float, float, str]], t: float) -> str:
    """The chord at second `t`."""
    for a, b, name in segments:
        if a <= t < b:
            return name
    return "N"


def har(pitch: tuple[np.ndarray, np.ndarray], segments: list[tuple[float, float, str]]) -> float | None:
    """Share of frames on a chord tone; None if there is no chord or no pitch."""
    hits = []
    for t, hz in zip(*pitch):
        chord = tones(chord_at(segments, t))
        if chord is not None and hz > 0:
            hits.append(int(round(69 + 12 * np.log2(hz / 440))) % 12 in chord[1])
    return float(np.mean(hits)) if hits else None


def chart_score(segments: list[tuple[float, float, str]], chart: list, bars: np.ndarray) -> dict[str, float]:
    """Compares, per bar, the estimated chord that sounds longest with the chart's. `root`: same root.
    `third`: same root and third (a chart chord without a third, sus or 5, matches either). `tones`: share of
    the estimated chord's tones that are in the chart's chord; unlike `root` it accepts voicings without a
    root. A bar without an estimated chord is wrong in all three."""
    root, third, both = [], [], []
    for a, b in zip(bars[:-1], bars[1:]):
        want = longest([(c[0], c[1], c) for c in chart], a, b)
        estimated = tones(longest(segments, a, b) or "N")
        if want is None or want[3] < 0:
            continue
        kind = {(p - want[3]) % 12 for p in want[4]} & {3, 4}
        root.append(estimated is not None and estimated[0] == want[3])
        third.append(root[-1] and (not kind or {(p - estimated[0]) % 12 for p in estimated[1]} & {3, 4} <= kind))
        both.append(len(estimated[1] & set(want[4])) / len(estimated[1]) if estimated else 0.0)
    return {"root": float(np.mean(root)), "third": float(np.mean(third)), "tones": float(np.mean(both))} if root else {}


def tones_sounding(x: np.ndarray) -> np.ndarray:
    """Level of each pitch class, [frames of 20 ms, 12], from the peaks of the spectrum between 120 Hz and 1.5
    kHz."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(x, N // 2), N)[::HOP]
    size = np.abs(np.fft.rfft(frames * np.hanning(N).astype(np.float32), axis=1))[:, :N * 1500 // RATE + 2]
    peak = (size[:, 1:-1] >= size[:, :-2]) & (size[:, 1:-1] >= size[:, 2:])
    size, hz = np.where(peak, size[:, 1:-1], 0), np.arange(1, size.shape[1] - 1) * RATE / N
    which = np.where(hz > 120, np.round(69 + 12 * np.log2(hz / 440)).astype(int) % 12, -1)
    return np.stack([size[:, which == c].sum(1) for c in range(12)], 1)


def chart_fit(x: np.ndarray, chart: list, bars: np.ndarray) -> float | None:
    """Share of bars in which the tones of the chart's chord are louder than those of the same chord on any of
    the other eleven roots (chance 8 %). It does not require the root, which comping often leaves to the bass.
    A silent bar is wrong."""
    loud, fits = tones_sounding(x), []
    for a, b in zip(bars[:-1], bars[1:]):
        want = longest([(c[0], c[1], c) for c in chart], a, b)
        if want is None or want[3] < 0:
            continue
        bar = loud[int(max(a, want[0]) * RATE / HOP):int(min(b, want[1]) * RATE / HOP)].sum(0)
        by_root = [bar[[(p + k) % 12 for p in want[4]]].sum() for k in range(12)]
        fits.append(bar.sum() > 0 and int(np.argmax(by_root)) == 0)
    return float(np.mean(fits)) if fits else None


def rooted(label: dict) -> float | None:
    """Share of a corpus song's chords in which `other` plays the root. Where it is near 0, `other` leaves the
    root to the bass; Chordino, which gets `other` alone, then names another chord, and HAR is low even for
    the true stems."""
    spans = zip(label["chords"], [c[0] for c in label["chords"][1:]] + [label["len"] / RATE])
    found = []
    for (at, _, root, *_), end in spans:
        sounding = {pitch % 12 for on, off, pitch, _ in label["notes"]["other"] if on < end - 0.02 and off > at + 0.02}
        if root >= 0 and sounding:
            found.append(root in sounding)
    return float(np.mean(found)) if found else None


def longest(segments, a, b):
    """The segment with the longest total duration between a and b; None if there is none."""
    time = {}
    for s, e, what in segments:
        key = what if isinstance(what, str) else what[2]  # the name
        share = min(e, b) - max(s, a)
        if share > 0:
            time[key] = (time.get(key, (0,))[0] + share, what)
    return max(time.values(), key=lambda v: v[0])[1] if time else None
