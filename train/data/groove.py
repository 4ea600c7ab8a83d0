"""Drum bars from the Groove MIDI dataset (CC-BY 4.0), with the drummers' timing and velocities, cut at bar
lines."""

import csv
from functools import lru_cache

import mido

from .paths import data_dir

ROLAND_TO_GM = {22: 42, 26: 46, 40: 38, 58: 43, 50: 48, 47: 45, 52: 57, 55: 49, 59: 51}
GRID = [0, 1 / 8, 1 / 6, 1 / 4, 1 / 3, 3 / 8, 1 / 2, 5 / 8, 2 / 3, 3 / 4, 5 / 6, 7 / 8, 1]


@lru_cache(1)
def index():
    """The performances in 4/4 and 3/4 of info.csv, as dicts."""
    rows = []
    with open(data_dir() / "groove-midi" / "info.csv", newline="") as f:
        for row in csv.DictReader(f):
            if row["time_signature"] not in ("4-4", "3-4"):
                continue
            bpm = float(row["bpm"])
            bars = float(row["duration"]) * bpm / 60 / int(row["time_signature"][0])
            rows.append({"id": row["id"], "style": row["style"], "bpm": bpm, "beats": int(row["time_signature"][0]),
                         "fill": row["beat_type"] == "fill", "held_out": row["split"] != "train", "bars": bars,
                         "file": row["midi_filename"], "drummer": row["drummer"]})
    return rows


@lru_cache(None)
def hits(file):
    """[(beat, gm note, vel)] of one performance, in beats of the recording's click."""
    midi = mido.MidiFile(data_dir() / "groove-midi" / file)
    out = []
    for track in midi.tracks:
        tick = 0
        for m in track:
            tick += m.time
            if m.type == "note_on" and m.velocity > 0:
                out.append((tick / midi.ticks_per_beat, ROLAND_TO_GM.get(m.note, m.note), m.velocity))
    return sorted(out)


def bars(row, tightness=0.45, most_ms=14):
    """Bars [[(grid beat, gm note, vel, deviation s)]] of one performance.

    Each hit is quantized to the nearest point of GRID. The deviation is the remainder, minus the
    performance's median lag on the beat, scaled by `tightness` and limited to `most_ms`, as of a drummer who
    plays to a click.
    """
    beat_s = 60 / row["bpm"]
    placed = []
    for beat, note, vel in hits(row["file"]):
        whole = int(beat)
        grid = min(GRID, key=lambda g: abs(beat - whole - g) + (0.02 if g not in (0, 1 / 4, 1 / 2, 3 / 4, 1) else 0))
        placed.append((whole + grid, note, vel, (beat - whole - grid) * beat_s))
    strong = sorted(d for b, _, _, d in placed if b == int(b)) or [0.0]
    lag = strong[len(strong) // 2]
    count = int(max(b for b, *_ in placed) // row["beats"]) + 1
    out = [[] for _ in range(count + 1)]
    for b, note, vel, dev in placed:
        k = int((b + 1e-6) // row["beats"])
        most = most_ms if b % 0.5 else most_ms * 0.8  # smaller deviations on the beat
        dev = max(-most, min(most, (dev - lag) * 1000 * tightness)) / 1000
        out[k].append((b - k * row["beats"], note, vel, dev))
    while out and not out[-1]:
        out.pop()
    return out


@lru_cache(None)
def is_triplet_file(file):
    """Whether the performance has a triplet feel: more hits on thirds of the beat than on its quarters and
    halves."""
    thirds = quarters = 0
    for beat, _, vel in hits(file):
        x = beat % 1
        if vel > 30:
            thirds += abs(x - 2 / 3) < 0.06 or abs(x - 1 / 3) < 0.06
            quarters += abs(x - 1 / 4) < 0.06 or abs(x - 3 / 4) < 0.06 or abs(x - 1 / 2) < 0.06
    return thirds > 1.0 * quarters


def choose(rng, styles, bpm_range, held_out, fill=False, beats=4, triplet=None, least_bars=2.0):
    """A random performance of one of `styles` (prefixes) near the tempo range, or None."""
    rows = [r for r in index() if r["fill"] == fill and r["held_out"] == held_out and r["beats"] == beats
            and any(r["style"].startswith(s) for s in styles) and bpm_range[0] * 0.93 <= r["bpm"] <= bpm_range[1] * 1.07
            and (fill or r["bars"] >= least_bars)]
    if triplet is not None:
        rows = [r for r in rows if is_triplet_file(r["file"]) == triplet]
    if not rows:
        return None
    weights = [min(r["bars"], 40) ** 0.5 for r in rows]
    return rng.choices(rows, weights)[0]
