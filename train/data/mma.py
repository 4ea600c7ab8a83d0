"""Songs whose players are Debian's `mma` (Musical MIDI Accompaniment): its standard grooves over our charts and forms, on our clock.

mma is run as a program of its own on a chart written here; what it plays comes back as MIDI. Bass and drum timbres, absent stems,
energy and human timing are as in song.py, and so is the dict that `make` gives."""

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
TICKS = 192  # of mma's quarter
SPELLING = {"dim": "dim3", "minmaj7": "mM7"}  # where mma's names differ from theory's: its "dim" has a seventh
PLAYERS = 3  # of `other`, at most


def program():
    """Path of mma. Raises FileNotFoundError naming the Debian package."""
    path = shutil.which("mma")
    if not path or not LIBRARY.is_dir():
        raise FileNotFoundError("mma, or its standard library, is not installed: install the Debian package mma")
    return path


def run(*args, home):
    """mma's standard output. A home without settings and a fixed order of sets: the same input always gives the same music."""
    done = subprocess.run([program(), *args], capture_output=True, text=True, cwd=home, env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONHASHSEED": "0"})
    if done.returncode:
        raise RuntimeError(f"mma {' '.join(args)}: {done.stdout[-400:]}{done.stderr[-400:]}")
    return done.stdout


@lru_cache(None)
def grooves(library):
    """{kind: {groove: bars of its pattern}} of a library, kind one of 'main', 'intro', 'fill', 'end'."""
    with tempfile.TemporaryDirectory() as home:
        text = run("-Djs", str(LIBRARY / f"{library}.mma"), home=home)
    kinds = {"main": {}, "intro": {}, "fill": {}, "end": {}}
    for g in json.loads(text[text.index("\n[") + 1:]):
        kind = re.search(r"(intro|fill|end)(sus|plus)*\d*$", g["groove"].lower())
        if "metronome" not in g["groove"].lower():
            kinds[kind.group(1) if kind else "main"][g["groove"]] = g["size"]
    return kinds


def nearest(names, main):
    """The intro, fill or end that belongs to a groove: the one whose name begins most like it. None of none."""
    return max(names, key=lambda n: len(commonprefix((n.lower(), main.lower()))), default=None)


def chart(bars, plan, band, bpm, seed):
    """mma's input: a marker and a line of chords a bar; `plan` names the groove of a bar where one begins."""
    per = band["quarters"] / bars[0].beats
    lines = [f"RndSeed {seed}", f"Tempo {bpm * per:.3f}"]
    for bar in bars:
        if bar.index in plan:
            lines.append(f"Groove {plan[bar.index]}")
        chords = " ".join(f"{theory.NAMES[c.root]}{SPELLING.get(c.quality, theory.QUALITIES[c.quality][0])}@{1 + at * per:g}" for at, c in bar.chords)
        lines += [f"MidiMark {bar.index}", f"{bar.index + 1} {chords}"]
    return "\n".join([*lines, f"MidiMark {len(bars)}", f"{len(bars) + 1} z!", ""])


def play(text):
    """What mma plays: (tick of every marker, {track: [(on, off, program, midi, vel)]} in ticks, 'Drum' the drums)."""
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


def settled(beat, band):
    """A beat on the song's grid: mma's own dice are taken off, off-beats of swung bands go where song.py has them."""
    whole = int(beat + 0.05)
    near = min(groove.GRID, key=lambda g: abs(beat - whole - g))
    return song.swing(whole + near, band["triplet"] and band["meter"] in ((4, 4), (3, 4)))


def on_bars(notes, bars, band):
    """[[(beat, length, program, midi, vel, spread)]] a bar, in beats. A stroke (notes less than a 12th of a quarter apart) keeps its
    `spread`: how long after its first note, which lies on the grid, each sounds."""
    unit = TICKS * band["quarters"] / bars[0].beats
    out, last, first = [[] for _ in bars], -TICKS, 0
    for on, off, voice, midi, vel in notes:
        first = on if on - last > TICKS / 12 else first
        last = on
        i = min(int((first / unit + 0.05) // bars[0].beats), len(bars) - 1)
        beat = settled(first / unit - i * bars[0].beats, band)
        if beat < bars[0].beats:
            out[i].append((beat, (off - on) / unit, voice, midi, vel, (on - first) / unit))
    return out


def is_bass(track, voice):
    """The bass line: mma's Bass and Walk, and what else is called bass and has a bass's voice (not 'Bass-Sax')."""
    kind, _, more = track.lower().partition("-")
    return kind in ("bass", "walk") and (not more or 32 <= voice < 40)


def louder(notes, top):
    """Velocities scaled so that the loudest tenth is at `top`: mma's volumes are for a mixer."""
    loud = sorted(n[4] for bar in notes for n in bar)
    scale = top / loud[len(loud) * 9 // 10] if loud else 1.0
    return [[(*n[:4], n[4] * scale, n[5]) for n in bar] for bar in notes]


def written(bars, notes):
    """The hand-written last bar of libraries without an ending: what falls on the one is held."""
    if bars[-1].stop:
        notes[-1] = [(b, bars[-1].beats, voice, midi, vel, s) for b, _, voice, midi, vel, s in notes[-1] if b == 0]
    return notes


def form(rng, band, kinds, want_bars, out):
    """(bars, {bar: groove that begins}, names of verse's and chorus's groove, chart source)."""
    beats = {(12, 8): 4, (6, 8): 2}.get(band["meter"], band["meter"][0])
    verse = rng.choice(list(kinds["main"]))
    chorus = rng.choice(list(kinds["main"]))
    sections, source = song.choose_form(rng, band, want_bars, out)
    end = nearest(kinds["end"], chorus)
    if end:
        sections[-1] = ("ending", sections[-1][1] * min(kinds["end"][end], 4))
    bars = song.lay_out(rng, sections, beats, band["triplet"])
    intro = nearest(kinds["intro"], verse) if rng.random() < 0.7 else None
    of = {"intro": intro or verse, "verse": verse, "ending": end or chorus}
    plan, at = {}, 0
    for label, part in sections:
        plan[at] = of.get(label, chorus)
        fill = nearest(kinds["fill"], plan[at])
        at += len(part)
        if fill and len(part) >= 4 and label not in ("intro", "ending") and rng.random() < 0.7:
            plan[at - 1] = fill
    bars[-1].stop = not end
    return bars, plan, (verse, chorus), source


def fill_up(rng, band, kinds, bars, drums):
    """Puts mma's drums into the bars, with our fills at section ends where the library has none, and a crash now and then after them."""
    loose = rng.uniform(0.002, 0.006)
    for bar, hits in zip(bars, louder(drums, 106)):
        bar.drums = sorted((b, midi, v + rng.gauss(0, 4), rng.gauss(0, loose)) for b, _, _, midi, v, _ in hits)
        after = bars[bar.index + 1].label if bar.index + 1 < len(bars) else bar.label
        if not kinds["fill"] and after not in (bar.label, "ending") and rng.random() < 0.6:
            bar.drums = song.with_fill(rng, {"groove": []}, bar.drums, bar.beats, band["triplet"])
        if band["kits"] in ("rock", "pop") and bar.index and bars[bar.index - 1].label != bar.label and rng.random() < 0.4:
            bar.drums = sorted([(0, rng.choice([49, 57]), 104, 0.0), *bar.drums])


def play_bass(rng, bars, notes, clock, beat_s):
    """[(on s, off s, midi, vel)]: one note at a time, as a bassist plays who hears the kick (as in song.py)."""
    lag, loose, raw = rng.gauss(0, 0.003), rng.uniform(0.002, 0.006), []
    for bar, line in zip(bars, louder(notes, 100)):
        kick, stroke = {b: d for b, midi, _, d in bar.drums if midi in (35, 36)}, {}
        for b, length, _, midi, vel, _ in line:
            dev = stroke.setdefault(b, lag + rng.gauss(0, loose) + 0.6 * kick.get(b, 0.0))
            on = max(0.0, clock(bar.index * bar.beats + b) + dev)
            midi += 12 * max(0, -(-(26 - midi) // 12)) - 12 * max(0, -(-(midi - 60) // 12))
            if "bass" in bar.stems:
                raw.append([on, on + max(0.04, length * beat_s), midi, max(40, min(125, round(vel * (0.8 + 0.22 * bar.energy))))])
    return song.one_at_a_time(raw)


def play_other(rng, bars, notes, clock, beat_s):
    """[(on s, off s, midi, vel)] of one family of instruments."""
    lag, loose, out = rng.gauss(0, 0.003), rng.uniform(0.002, 0.006), []
    for bar, part in zip(bars, louder(notes, 96)):
        stroke = {}
        for b, length, _, midi, vel, spread in part:
            dev = stroke.setdefault(b, lag + rng.gauss(0, loose))
            on = max(0.0, clock(bar.index * bar.beats + b) + dev + spread * beat_s + rng.uniform(0, 0.002))
            if "other" in bar.stems:
                out.append((on, on + max(0.03, length * beat_s), midi, max(20, min(125, round(vel * (0.8 + 0.22 * bar.energy))))))
    return song.no_overlap(sorted(out))


def choose_players(tracks, bars, band):
    """[(family, program, what it does, notes by bar)] of the harmony tracks: the families that sound
    longest, the busiest first, for the mix has the others behind it (a comping piano before its strings)."""
    found = {}
    for name, notes in tracks.items():
        for n in notes:
            if name != "Drum" and not is_bass(name, n[2]) and n[2] in FAMILY:
                found.setdefault(FAMILY[n[2]], []).append((*n, "line" if is_bass(name.split("-")[0], 0) else name.split("-")[0].lower()))
    most = lambda values: max(sorted(set(values)), key=values.count)
    ranked = sorted(found.items(), key=lambda f: (-sum(n[1] - n[0] for n in f[1]), f[0]))[:PLAYERS]
    ranked.sort(key=lambda f: -len(f[1]))
    return [(family, most([n[2] for n in notes]), most([n[5] for n in notes]), on_bars(sorted(n[:5] for n in notes), bars, band)) for family, notes in ranked]


def make(seed, index):
    """Plan of song `index`, always the same; the keys are those of song.make."""
    rng = random.Random(f"mma/{seed}/{index}")
    split = heldout.split_of(rng)
    out = split != "train"
    library = rng.choice([b for b in sorted(BANDS) if (b in heldout.MMA) == out])
    band, kinds = BANDS[library], grooves(library)
    bpm = rng.uniform(*band["bpm"])
    beat_s, start = 60 / bpm, rng.uniform(0.05, 0.6)
    beats = {(12, 8): 4, (6, 8): 2}.get(band["meter"], band["meter"][0])
    bars, plan, names, source = form(rng, band, kinds, round(rng.uniform(62, 150) / (beats * beat_s)), out)
    gone = {0: "bass", 1: "drums", 2: "other"}.get(int(rng.random() / 0.012), "")  # as in song.py
    for bar in bars:
        bar.stems -= {gone}
    called = {at: f"stdlib/{library}:{name}" for at, name in plan.items()}
    marks, tracks = play(chart(bars, called, band, bpm, rng.randrange(1 << 30)))
    if any(m != k * TICKS * band["quarters"] for k, m in enumerate(marks)) or len(marks) != len(bars) + 1:
        raise RuntimeError(f"mma library {library}: bars are not {band['quarters']} quarters long ({sorted(set(plan.values()))})")

    def clock(beat):
        return start + beat * beat_s

    fill_up(rng, band, kinds, bars, written(bars, on_bars(tracks.get("Drum", []), bars, band)))
    low = sorted(n for name, notes in tracks.items() if name != "Drum" for n in notes if is_bass(name, n[2]))
    notes = {"drums": sorted((max(0.0, clock(bar.index * beats + b) + dev), midi, max(8, min(127, round(vel * (0.72 + 0.32 * bar.energy)))))
                             for bar in bars if "drums" in bar.stems for b, midi, vel, dev in bar.drums),
             "bass": play_bass(rng, bars, written(bars, on_bars(low, bars, band)), clock, beat_s)}
    players = choose_players(tracks, bars, band)
    others = [play_other(rng, bars, written(bars, part), clock, beat_s) for *_, part in players]
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
        "timbres": song.choose_timbres(rng, band, out, band["kits"]), "drummer": None,
        "players": [song.program(rng, [(0, p)], out) for _, p, _, _ in players], "parts": others,
        "families": [family for family, *_ in players], "modes": [mode for _, _, mode, _ in players],
    }
