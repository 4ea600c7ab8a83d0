"""Renders the three bass lines in examples/.

    python -m train.data.examples

The lines are written out here; no corpus has them. It writes examples/{funk,rock,jazz}.flac (16 bit, mono, 32
kHz) with NAME.json beside each.
"""

import json
import random

import numpy as np
import soundfile

from . import mix, sampler
from .paths import REPO

BAR1 = 0.5  # seconds of silence before the first downbeat
G = -1      # a dead note
# Bars of (position in sixteenths, in jazz quarters; midi; length in the same unit; velocity).
FUNK = [
    [(0, 28, 2, 112), (3, G, 1, 30), (4, 40, 1, 104), (6, 38, 1, 96), (7, 40, 1, 88), (10, 33, 1, 92), (11, 34, 1, 84), (12, 35, 2, 102), (14, 38, 1, 94), (15, G, 1, 30)],
    [(0, 28, 3, 112), (5, G, 1, 28), (6, 28, 1, 92), (7, G, 1, 30), (8, 31, 1.5, 98), (10, 33, 1.5, 96), (12, G, 1, 30), (13, 35, 1, 94), (14, 38, 1.8, 100)],
    [(0, 33, 2, 112), (3, G, 1, 30), (4, 45, 1, 104), (6, 43, 1, 96), (7, 45, 1, 88), (10, 37, 1, 92), (11, 38, 1, 84), (12, 40, 2, 102), (14, 43, 1, 94), (15, G, 1, 30)],
    [(0, 33, 3, 112), (5, G, 1, 28), (6, 33, 1, 92), (7, G, 1, 30), (8, 37, 1.5, 98), (10, 40, 1.5, 96), (12, 43, 1, 98), (13, G, 1, 30), (14, 31, 1, 94), (15, 30, 1, 90)],
]
ROCK = [
    [(s, 28, 1.8, 108 if s % 8 == 0 else 96) for s in range(0, 14, 2)] + [(14, 35, 1.8, 98)],
    [(s, 36, 1.8, 108 if s % 8 == 0 else 96) for s in range(0, 12, 2)] + [(12, 35, 1.8, 98), (14, 33, 1.8, 98)],
    [(s, 31, 1.8, 108 if s % 8 == 0 else 96) for s in range(0, 10, 2)] + [(10, 38, 1.8, 100), (12, 35, 1.8, 98), (14, 33, 1.8, 98)],
    [(s, 38, 1.8, 108 if s % 8 == 0 else 96) for s in range(0, 8, 2)] + [(8, 33, 1.8, 104), (10, 38, 1.8, 98), (12, 31, 1.8, 98), (14, 30, 1.8, 98)],
]
JAZZ = [[(b, p, 0.92, 100 if b % 2 else 94) for b, p in enumerate(bar)] for bar in (
    (38, 41, 45, 44), (43, 41, 38, 37), (36, 40, 43, 46), (45, 43, 40, 39), (38, 40, 41, 42), (43, 47, 50, 49), (48, 47, 43, 40), (33, 37, 40, 37))]
LINES = {  # name: (bars of the line, units per beat, bpm, chords, style, bass, bars in total)
    "funk": (FUNK, 4, 100, "Em7 Em7 A7 A7", "funk", "jazz-bass-di", 12),
    "rock": (ROCK, 4, 132, "Em C G D", "rock", "jazz-bass-di", 16),
    "jazz": (JAZZ, 1, 136, "Dm7 G7 Cmaj7 A7", "jazz swing", "double-bass-pizz", 16),
}


def notes(line, units, bpm, bars, rng):
    """[(on s, off s, midi, vel)] with random timing (standard deviation 4 ms) and a long last note."""
    unit = 60 / bpm / units
    out, pitch = [], 28
    for k in range(bars):
        for at, midi, length, vel in line[k % len(line)]:
            pitch = pitch if midi == G else midi
            on = BAR1 + (k * 4 * units + at) * unit + rng.gauss(0, 0.004)
            vel = vel if midi == G else round(vel + rng.gauss(0, 4))
            out.append((on, on + length * unit * 0.95, pitch, vel))
    on = BAR1 + bars * 4 * units * unit
    return out + [(on, on + 1.2, line[0][0][1], 104)]


def main():
    folder = REPO / "examples"
    folder.mkdir(exist_ok=True)
    for name, (line, units, bpm, chords, style, bass, bars) in LINES.items():
        rng = random.Random(f"example/{name}")
        played = notes(line, units, bpm, bars, rng)
        samples = int((played[-1][1] + 0.5) * 32000)
        dry = sampler.bass(bass).render(played, samples, 0.0, rng, 0.07)
        chain = {"low_db": 0.0, "high_db": -1.0, "bell_db": 0.0, "bell_hz": 800, "drive": 0.35 if name == "rock" else 0.0, "squeeze": 0.35,
                 "room_s": 0.3, "wet": 0.08, "rms_db": -19.0, "floor_db": -84.0}
        audio = mix.process(dry, chain, [7, len(name)])
        fade = np.linspace(1, 0, 8000)
        audio[-8000:] = np.round(audio[-8000:] * fade)
        soundfile.write(folder / f"{name}.flac", audio, 32000, subtype="PCM_16")
        (folder / f"{name}.json").write_text(json.dumps({
            "bpm": bpm, "meter": [4, 4], "bar1": BAR1, "chords": chords, "style": style, "bass": bass,
            "licence": "Line: the project's own, under the project's licence. Samples: CC0 (Karoryfer Growlybass)" if bass == "jazz-bass-di" else
                       "Line: the project's own, under the project's licence. Samples: CC0 (D. Smolken's double bass)"}, indent=1) + "\n")


if __name__ == "__main__":
    main()
