"""Scores what a program says that it hears, beats and chords, against labels.

`heard` is the JSON of `sideman listen FILE --json`: `beats` [{time, bar, beat}] with beat 1 on bar lines, and
`chords` [{time, name}], each until the next.
"""

import re

import numpy as np

from .harmony import ROOTS, longest
from .material import Item
from .onset import f_measure

NEAR = 0.07  # s


def parse(name: str) -> tuple[int, int | None] | None:
    """(root, third) of a chord name such as "Bbm7" or "F#/A": the third is 3, 4, or None (sus, 5, a root alone
    written with "?"); None for no chord."""
    m = re.match(r"([A-G])([#b♯♭]?)(.*)", name.split("/")[0])
    if m is None:
        return None
    root = (ROOTS[m[1]] + (m[2] in tuple("#♯")) - (m[2] in tuple("b♭"))) % 12
    kind = m[3]
    if re.match(r"sus|5|7sus|9sus|\?", kind):
        return root, None
    return root, 3 if re.match(r"m(?!aj)|-|dim|o|°|ø", kind) else 4


def times(heard: dict, first_only: bool = False) -> np.ndarray:
    """Seconds of the heard beats, or of the bar lines."""
    return np.array([b["time"] for b in heard.get("beats", []) if not first_only or b["beat"] == 1], float)


def beats(heard: dict, item: Item) -> dict:
    """`beats`, `downbeats`: F within ±70 ms. `beats_any`: the best F, also against half (either phase) and double
    the beats. `tempo`: 1 if the median beat is within 4 % of the label's."""
    found, bars = item.inside(times(heard)), item.inside(times(heard, True))
    double = np.sort(np.concatenate([item.beats, (item.grid[1:] + item.grid[:-1]) / 2]))
    row = {"beats": f_measure(item.beats, found, NEAR), "downbeats": f_measure(item.downbeats, bars, NEAR)}
    row["beats_any"] = max(row["beats"], *(f_measure(b, found, NEAR) for b in (item.beats[::2], item.beats[1::2], double)))
    length = np.median(np.diff(found)) if len(found) > 2 else np.inf
    return row | {"tempo": float(abs(length / np.median(np.diff(item.beats)) - 1) < 0.04)}


def follow(heard: dict, item: Item, first_bar: int = 5) -> dict:
    """How well a clock that runs along follows, from bar `first_bar` on: shares of the labelled beats with a heard
    beat within ±30 and ±70 ms, and `slips`: how often the heard beats gain or lose one on the labelled beats."""
    found = times(heard)
    want = item.beats[item.beats >= item.downbeats[first_bar - 1] - 1e-6]
    if len(found) == 0:
        return {"within_30": 0.0, "within_70": 0.0, "slips": None}
    nearest = np.array([int(np.argmin(np.abs(found - t))) for t in want])
    off = np.abs(found[nearest] - want)
    shift = nearest - np.arange(len(want))
    return {"within_30": float((off <= 0.03).mean()), "within_70": float((off <= NEAR).mean()), "slips": float(np.abs(np.diff(shift)).sum())}


def chords(heard: dict, item: Item, first_bar: int = 1) -> dict:
    """Per labelled bar from `first_bar` on, the chord that sounds longest: `root` right, `third` and root right (a
    chord without a third matches either). `root_early`: the root of the chord that is in force one beat into the
    bar, which needs the times at which a live session knew them."""
    said = [(c["time"], parse(c["name"])) for c in heard.get("chords", [])]
    spans = [(a, b, f"{i}") for i, (a, b) in enumerate(zip([t for t, _ in said], [t for t, _ in said[1:]] + [item.label["end"] + 1]))]
    root, third, early = [], [], []
    for a, b in list(zip(item.bars, item.bars[1:]))[first_bar - 1:]:
        want = longest([(c[0], c[1], c) for c in item.chords], a, b)
        if want is None or want[3] < 0:
            continue
        sounding = longest(spans, a, b)
        got = said[int(sounding)][1] if sounding is not None else None
        kind = {(p - want[3]) % 12 for p in want[4]} & {3, 4}
        root.append(got is not None and got[0] == want[3])
        third.append(root[-1] and (not kind or got[1] is None or got[1] in kind))
        beat1 = item.grid[int(np.argmin(np.abs(item.grid - a))) + 1]
        known = [c for t, c in said if t <= beat1]
        first = next(c for c in item.chords if c[0] <= a + 0.05 < c[1])
        early.append(bool(known) and known[-1] is not None and known[-1][0] == first[3])
    return {"root": float(np.mean(root)), "third": float(np.mean(third)), "root_early": float(np.mean(early))} if root else {}
