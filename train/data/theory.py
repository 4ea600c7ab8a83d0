"""Chords: qualities, names, voicings. Pitch classes 0-11 (C = 0), pitches in MIDI (60 = middle C)."""

from collections import namedtuple

NAMES = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"]
QUALITIES = {  # quality: (suffix in a chord name, intervals from the root)
    "maj": ("", (0, 4, 7)), "min": ("m", (0, 3, 7)), "7": ("7", (0, 4, 7, 10)), "maj7": ("maj7", (0, 4, 7, 11)),
    "min7": ("m7", (0, 3, 7, 10)), "6": ("6", (0, 4, 7, 9)), "min6": ("m6", (0, 3, 7, 9)), "9": ("9", (0, 4, 7, 10, 2)),
    "maj9": ("maj9", (0, 4, 7, 11, 2)), "min9": ("m9", (0, 3, 7, 10, 2)), "13": ("13", (0, 4, 7, 10, 9)),
    "sus4": ("sus4", (0, 5, 7)), "sus2": ("sus2", (0, 2, 7)), "7sus4": ("7sus4", (0, 5, 7, 10)), "dim": ("dim", (0, 3, 6)),
    "dim7": ("dim7", (0, 3, 6, 9)), "hdim7": ("m7b5", (0, 3, 6, 10)), "aug": ("aug", (0, 4, 8)), "5": ("5", (0, 7)),
    "minmaj7": ("mMaj7", (0, 3, 7, 11)), "add9": ("add9", (0, 4, 7, 2)), "7b9": ("7b9", (0, 4, 7, 10, 1)),
}

Chord = namedtuple("Chord", "root quality")  # root 0-11, or -1 with quality 'N': no chord


def pitch_classes(chord):
    """The pitch classes of a chord, root first; [] for no chord."""
    return [] if chord.root < 0 else [(chord.root + i) % 12 for i in QUALITIES[chord.quality][1]]


def name(chord):
    """The chord's name, such as "Am7"; "N" for no chord."""
    return "N" if chord.root < 0 else NAMES[chord.root] + QUALITIES[chord.quality][0]


def is_minor(chord):
    return 3 in QUALITIES[chord.quality][1]


def third(chord):
    """The interval of the third, or of its replacement in a sus chord; 7 for a chord of root and fifth."""
    iv = QUALITIES[chord.quality][1]
    return iv[1] if len(iv) > 2 else 7


def fifth(chord):
    iv = QUALITIES[chord.quality][1]
    return next((i for i in (7, 6, 8) if i in iv), 7)


def seventh(chord):
    """The interval of the seventh or sixth; None for a triad."""
    return next((i for i in QUALITIES[chord.quality][1] if i in (9, 10, 11)), None)


def scale(chord):
    """The chord's tones and the scale tones between them, as intervals."""
    iv = set(QUALITIES[chord.quality][1])
    base = (0, 2, 3, 5, 7, 9, 10) if 3 in iv else (0, 2, 4, 5, 7, 9, 10 if 10 in iv else 11)
    if 6 in iv:
        base = (0, 2, 3, 5, 6, 8, 10)
    return sorted(set(base) | iv)


def voicing(chord, previous, low, high, size, rootless=False):
    """`size` pitches of a chord in [low, high], as close to `previous` as possible (or to the middle); all
    inversions are tried."""
    pcs = pitch_classes(chord)
    if rootless and len(pcs) > 3:
        pcs = pcs[1:]
    if len(pcs) > size:  # the fifth goes first, then the root's doubling tones
        drop = [(chord.root + fifth(chord)) % 12] + [chord.root]
        for d in drop:
            if len(pcs) > size and d in pcs:
                pcs.remove(d)
        pcs = pcs[:size]
    centre = sum(previous) / len(previous) if previous else (low + high) / 2
    centre = 0.75 * centre + 0.125 * (low + high)
    best, best_cost = None, 1e9
    for bottom in range(low, high - 3):
        if bottom % 12 not in pcs:
            continue
        notes, p = [bottom], bottom + 1
        want = [pc for pc in pcs if pc != bottom % 12]
        while want and p <= high:
            if p % 12 in want and p - notes[-1] >= 2:
                notes.append(p)
                want.remove(p % 12)
            p += 1
        p = notes[-1] + 3
        while len(notes) < size and p <= high and p < notes[0] + 17:
            if p % 12 in pcs:
                notes.append(p)
                p += 2
            p += 1
        if want:
            continue
        cost = abs(sum(notes) / len(notes) - centre)
        if previous:
            cost += 0.4 * sum(min(abs(n - q) for q in previous) for n in notes)
        if cost < best_cost:
            best, best_cost = notes, cost
    return best or [low + (pc - low) % 12 for pc in pcs]
