"""Excerpts of a corpus's songs in which all three stems play (train/data/README.md describes the format)."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data import mix, sampler

RATE = 32000
STEMS = ("bass", "drums", "other")
LEAD = 0.25  # seconds of the excerpt before its first bar line


@dataclass
class Song:
    """An excerpt: audio and labels. All times are seconds from the excerpt's start, except in `label`."""

    label: dict  # the song's object in songs.jsonl, times from the song's start
    stems: dict[str, np.ndarray]  # float32, mono, 32 kHz
    beats: np.ndarray
    downbeats: np.ndarray
    chords: list[tuple[float, float, str, int, list[int]]]  # (from, to, name, root or -1, pitch classes)

    @property
    def seconds(self) -> float:
        return len(self.stems["drums"]) / RATE

    @property
    def beat_s(self) -> float:
        return 60 / self.label["bpm"]

    @property
    def mix(self) -> np.ndarray:
        return sum(self.stems.values())

    @property
    def quarters(self) -> float:
        """Tempo in quarter notes per minute, as sideman counts; `bpm` in the corpus counts the felt beat."""
        return self.label["bpm"] * (1.5 if self.label["meter"][1] == 8 else 1)

    def chart(self) -> str:
        """The chords from the first bar line on, one group per bar, in the syntax of sideman's `--chords`."""
        bar_s = self.downbeats[1] - self.downbeats[0]
        beats = round(bar_s / self.beat_s)
        bars = []
        while self.downbeats[0] + len(bars) * bar_s < self.seconds:
            names = [self.chord_at(self.downbeats[0] + len(bars) * bar_s + (b + 0.5) * self.beat_s) for b in range(beats)]
            bars.append(",".join(names) if len(set(names)) > 1 else names[0])
        return " ".join(bars)

    def chord_at(self, t: float) -> str:
        for a, b, name, root, _ in self.chords:
            if a <= t < b:
                return name if root >= 0 else "NC"
        return "NC"


def excerpt(label: dict, raw: dict[str, np.ndarray], start: float, seconds: float) -> Song:
    """The excerpt of `seconds` that begins at second `start` of the song."""
    a = int(round(start * RATE))
    stems = {s: raw[s][a:a + int(seconds * RATE)].astype(np.float32) / 32768 for s in STEMS}
    length = len(stems["drums"]) / RATE

    def shift(times):
        t = np.asarray(times) - start
        return t[(t >= -1e-6) & (t < length)]

    ends = [c[0] for c in label["chords"][1:]] + [label["len"] / RATE]
    chords = [(max(c[0] - start, 0.0), e - start, c[1], c[2], c[4]) for c, e in zip(label["chords"], ends)]
    return Song(label, stems, shift(label["beats"]), shift(label["downbeats"]), [c for c in chords if c[0] < min(c[1], length)])


def first_tutti(label: dict, seconds: float) -> float | None:
    """Start of the first excerpt of `seconds` in which all stems may play, LEAD before a bar line; None if
    there is none."""
    for at in label["downbeats"]:
        if at >= LEAD and all(any(a <= at + 0.01 and at + seconds - LEAD <= b for a, b in label["present"][s]) for s in STEMS):
            return at - LEAD
    return None


def songs(corpora: list[str], split: str, count: int, seconds: float, styles: set[str] | None = None, bass: str | None = None,
          replay_bass: str | None = None, straight_44: bool = False) -> list[Song]:
    """Up to `count` excerpts, spread evenly over the split's songs.

    `styles`, `bass`: only songs of these styles and with this bass instrument. `replay_bass`: render their
    bass lines on this sampled bass, with the same notes and effects. `straight_44`: only songs in straight
    4/4, where drums of any style fit (house drums do not fit a jazz waltz).
    """
    found = []
    for root in corpora:
        for shard in sorted(Path(root).glob("shard-*")):
            raw = {s: np.memmap(shard / f"{s}.i16", np.int16, "r") for s in STEMS}
            for line in (shard / "songs.jsonl").read_text().splitlines():
                label = json.loads(line)
                if label["split"] == split and (styles is None or label["style"] in styles) and bass in (None, label["instruments"]["bass"]) \
                        and not (straight_44 and (label["meter"] != [4, 4] or label["triplet"])):
                    start = first_tutti(label, seconds)
                    if start is not None:
                        a, b = label["start"], label["start"] + label["len"]
                        found.append((label, {s: raw[s][a:b] for s in STEMS}, start))
    if not found:
        raise SystemExit(f"--corpus {' '.join(corpora)}: no {split} song in which all stems play for {seconds} s")
    picks = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))
    found = [found[i] for i in picks]
    if replay_bass is not None:
        found = [(label, raw | {"bass": render_bass(label, replay_bass)}, start) for label, raw, start in found]
    return [excerpt(*f, seconds) for f in found]


def render_bass(label: dict, on: str) -> np.ndarray:
    """The song's bass line on the sampled bass `on`: int16 [len], as in the corpus."""
    rng = random.Random(f"on/{on}/{label['id']}")
    dry = sampler.bass(on).render(label["notes"]["bass"], label["len"], label["cents"][0], rng)
    return mix.process(dry, label["chains"]["bass"], [rng.getrandbits(32)])


def looped(label_song: Song, corpora: list[str], seconds: float) -> Song:
    """The whole song of an excerpt, from its first bar line to its last, repeated up to `seconds`."""
    for root in corpora:
        for shard in sorted(Path(root).glob("shard-*")):
            for line in (shard / "songs.jsonl").read_text().splitlines():
                label = json.loads(line)
                if label["id"] != label_song.label["id"]:
                    continue
                first, last = label["downbeats"][0], label["downbeats"][-1]
                a = label["start"]
                raw = {s: np.memmap(shard / f"{s}.i16", np.int16, "r")[a:a + label["len"]] for s in STEMS}
                one = excerpt(label, raw, first, last - first)
                times = int(np.ceil(seconds / (last - first)))
                n = int(seconds * RATE)
                stems = {s: np.tile(x, times)[:n] for s, x in one.stems.items()}
                span = one.seconds
                many = [(c[0] + k * span, c[1] + k * span, *c[2:]) for k in range(times) for c in one.chords]
                repeat = lambda t: np.concatenate([t + k * span for k in range(times)])  # noqa: E731
                return Song(label, stems, repeat(one.beats), repeat(one.downbeats), many)
    raise SystemExit(f"--corpus {' '.join(corpora)}: has no song {label_song.label['id']}")
