"""Plans a song: style, tempo, form, chords, and the notes of drums, bass and other. `make(seed, index)`
always gives the same song."""

import random
from dataclasses import dataclass, field

from . import bass, charts, comp, drumtables, groove, heldout, theory
from .styles import BASSES, GUESTS, INSTRUMENTS, KITS, REGISTER, STYLES


@dataclass
class Bar:
    """A bar, in beats of the felt pulse (2 in 6/8, 4 in 12/8), before times in seconds are assigned."""
    index: int
    label: str
    beats: int
    triplet: bool
    chords: list
    next_chord: object = None
    same_as_last: bool = False
    drums: list = field(default_factory=list)
    stems: frozenset = frozenset(("bass", "drums", "other"))
    energy: float = 0.8
    stop: bool = False


def make(seed, index, guests=0.0, styles=(), drummers=()):
    """The plan of song `index`: a dict of labels (README.md), notes in seconds, and timbres.

    In a share `guests` of the songs the drums play another style than the rest (`styles.GUESTS`), which only
    the caption shows. `styles` and `drummers` restrict the choice of styles and guests; the named styles are
    equally likely.
    """
    rng = random.Random(f"{seed}/{index}")
    split = heldout.split_of(rng)
    held_out = split != "train"
    style = rng.choices(styles or list(STYLES), [1] * len(styles) or [s["weight"] for s in STYLES.values()])[0]
    spec = STYLES[style]
    meter = spec.get("meter", (4, 4))
    beats = {(12, 8): 4, (6, 8): 2}.get(meter, meter[0])
    guest_rng = random.Random(f"guest/{seed}/{index}")
    drummer, kind = spec, None
    if guest_rng.random() < guests:
        kind, drummer = choose_guest(guest_rng, spec, style, meter, drummers or list(GUESTS))
    bpm, triplet, drum_bars, source = choose_drums(rng, drummer, beats, held_out)
    beat_s = 60 / bpm
    seconds = rng.uniform(62, 150)
    sections, chart = choose_form(rng, spec, round(seconds / (beats * beat_s)), held_out)
    bars = lay_out(rng, sections, beats, triplet)
    write_drums(rng, drummer, bars, drum_bars, triplet)
    absent = rng.random()  # in 3.6 % of the songs one stem never plays
    gone = {0: "bass", 1: "drums", 2: "other"}.get(int(absent / 0.012), "")
    for bar in bars:
        bar.stems -= {gone}
    start = rng.uniform(0.05, 0.6)
    lazy = rng.choice([0, 0.05, 0.08]) if style in ("hiphop", "rnb", "funk", "house") and source.startswith("table") else 0.0

    def clock(beat):
        """The time of a beat in seconds; `lazy` delays the second and fourth sixteenth of every beat, in all
        stems."""
        odd = 1 - abs((beat % 0.5) * 4 - 1)
        return start + (beat + lazy * max(0.0, odd)) * beat_s

    notes = {"drums": [], "bass": [], "other": []}
    for bar in bars:
        if "drums" in bar.stems:
            for beat, note, vel, dev in bar.drums:
                v = max(8, min(127, round(vel * (0.72 + 0.32 * bar.energy))))
                notes["drums"].append((max(0.0, clock(bar.index * beats + beat) + dev), note, v))
    notes["drums"].sort()
    notes["bass"] = write_bass(rng, spec, bars, beats, triplet, clock, beat_s)
    accompanists = choose_accompanists(rng, spec, held_out)
    others = [write_other(rng, a, bars, beats, triplet, clock, beat_s, k) for k, a in enumerate(accompanists)]
    notes["other"] = sorted(n for part in others for n in part)
    end = clock(len(bars) * beats)
    length = -(-int((end + 1.8) * 32000) // 640) * 640
    chords = [[clock(bar.index * beats + at), theory.name(c), c.root, c.quality, theory.pitch_classes(c)] for bar in bars for at, c in bar.chords]
    chords = [c for i, c in enumerate(chords) if i == 0 or c[1] != chords[i - 1][1]]
    return {
        "id": f"{seed}-{index:06d}", "split": split, "len": length, "bpm": round(bpm, 3), "meter": list(meter), "triplet": triplet,
        "beats": [round(clock(b), 4) for b in range(len(bars) * beats)], "downbeats": [round(clock(b.index * beats), 4) for b in bars],
        "chords": [[round(c[0], 4), *c[1:]] for c in chords], "style": style,
        "sections": [[round(clock(b.index * beats), 4), b.label] for i, b in enumerate(bars) if i == 0 or bars[i - 1].label != b.label],
        "caption_tags": tags(rng, style, spec, bpm, notes, end, chords), "notes": notes,
        "present": {s: spans(bars, s, beats, clock) for s in ("bass", "drums", "other")}, "groove_source": source, "chart_source": chart,
        "timbres": choose_timbres(rng, spec, held_out, drummer["kits"]), "drummer": kind, "programs": [a["program"] for a in accompanists], "parts": others,
        "families": [a["family"] for a in accompanists], "modes": [a["mode"] for a in accompanists],
    }


def choose_guest(rng, spec, style, meter, drummers):
    """(style of the guest drums, `spec` with their tables, grooves and kits) from `drummers`; (None, spec) if
    none of them fits this meter."""
    feel = "triplet" if spec.get("triplet") else "straight"
    able = [k for k in drummers if feel in GUESTS[k] and k != style]
    if meter != (4, 4) or not able:
        return None, spec
    kind = rng.choice(able)
    return kind, spec | {"tables": GUESTS[kind][feel], "groove": GUESTS[kind].get(f"{feel} groove", []), "kits": GUESTS[kind]["kits"]}


def choose_drums(rng, spec, beats, held_out):
    """(bpm, triplet feel, bars or None, source): a Groove MIDI performance near its own tempo, or a drum
    table."""
    triplet = spec.get("triplet", False)
    if spec["groove"] and rng.random() < 0.65:
        row = groove.choose(rng, spec["groove"], spec["bpm"], held_out, beats=beats, triplet=triplet, least_bars=6)
        if row:
            bpm = min(max(row["bpm"] * rng.uniform(0.94, 1.06), spec["bpm"][0]), spec["bpm"][1])
            return bpm, triplet, groove.bars(row), row["id"]
    return rng.uniform(*spec["bpm"]), triplet, None, f"table:{rng.choice(spec['tables'])}"


def choose_form(rng, spec, want_bars, held_out):
    """([(label, bars of chords)], chart source) with about `want_bars` bars: intro, verses, choruses, a
    bridge, an ending."""
    family = rng.choice(spec["charts"])
    key = rng.randrange(12)
    if family == "pop909":
        source, parts = charts.pop909_sections(rng, held_out, 3)
        source = f"pop909:{source}"
    else:
        ids = charts.form_ids(family, held_out)
        verse = rng.choice(ids)
        others = charts.form_ids(family, held_out)
        chorus = rng.choice(others) if family != "blues" else verse
        bridge = rng.choice(charts.form_ids("bridge", held_out))
        parts = [charts.form(v, key) for v in (verse, chorus, bridge)]
        source = f"{verse}+{chorus}+{bridge}"
    length = 8 if want_bars > 24 else 4
    parts = [p if len(p) in (10, 12) else (p * (-(-length // len(p))))[:max(length, len(p) if len(p) <= 12 else length)] for p in parts]
    order = rng.choice(["vcvcbcc", "vvcvcbc", "vcvcbvc", "vvbvvbv", "cvcvbcc"])
    form = [("intro", parts[0][:4])] if rng.random() < 0.85 else []
    total, i = len(form) * 4, 0
    while total < want_bars - 1:
        letter = order[i % len(order)]
        label, part = {"v": ("verse", parts[0]), "c": ("chorus", parts[1]), "b": (rng.choice(["bridge", "break", "solo"]), parts[2])}[letter]
        form.append((label, part))
        total, i = total + len(part), i + 1
    if rng.random() < 0.1 and len(form) > 4:  # the last sections are transposed up
        lift = rng.choice([1, 2, 2])
        at = len(form) - rng.choice([1, 2])
        up = lambda part: [[(x, theory.Chord((c.root + lift) % 12, c.quality)) for x, c in bar] for bar in part]
        form = form[:at] + [(label, up(part)) for label, part in form[at:]]
    form.append(("ending", [[(0, form[-1][1][0][0][1])]]))
    return form, source


STEMS = frozenset(("bass", "drums", "other"))


def lay_out(rng, sections, beats, triplet):
    """The bars of a form, with chords on beats, the stems that play, and their energy."""
    bars, level = [], {"intro": 0.55, "verse": 0.65, "chorus": 0.95, "bridge": 0.75, "break": 0.5, "solo": 0.85, "ending": 1.0}
    seen = 0
    for number, (label, part) in enumerate(sections):
        stems, late = STEMS, STEMS
        if label == "intro":
            stems = rng.choice([STEMS, STEMS, {"drums"}, {"drums", "bass"}, {"other"}, {"other", "drums"}, {"bass"}])
        if label == "break":
            stems = rng.choice([{"drums", "bass"}, {"drums"}, {"bass", "other"}, {"other"}, {"drums", "other"}])
        if label == "verse" and seen == 0 and rng.random() < 0.25:
            stems = rng.choice([{"drums", "bass"}, {"drums", "other"}, {"bass", "other"}])
        seen += label == "verse"
        if rng.random() < 0.3:
            late = stems
        for k, chords in enumerate(part):
            placed = []
            for at, c in chords:
                beat = round(at * beats)
                if not placed or beat > placed[-1][0]:
                    placed.append((beat, c))
            if placed[0][0] != 0:
                placed.insert(0, (0, bars[-1].chords[-1][1] if bars else placed[0][1]))
            who = stems if k < len(part) // 2 or label not in ("verse", "intro") else (late if late != STEMS else stems)
            bars.append(Bar(len(bars), label, beats, triplet, placed, stems=frozenset(who), energy=level[label] + 0.1 * (number / len(sections)) + rng.uniform(-0.03, 0.03)))
    for a, b in zip(bars, bars[1:]):
        a.next_chord = b.chords[0][1]
        b.same_as_last = len(a.chords) == len(b.chords) == 1 and a.chords[0][1] == b.chords[0][1]
    bars[-1].next_chord = bars[-1].chords[0][1]
    return bars


def write_drums(rng, spec, bars, performance, triplet):
    """Writes the drums of every bar: phrases of the performance or the table, fills at section ends, crashes
    after them."""
    beats = bars[0].beats
    phrases = {}
    table, rides = rng.choice(spec["tables"]), rng.random() < 0.35
    for i, bar in enumerate(bars):
        first = i == 0 or bars[i - 1].label != bar.label
        if first:
            at = 0
            if bar.label not in phrases:
                if performance and len(performance) >= 6:
                    n = min(rng.choice([8, 8, 16]), (len(performance) - 1) // 4 * 4)
                    s = rng.randrange(0, max(1, len(performance) - n), 4) if len(performance) > n else 0
                    phrases[bar.label] = performance[s:s + n]
                else:
                    phrases[bar.label] = drumtables.bars(rng, table, beats, 8, ride=bar.label in ("chorus", "solo") and rides)
        phrase = phrases[bar.label]
        bar.drums = list(phrase[at % len(phrase)])
        at += 1
        last = i + 1 < len(bars) and bars[i + 1].label != bar.label
        if last and beats > 2 and rng.random() < 0.12:
            bar.stop = True  # a stop: all hit the first beat, the rest of the bar is a fill
            bar.drums = [(0, 36, 110, 0.0), (0, 49, 108, 0.0)] + drumtables.fill(rng, beats, triplet, rng.choice([1, 2]))
        elif last and rng.random() < 0.8:
            bar.drums = with_fill(rng, spec, bar.drums, beats, triplet)
        if first and i and rng.random() < 0.7:
            bar.drums = [(0, rng.choice([49, 57]), 108, 0.0)] + [h for h in bar.drums if not (h[0] == 0 and h[1] in (42, 44, 46, 51))]
    end = bars[-1]
    end.drums = [(0, 36, 110, 0.0), (0, rng.choice([49, 57]), 112, 0.0)] + ([(0, 38, 105, 0.0)] if rng.random() < 0.3 else [])
    for bar in bars:
        bar.drums.sort()


def with_fill(rng, spec, hits, beats, triplet):
    """A bar whose end is replaced by a fill, from Groove MIDI or from `drumtables.fill`."""
    length = rng.choice([1, 2, 2, beats])
    if beats == 4 and spec["groove"] and rng.random() < 0.6:
        row = groove.choose(rng, spec["groove"][:1], (60, 200), False, fill=True)
        if row and groove.is_triplet_file(row["file"]) == triplet:
            bars = groove.bars(row)
            if bars and bars[0]:
                new = [h for h in bars[0] if h[0] >= beats - length]
                if new:
                    return sorted([h for h in hits if h[0] < beats - length] + new)
    return sorted([h for h in hits if h[0] < beats - length] + drumtables.fill(rng, beats, triplet, length))


def stopped(notes, bar):
    """The notes of a bar; in a stop bar only those on the first beat, shortened."""
    return [(b, min(n, 0.6), m, v) for b, n, m, v in notes if b < 0.3] if bar.stop else notes


def swing(beat, triplet):
    """The beat, with off-beats moved to the triplet grid if the song has a triplet feel."""
    if not triplet:
        return beat
    whole, frac = int(beat), beat - int(beat)
    for x, y in ((0.5, 2 / 3), (0.75, 2 / 3), (0.25, 1 / 3)):
        if abs(frac - x) < 0.01:
            return whole + y
    return beat


def write_bass(rng, spec, bars, beats, triplet, clock, beat_s):
    """The notes [(on s, off s, midi, vel)] of the bass: one mode per kind of section, ghost notes, random
    timing correlated with the kick."""
    line = bass.BassLine(rng, low=rng.choice([28, 28, 28, 29, 31, 33, 26]))
    modes = {}
    lag, loose = rng.gauss(0, 0.003), rng.uniform(0.002, 0.006)
    ghost = rng.choice([0, 0, 0.06, 0.15]) if not triplet else 0
    raw = []
    for bar in bars:
        names = list(spec["bass"])
        key = "verse" if bar.label in ("intro", "ending", "verse") else bar.label
        if key not in modes:
            again = modes and rng.random() < 0.55
            modes[key] = next(iter(modes.values())) if again else rng.choices(names, list(spec["bass"].values()))[0]
        if bar.label == "ending":
            notes = [(0, beats, line.root(bar.chords[0][1].root), 100)]
        else:
            notes = bass.MODES[modes[key]](line, bar, rng)
            if modes[key] in bass.SNAPPED_MODES:
                notes = bass.snap_to_kicks(notes, bar)
            if ghost:
                notes = bass.ghosts(notes, bar, rng, ghost)
        notes = stopped(notes, bar)
        kick_dev = {b: d for b, n, _, d in bar.drums if n in (35, 36)}
        if "bass" not in bar.stems:
            continue
        for b, length, midi, vel in notes:
            b = swing(b, triplet)
            dev = lag + rng.gauss(0, loose) + 0.6 * kick_dev.get(b, 0.0)
            on = max(0.0, clock(bar.index * beats + b) + dev)
            v = vel if vel < 36 else max(40, min(125, vel * (0.8 + 0.22 * bar.energy)))
            raw.append([on, on + max(0.04, length * beat_s), midi, round(v)])
    return monophonic(raw)


def monophonic(raw):
    """Notes [on, off, midi, vel] as a line: each ends where the next begins; of simultaneous notes the first
    is kept."""
    out = []
    for n in sorted(raw):
        if out and n[0] - out[-1][0] < 0.03:
            continue
        if out:
            out[-1][1] = min(out[-1][1], n[0])
        out.append(n)
    return [tuple(n) for n in out]


def choose_accompanists(rng, spec, held_out):
    """One or two accompanists for `other`: mode, instrument family, program (soundfont, bank, program)."""
    picks = [rng.choice(spec["comp"])]
    if spec["second"] and rng.random() < 0.5:
        picks.append(rng.choice(spec["second"]))
    found = []
    for mode, families in picks:
        family = rng.choice(families)
        found.append({"mode": mode, "family": family, "program": program(rng, INSTRUMENTS[family], held_out)})
    return found


def program(rng, choices, held_out):
    """A (soundfont, bank, program) that training uses; for validation and test songs a held-out one half of
    the time."""
    every = [(f, b, p) for f in ("fluid", "muse") for b, p in choices]
    held = [c for c in every if c in heldout.PROGRAMS] + [("tim", 0, p) for b, p in choices if b == 0]
    if held_out and held and rng.random() < 0.5:
        return rng.choice(held)
    return rng.choice([c for c in every if c not in heldout.PROGRAMS])


def write_other(rng, accompanist, bars, beats, triplet, clock, beat_s, number):
    """The notes [(on s, off s, midi, vel)] of one accompanist; `number` 0 is the main one."""
    low, high = REGISTER.get(accompanist["family"], (50, 74))
    jazz = accompanist["mode"] in ("swing", "charleston", "bossa", "funk")
    part = comp.Part(rng, low, high, rng.choice([3, 4, 4]), rootless=jazz and rng.random() < 0.5)
    lag, loose = rng.gauss(0, 0.003), rng.uniform(0.002, 0.006)
    write, out = comp.MODES[accompanist["mode"]], []
    rests = {"verse"} if number and rng.random() < 0.4 else set()
    for bar in bars:
        if bar.label == "ending":
            notes = [(0, beats, p, 96) for p in part.chord(bar.chords[0][1])]
        else:
            notes = write(part, bar, rng)
        notes = stopped(notes, bar)
        if "other" not in bar.stems or bar.label in rests or (number and bar.label == "intro"):
            continue
        stroke = {}
        for b, length, midi, vel in notes:
            b = swing(b, triplet)
            if b >= beats:
                continue
            dev = stroke.setdefault(b, lag + rng.gauss(0, loose))
            on = max(0.0, clock(bar.index * beats + b) + dev + rng.uniform(0, 0.002))
            out.append((on, on + max(0.03, length * beat_s), midi, max(20, min(125, round(vel * (0.8 + 0.22 * bar.energy))))))
    return no_overlap(sorted(out))


def no_overlap(notes):
    """Notes in which a repeated pitch ends the previous note of that pitch."""
    open_, out = {}, []
    for on, off, midi, vel in notes:
        if midi in open_:
            i = open_[midi]
            if on - out[i][0] < 0.02:
                continue
            out[i] = (out[i][0], min(out[i][1], on - 0.004), midi, out[i][3])
        open_[midi] = len(out)
        out.append((on, off, midi, vel))
    return out


def choose_timbres(rng, spec, held_out, drum_kits):
    """{'bass': sample folder or (soundfont, bank, program), 'drums': 'muldjordkit' or the same, 'cents':
    tuning of the pitched stems}."""
    kits = spec["kits"]
    sampled, programs = BASSES.get(kits, BASSES["pop"])
    trained = [s for s in sampled if s not in heldout.BASSES]
    if held_out and rng.random() < 0.6:
        low = rng.choice([s for s in sampled if s in heldout.BASSES] * 2 + [program(rng, [(0, p)], True) for p in programs] + [("tim", 0, rng.choice(programs))])
    elif rng.random() < 0.6 and trained:
        low = rng.choice(trained)
    else:
        low = program(rng, [(0, rng.choice(programs))], False) if any(("fluid", 0, p) not in heldout.PROGRAMS for p in programs) else trained[0]
    kits = drum_kits
    chance = {"rock": 0.6, "pop": 0.45, "jazz": 0.3, "brush": 0.0, "electro": 0.0}[kits]
    if held_out and rng.random() < 0.5:
        drums = rng.choice([k for k in heldout.KITS] + [("tim", 128, {"rock": 16, "pop": 0, "jazz": 32, "brush": 40, "electro": 24}[kits])])
    elif rng.random() < chance:
        drums = "muldjordkit"
    else:
        drums = rng.choice([(f, 128, p) for f in ("fluid", "muse") for p in KITS[kits] if (f, 128, p) not in heldout.KITS])
    cents = rng.uniform(-30, 30)
    return {"bass": low, "drums": drums, "cents": [round(cents + rng.uniform(-5, 5), 1) for _ in range(3)]}


def spans(bars, stem, beats, clock):
    """The spans [[from s, to s]] in which a stem plays."""
    out = []
    for bar in bars:
        if stem in bar.stems:
            a, b = clock(bar.index * beats), clock((bar.index + 1) * beats)
            if out and abs(out[-1][1] - a) < 0.01:
                out[-1][1] = b
            else:
                out.append([a, b])
    return [[round(a, 3), round(b, 3)] for a, b in out]


MOODS = {"rock": ["driving", "raw", "bold"], "punk": ["fast", "wild"], "metal": ["heavy", "dark", "aggressive"], "funk": ["groovy", "tight", "funky"],
         "soul": ["warm", "soulful"], "rnb": ["smooth", "mellow"], "hiphop": ["laid-back", "dusty"], "disco": ["danceable", "bright"],
         "house": ["danceable", "hypnotic"], "swing": ["swinging", "lively"], "brushes": ["intimate", "soft"], "bossa": ["gentle", "sunny"],
         "latin": ["lively", "sunny"], "reggae": ["relaxed", "sunny"], "ballad": ["slow", "tender", "emotional"], "country": ["easy-going", "bright"]}


def tags(rng, style, spec, bpm, notes, end, chords):
    """Caption tags: mood, tempo, density, mode."""
    per_s = sum(len(notes[s]) for s in ("drums", "bass")) / end
    minor = sum(1 for c in chords if 3 in [(p - c[2]) % 12 for p in c[4]]) > len(chords) / 2
    return {"mood": rng.choice(MOODS.get(style, ["warm", "bright"])), "tempo": "slow" if bpm < 80 else "medium" if bpm < 118 else "fast",
            "density": "sparse" if per_s < 8 else "busy" if per_s > 14 else "medium", "mode": "minor" if minor else "major"}
