"""Chord charts: POP909's progressions and forms of our own. A chart is a list of bars, a bar a list of
(position 0 to 1, Chord)."""

import gzip
import json
from functools import lru_cache

from . import heldout
from .paths import data_dir
from .theory import QUALITIES, Chord

# Loops and forms. One token per chord: degree (b3, #4), then quality. Spaces separate bars, commas the chords
# of one bar.
FORMS = {
    "pop": ["1 5 6m 4", "1 6m 4 5", "6m 4 1 5", "1 4 6m 5", "4 5 3m 6m", "1 5/4 4 4m", "1maj7 6m7 2m7 5", "4 1 5 6m",
            "1 3m 4 5", "6m 5 4 5", "1 1 4 5", "4maj7 5 1 6m", "1 5 2m 4", "2m7 4 1 5", "1add9 5 6m7 4maj7 1 5 4 4"],
    "minor": ["1m b7 b6 b7", "1m b6 b3 b7", "1m 4m b7 b3", "1m b6 4m 5", "1m b7 b6 5", "1m 1m 4m 1m", "1m b3 b7 4", "1m 4m 5 1m",
              "1m b6 b7 1m", "1m7 4m7 b6maj7 5"],
    "rock": ["15 b75 45 15", "1 b7 4 1", "15 15 b35 45", "1 4 b7 4", "15 b65 b75 15", "1 1 4 4 1 1 5 4", "15 b35 b75 45", "1m 1m b6 b7"],
    "blues": ["17 17 17 17 47 47 17 17 57 47 17 57", "17 47 17 17 47 47 17 17 57 47 17,47 17,57",
              "17 17 17 17 47 47 17 67 2m7 57 17,67 2m7,57", "1m7 1m7 1m7 1m7 4m7 4m7 1m7 1m7 b67 57 1m7 57",
              "17 17 47 47 17 57 17,47 17,57", "19 19 19 19 49 49 19 19 59 49 19 59"],
    "jazz": ["2m7 57 1maj7 1maj7", "1maj7 67 2m7 57", "2m7 57 1maj7 4maj7 7hdim 37b9 6m7 6m7", "1maj7 17 4maj7 4min6 3m7 67b9 2m7 57",
             "1m7 4m7 2hdim 57b9", "2m7,57 1maj7,67", "3m7 67 2m7 57", "1maj9 b37 b6maj7 57sus", "1m6 2hdim 57b9 1m6",
             "1maj7 1maj7 2m7 57 3m7 67 2m7 57", "2m9 513 1maj9 67b9"],
    "rhythm": ["1,6m7 2m7,57 3m7,67 2m7,57 1,17 4,4m6 1,57 1", "1,67 2m7,57 1,67 2m7,57 17 47 2m7,57 1",
               "37 37 67 67 27 27 57 57", "1maj7,1dim 2m7,57 3m7,67b9 2m7,57"],
    "modal": ["1m7 1m7 1m7 1m7", "1m7 1m7 2m7 2m7", "1m9 47 1m9 47", "1m7 b3maj7 b7 4", "17 17 b77 b77", "1sus7 1sus7 b7sus7 1sus7", "1m7 47"],
    "soul": ["1maj7 6m7 2m7 57sus", "1m9 4m9 1m9 59", "1 3m7 4maj7 5sus", "4maj7 37 6m7 1m7", "1maj7 2m7 3m7 4maj7", "4maj9 3m7 2m7 1maj9",
             "1 1 4 5 1 1 4 4", "6m9 2m9 513 1maj9"],
    "funk": ["19 19 19 19", "1m7 1m7 1m7 47", "17 17 47 17", "1m9 1m9 b79 b79", "19 49", "1m7 b37 47 1m7", "19 19 19 b79,b69"],
    "latin": ["1m7 4m7 57 1m7", "1maj7 1maj7 27 27 2m7 57 1maj7 57", "1m 5 5 1m", "2m7 57 1maj7 6m7", "1m6 2hdim 57b9 1m7", "1 4 57 4"],
    "reggae": ["1 5", "1m 4m", "1 4 5 4", "1m b7", "1m 1m b6 b7", "1 2m 4 1", "6m 2m 5 1"],
    "metal": ["15 15 b25 15", "15 b65 b75 15", "15 15 b35 b25", "15 b65 45 b75", "1m b6 b3 b7"],
    "bridge": ["4 4 1 1 2m 2m 5 5", "6m 6m 4 4 2m 2m 5 5", "b6 b6 b7 b7", "4maj7 4maj7 3m7 6m7 2m7 2m7 57sus 57"],
}
DEGREES = {"1": 0, "2": 2, "3": 4, "4": 5, "5": 7, "6": 9, "7": 11}
SUFFIX = {"": "maj", "m": "min", "5": "5", "7": "7", "m7": "min7", "maj7": "maj7", "9": "9", "m9": "min9", "maj9": "maj9", "13": "13",
          "add9": "add9", "sus": "sus4", "7sus": "7sus4", "sus7": "7sus4", "hdim": "hdim7", "7b9": "7b9", "m6": "min6", "min6": "min6",
          "dim": "dim", "6": "6"}
POP909_QUALITY = {"maj": "maj", "min": "min", "7": "7", "maj7": "maj7", "min7": "min7", "sus4": "sus4", "sus2": "sus2", "dim": "dim",
                  "dim7": "dim7", "hdim7": "hdim7", "aug": "aug", "maj6": "6", "min6": "min6", "9": "9", "maj9": "maj9", "min9": "min9",
                  "11": "9", "13": "13", "sus4(b7)": "7sus4", "sus4(b7,9)": "7sus4", "minmaj7": "minmaj7", "maj(9)": "add9",
                  "min11": "min9", "maj13": "maj9", "min13": "min9", "7(b9)": "7b9"}


def parse_form(text, key):
    """The bars of a form string in a key (pitch class of the tonic). Raises ValueError with the token that is
    not a chord."""
    bars = []
    for bar in text.split():
        tokens, chords = bar.split(","), []
        for i, token in enumerate(tokens):
            shift = {"b": -1, "#": 1}.get(token[0], 0)
            body = token[1:] if shift else token
            body = body.split("/")[0]
            if body[0] not in DEGREES or body[1:] not in SUFFIX:
                raise ValueError(f"form {text!r}: {token!r} is not a chord (degree 1 to 7 with b or #, then a quality of SUFFIX)")
            chords.append((i / len(tokens), Chord((key + DEGREES[body[0]] + shift) % 12, SUFFIX[body[1:]])))
        bars.append(chords)
    return bars


def form_ids(family, held_out):
    """Names of a family's training forms or of its held-out ones (the training ones if none is held out)."""
    ids = [f"{family}-{i:02d}" for i in range(len(FORMS[family]))]
    chosen = [i for i in ids if (i in heldout.CHARTS) == held_out]
    return chosen or [i for i in ids if i not in heldout.CHARTS]


def form(form_id, key):
    """The bars of a named form in a key."""
    family, i = form_id.rsplit("-", 1)
    return parse_form(FORMS[family][int(i)], key)


@lru_cache(1)
def pop909():
    """{song: bars} of the 4/4 songs of POP909, in their own keys. A bar without a chord or of another length
    is []."""
    path = data_dir() / "pop909-chords" / "pop909.json.gz"
    songs = {}
    for song, texts in json.loads(gzip.open(path).read()).items():
        beats = [tuple(map(float, line.split())) for line in texts["beat_midi"].splitlines() if line.strip()]
        downs = [i for i, b in enumerate(beats) if b[2] == 1.0]
        lengths = [b - a for a, b in zip(downs, downs[1:])]
        if len(downs) < 16 or lengths.count(4) < 0.8 * len(lengths):
            continue
        chords = [line.split() for line in texts["chord_midi"].splitlines() if line.strip()]
        bars, at = [], 0
        current = None
        for d, length in zip(downs, lengths):
            bar = []
            for k in range(4 if length == 4 else 0):
                t = beats[d + k][0] + 0.02
                while at < len(chords) and float(chords[at][1]) <= t:
                    at += 1
                if at < len(chords) and float(chords[at][0]) <= t:
                    chord = parse_label(chords[at][2])
                    if k == 0 or chord != current:
                        bar.append((k / 4, chord))
                    current = chord
            bars.append(bar if all(c is not None for _, c in bar) else [])
        songs[song] = bars
    return songs


def parse_label(label):
    """The chord of a POP909 label such as 'F#:maj7/5' (inversions are ignored); None for 'N' or an unknown
    quality."""
    if ":" not in label:
        return None
    root, quality = label.split(":", 1)
    quality = POP909_QUALITY.get(quality.split("/")[0])
    pc = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[root[0]] + root.count("#") - root.count("b")
    return Chord(pc % 12, quality) if quality in QUALITIES else None


def pop909_sections(rng, held_out, count):
    """(song id, `count` different 8-bar passages of one POP909 song, transposed to a random key)."""
    songs = pop909()
    ids = [s for s in songs if (s in heldout.POP909) == held_out]
    while True:
        song = rng.choice(ids)
        bars, shift = songs[song], rng.randrange(12)
        starts = [i for i in range(0, len(bars) - 7, 4) if all(bars[i:i + 8])]
        passages = []
        for i in starts:
            p = [[(at, Chord((c.root + shift) % 12, c.quality)) for at, c in bar] for bar in bars[i:i + 8]]
            if p not in passages:
                passages.append(p)
        if len(passages) >= count:
            return song, rng.sample(passages, count)
