"""Writes the `other` stem: comping on the chords. Notes are (beat in bar, length in beats, midi, velocity)."""

from .bass import chord_at, kicks
from .theory import fifth, pitch_classes, scale, voicing


class Part:
    """State of one accompanying part: register, patterns per section, and the last voicing (for smooth voice
    leading)."""

    def __init__(self, rng, low=52, high=74, size=4, rootless=False):
        self.rng, self.low, self.high, self.size, self.rootless = rng, low, high, size, rootless
        self.last, self.patterns = None, {}

    def chord(self, chord):
        """The pitches of `chord`, voiced close to the last chord."""
        self.last = voicing(chord, self.last, self.low, self.high, self.size, self.rootless)
        return self.last


# Rhythms of one bar: (beat, length). A section keeps its rhythm, so that it can be learnt.
RHYTHMS = {
    "quarters": [[(0, .8), (1, .8), (2, .8), (3, .8)], [(0, .4), (1, .4), (2, .4), (3, .4)]],
    "eighths": [[(i / 2, .4) for i in range(8)]],
    "pop": [[(0, 1.4), (1.5, .9), (2.5, 1.4)], [(0, 1.9), (2, 1.4), (3.5, .45)], [(0, .9), (1, .45), (1.5, .9), (2.5, .45), (3, .9)], [(0, 1.4), (1.5, 1.4), (3, .9)]],
    "push": [[(0, 1.4), (1.5, 2.3)], [(0, .4), (1.5, .4), (3, .4)], [(.5, .4), (1.5, .9), (2.5, .4), (3.5, .4)]],
    "charleston": [[(0, .9), (1.5, .4)], [(1, .3), (2.5, .9)], [(.5, .4), (2, .9)], [(1.5, .4), (3, .6)], [(0, .4), (2.5, .4), (3.5, .3)]],
    "swing": [[(0, .6), (5 / 3, .8)], [(2 / 3, .8), (2, .6)], [(5 / 3, .3), (11 / 3, .3)], [(1, .4), (8 / 3, .9)], [(0, .3), (5 / 3, .3), (3, .5)], [(2 / 3, .3), (8 / 3, .3)]],
    "off": [[(.5, .3), (1.5, .3), (2.5, .3), (3.5, .3)]],
    "skank": [[(1, .25), (3, .25)], [(.5, .2), (1.5, .2), (2.5, .2), (3.5, .2)], [(1, .2), (1.5, .12), (3, .2), (3.5, .12)]],
    "funk": [[(0, .2), (1.25, .2), (1.75, .4), (3.5, .2)], [(.5, .2), (.75, .3), (2.5, .2), (2.75, .4)], [(0, .4), (1.5, .2), (2.25, .2), (3.25, .3)], [(1, .15), (1.75, .2), (3, .15), (3.5, .3)]],
    "bossa": [[(0, .9), (1.5, .9), (3, .9)], [(0, .4), (.75, .4), (1.5, .9), (2.5, .4), (3.25, .7)], [(.5, .9), (2, .4), (3, .9)]],
    "montuno": [[(0, .4), (.5, .4), (1.5, .4), (2.5, .4), (3.5, .4)], [(0, .4), (1, .4), (1.5, .4), (2.5, .4), (3.5, .4)]],
    "stabs": [[(0, .3)], [(1.5, .2), (2, .4)], [(3.5, .3)], [(0, .2), (.75, .2), (1.5, .3)], [(2.5, .2), (3, .3)]],
    "waltz": [[(1, .7), (2, .7)], [(0, .9), (1, .7), (2, .7)], [(0, 2.8)], [(1.5, .4), (2, .8)]],
    "six": [[(0, .6), (2 / 3, .3), (1, .6), (5 / 3, .3)], [(1 / 3, .3), (2 / 3, .3), (4 / 3, .3), (5 / 3, .3)], [(0, .9), (1, .9)]],
    "twelve": [[(b + i / 3, .3) for b in range(4) for i in range(3)], [(0, .9), (1, .9), (2, .9), (3, .9)], [(0, 1.6), (5 / 3, .3), (2, .9), (3, .9)]],
    "shuffle": [[(b + x, .28) for b in range(4) for x in (0, 2 / 3)], [(2 / 3, .3), (5 / 3, .3), (8 / 3, .3), (11 / 3, .3)], [(1, .3), (3, .3)]],
}


def rhythm_of(part, bar, name, rng):
    """The section's rhythm of a kind, chosen at its first bar."""
    return part.patterns.setdefault((name, bar.label), rng.choice(RHYTHMS[name]))


def hits(name, accent=96, top=False):
    """A mode that plays chords on one of RHYTHMS; `top` doubles the lowest voice an octave higher."""

    def write(part, bar, rng):
        out = []
        for b, length in rhythm_of(part, bar, name, rng):
            if b >= bar.beats:
                continue
            vel = accent + (8 if b == int(b) else 0) + rng.gauss(0, 5) - 8
            notes = part.chord(chord_at(bar, b))
            nexts = [at for at, _ in bar.chords if b < at < b + length]
            length = min([length] + [at - b for at in nexts])
            out += [(b, length, p, vel) for p in notes + ([notes[0] + 12] if top and notes[0] + 12 not in notes else [])]
        for at, chord in bar.chords[1:]:
            if not any(abs(o[0] - at) < 0.6 for o in out):
                out += [(at, 0.5, p, accent - 8) for p in part.chord(chord)]
        return out

    return write


def pad(part, bar, rng):
    """Holds each chord until the next."""
    out = []
    spans = [at for at, _ in bar.chords] + [bar.beats]
    for (at, chord), end in zip(bar.chords, spans[1:]):
        out += [(at, (end - at) * 0.98, p, 78 + rng.gauss(0, 3)) for p in part.chord(chord)]
    return out


def arpeggio(part, bar, rng):
    """Arpeggios in eighths, sixteenths or triplets, one figure per section."""
    step, figure = part.patterns.setdefault(("arp", bar.label), (rng.choice([0.5, 0.5, 0.25]), rng.choice([[0, 1, 2, 3], [0, 2, 1, 2], [0, 1, 2, 1], [3, 2, 1, 0], [0, 2, 3, 2]])))
    step = 1 / 3 if bar.triplet else step
    out = []
    for i in range(round(bar.beats / step)):
        b = i * step
        notes = part.chord(chord_at(bar, b)) if i == 0 or any(abs(at - b) < 0.01 for at, _ in bar.chords) else part.last
        p = sorted(notes)[figure[i % len(figure)] % len(notes)]
        out.append((b, step * rng.choice([0.9, 1.8]), p, 80 + (10 if b == int(b) else 0) + rng.gauss(0, 4)))
    return out


def strum(part, bar, rng):
    """Guitar strums down and up; the strings follow each other by 0.018 beats; accents on beats 1 and 3
    (counted from 0)."""
    patterns = [[0, 1, 1.5, 2.5, 3, 3.5], [0, .5, 1, 1.5, 2, 2.5, 3, 3.5], [0, 1, 2, 2.5, 3, 3.5], [0, 1.5, 2, 3, 3.5], [0, .5, 1, 1.75, 2.25, 2.5, 3, 3.5]]
    if bar.triplet:
        patterns = [[0, 2 / 3, 1, 5 / 3, 2, 8 / 3, 3, 11 / 3], [0, 1, 5 / 3, 2, 3, 11 / 3]]
    spots = [s for s in part.patterns.setdefault(("strum", bar.label), rng.choice(patterns)) if s < bar.beats]
    spots = sorted(set(spots) | {at for at, _ in bar.chords})
    out = []
    for b, end in zip(spots, spots[1:] + [bar.beats]):
        notes = part.chord(chord_at(bar, b))
        up = b != int(b)
        order = list(reversed(sorted(notes)))[:3] if up else sorted(notes)
        vel = (78 if up else 92) + (8 if b in (1, 3) else 0) + rng.gauss(0, 4)
        out += [(b + i * 0.018, max(0.1, end - b - i * 0.018), p, vel - 2 * i) for i, p in enumerate(order)]
    return out


def chank(part, bar, rng):
    """Funk guitar in sixteenths: short chords, muted strokes and rests."""
    pattern = part.patterns.get(("chank", bar.label))
    if pattern is None:
        pattern = [rng.choices("xm.", [3, 4, 3])[0] for _ in range(16)]
        for i in (4, 12):
            pattern[i] = rng.choice("xxm")
        part.patterns[("chank", bar.label)] = pattern
    out = []
    for i, c in enumerate(pattern[: bar.beats * 4]):
        b = i / 4
        if c == ".":
            continue
        notes = part.chord(chord_at(bar, b))
        out += [(b, 0.2 if c == "x" else 0.05, p, (94 if c == "x" else 38) + rng.gauss(0, 4)) for p in notes[-3:]]
    return out


def power(part, bar, rng):
    """Power chords (root, fifth, octave) for rock and metal: eighths, hits on the kicks, both, or long chords."""
    style = part.patterns.setdefault(("power", bar.label), rng.choice(["chug", "kick", "long", "eighths"]))
    spots = {at: 1.0 for at, _ in bar.chords}
    if style in ("chug", "eighths"):
        for i in range(bar.beats * 2):
            spots.setdefault(i / 2 if not bar.triplet else i // 2 + (i % 2) * 2 / 3, 0.5)
    if style in ("kick", "chug"):
        for k in kicks(bar):
            spots.setdefault(k, 0.4)
    out, order = [], sorted(spots)
    for b, end in zip(order, order[1:] + [bar.beats]):
        chord = chord_at(bar, b)
        r = 40 + (chord.root - 40) % 12
        start = any(abs(at - b) < 0.01 for at, _ in bar.chords)
        length = (end - b) * (0.95 if style in ("long", "eighths") or start else 0.5)
        out += [(b, length, p, 104 if start else 88) for p in (r, r + fifth(chord), r + 12)]
    return out


def on_kicks(part, bar, rng):
    """Chords on the kicks of the bar."""
    spots = {at for at, _ in bar.chords}
    for k in kicks(bar):
        if all(abs(k - s) > 0.3 for s in spots):
            spots.add(k)
    keep = part.patterns.setdefault(("band", bar.label), rng.uniform(0.25, 0.8))
    order, out = sorted(spots), []
    for b, end in zip(order, order[1:] + [bar.beats]):
        out += [(b, (end - b) * keep, p, 90 + rng.gauss(0, 4)) for p in part.chord(chord_at(bar, b))]
    return out


def melody(part, bar, rng):
    """A phrase of four bars from chord and scale tones, repeated in the section."""
    key = ("melody", bar.label, bar.index % 4)
    if key not in part.patterns:
        step = 1 / 3 if bar.triplet else 0.5
        n = round(bar.beats / step)
        spots = sorted(rng.sample(range(n), rng.randint(1, max(2, n // 2))))
        part.patterns[key] = [(s * step, rng.randint(-2, 3), rng.random()) for s in spots]
    out, at = [], part.patterns[key]
    pitch = part.patterns.setdefault("pitch", rng.randint(part.high - 7, part.high + 2))
    for i, (b, move, free) in enumerate(at):
        chord = chord_at(bar, b)
        tones = pitch_classes(chord) if b == int(b) or free < 0.6 else [(chord.root + x) % 12 for x in scale(chord)]
        p = pitch + move
        while p % 12 not in tones:
            p -= 1
        end = at[i + 1][0] if i + 1 < len(at) else bar.beats
        out.append((b, min(end - b, 1.5) * 0.9, p, 90 + rng.gauss(0, 5)))
    return out


MODES = {"pad": pad, "arp": arpeggio, "strum": strum, "chank": chank, "power": power, "band": on_kicks, "melody": melody,
         **{name: hits(name) for name in RHYTHMS if name != "stabs"}, "stabs": hits("stabs", 108, True)}
