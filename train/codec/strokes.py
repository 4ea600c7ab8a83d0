"""Are kick, snare and hat still told apart after the codec? A simple classifier on the spectrum of a stroke, taught on true drums.

The labels are the score's: strokes of one kind alone, with nothing else struck within 60 ms.
"""

import numpy as np

from ..eval.classify import Classifier
from .semantic import DRUMS

KINDS = {"kick": 0, "snare": 1, "hat": 2}  # as meaning.DRUMS numbers them
ALONE, LONG = 0.06, 1600  # s; samples of a stroke that are looked at (50 ms)


def alone(song: dict, at: float, seconds: float) -> list[tuple[float, int]]:
    """(second within the excerpt, kind) of the strokes of an excerpt that sound by themselves."""
    hits = sorted((n[0] - at, DRUMS.get(n[1], 7)) for n in song["notes"]["drums"])
    out = []
    for i, (t, kind) in enumerate(hits):
        near = [k for s, k in hits[max(0, i - 4):i + 5] if abs(s - t) < ALONE and k != kind]
        if kind in KINDS.values() and not near and 0.05 < t < seconds - 0.1:
            out.append((t, kind))
    return out


def features(x: np.ndarray, t: float) -> np.ndarray:
    """[48] log energy of 24 bands in the first 15 ms of a stroke and in the 35 ms after them."""
    a = int((t - 0.003) * 32000)
    out = []
    for s, e in ((a, a + 576), (a + 480, a + LONG)):
        size = np.abs(np.fft.rfft(x[s:e] * np.hanning(e - s), 2048)) ** 2
        edges = np.unique(np.geomspace(2, 1024, 26).round().astype(int))[:25]
        out.append(np.log10([size[i:j].mean() + 1e-7 for i, j in zip(edges[:-1], edges[1:])]))
    return np.concatenate(out)


def teach(rows: list[np.ndarray], kinds: list[int]) -> Classifier:
    return Classifier(np.array(rows), np.array(kinds), len(KINDS), ridge=5.0)


def told_apart(truth: list[np.ndarray], heard: list[np.ndarray], kinds: np.ndarray, listener: Classifier) -> dict:
    """Shares of strokes told right, each kind alike, in the true sound and in `heard`."""
    def right(rows):
        got = listener.scores(np.array(rows)).argmax(1)
        return float(np.mean([(got[kinds == k] == k).mean() for k in KINDS.values() if (kinds == k).any()]))
    return {"told_true": right(truth), "told": right(heard)}
