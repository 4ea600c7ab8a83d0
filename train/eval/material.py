"""A set of recordings with labels that no model met: what `hearing.py` and `listening.py` score against.

DIR/audio/NAME/{bass,drums,other}.wav are the stems, DIR/labels/NAME.json their labels: the keys of songs.jsonl
(train/data/README.md), with `start` 0, and

| key | contents |
|---|---|
| `kind` | `line` (a bass), `guitar`, `piano`, `voice` (in `other`), `trio`, `count` (a bass that counts in), `odd` |
| `sound` | the instrument |
| `bar1`, `end` | seconds of the first and the last bar line; before `bar1` there may be a pickup |
| `drift` | `none`, or how the tempo changes; `bpm` is then the mean |
| `count` | times of the counted notes |
| `stop` | seconds between which nothing is played |
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from .songs import RATE, STEMS, Song, excerpt


@dataclass
class Item(Song):
    """A recording of the set: a Song whose tempo may drift."""

    @property
    def name(self) -> str:
        return self.label["id"]

    @property
    def steady(self) -> bool:
        return self.label.get("drift") == "none"

    @property
    def bars(self) -> np.ndarray:
        """The bar lines, the end of the last bar included."""
        return np.append(self.downbeats, self.label["end"])

    @property
    def grid(self) -> np.ndarray:
        """The beats, the end of the last one included."""
        return np.append(self.beats, self.label["end"])

    def chart(self) -> str:
        per_bar = len(self.beats) // max(len(self.downbeats), 1)
        names = [self.chord_at((a + b) / 2) for a, b in zip(self.grid, self.grid[1:])]
        bars = [names[i:i + per_bar] for i in range(0, len(names), per_bar)]
        return " ".join(",".join(bar) if len(set(bar)) > 1 else bar[0] for bar in bars)

    def beat_labels(self) -> str:
        """The beats as a label track: seconds and bar.beat in each line."""
        per_bar = len(self.beats) // len(self.downbeats)
        return "".join(f"{t:.5f}\t{i // per_bar + 1}.{i % per_bar + 1}\n" for i, t in enumerate(self.beats))

    def inside(self, times) -> np.ndarray:
        """The times between the first and the last bar line, 0.1 s more at either end."""
        t = np.asarray(times, float)
        return t[(t >= self.label["bar1"] - 0.1) & (t <= self.label["end"] + 0.1)]

    def position(self, times) -> np.ndarray:
        """Times in beats from bar 1, by the labelled beats."""
        t, grid = np.asarray(times, float), self.grid
        first, last = grid[1] - grid[0], grid[-1] - grid[-2]
        inner = np.interp(t, grid, np.arange(len(grid)))
        return np.where(t < grid[0], (t - grid[0]) / first, np.where(t > grid[-1], len(grid) - 1 + (t - grid[-1]) / last, inner))


def item(folder: Path, name: str) -> Item:
    """The recording `name` of the set in `folder`; stems that it lacks are silent."""
    label = json.loads((folder / "labels" / f"{name}.json").read_text())
    raw = {s: np.zeros(label["len"], np.int16) for s in STEMS}
    for stem in label["stems"]:
        raw[stem], rate = soundfile.read(folder / "audio" / name / f"{stem}.wav", dtype="int16")
        if rate != RATE:
            raise ValueError(f"{folder / 'audio' / name / stem}.wav: is {rate} Hz, must be {RATE} Hz")
    song = excerpt(label, raw, 0.0, label["len"] / RATE)
    return Item(song.label, song.stems, song.beats, song.downbeats, song.chords)


def items(folder: Path, kinds: set[str], names: list[str] | None = None) -> list[Item]:
    """The recordings of these kinds, by name; `names`: only those that begin with one of these."""
    found = []
    for path in sorted((folder / "labels").glob("*.json")):
        if json.loads(path.read_text())["kind"] in kinds and (not names or any(path.stem.startswith(n) for n in names)):
            found.append(item(folder, path.stem))
    return found
