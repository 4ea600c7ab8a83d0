"""Prints statistics of a corpus from its labels.

    python -m train.data stats DIR

Each share has a control on shuffled songs.
"""

import bisect
import json
from collections import Counter

import numpy as np

from .corpus import RATE, songs


def share_on(times, marks, within):
    """(number of `times` with one of the sorted `marks` within `within` seconds, number of `times`)."""
    hits = 0
    for t in times:
        i = bisect.bisect_left(marks, t)
        near = min((abs(marks[j] - t) for j in (i - 1, i) if 0 <= j < len(marks)), default=9.0)
        hits += near <= within
    return hits, len(times)


def in_chord(notes, chords):
    """(number of notes (on, off, midi, vel) whose pitch class is in the current chord, number of notes)."""
    starts, hits = [c[0] for c in chords], 0
    for on, _, midi, _ in notes:
        i = bisect.bisect_right(starts, on + 0.03) - 1
        hits += i >= 0 and midi % 12 in chords[i][4]
    return hits, len(notes)


def clock_error(r):
    """Deviations in ms of the drum hits on beats (within 40 ms and a tenth of a beat)."""
    beats = np.array(r["beats"])
    t = np.array([h[0] for h in r["notes"]["drums"]])
    if not len(t):
        return np.zeros(0)
    d = t - beats[np.clip(np.searchsorted(beats, t), 0, len(beats) - 1)]
    e = t - beats[np.clip(np.searchsorted(beats, t) - 1, 0, len(beats) - 1)]
    d = np.where(np.abs(d) < np.abs(e), d, e)
    return d[np.abs(d) < min(0.04, 6 / r["bpm"])] * 1000


def figures(records):
    """Hours, styles and timbres of a corpus, and how well its stems agree, as a dict."""
    hours, styles, timbres = Counter(), Counter(), {"bass": Counter(), "drums": Counter(), "other": Counter()}
    pairs = {k: np.zeros(2) for k in ("kick", "kick shuffled", "chord", "chord shuffled", "other chord", "other chord shuffled")}
    errors, lengths = [], []
    for i, r in enumerate(records):
        h = r["len"] / RATE / 3600
        hours[r["split"]] += h
        styles[r["style"]] += h
        lengths.append(r["len"] / RATE)
        for stem in ("bass", "drums"):
            timbres[stem][r["instruments"][stem]] += h
        for p in r["programs"]:
            timbres["other"][p] += h
        bass = [n for n in r["notes"]["bass"] if n[3] >= 36]  # dead notes have no pitch
        shuffled = records[(i + len(records) // 2 + 1) % len(records)]
        for name, song in (("", r), (" shuffled", shuffled)):
            kicks = sorted(t for t, note, _ in song["notes"]["drums"] if note in (35, 36))
            if kicks:
                inside = [n[0] for n in bass if n[0] < kicks[-1] + 1]
                pairs["kick" + name] += share_on(inside, kicks, 0.03)
            pairs["chord" + name] += in_chord(bass, song["chords"])
            pairs["other chord" + name] += in_chord(r["notes"]["other"], song["chords"])
        errors.append(clock_error(r))
    errors = np.concatenate(errors)
    round_ = lambda c: {k: round(v, 2) for k, v in c.most_common()}
    return {
        "songs": len(records), "hours": round_(hours), "song_s": [round(min(lengths)), round(float(np.mean(lengths))), round(max(lengths))],
        "bass_on_kick_30ms": round(pairs["kick"][0] / pairs["kick"][1], 3), "bass_on_kick_shuffled": round(pairs["kick shuffled"][0] / pairs["kick shuffled"][1], 3),
        "bass_in_chord": round(pairs["chord"][0] / pairs["chord"][1], 3), "bass_in_chord_shuffled": round(pairs["chord shuffled"][0] / pairs["chord shuffled"][1], 3),
        "other_in_chord": round(pairs["other chord"][0] / pairs["other chord"][1], 3),
        "other_in_chord_shuffled": round(pairs["other chord shuffled"][0] / pairs["other chord shuffled"][1], 3),
        "drums_on_beat_sd_ms": round(float(errors.std()), 2), "drums_on_beat_within_20ms": round(float(np.mean(np.abs(errors) <= 20)), 4),
        "bpm_percentiles": [round(x) for x in np.percentile([r["bpm"] for r in records], [0, 10, 50, 90, 100])],
        "grooves": len({r["groove_source"] for r in records}), "charts": len({r["chart_source"] for r in records}),
        "styles_h": round_(styles), "basses_h": round_(timbres["bass"]), "kits_h": round_(timbres["drums"]), "other_programs": len(timbres["other"]),
    }


def main(folder):
    records = list(songs(folder))
    if not records:
        raise SystemExit(f"{folder}: has no shard-*/songs.jsonl (python -m train.data render makes them)")
    print(json.dumps(figures(records), indent=1))
