"""Plans songs played by Debian's `mma` (Musical MIDI Accompaniment): its standard grooves over our charts and
forms.

mma runs as a separate program on a chart written here, and its MIDI output is read back. Bass and drum
timbres, absent stems, energy and random timing are as in song.py, and `make` returns the same kind of dict.
"""

import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from os.path import commonprefix
from pathlib import Path

import mido

from . import groove, heldout, song, theory
from .mma_styles import BANDS, FAMILY

LIBRARY = Path("/usr/share/mma/lib/stdlib")
TICKS = 192  # per quarter, of mma
SPELLING = {"dim": "dim3", "minmaj7": "mM7"}  # chord suffixes that differ from theory.py's; mma's "dim" has a seventh
MAX_ACCOMPANISTS = 3  # of `other`


def program():
    """The path of mma. Raises FileNotFoundError if it or its library is missing."""
    path = shutil.which("mma")
    if not path or not LIBRARY.is_dir():
        raise FileNotFoundError(f"mma or its library {LIBRARY} is missing: install the Debian package mma")
    return path


def run(*args, home):
    """Runs mma and returns its output. An empty home folder and a fixed hash seed make it deterministic."""
    done = subprocess.run([program(), *args], capture_output=True, text=True, cwd=home, env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONHASHSEED": "0"})
    if done.returncode:
        raise RuntimeError(f"mma {' '.join(args)}: {done.stdout[-400:]}{done.stderr[-400:]}")
    return done.stdout


@lru_cache(None)
def grooves(library):
    """The grooves of a library: {'main', 'intro', 'fill' or 'end': {groove: bars of its pattern}}."""
    with tempfile.TemporaryDirectory() as home:
        text = run("-Djs", str(LIBRARY / f"{library}.mma"), home=home)
    kinds = {"main": {}, "intro": {}, "fill": {}, "end": {}}
    for g in json.loads(text[text.index("\n[") + 1:]):
        kind = re.search(r"(intro|fill|end)(sus|plus)*\d*$", g["groove"].lower())
        if "metronome" not in g["groove"].lower():
            kinds[kind.group(1) if kind else "main"][g["groove"]] = g["size"]
    return kinds


def most_similar(names, main):
    """The intro, fill or end that belongs to a groove: the name with the longest common prefix; None if there
    are no names."""
    return max(names, key=lambda n: len(commonprefix((n.lower(), main.lower()))), default=None)


def chart(bars, plan, band, bpm, seed):
    """The input for mma: per bar a marker and a line of chords. `plan`: {bar: groove that starts there}."""
    per = band["quarters"] / bars[0].beats
    lines = [f"RndSeed {seed}", f"Tempo {bpm * per:.3f}"]
    for bar in bars:
        if bar.index in plan:
            lines.append(f"Groove {plan[bar.index]}")
        chords = " ".join(f"{theory.NAMES[c.root]}{SPELLING.get(c.quality, theory.QUALITIES[c.quality][0])}@{1 + at * per:g}" for at, c in bar.chords)
        lines += [f"MidiMark {bar.index}", f"{bar.index + 1} {chords}"]
    return "\n".join([*lines, f"MidiMark {len(bars)}", f"{len(bars) + 1} z!", ""])


def play(text):
    """Runs mma on a chart: (tick of every marker, {track: [(on, off, program, midi, vel)]} in ticks; the
    drums are track 'Drum')."""
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "song.mma").write_text(text)
        run("-f", "song.mid", "song.mma", home=home)
        midi = mido.MidiFile(Path(home) / "song.mid")
    marks, tracks = [], {}
    for track in midi.tracks:
        tick, voice, sounding = 0, 0, {}
        for m in track:
            tick += m.time
            if m.type == "marker":
                marks.append(tick)
            elif m.type == "program_change":
                voice = m.program
            elif m.type == "note_on" and m.velocity:
                sounding.setdefault(m.note, (tick, voice, m.velocity))
            elif m.type in ("note_on", "note_off") and m.note in sounding:
                on, kind, vel = sounding.pop(m.note)
                tracks.setdefault("Drum" if m.channel == 9 else track.name, []).append((on, tick, kind, m.note, vel))
    return marks, {name: sorted(notes) for name, notes in tracks.items()}


def quantize(beat, band):
    """A beat moved to the song's grid, without mma's random timing; off-beats of swung styles are placed as
    in song.py."""
    whole = int(beat + 0.05)
    near = min(groove.GRID, key=lambda g: abs(beat - whole - g))
    return song.swing(whole + near, band["triplet"] and band["meter"] in ((4, 4), (3, 4)))


def split_into_bars(notes, bars, band):
    """Notes per bar, [(beat, length, program, midi, vel, spread)], in beats. Notes less than a 12th of a
    quarter apart form a strum: its first note is quantized, and `spread` is the delay of each note to it."""
    unit = TICKS * band["quarters"] / bars[0].beats
    out, last, first = [[] for _ in bars], -TICKS, 0
    for on, off, voice, midi, vel in notes:
        first = on if on - last > TICKS / 12 else first
        last = on
        i = min(int((first / unit + 0.05) // bars[0].beats), len(bars) - 1)
        beat = quantize(first / unit - i * bars[0].beats, band)
        if beat < bars[0].beats:
            out[i].append((beat, (off - on) / unit, voice, midi, vel, (on - first) / unit))
    return out


def is_bass(track, voice):
    """Whether a track is the bass: mma's Bass and Walk, and named variants of them with a bass program (not
    'Bass-Sax')."""
    kind, _, more = track.lower().partition("-")
    return kind in ("bass", "walk") and (not more or 32 <= voice < 40)


def normalise_velocity(notes, top):
    """Notes with velocities scaled so that their 90th percentile is `top`."""
    loud = sorted(n[4] for bar in notes for n in bar)
    scale = top / loud[len(loud) * 9 // 10] if loud else 1.0
    return [[(*n[:4], n[4] * scale, n[5]) for n in bar] for bar in notes]


def hold_last_bar(bars, notes):
    """For libraries without an ending: holds the notes on the first beat of the last bar and drops the
    others."""
    if bars[-1].stop:
        notes[-1] = [(b, bars[-1].beats, voice, midi, vel, s) for b, _, voice, midi, vel, s in notes[-1] if b == 0]
    return notes


def form(rng, band, kinds, want_bars, held_out):
    """(bars, {bar: groove that starts there}, (verse groove, chorus groove), chart source)."""
    beats = {(12, 8): 4, (6, 8): 2}.get(band["meter"], band["meter"][0])
    verse = rng.choice(list(kinds["main"]))
    chorus = rng.choice(list(kinds["main"]))
    sections, source = song.choose_form(rng, band, want_bars, held_out)
    end = most_similar(kinds["end"], chorus)
    if end:
        sections[-1] = ("ending", sections[-1][1] * min(kinds["end"][end], 4))
    bars = song.lay_out(rng, sections, beats, band["triplet"])
    intro = most_similar(kinds["intro"], verse) if rng.random() < 0.7 else None
    of = {"intro": intro or verse, "verse": verse, "ending": end or chorus}
    plan, at = {}, 0
    for label, part in sections:
        plan[at] = of.get(label, chorus)
        fill = most_similar(kinds["fill"], plan[at])
        at += len(part)
        if fill and len(part) >= 4 and label not in ("intro", "ending") and rng.random() < 0.7:
            plan[at - 1] = fill
    bars[-1].stop = not end
    return bars, plan, (verse, chorus), source


def write_drums(rng, band, kinds, bars, drums):
    """Sets the bars' drums to mma's, with our fills at section ends if the library has none, and sometimes a
    crash after them."""
    loose = rng.uniform(0.002, 0.006)
    for bar, hits in zip(bars, normalise_velocity(drums, 106)):
        bar.drums = sorted((b, midi, v + rng.gauss(0, 4), rng.gauss(0, loose)) for b, _, _, midi, v, _ in hits)
        after = bars[bar.index + 1].label if bar.index + 1 < len(bars) else bar.label
        if not kinds["fill"] and after not in (bar.label, "ending") and rng.random() < 0.6:
            bar.drums = song.with_fill(rng, {"groove": []}, bar.drums, bar.beats, band["triplet"])
        if band["kits"] in ("rock", "pop") and bar.index and bars[bar.index - 1].label != bar.label and rng.random() < 0.4:
            bar.drums = sorted([(0, rng.choice([49, 57]), 104, 0.0), *bar.drums])


def write_bass(rng, bars, notes, clock, beat_s):
    """The notes [(on s, off s, midi, vel)] of the bass, monophonic, with timing correlated with the kick as
    in song.py."""
    lag, loose, raw = rng.gauss(0, 0.003), rng.uniform(0.002, 0.006), []
    for bar, line in zip(bars, normalise_velocity(notes, 100)):
        kick, stroke = {b: d for b, midi, _, d in bar.drums if midi in (35, 36)}, {}
        for b, length, _, midi, vel, _ in line:
            dev = stroke.setdefault(b, lag + rng.gauss(0, loose) + 0.6 * kick.get(b, 0.0))
            on = max(0.0, clock(bar.index * bar.beats + b) + dev)
            midi += 12 * max(0, -(-(26 - midi) // 12)) - 12 * max(0, -(-(midi - 60) // 12))
            if "bass" in bar.stems:
                raw.append([on, on + max(0.04, length * beat_s), midi, max(40, min(125, round(vel * (0.8 + 0.22 * bar.energy))))])
    return song.monophonic(raw)


def write_other(rng, bars, notes, clock, beat_s):
    """The notes [(on s, off s, midi, vel)] of one instrument family."""
    lag, loose, out = rng.gauss(0, 0.003), rng.uniform(0.002, 0.006), []
    for bar, part in zip(bars, normalise_velocity(notes, 96)):
        stroke = {}
        for b, length, _, midi, vel, spread in part:
            dev = stroke.setdefault(b, lag + rng.gauss(0, loose))
            on = max(0.0, clock(bar.index * bar.beats + b) + dev + spread * beat_s + rng.uniform(0, 0.002))
            if "other" in bar.stems:
                out.append((on, on + max(0.03, length * beat_s), midi, max(20, min(125, round(vel * (0.8 + 0.22 * bar.energy))))))
    return song.no_overlap(sorted(out))


def choose_accompanists(tracks, bars, band):
    """[(family, program, kind of track, notes per bar)] of the harmony tracks: the families with the longest
    total duration, the one with most notes first, because the mix has the first in front (a comping piano
    before strings)."""
    found = {}
    for name, notes in tracks.items():
        for n in notes:
            if name != "Drum" and not is_bass(name, n[2]) and n[2] in FAMILY:
                found.setdefault(FAMILY[n[2]], []).append((*n, "line" if is_bass(name.split("-")[0], 0) else name.split("-")[0].lower()))
    most = lambda values: max(sorted(set(values)), key=values.count)
    ranked = sorted(found.items(), key=lambda f: (-sum(n[1] - n[0] for n in f[1]), f[0]))[:MAX_ACCOMPANISTS]
    ranked.sort(key=lambda f: -len(f[1]))
    return [(family, most([n[2] for n in notes]), most([n[5] for n in notes]), split_into_bars(sorted(n[:5] for n in notes), bars, band)) for family, notes in ranked]


def make(seed, index):
    """The plan of song `index`, with the keys of song.make; always the same."""
    rng = random.Random(f"mma/{seed}/{index}")
    split = heldout.split_of(rng)
    held_out = split != "train"
    library = rng.choice([b for b in sorted(BANDS) if (b in heldout.MMA) == held_out])
    band, kinds = BANDS[library], grooves(library)
    bpm = rng.uniform(*band["bpm"])
    beat_s, start = 60 / bpm, rng.uniform(0.05, 0.6)
    beats = {(12, 8): 4, (6, 8): 2}.get(band["meter"], band["meter"][0])
    bars, plan, names, source = form(rng, band, kinds, round(rng.uniform(62, 150) / (beats * beat_s)), held_out)
    gone = {0: "bass", 1: "drums", 2: "other"}.get(int(rng.random() / 0.012), "")  # as in song.py
    for bar in bars:
        bar.stems -= {gone}
    called = {at: f"stdlib/{library}:{name}" for at, name in plan.items()}
    marks, tracks = play(chart(bars, called, band, bpm, rng.randrange(1 << 30)))
    if any(m != k * TICKS * band["quarters"] for k, m in enumerate(marks)) or len(marks) != len(bars) + 1:
        raise RuntimeError(f"mma library {library}: its bars are not {band['quarters']} quarters long (grooves {sorted(set(plan.values()))}); correct mma_styles.py")

    def clock(beat):
        return start + beat * beat_s

    write_drums(rng, band, kinds, bars, hold_last_bar(bars, split_into_bars(tracks.get("Drum", []), bars, band)))
    low = sorted(n for name, notes in tracks.items() if name != "Drum" for n in notes if is_bass(name, n[2]))
    notes = {"drums": sorted((max(0.0, clock(bar.index * beats + b) + dev), midi, max(8, min(127, round(vel * (0.72 + 0.32 * bar.energy)))))
                             for bar in bars if "drums" in bar.stems for b, midi, vel, dev in bar.drums),
             "bass": write_bass(rng, bars, hold_last_bar(bars, split_into_bars(low, bars, band)), clock, beat_s)}
    accompanists = choose_accompanists(tracks, bars, band)
    others = [write_other(rng, bars, hold_last_bar(bars, part), clock, beat_s) for *_, part in accompanists]
    notes["other"] = sorted(n for part in others for n in part)
    end = clock(len(bars) * beats)
    chords = [[round(clock(bar.index * beats + at), 4), theory.name(c), c.root, c.quality, theory.pitch_classes(c)] for bar in bars for at, c in bar.chords]
    chords = [c for i, c in enumerate(chords) if i == 0 or c[1] != chords[i - 1][1]]
    return {
        "id": f"{seed}-{index:06d}", "split": split, "len": -(-int((end + 1.8) * 32000) // 640) * 640, "bpm": round(bpm, 3), "meter": list(band["meter"]),
        "triplet": band["triplet"], "beats": [round(clock(b), 4) for b in range(len(bars) * beats)],
        "downbeats": [round(clock(b.index * beats), 4) for b in bars], "chords": chords, "style": band["style"],
        "sections": [[round(clock(b.index * beats), 4), b.label] for i, b in enumerate(bars) if i == 0 or bars[i - 1].label != b.label],
        "caption_tags": song.tags(rng, band["style"], band, bpm, notes, end, chords), "notes": notes,
        "present": {s: song.spans(bars, s, beats, clock) for s in ("bass", "drums", "other")},
        "groove_source": f"mma:{library}:{'+'.join(names)}", "chart_source": source,
        "timbres": song.choose_timbres(rng, band, held_out, band["kits"]), "drummer": None,
        "programs": [song.program(rng, [(0, p)], held_out) for _, p, _, _ in accompanists], "parts": others,
        "families": [family for family, *_ in accompanists], "modes": [mode for _, _, mode, _ in accompanists],
    }
