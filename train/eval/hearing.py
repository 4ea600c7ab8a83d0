"""Measures how well sideman plays to recordings when it gets little or no information about them.

    python -m train.eval.hearing ROW ... --set DIR --sideman FILE --model DIR --out DIR

ROW is one of:

  alone        render --bass X, nothing else
  clock        the same with tempo, bar 1 and meter
  live         `live` from file to file with the clock, without a chart
  told         render --lag with clock and chart
  redo         edit --redo of each stem of a trio, without tempo and chart
  redo-told    the same with clock and chart
  text         render --text, no recording; --text-flags adds flags such as "--tempo 100"
  guitar, piano, voice    `live` with the clock: bass and drums for another instrument
  listen       `listen --json` on bass, drums and the three stems of the lines and trios
  count        `live --clock ear` on lines that count in
  odd          render --bass of noise, hum, silence, speech and other input that is not a steady line

Every row is run with each of `--seeds`. Means are over recordings, with a bootstrap 95 % interval. Takes: `truth`
(the true stems), `played`, `shuffled` (what was played to another recording), `silent` (the program heard silence).
Rows that give a constant tempo leave recordings with a drifting one out, unless --drifting is given. A program that refuses (exit code
other than 0) counts as silence. Measures: README.md.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np

from . import beat, grid, harmony, listening, report, stability
from .cache import AnalysisCache
from .material import Item, items
from .onset import f_measure
from .runner import Runner
from .songs import RATE, STEMS

TEXTS = ["slow blues", "warm funk, dry drums", "fast punk rock", "bossa nova, soft guitar", "jazz waltz with brushes", "house with synth bass", "reggae", "slow soul ballad, organ"]
WITH_BASS = ("alone", "clock", "live", "told")
OTHERS = ("guitar", "piano", "voice")
KINDS = {**dict.fromkeys(WITH_BASS, {"line"}), "redo": {"trio"}, "redo-told": {"trio"}, "listen": {"line", "trio"}, "count": {"count"}, "odd": {"odd"}, **{k: {k} for k in OTHERS}}
CLOCKED = ("clock", "live", "told", "redo-told", *OTHERS)
MADE = {**dict.fromkeys(WITH_BASS, ("drums", "other")), **dict.fromkeys(OTHERS, ("bass", "drums"))}


def in_chord(pitch, item: Item) -> float | None:
    """Share of a bass's pitched frames whose pitch class is in the labelled chord."""
    hits = []
    for t, hz in zip(*pitch):
        now = next((c for c in item.chords if c[0] <= t < c[1] and c[3] >= 0), None)
        if now is not None and hz > 0:
            hits.append(round(69 + 12 * np.log2(hz / 440)) % 12 in now[4])
    return float(np.mean(hits)) if hits else None


def root_on_one(pitch, item: Item) -> float | None:
    """Share of bars whose commonest pitch class from 30 ms to half a beat after the bar line is the chord's root; a bar
    without pitch is wrong."""
    t, hz = np.asarray(pitch[0], float), np.asarray(pitch[1], float)
    hits = []
    for a in item.downbeats:
        now = next((c for c in item.chords if c[0] <= a + 0.05 < c[1]), None)
        if now is None or now[3] < 0:
            continue
        half = a + 0.5 * (item.grid[int(np.argmin(np.abs(item.grid - a))) + 1] - a)
        near = hz[(t >= a + 0.03) & (t < max(half, a + 0.15)) & (hz > 0)]
        classes = np.round(69 + 12 * np.log2(near / 440)).astype(int) % 12
        hits.append(len(classes) > 0 and int(np.bincount(classes).argmax()) == now[3])
    return float(np.mean(hits)) if hits else None


def near_clock(x: np.ndarray, item: Item) -> float | None:
    """Share of strong drum onsets within 20 ms of the labelled clock, tempo changes straightened out; None without
    onsets."""
    found = item.inside(grid.strong_onsets(x))
    d = grid.deviations(item.position(found) * item.beat_s, 0.0, grid.step_s(item.beat_s, item.label["triplet"]))
    return float(np.mean(np.abs(d) <= grid.WINDOW)) if len(d) else None


def score(cache: AnalysisCache, item: Item, made: dict[str, np.ndarray]) -> dict:
    """All measures of generated stems that apply to them. A measure of a stem that rests throughout is 0."""
    row = {f"rests_{s}": stability.rests(x) for s, x in made.items()}
    if "drums" in made:
        found = cache.beats(made["drums"])
        row |= {"beat": beat.score(cache.beats(item.mix), found), "beat_labels": f_measure(item.beats, item.inside(found), listening.NEAR), "near": near_clock(made["drums"], item)}
    if "other" in made:
        row |= {"har": harmony.har(cache.pitch(item.stems["bass"]), cache.chords(made["other"])) or 0.0,
                "chord_fit": harmony.chart_fit(made["other"], item.chords, item.bars)}
    if "bass" in made:
        pitch = cache.pitch(made["bass"])
        row |= {"bass_har": harmony.har(pitch, cache.chords(item.stems["other"])) or 0.0, "in_chord": in_chord(pitch, item) or 0.0, "root_on_one": root_on_one(pitch, item)}
    return row


class Rows:
    """Runs the rows of the table and keeps the takes and their scores in `out`."""

    def __init__(self, a):
        self.a, self.out = a, Path(a.out)
        self.cache = AnalysisCache(self.out / "analysed")
        self.runner = Runner(a.sideman, a.model, a.lag, a.threads)

    def flags(self, seed: int) -> list[str]:
        return ["--model", self.a.model, "--seed", str(seed), "--threads", str(self.a.threads), *self.a.flags.split()]

    def told(self, item: Item, row: str) -> list[str]:
        """The flags that say what a row tells of the recording."""
        if row not in CLOCKED:
            return []
        meter = ["--meter", "/".join(map(str, item.label["meter"]))]
        found = ["--tempo", f"{item.quarters:.4f}", "--bar1", f"{item.label['bar1']:.5f}", *meter]
        if not item.steady:
            found = ["--beats", str(self.beats_file(item)), *meter]
        return found + (["--chords", item.chart()] if row in ("told", "redo-told") else [])

    def beats_file(self, item: Item) -> Path:
        """A file of the labelled beats for `--beats`."""
        path = self.out.absolute() / "beats" / f"{item.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(item.beat_labels())
        return path

    def command(self, row: str, here: Path, item: Item, seed: int, redo: str | None) -> tuple[list[str], dict[str, str]]:
        """(command, {stem of the item: file that it reads})."""
        c, told, lag = [self.a.sideman], self.told(item, row), ["--lag", str(self.a.lag)]
        if row in ("live", *OTHERS):
            stem, name = ("bass", "bass") if row == "live" else ("other", {"piano": "keys"}.get(row, row) if self.a.own_names else "other")
            return [*c, "live", "--headless", "--from", str(here / "in.wav"), "--to", str(here / "made"), "--pace", "fast", "--instrument", name, *lag, *told, "--json", *self.flags(seed)], {stem: "in.wav"}
        if redo:
            return [*c, "edit", str(here / "in"), "--redo", redo, "--out", str(here / "made"), *told, "--json", *self.flags(seed)], {s: f"in/{s}.wav" for s in STEMS}
        return [*c, "render", "--bass", str(here / "in.wav"), "--make", "drums,other", "--out", str(here / "made"), *(lag if row == "told" else []), *told, "--json", *self.flags(seed)], {"bass": "in.wav"}

    def play(self, row: str, item: Item, seed: int, silent: bool = False, redo: str | None = None) -> dict[str, np.ndarray]:
        """The stems that the program makes for an item. `silent`: it hears silence instead of the recording (of the
        stems that stay, where it redoes one)."""
        here = self.out / "takes" / row / item.name / "-".join(filter(None, [str(seed), redo, "silent" if silent else None]))
        command, reads = self.command(row, here.absolute(), item, seed, redo)
        stems = (redo,) if redo else MADE[row]
        inputs = {here / file: item.stems[s] * np.float32(not silent or s == redo) for s, file in reads.items()}
        try:
            return self.runner.take(command, inputs, here, stems)
        except RuntimeError as e:
            print(f"{row} {item.name} {seed}: refused: {str(e)[-160:]}", flush=True)
            return {s: np.zeros(len(item.stems["bass"]), np.float32) for s in stems}

    def accompany(self, row: str, found: list[Item]) -> dict[str, list[dict]]:
        """Scores of a row that makes stems, by take."""
        scores: dict[str, list[dict]] = {t: [] for t in ("truth", "played", "shuffled", "silent")}
        for redo in STEMS if row.startswith("redo") else [None]:
            stems, made = (redo,) if redo else MADE[row], {}
            for i, item in enumerate(found):
                scores["truth"].append({"item": item.name} | score(self.cache, item, {s: item.stems[s] for s in stems}))
                for seed in self.a.seeds:
                    made[i, seed] = self.play(row, item, seed, redo=redo)
                    scores["played"].append({"item": item.name, "seed": seed} | score(self.cache, item, made[i, seed]))
                if self.a.controls:
                    scores["silent"].append({"item": item.name} | score(self.cache, item, self.play(row, item, self.a.seeds[0], True, redo)))
                print(f"{row} {redo or ''} {item.name}: {short(scores['played'][-1])}", flush=True)
            for i, item in enumerate(found if self.a.controls and len(found) > 1 else []):
                other = made[(i + 1) % len(found), self.a.seeds[0]]
                scores["shuffled"].append({"item": item.name} | score(self.cache, item, {s: np.resize(x, len(item.stems["bass"])) for s, x in other.items()}))
        return {t: readable(rows, scores["truth"]) for t, rows in scores.items() if rows}

    def text(self) -> dict[str, list[dict]]:
        """Scores of songs made from texts alone, against their own mix and chords."""
        rows = []
        for text in TEXTS:
            for seed in self.a.seeds:
                here = self.out / "takes" / "text" / re.sub(r"\W+", "-", text) / str(seed)
                command = [self.a.sideman, "render", "--text", text, "--seconds", "30", "--out", str(here.absolute() / "made"), "--json", *self.a.text_flags.split(), *self.flags(seed)]
                made = self.runner.take(command, {}, here, STEMS)
                rest = {f"rests_{s}": stability.rests(x) for s, x in made.items()}
                rows.append({"item": text, "seed": seed, **rest, "worst_rest": max(rest.values()), "beat_own_mix": beat.score(self.cache.beats(sum(made.values())), self.cache.beats(made["drums"])),
                             "bass_in_own_chords": harmony.har(self.cache.pitch(made["bass"]), self.cache.chords(made["other"])) or 0.0})
                print(f"text {text!r}: {short(rows[-1])}", flush=True)
        return {"played": rows}

    def heard(self, row: str, found: list[Item]) -> dict[str, list[dict]]:
        """Scores of what `listen` and `live --clock ear` report, by what they are given; `shuffled` is what was
        reported of another recording, `madmom` its beats."""
        scores: dict[str, list[dict]] = {}
        rate = (lambda said, item: listening.follow(said, item) | listening.chords(said, item, 5)) if row == "count" else (lambda said, item: listening.beats(said, item) | listening.chords(said, item))
        for name, stems in {"bass": ("bass",), **({} if row == "count" else {"drums": ("drums",), "three stems": STEMS})}.items():
            said = {i.name: self.reported(row, i, name, stems) for i in found}
            for item, other in zip(found, found[1:] + found[:1]):
                take = f"{name}, {item.label['drift'].rstrip('0123456789-')}" if row == "count" else name
                scores.setdefault(take, []).append({"item": item.name} | rate(said[item.name], item))
                print(f"{row} {item.name} {name}: {short(scores[take][-1])}", flush=True)
                if self.a.controls:
                    scores.setdefault(f"{name}, shuffled", []).append({"item": item.name} | rate(said[other.name], item))
                if self.a.controls and row == "listen":
                    beats = [{"time": t, "beat": 0} for t in self.cache.beats(sum(item.stems[s] for s in stems))]
                    scores.setdefault(f"{name}, madmom", []).append({"item": item.name} | {k: v for k, v in listening.beats({"beats": beats}, item).items() if k != "downbeats"})
        return scores

    def reported(self, row: str, item: Item, name: str, stems: tuple[str, ...]) -> dict:
        """The JSON that the program prints about these stems: one file, or a folder of several; {} if it refuses."""
        here = (self.out / "takes" / row / item.name / name.replace(" ", "-")).absolute()
        files = {here / "in.wav": sum(item.stems[s] for s in stems)}
        command = [self.a.sideman, "listen", str(here / "in.wav"), "--instrument", stems[0], "--json", *self.a.flags.split()]
        if len(stems) > 1:
            files = {here / "in" / f"{s}.wav": item.stems[s] for s in stems}
            command = [self.a.sideman, "listen", str(here / "in"), "--json", *self.a.flags.split()]
        if row == "count":
            meter = "/".join(map(str, item.label["meter"]))
            command = [self.a.sideman, "live", "--headless", "--from", str(here / "in.wav"), "--to", str(here / "made"), "--pace", "fast", "--clock", "ear", "--chords", "ear", "--lag", str(self.a.lag), "--meter", meter, "--json", *self.flags(self.a.seeds[0])]
        try:
            self.runner.take(command, files, here, ())
            return json.loads((here / "stdout").read_text())
        except (RuntimeError, ValueError) as e:
            print(f"{row} {item.name} {name}: refused: {str(e)[-160:]}", flush=True)
            return {}

    def odd(self, found: list[Item]) -> dict[str, list[dict]]:
        """What `render --bass` does with odd input: rests, level of the drums, and what it printed."""
        rows = []
        for item in found:
            made = self.play("alone", item, self.a.seeds[0])
            row = {"item": item.name, **{f"rests_{s}": stability.rests(x) for s, x in made.items()}, "drums_db": float(stability.db(np.sqrt((made["drums"] ** 2).mean())))}
            if len(item.beats):
                row |= score(self.cache, item, made)
            rows.append(row)
            here = self.out / "takes" / "alone" / item.name / str(self.a.seeds[0])
            print(f"odd {item.name}: {short(row)}\n  " + " | ".join(line for line in (here / "stderr").read_text().splitlines() if line.strip())[-600:], flush=True)
        return {"played": rows}


def short(row: dict) -> str:
    return " ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items() if k not in ("item", "seed") and v is not None)


def readable(rows: list[dict], truth: list[dict]) -> list[dict]:
    """The rows with `beat_readable`: BEAT where that of the true drums is at least 0.9. madmom finds twice, half or the
    off-beats of the tempo in the other recordings, whatever is played."""
    good = {r["item"] for r in truth if r.get("beat", 0) >= 0.9}
    return [r | ({"beat_readable": r["beat"]} if "beat" in r and r["item"] in good else {}) for r in rows]


def by_item(rows: list[dict], key: str) -> list[float]:
    """The mean of a measure over the seeds, one value per recording."""
    found: dict[str, list[float]] = {}
    for r in rows:
        if r.get(key) is not None:
            found.setdefault(r["item"], []).append(r[key])
    return [float(np.mean(v)) for v in found.values()]


def table(scores: dict[str, list[dict]]) -> str:
    """{take: scores} as a Markdown table: mean [bootstrap 95 % interval], and the worst of a single take."""
    keys = list(dict.fromkeys(k for rows in scores.values() for r in rows for k in r if k not in ("item", "seed")))
    lines = ["| measure | " + " | ".join(scores) + " |", "|---|" + "---:|" * len(scores)]
    for key in keys:
        cells = []
        for rows in scores.values():
            values = by_item(rows, key)
            low, high = report.interval(values) if values else (0, 0)
            worst = [r[key] for r in rows if r.get(key) is not None]
            cells.append(f"{np.mean(values):.2f} [{low:.2f}, {high:.2f}]" + (f" max {max(worst):.2f}" if "rest" in key or key == "slips" else "") if values else "")
        lines.append(f"| {key} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("rows", nargs="+", choices=[*KINDS, "text"], metavar="ROW")
    p.add_argument("--set", type=Path, required=True, help="folder of the recordings and labels (format: material.py)")
    p.add_argument("--sideman", default="target/release/sideman", help="the program")
    p.add_argument("--model", required=True, help="model directory")
    p.add_argument("--seeds", type=int, nargs="+", default=[7, 11])
    p.add_argument("--items", nargs="+", metavar="NAME", help="only recordings whose names begin with one of these")
    p.add_argument("--lag", type=int, default=8, help="frames, for live, told and other instruments")
    p.add_argument("--flags", default="", help="flags added to every command, in one string")
    p.add_argument("--text-flags", default="", help="flags added to the commands of the row `text`")
    p.add_argument("--own-names", action="store_true", help="pass --instrument guitar, keys or voice rather than `other`")
    p.add_argument("--drifting", action="store_true", help="rows with a told clock also use recordings whose tempo drifts, told with --beats")
    p.add_argument("--no-controls", dest="controls", action="store_false", help="without the takes shuffled and silent")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--out", required=True)
    a = p.parse_args()
    a.sideman = str(Path(a.sideman).absolute())
    rows = Rows(a)
    for row in a.rows:
        found = [] if row == "text" else [i for i in items(a.set, KINDS[row], a.items) if i.steady or a.drifting or row not in CLOCKED]
        if row == "text":
            scores = rows.text()
        elif row in ("listen", "count"):
            scores = rows.heard(row, found)
        elif row == "odd":
            scores = rows.odd(found)
        else:
            scores = rows.accompany(row, found)
        count = len({r["item"] for r in next(iter(scores.values()), [])})
        page = f"## {row}\n\n{count} recordings, seeds {a.seeds}, bass pitch by {harmony.pitch_by()}{', flags ' + a.flags if a.flags else ''}\n\n{table(scores)}\n"
        (rows.out / f"{row}.json").write_text(json.dumps(scores, indent=1))
        (rows.out / f"{row}.md").write_text(page)
        print(page, flush=True)


if __name__ == "__main__":
    main()
