"""Classifies single drum hits as kick, snare or hat, to measure whether a codec keeps them apart. Used by
train.codec.evaluate.

The classifier sees the spectrum of a hit and is trained on uncoded drums. The labels come from the score:
hits of one kind with no other kind within 60 ms.
"""

import numpy as np

from ..eval.classify import Classifier
from .semantic import DRUMS

KINDS = {"kick": 0, "snare": 1, "hat": 2}  # numbered as in semantic.DRUMS
ISOLATION, LENGTH = 0.06, 1600  # seconds without another kind of hit; samples of a hit that are analysed (50 ms)


def isolated(song: dict, at: float, seconds: float) -> list[tuple[float, int]]:
    """(second within the excerpt, kind) of the isolated hits of an excerpt that starts at `at`."""
    hits = sorted((n[0] - at, DRUMS.get(n[1], 7)) for n in song["notes"]["drums"])
    out = []
    for i, (t, kind) in enumerate(hits):
        near = [k for s, k in hits[max(0, i - 4):i + 5] if abs(s - t) < ISOLATION and k != kind]
        if kind in KINDS.values() and not near and 0.05 < t < seconds - 0.1:
            out.append((t, kind))
    return out


def features(x: np.ndarray, t: float) -> np.ndarray:
    """[48]: log energy of 24 bands in the first 15 ms of the hit at second `t` and in the 35 ms after that."""
    a = int((t - 0.003) * 32000)
    out = []
    for s, e in ((a, a + 576), (a + 480, a + LENGTH)):
        size = np.abs(np.fft.rfft(x[s:e] * np.hanning(e - s), 2048)) ** 2
        edges = np.unique(np.geomspace(2, 1024, 26).round().astype(int))[:25]
        out.append(np.log10([size[i:j].mean() + 1e-7 for i, j in zip(edges[:-1], edges[1:])]))
    return np.concatenate(out)


def train(rows: list[np.ndarray], kinds: list[int]) -> Classifier:
    return Classifier(np.array(rows), np.array(kinds), len(KINDS), ridge=5.0)


def accuracy(original: list[np.ndarray], coded: list[np.ndarray], kinds: np.ndarray, classifier: Classifier) -> dict:
    """Mean accuracy over the kinds, on the original hits and on the coded ones."""
    def right(rows):
        got = classifier.scores(np.array(rows)).argmax(1)
        return float(np.mean([(got[kinds == k] == k).mean() for k in KINDS.values() if (kinds == k).any()]))
    return {"hits_right_original": right(original), "hits_right": right(coded)}
