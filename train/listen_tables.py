"""Counts the tables of the listener (engine/src/listen/offline/tables.json) on labelled songs: rhythm patterns of
each voice, and statistics of chords.

    cargo run --release -p sideman-engine --example listen_events -- $H/corpus > $H/events.jsonl
    python -m train.listen_tables $H/events.jsonl --out engine/src/listen/offline/tables.json

Needs numpy only. Four hours of songs take about five minutes of one core.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np

# Kinds of events; places of a beat. As in events.rs and patterns.rs.
KINDS, LINES = 8, 12
STEMS = ("bass", "drums", "other")
# Beats of a bar in each feel: 4/4 in even divisions; 4/4 in triplets, and 12/8; 3/4; 6/8. And the patterns of each.
FEELS = ((4, 24), (4, 12), (3, 6), (2, 4))
# Patterns of drums in each feel by which found bar lines are compared.
FINE = (160, 60, 24, 8)
# Most bars of a feel that are clustered, for the search and for the comparison.
MOST_BARS, MOST_BARS_FINE = 12_000, 20_000
# Part of a beat within which a note is on it, as in harmony.rs.
NEAR = 0.12


def feel(song: dict) -> int:
    meter = tuple(song["meter"])
    return {(3, 4): 2, (6, 8): 3}.get(meter, 1 if song["triplet"] or meter == (12, 8) else 0)


def bars(song: dict, events: list, beats: int) -> list[np.ndarray]:
    """For each bar, which kinds of events occur on which line."""
    lines, period = LINES * beats, np.median(np.diff(song["beats"]))
    events = np.array([e[:2] for e in events], float).reshape(-1, 2)
    found = []
    for start, end in zip(song["downbeats"], song["downbeats"][1:]):
        if abs(end - start - beats * period) > 0.05:
            continue
        line = (end - start) / lines
        row = np.zeros((lines, KINDS))
        for time, kind in events[(events[:, 0] >= start - line / 2) & (events[:, 0] < end - line / 2)]:
            row[round((time - start) / line) % lines, int(kind)] = 1
        if row.any():
            found.append(row.ravel())
    return found


def cluster(rows: np.ndarray, count: int, rng, rounds: int = 60):
    """A mixture of independent Bernoulli variables, by expectation maximisation: likelihood, rates, weights."""
    count = min(count, len(rows))
    mean = rows.mean(0)
    rates = np.clip(0.6 * rows[rng.choice(len(rows), count, replace=False)] + 0.4 * mean, 1e-3, 1 - 1e-3)
    weights, total = np.full(count, 1 / count), 0.0
    for _ in range(rounds):
        score = rows @ np.log(rates).T + (1 - rows) @ np.log(1 - rates).T + np.log(weights)
        most = score.max(1, keepdims=True)
        share = np.exp(score - most)
        total = float((most + np.log(share.sum(1, keepdims=True))).sum())
        share /= share.sum(1, keepdims=True)
        size = share.sum(0) + 1e-9
        # Three bars of the mean keep a rare pattern from being too sure.
        rates = np.clip((share.T @ rows + 3 * mean) / (size[:, None] + 3), 1e-4, 1 - 1e-4)
        weights = (size + 1) / (size.sum() + count)
    return total, rates, weights


def patterns(songs: list[dict], stem: str, index: int, count: int, most: int, rng) -> dict:
    """Weights, and thousandths of an event, of the patterns of a stem in a feel."""
    beats = FEELS[index][0]
    rows = np.array([row for s in songs if feel(s["song"]) == index for row in bars(s["song"], s[stem]["events"], beats)])
    if len(rows) == 0:
        raise SystemExit(f"no bars with {beats} beats of {stem}: render more styles")
    rows = rows[rng.choice(len(rows), most, replace=False)] if len(rows) > most else rows
    _, rates, weights = max((cluster(rows, count, rng) for _ in range(2)), key=lambda found: found[0])
    thousandths = [[round(1000 * float(x)) if x >= 0.004 else 0 for x in pattern] for pattern in rates]
    return {"weights": np.round(weights, 4).tolist(), "patterns": thousandths}


def rhythm(songs: list[dict], drums: list[dict], rng) -> dict:
    feels = []
    for index, (beats, count) in enumerate(FEELS):
        voices = {"beats": beats} | {stem: patterns(songs, stem, index, count, MOST_BARS, rng) for stem in STEMS}
        voices["drums_fine"] = patterns([*songs, *drums], "drums", index, FINE[index], MOST_BARS_FINE, rng)
        feels.append(voices)
    return {"feels": feels}


def quality(name: str) -> int | None:
    """Quality of a chord symbol as in the `chord` control: maj, min, dom7, maj7, min7, dim, sus, aug."""
    match = re.match(r"^[A-G][#b]*([^/]*)", name)
    text = match.group(1).replace("(", "").replace(")", "") if match else "?"
    if text in ("", "maj", "6", "69", "add9", "5", "2", "maj6", "add2", "add4"):
        return 0
    if text in ("m", "min", "m6", "m69", "madd9", "mmaj7", "mM7", "min6", "-"):
        return 1
    for start, number in (("maj", 3), ("M", 3), ("m7b5", 5), ("dim", 5), ("m", 4), ("aug", 7), ("+", 7)):
        if text.startswith(start):
            return number
    if "sus" in text:
        return 6
    if "#5" in text:
        return 7
    return 2 if text[0] in "791" else None


def chord_at(chords: list, time: float):
    before = [c for c in chords if c[0] <= time + 1e-3]
    return before[-1] if before else None


def spans(song: dict):
    """Start, end, half of the bar, and beat of each half bar (4 beats) or bar (2 or 3 beats)."""
    count, beats = FEELS[feel(song)][0], song["beats"]
    lines = np.searchsorted(np.array(beats), np.array(song["downbeats"]) - 1e-3)
    for a, b in zip(lines, lines[1:]):
        if b - a == count:
            cuts = [a, a + 2, b] if count == 4 else [a, b]
            for half, (x, y) in enumerate(zip(cuts, cuts[1:])):
                yield beats[x], beats[y], int(half > 0), (beats[y] - beats[x]) / (y - x)


def logs(counts: np.ndarray) -> list:
    """Logarithms of probabilities over the last axis, drawn to the mean over the axis before it."""
    total = counts.sum(-2, keepdims=True)
    counts = counts + 20 * (total + 1) / (total.sum(-1, keepdims=True) + 12) + 0.2
    return np.round(np.log(counts / counts.sum(-1, keepdims=True)), 3).tolist()


def keys(sequences: list) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each chord in major and minor keys, whose tonics are found by expectation maximisation."""
    scales = ({0: (0, 3, 2), 2: (1, 4), 4: (1, 4), 5: (0, 3), 7: (0, 2, 6), 9: (1, 4), 11: (5,)}, {0: (1, 4), 2: (5,), 3: (0, 3), 5: (1, 4), 7: (1, 4, 2, 0), 8: (0, 3), 10: (0, 2)})
    chords, modes = np.full((2, 12, 8), 0.05), np.array([0.6, 0.4])
    for mode, scale in enumerate(scales):
        for degree, qualities in scale.items():
            chords[mode, degree, list(qualities)] = 4
        chords[mode, 0] *= 2
    chords /= chords.sum((1, 2), keepdims=True)
    for _ in range(8):
        counts, seen = np.full((2, 12, 8), 0.3), np.zeros(2)
        for sequence in (s for s in sequences if len(s) >= 4):
            fit = np.array([[np.log(modes[m]) + sum(np.log(chords[m, (r - k) % 12, q]) for r, q in [*sequence, sequence[0]]) for k in range(12)] for m in range(2)])
            mode, key = np.unravel_index(fit.argmax(), fit.shape)
            seen[mode] += 1
            for root, q in sequence:
                counts[mode, (root - key) % 12, q] += 1
        chords, modes = counts / counts.sum((1, 2), keepdims=True), (seen + 1) / (seen.sum() + 2)
    return chords, modes


def harmony(songs: list[dict]) -> dict:
    first, rest, change = np.zeros((2, 8, 12)), np.zeros((2, 8, 12)), np.zeros((2, 2))
    chroma, heard, sequences = np.zeros((8, 12)), np.zeros(8), []
    for entry in songs:
        song, last, sequence = entry["song"], None, []
        notes = [(e[0], e[2]) for e in entry["bass"]["events"] if e[2] is not None]
        times, frames = np.array([t for t, _ in notes]), np.array(entry["other"]["chroma"], float)
        for start, end, half, beat in spans(song):
            label = chord_at(song["chords"], start + 0.02)
            q = quality(label[1]) if label and label[2] >= 0 else None
            if q is None:
                last = None
                continue
            root = label[2]
            if last is not None:
                change[half, int(last != (root, q))] += 1
            if last != (root, q):
                sequence.append((root, q))
            last = (root, q)
            for k in range(*np.searchsorted(times, [start - NEAR * beat, end - NEAR * beat])):
                place, above = (times[k] - start) / beat, (notes[k][1] - root) % 12
                if abs(place) < NEAR:
                    first[half, q, above] += 1
                else:
                    rest[0 if abs(place - round(place)) < NEAR else 1, q, above] += 1
            mean = frames[int((start + 0.1) * 10):int(end * 10)]
            norm = np.linalg.norm(mean.mean(0)) if len(mean) else 0
            if norm > 60:
                chroma[q] += np.roll(mean.mean(0) / norm, -root)
                heard[q] += 1
        sequences.append(sequence)
    chords, modes = keys(sequences)
    shape = np.where(heard[:, None] > 20, chroma / np.maximum(np.linalg.norm(chroma, axis=1, keepdims=True), 1e-9), 0)
    change = np.log(change / change.sum(1, keepdims=True))
    return {"first": logs(first), "rest": logs(rest), "chroma": np.round(shape, 3).tolist(), "keys": np.round(np.log(chords), 3).tolist(), "modes": np.round(np.log(modes), 3).tolist(), "change": np.round(change, 3).tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=Path, nargs="+", help="output of the example listen_events")
    parser.add_argument("--drums", type=Path, nargs="*", default=[], help="the same of more songs, for the fine patterns of drums only")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    songs, drums = ([json.loads(line) for path in paths for line in path.open()] for paths in (args.events, args.drums))
    tables = {"rhythm": rhythm(songs, drums, np.random.default_rng(1)), "harmony": harmony(songs)}
    args.out.write_text(json.dumps(tables, separators=(",", ":")))
    print(f"{args.out}: {len(songs)} songs")


if __name__ == "__main__":
    main()
