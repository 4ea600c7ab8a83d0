"""Writes bass lines from the drums and chords of each bar. Notes are (beat in bar, length in beats, midi,
velocity)."""

from .theory import fifth, pitch_classes, scale, seventh, third


class BassLine:
    """State of one song's bass line: register, patterns that return with each section, last pitch."""

    def __init__(self, rng, low=28):
        self.rng, self.low, self.last = rng, low, None
        self.span = rng.choice([14, 17, 19])
        self.gate = rng.uniform(0.55, 0.98)
        self.patterns = {}

    def root(self, pc):
        """The root's pitch in the register: the lowest one at or above `low`."""
        return self.low + (pc - self.low) % 12

    def near(self, pc, around):
        """The pitch of class `pc` nearest to `around`, kept in [low, low + span + 7]."""
        p = around + (pc - around + 6) % 12 - 6
        while p < self.low:
            p += 12
        while p > self.low + self.span + 7:
            p -= 12
        return p

    def degree(self, chord, what):
        """The pitch of a chord degree: "1", "3", "5", "7" or "8"."""
        r = self.root(chord.root)
        if what == "8":
            return r + 12
        if what == "7":
            return r + (seventh(chord) or 12)
        if what == "5":
            return r + fifth(chord) if r + fifth(chord) <= self.low + self.span + 5 else r + fifth(chord) - 12 if r + fifth(chord) - 12 >= self.low else r + fifth(chord)
        if what == "3":
            return r + third(chord)
        return r

    def approach(self, target):
        """A random approach note to `target`: one or two semitones away."""
        p = target + self.rng.choice([-1, -1, 1, 2, -2])
        return p if p >= self.low else target + 1


def chord_at(bar, beat):
    """The chord at a beat, from bar.chords = [(beat, chord)]."""
    current = bar.chords[0][1]
    for at, chord in bar.chords:
        if at <= beat + 1e-6:
            current = chord
    return current


def kicks(bar):
    """Kick onsets of a bar: {beat on the sixteenth or triplet grid: velocity}."""
    return {beat: vel for beat, note, vel, _ in bar.drums if note in (35, 36) and vel > 22 and beat < bar.beats - 1e-6}


def legato(onsets, beats, gate):
    """[(beat, midi, vel)] to notes whose length is the time to the next, times `gate`."""
    onsets = sorted(onsets)
    ends = [o[0] for o in onsets[1:]] + [beats]
    return [(b, max(0.08, (e - b) * gate), m, v) for (b, m, v), e in zip(onsets, ends)]


def with_kick(line, bar, rng):
    """Roots, fifths and octaves on the bar's kicks. The first note of each chord is its root; the last may
    approach the next root."""
    hits = dict(kicks(bar))
    for at, _ in bar.chords:
        near = [k for k in hits if abs(k - at) < 0.13]
        if not near:
            hits[at] = 92
    spots, out = sorted(hits), []
    pattern = line.patterns.setdefault(("kick", bar.label, bar.index % 2), {})
    for i, b in enumerate(spots):
        chord = chord_at(bar, b)
        first = any(abs(b - at) < 0.13 for at, _ in bar.chords)
        what = "1" if first else pattern.setdefault(round(b * 12), rng.choices("1583 7".replace(" ", ""), [10, 4, 4, 1, 1])[0])
        out.append((b, line.degree(chord, what), min(120, hits[b] * 0.6 + 42)))
    if bar.next_chord.root != chord_at(bar, bar.beats).root and rng.random() < 0.45:
        at = bar.beats - (1 / 3 if bar.triplet else 0.5)
        if spots[-1] < at - 0.2:
            out.append((at, line.approach(line.root(bar.next_chord.root)), 78))
    return legato(out, bar.beats, line.gate)


def eighths(line, bar, rng):
    """Eighths on the root, accented on the kicks, sometimes with an approach note to the next chord."""
    step = 1 / 3 if bar.triplet else 0.5
    spots = [b + s for b in range(bar.beats) for s in ((0, 2 / 3) if bar.triplet else (0, 0.5))]
    kick, out = kicks(bar), []
    lead = bar.next_chord.root != chord_at(bar, bar.beats).root and rng.random() < 0.4
    for i, b in enumerate(spots):
        chord = chord_at(bar, b)
        pitch = line.root(chord.root)
        if bar.index % 4 == 3 and i == len(spots) - 2 and rng.random() < 0.3:
            pitch = line.degree(chord, "5")
        if lead and i == len(spots) - 1:
            pitch = line.approach(line.root(bar.next_chord.root))
        out.append((b, pitch, 84 + (16 if any(abs(k - b) < 0.1 for k in kick) else 0) + (6 if b == int(b) else -4)))
    return legato(out, bar.beats, min(line.gate, 0.9)) if step else out


def walking(line, bar, rng):
    """Walking bass in quarters: the root (or a chord tone if the chord stays), scale steps, an approach note
    to the next bar."""
    out = []
    for b in range(bar.beats):
        chord = chord_at(bar, b)
        starts = any(abs(at - b) < 0.01 for at, _ in bar.chords)
        nxt = chord_at(bar, b + 1) if b + 1 < bar.beats else bar.next_chord
        last = line.last if line.last is not None else line.root(chord.root) + 5
        if starts and (b == 0 or len(bar.chords) > 1):
            if b == 0 and bar.same_as_last and rng.random() < 0.5:
                pitch = line.near(rng.choice(pitch_classes(chord)[1:3]), last)
            else:
                pitch = line.near(chord.root, last)
        elif nxt != chord or b == bar.beats - 1:
            target = line.near(nxt.root, last)
            pitch = target + rng.choice([-1, 1, -1, 2, 7 if target + 7 < line.low + line.span + 7 else -1])
            if pitch < line.low:
                pitch = target + 1
        else:
            way = 1 if last < line.low + line.span / 2 else -1
            if rng.random() < 0.25:
                way = -way
            tones = pitch_classes(chord) if rng.random() < 0.7 else [(chord.root + i) % 12 for i in scale(chord)]
            pitch = last + way
            while pitch % 12 not in tones:
                pitch += way
            if not line.low <= pitch <= line.low + line.span + 7:
                pitch = line.near(chord.root, line.low + 10)
        line.last = pitch
        out.append((b, 0.88, pitch, 92 + (6 if b % 2 else 0) + rng.gauss(0, 4)))
        if rng.random() < 0.07 and bar.triplet:
            out[-1] = (b, 0.6, pitch, out[-1][3])
            out.append((b + 2 / 3, 0.28, pitch, 62))
    return out


def octaves(line, bar, rng):
    """Disco octaves: the root on the beat, its octave on the off-beat."""
    style = line.patterns.setdefault(("octaves", bar.label), rng.choice(["8", "8", "16"]))
    out = []
    for b in range(bar.beats):
        chord = chord_at(bar, b)
        r = line.root(chord.root)
        out += [(b, 0.4, r, 100), (b + 0.5, 0.35, r + 12, 90)]
        if style == "16" and b % 2 == 1:
            out.append((b + 0.75, 0.2, r + 12 if rng.random() < 0.5 else r, 76))
    if bar.next_chord.root != chord_at(bar, bar.beats).root and rng.random() < 0.4:
        out[-1] = (out[-1][0], 0.3, line.approach(line.root(bar.next_chord.root)), 86)
    return out


FIXED = {  # (beat, length, degree, velocity) of one bar; > means the next chord's root
    "bossa": [[(0, 1.4, "1", 96), (1.5, 0.45, "5", 80), (2, 1.4, "5", 92), (3.5, 0.45, ">", 80)], [(0, 1.4, "1", 96), (1.5, 0.45, "1", 78), (2, 1.4, "5", 92), (3.5, 0.45, "5", 78)]],
    "tumbao": [[(0, 1.4, "1", 92), (1.5, 1.4, "5", 96), (3, 0.9, "8", 94)], [(0, 1.3, "1", 94), (1.5, 0.45, "3", 86), (2.5, 0.45, "5", 90), (3, 0.8, "8", 88)]],
    "baiao": [[(0, 0.7, "1", 100), (0.75, 0.9, "5", 90), (2, 0.7, "1", 98), (2.75, 0.9, "5", 88)], [(0, 0.7, "1", 100), (0.75, 1.1, "1", 88), (2, 0.7, "5", 96), (3, 0.8, "8", 84)]],
    "reggae": [[(0, 0.7, "1", 104), (1, 0.4, "1", 92), (1.5, 0.4, "3", 90), (2, 0.7, "5", 100), (3, 0.4, "5", 88), (3.5, 0.4, "3", 86)],
               [(0.5, 0.4, "1", 96), (1, 0.7, "1", 100), (2, 0.9, "5", 100), (3, 0.45, "3", 92), (3.5, 0.4, "1", 90)],
               [(0, 1.3, "1", 106), (1.5, 0.4, "1", 90), (2, 1.2, "8", 98), (3.5, 0.4, "5", 90)], [(0, 0.4, "1", 104), (0.75, 0.5, "1", 94), (1.5, 0.4, "5", 92), (2.5, 0.9, "1", 98)]],
    "waltz": [[(0, 1.8, "1", 98), (2, 0.8, "5", 80)], [(0, 2.6, "1", 98)], [(0, 0.9, "1", 98), (1, 0.8, "5", 82), (2, 0.8, "8", 80)], [(0, 0.9, "1", 96), (1, 0.8, "3", 84), (2, 0.8, "5", 84)]],
    "six": [[(0, 0.9, "1", 100), (1, 0.6, "5", 88), (5 / 3, 0.3, "5", 80)], [(0, 0.6, "1", 100), (2 / 3, 0.3, "1", 84), (1, 0.9, "5", 90)], [(0, 1.8, "1", 98)]],
    "twelve": [[(0, 0.6, "1", 100), (2 / 3, 0.3, "1", 82), (1, 0.9, "3", 90), (2, 0.6, "5", 96), (8 / 3, 0.3, "5", 80), (3, 0.9, "3", 88)],
               [(0, 1.6, "1", 100), (5 / 3, 0.3, "1", 84), (2, 0.9, "5", 94), (3, 0.9, "8", 86)]],
    "shuffle": [[(0, 0.6, "1", 100), (2 / 3, 0.28, "1", 84), (1, 0.6, "3", 92), (5 / 3, 0.28, "3", 80), (2, 0.6, "5", 98), (8 / 3, 0.28, "5", 82), (3, 0.6, "6", 92), (11 / 3, 0.28, "5", 80)],
                [(0, 0.9, "1", 100), (1, 0.9, "3", 92), (2, 0.9, "5", 98), (3, 0.9, "6", 92)], [(0, 0.9, "1", 100), (1, 0.9, "8", 92), (2, 0.9, "7", 98), (3, 0.9, "5", 92)]],
    "ballad": [[(0, 1.9, "1", 94), (2, 1.4, "5", 84), (3.5, 0.45, "5", 76)], [(0, 3.8, "1", 94)], [(0, 1.4, "1", 94), (1.5, 0.45, "1", 80), (2, 1.8, "5", 86)]],
    "country": [[(0, 0.9, "1", 98), (2, 0.9, "5", 94)], [(0, 0.9, "1", 98), (1, 0.8, "1", 80), (2, 0.9, "5", 94), (3, 0.8, "5", 78)]],
    "motown": [[(0, 0.8, "1", 100), (1, 0.4, "1", 86), (1.5, 0.4, "3", 90), (2, 0.4, "5", 96), (2.5, 0.4, "5", 86), (3, 0.4, "3", 90), (3.5, 0.4, "a", 86)],
               [(0, 0.7, "1", 100), (0.75, 0.2, "1", 80), (1.5, 0.4, "1", 92), (2, 0.4, "8", 92), (2.5, 0.4, "5", 88), (3.25, 0.2, "5", 80), (3.5, 0.4, "a", 88)]],
}


def fixed(name):
    """A mode that plays one of the patterns of FIXED. With two chords in a bar, each starts on its root."""

    def write(line, bar, rng):
        pattern = line.patterns.setdefault((name, bar.label), rng.choice(FIXED[name]))
        out, beats = [], bar.beats
        starts = [at for at, _ in bar.chords if at > 0]
        for b, length, what, vel in pattern:
            if b >= beats:
                continue
            chord = chord_at(bar, b)
            if any(b - 0.6 < s <= b for s in starts):
                what = "1"
            length = min([length] + [s - b for s in starts if s > b])
            if what == ">":
                pitch = line.root(bar.next_chord.root) if bar.next_chord.root in pitch_classes(chord) else line.degree(chord, "5")
            elif what == "a":
                pitch = line.approach(line.root(bar.next_chord.root)) if bar.next_chord.root != chord.root else line.degree(chord, "5")
            elif what == "6":
                pitch = line.root(chord.root) + (9 if third(chord) == 4 else 10)
            else:
                pitch = line.degree(chord, what)
            out.append((b, length * min(1, line.gate + 0.15), pitch, vel + rng.gauss(0, 4)))
        for s in starts:
            if not any(abs(b - s) < 0.3 for b, *_ in out):
                out.append((s, 0.5, line.root(chord_at(bar, s).root), 92))
        return sorted(out)

    return write


def riff(line, bar, rng):
    """An ostinato: onsets chosen once per section from kicks and sixteenths, on degrees of the minor
    pentatonic or the chord, transposed with the chords."""
    key = ("riff", bar.label, bar.index % 2)
    if key not in line.patterns:
        spots = set(kicks(bar)) | {0}
        step = 1 / 3 if bar.triplet else 0.25
        for _ in range(rng.randint(1, 4)):
            spots.add(rng.randrange(round(bar.beats / step)) * step)
        minor = third(bar.chords[0][1]) == 3 or rng.random() < 0.3
        steps = [0, 0, 12, 7, 10, 5, 3 if minor else 4]
        line.patterns[key] = [(s, 0 if s == 0 else rng.choices(steps, [5, 2, 3, 3, 3, 1, 2])[0], rng.choice([0.5, 0.9])) for s in sorted(spots)]
    out = []
    pattern = line.patterns[key]
    for i, (b, interval, gate) in enumerate(pattern):
        chord = chord_at(bar, b)
        r = line.root(chord.root)
        allowed = [x for x in scale(chord)] + [12]
        interval = min(allowed, key=lambda x: (abs(x - interval), x))
        if any(abs(at - b) < 0.13 for at, _ in bar.chords):
            interval = 0
        end = pattern[i + 1][0] if i + 1 < len(pattern) else bar.beats
        out.append((b, max(0.1, min(end - b, 1.5) * gate), r + interval, 90 + (12 if b == int(b) else 0) + rng.gauss(0, 5)))
    return out


def slap(line, bar, rng):
    """Slap bass: thumbed roots on the kicks, popped octaves on the snares, dead notes in between."""
    snares = [beat for beat, note, vel, _ in bar.drums if note in (38, 39) and vel > 70]
    pattern = line.patterns.setdefault(("slap", bar.label, bar.index % 2), {})
    out = {}
    for k, vel in kicks(bar).items():
        out[k] = (line.root(chord_at(bar, k).root), 108, 0.35)
    for at, chord in bar.chords:
        out[at] = (line.root(chord.root), 112, 0.45)
    for s in snares:
        if s not in out:
            r = line.root(chord_at(bar, s).root)
            out[s] = (r + (12 if pattern.setdefault(("p", s), rng.random()) < 0.7 else (seventh(chord_at(bar, s)) or 12)), 116, 0.2)
    for i in range(bar.beats * 4):
        b = i / 4
        if b not in out and pattern.setdefault(("g", i), rng.random()) < 0.22 and not bar.triplet:
            out[b] = (line.root(chord_at(bar, b).root), 30, 0.08)
    return [(b, length, p, v + (rng.gauss(0, 4) if v > 40 else 0)) for b, (p, v, length) in sorted(out.items())]


def long_roots(line, bar, rng):
    """Long roots (hip-hop 808, ballads): one per chord, repeated on kicks at least 0.6 beats after the last."""
    hits = {at: 100 for at, _ in bar.chords}
    for k, vel in kicks(bar).items():
        if vel > 75 and all(abs(k - h) > 0.6 for h in hits):
            hits[k] = 92
    return legato([(b, line.root(chord_at(bar, b).root), v + rng.gauss(0, 3)) for b, v in hits.items()], bar.beats, 0.97)


def ghosts(notes, bar, rng, amount):
    """Adds a dead note a sixteenth before a share `amount` of the notes, where there is room."""
    out = list(notes)
    for b, _, midi, _ in notes:
        g = b - (1 / 3 if bar.triplet else 0.25)
        if g > 0 and rng.random() < amount and not any(g - 0.01 < o[0] < b - 0.01 or abs(o[0] + o[1] - b) < 0.02 and o[0] > g for o in notes):
            out.append((g, 0.08, midi, 30))
    out.sort()
    return [(b, min(n, out[i + 1][0] - b) if i + 1 < len(out) else n, m, v) for i, (b, n, m, v) in enumerate(out)]


def snap_to_kicks(notes, bar):
    """Moves each onset to a kick at most a sixteenth away, if no other note is on it."""
    reach = 1 / 3 if bar.triplet else 0.25
    spots, hits = {n[0] for n in notes}, kicks(bar)
    out = []
    for b, length, midi, vel in notes:
        near = [k for k in hits if abs(k - b) <= reach + 0.01 and k not in spots]
        if b and b not in hits and vel >= 36 and near:
            spots.discard(b)
            b = min(near, key=lambda k: abs(k - b))
            spots.add(b)
        out.append((b, length, midi, vel))
    return sorted(out)


SNAPPED_MODES = {"riff", "motown", "ballad", "twelve", "six", "baiao", "country", "tumbao"}
MODES = {"kick": with_kick, "eighths": eighths, "walking": walking, "octaves": octaves, "riff": riff, "slap": slap, "long": long_roots,
         **{name: fixed(name) for name in FIXED}}
