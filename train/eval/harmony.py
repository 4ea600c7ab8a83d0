"""HAR: share of the bass's confident frames whose pitch class is in the chord heard in `other`; and that chord against the chart.

Chords by Chordino, bass by PESTO (confidence over 0.75) where it is installed, else by our YIN (aperiodicity under 0.15).
Both run as programs of their own (chordino.py, pesto_bass.py). Conventions of docs/explanation/musicgen-stem.md section 12: frames under "N" are left
out, the bass after a slash is dropped.
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
    """(root, pitch classes) of a name as Chordino writes it: "Bbm7", "F#/A"; None for "N"."""
    m = re.fullmatch(r"([A-G])([#b]*)([^/]*)(?:/.*)?", name)
    if m is None or m[3] not in TONES:
        return None
    root = (ROOTS[m[1]] + m[2].count("#") - m[2].count("b")) % 12
    return root, frozenset((root + t) % 12 for t in TONES[m[3]])


def run(script: str, *arguments: str) -> str:
    r = subprocess.run([sys.executable, str(HERE / script), *arguments], capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(f"{script}: {r.stderr.strip()[-400:]}")
    return r.stdout


def chords(x: np.ndarray) -> list[tuple[float, float, str]]:
    """(from, to, name) of the chords in 32 kHz audio; one "N" where it is softer than the gate."""
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
    have = all(importlib.util.find_spec(m) for m in ("pesto", "torch"))
    return "PESTO an octave up" if have else "YIN"


def bass_pitch(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(seconds, Hz) of the frames of a bass whose pitch is sure."""
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


def at(segments: list[tuple[float, float, str]], t: float) -> str:
    for a, b, name in segments:
        if a <= t < b:
            return name
    return "N"


def har(pitch: tuple[np.ndarray, np.ndarray], segments: list[tuple[float, float, str]]) -> float | None:
    """Share of frames on a chord tone; None where no chord or no pitch is heard."""
    hits = []
    for t, hz in zip(*pitch):
        chord = tones(at(segments, t))
        if chord is not None and hz > 0:
            hits.append(int(round(69 + 12 * np.log2(hz / 440))) % 12 in chord[1])
    return float(np.mean(hits)) if hits else None


def chart_score(segments: list[tuple[float, float, str]], chart: list, bars: np.ndarray) -> dict[str, float]:
    """Per bar: the chord that sounds longest in it by ear and by the chart. `root`: the same root; `third`: the same root and third
    (a chart chord without a third, sus or 5, takes either); `tones`: share of the heard chord's tones that are in the chart's, which
    forgives a voicing without its root. A bar with no chord heard is wrong in all three."""
    root, third, both = [], [], []
    for a, b in zip(bars[:-1], bars[1:]):
        want = longest([(c[0], c[1], c) for c in chart], a, b)
        heard = tones(longest(segments, a, b) or "N")
        if want is None or want[3] < 0:
            continue
        kind = {(p - want[3]) % 12 for p in want[4]} & {3, 4}
        root.append(heard is not None and heard[0] == want[3])
        third.append(root[-1] and (not kind or {(p - heard[0]) % 12 for p in heard[1]} & {3, 4} <= kind))
        both.append(len(heard[1] & set(want[4])) / len(heard[1]) if heard else 0.0)
    return {"root": float(np.mean(root)), "third": float(np.mean(third)), "tones": float(np.mean(both))} if root else {}


def tones_sounding(x: np.ndarray) -> np.ndarray:
    """[frames of 20 ms, 12]: how loud each pitch class is, from the spectrum's peaks between 120 Hz and 1.5 kHz."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(x, N // 2), N)[::HOP]
    size = np.abs(np.fft.rfft(frames * np.hanning(N).astype(np.float32), axis=1))[:, :N * 1500 // RATE + 2]
    peak = (size[:, 1:-1] >= size[:, :-2]) & (size[:, 1:-1] >= size[:, 2:])
    size, hz = np.where(peak, size[:, 1:-1], 0), np.arange(1, size.shape[1] - 1) * RATE / N
    which = np.where(hz > 120, np.round(69 + 12 * np.log2(hz / 440)).astype(int) % 12, -1)
    return np.stack([size[:, which == c].sum(1) for c in range(12)], 1)


def chart_fit(x: np.ndarray, chart: list, bars: np.ndarray) -> float | None:
    """Share of bars in which the tones of the chart's chord sound louder than those of the same chord on any of the other eleven roots
    (chance 8 %). It asks for no root, which comping leaves to the bass. A bar in which nothing sounds is wrong."""
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
    """Share of a corpus song's chords under which `other` has a note on the root: near 0 where its player leaves the root to the bass,
    and then Chordino, which hears `other` alone, names another chord and HAR is low in truth too."""
    spans = zip(label["chords"], [c[0] for c in label["chords"][1:]] + [label["len"] / RATE])
    found = []
    for (at, _, root, *_), end in spans:
        sounding = {pitch % 12 for on, off, pitch, _ in label["notes"]["other"] if on < end - 0.02 and off > at + 0.02}
        if root >= 0 and sounding:
            found.append(root in sounding)
    return float(np.mean(found)) if found else None


def longest(segments, a, b):
    """What sounds longest between a and b; None where nothing does."""
    time = {}
    for s, e, what in segments:
        key = what if isinstance(what, str) else what[2]  # the name
        share = min(e, b) - max(s, a)
        if share > 0:
            time[key] = (time.get(key, (0,))[0] + share, what)
    return max(time.values(), key=lambda v: v[0])[1] if time else None
