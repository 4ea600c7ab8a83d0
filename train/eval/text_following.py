"""Measures whether the text controls the drums: a classifier trained on the corpus's drums identifies one of
three kinds."""

from pathlib import Path

import numpy as np

from . import stability
from .classify import Classifier
from .grid import BANDS, profile
from .songs import RATE, Song, songs

KINDS = {"funk": {"funk"}, "brushes": {"brushes"}, "four on the floor": {"house", "disco"}}  # kind: the corpus's styles
TEXTS = {"funk": "funk drums", "brushes": "brushes", "four on the floor": "house drums"}  # the text for each kind, worded as in the captions
PIECE = 10  # seconds per classified piece


def features(x: np.ndarray, bar1: float, beat_s: float) -> np.ndarray:
    """54 features of a drum stem: where in the beat and on which beats each band has onsets, the energy per
    band, how smooth it is. Tempo and meter are left out, because the clock determines them whatever the drums
    play."""
    twelfths = profile(x, bar1, beat_s, 1, 12)  # within the beat
    per_beat = profile(x, bar1, beat_s, 2, 1)  # down- against backbeat
    seg = np.lib.stride_tricks.sliding_window_view(x, 1024)[::512] * np.hanning(1024)
    power = np.abs(np.fft.rfft(seg)) ** 2 + 1e-9
    f = np.fft.rfftfreq(1024, 1 / RATE)
    share = np.array([power[:, (f >= a) & (f < b)].sum() for a, b in BANDS]) / power.sum()
    level = 10 * np.log10(power.sum(1))
    # Brushes sound between the hits too: the range between loud and soft frames is small.
    spread = np.percentile(level, [10, 25, 50, 75, 90]) - level.max()
    bands = np.log10(np.stack([power[:, (f >= a) & (f < b)].mean(1) for a, b in BANDS]))
    return np.concatenate([twelfths.ravel(), per_beat.ravel(), np.log10(share + 1e-4), spread / 10, bands.std(1),
                           [np.log10((power * f).sum() / power.sum())]])


def pieces(song: Song, drums: np.ndarray, start: float = 0.0) -> np.ndarray:
    """Features [n, features] of pieces of ten seconds from the first bar line at or after second `start`;
    each piece begins on a bar line."""
    bar_s = song.downbeats[1] - song.downbeats[0]
    out, t = [], song.downbeats[song.downbeats > start - 1e-6][0]
    while t + PIECE <= len(drums) / RATE:
        a = int(t * RATE)
        out.append(features(drums[a:a + PIECE * RATE], 0.0, song.beat_s))
        t += bar_s * max(1, round(PIECE / bar_s))
    return np.array(out)


def train(corpora: list[str], per_kind: int = 40) -> tuple[Classifier, dict]:
    """The classifier, and its accuracy on songs it was not trained on (leave-one-out, and on the held-out
    splits)."""
    def gather(split):
        rows = []
        for k, styles in enumerate(KINDS.values()):
            try:
                found = songs(corpora, split, per_kind, 40, styles)
            except SystemExit:  # none in this split
                found = []
            rows += [(pieces(s, s.stems["drums"]), k) for s in found]
        return rows

    def fit(rows):
        return Classifier(np.concatenate([x for x, _ in rows]), np.concatenate([np.full(len(x), k) for x, k in rows]), len(KINDS))

    rows = gather("train")
    if len({k for _, k in rows}) < len(KINDS):
        raise SystemExit(f"--corpus {' '.join(corpora)}: needs train songs of each of {', '.join(KINDS)} for the classifier")
    left_out = [int(fit(rows[:i] + rows[i + 1:]).votes(x).argmax() == k) for i, (x, k) in enumerate(rows)]
    classifier = fit(rows)
    held = [int(classifier.votes(x).argmax() == k) for split in ("valid", "test") for x, k in gather(split)]
    counts = np.bincount([k for _, k in rows], minlength=len(KINDS))
    return classifier, {"songs": dict(zip(KINDS, counts.tolist())), "left_out": float(np.mean(left_out)),
                        "held_out": float(np.mean(held)) if held else None, "held_out_songs": len(held)}


def evaluate(classifier: Classifier, runner, takes: list[Song], out: Path) -> dict:
    """Each bass with each text: share of takes classified as the requested kind, and the confusion matrix."""
    table, rests = np.zeros((len(KINDS), len(KINDS)), int), []
    for song in takes:
        for k, kind in enumerate(KINDS):
            made = runner.accompany(song.stems["bass"], out / song.label["id"] / f"text {kind}", song, text=TEXTS[kind])
            rests.append(stability.rests(made["other"]))
            table[k, classifier.votes(pieces(song, made["drums"])).argmax()] += 1
    return {"right": float(np.trace(table) / table.sum()), "chance": 1 / len(KINDS), "rests_other": float(np.mean(rests)), "asked_heard": table.tolist(), "kinds": list(KINDS)}
