"""Sings over the songs of a corpus, so that the separator learns that a voice is none of the three stems.

    python -m train.separator.voice --corpus DIR [DIR] --out DIR

For each song it writes OUT/CORPUS-SONG.npz: `voice`, int16, the first `SECONDS` of the song from `start` (samples). The
words are spoken by espeak-ng (a separate program, GPL; nothing of it is copied), their spectral envelopes are measured
with WORLD (Morise et al. 2016) and given the pitches of a melody over the song's chords. One song in five is
spoken in rhythm instead. Existing files are kept.
"""

import argparse
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pyworld
import soundfile
from scipy.signal import resample_poly

from ..data import corpus, mix

RATE, SPEECH_RATE, SECONDS, PERIOD = 32000, 22050, 30, 5.0  # PERIOD: milliseconds between WORLD's frames
WORDS = """love night away home river fire dance again falling summer shadow heaven never forget breathe tomorrow moonlight
stay run hold me wild heart golden silver ocean dream believe remember stranger sunday morning train whisper crazy sugar
window color ooh aah la na hey yeah rolling feeling city lonely shine higher burning simple""".split()
# espeak-ng variants and whether they sing low. Those of HELD_OUT sing only in validation and test songs.
VOICES = [("m1", True), ("m2", True), ("m3", True), ("m4", True), ("m7", True), ("m8", True), ("f1", False), ("f2", False), ("f3", False),
          ("f4", False), ("f5", False), ("Annie", False), ("belinda", False), ("steph", False), ("linda", False), ("max", True), ("Alicia", False), ("rob", True)]
HELD_OUT = {"m4", "f4", "rob", "steph"}
LANGUAGES = ["en-us", "en-gb", "es", "it", "de", "fr-fr", "pt-br"]


class Word:
    """One spoken word: audio at `RATE`, and WORLD's pitch [n], envelope [n, bins] and aperiodicity [n, bins]."""

    def __init__(self, text: str, voice: str, language: str, folder: str):
        path = Path(folder) / "word.wav"
        subprocess.run(["espeak-ng", "-v", f"{language}+{voice}", "-s", "150", "-w", path, text], check=True, capture_output=True)
        x, rate = soundfile.read(path)
        assert rate == SPEECH_RATE
        loud = np.flatnonzero(np.abs(x) > 0.01)
        x = np.ascontiguousarray(x[loud[0]:loud[-1]]) if len(loud) else np.zeros(2000)
        self.pitch, at = pyworld.dio(x, rate, frame_period=PERIOD)
        self.envelope, self.noise = pyworld.cheaptrick(x, self.pitch, at, rate), pyworld.d4c(x, self.pitch, at, rate)
        self.audio = resample_poly(x, 640, 441).astype(np.float32)


def vocabulary(split_held_out: bool, rng: random.Random) -> list[tuple[list[Word], bool]]:
    """(words, whether low) of each voice."""
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for voice, low in VOICES:
            if (voice in HELD_OUT) == split_held_out:
                language = rng.choice(LANGUAGES)
                out.append(([Word(w, voice, language, folder) for w in rng.sample(WORDS, 24)], low))
    return out


def melody(song: dict, start: float, end: float, low: bool, rng: random.Random) -> list[tuple[float, float, float]]:
    """(on, off, MIDI pitch): phrases of a few notes on beats and half beats, mostly tones of the chord."""
    beats = [b for b in song["beats"] if start <= b < end - 1]
    out, pitch, phrase = [], rng.uniform(50, 57) if low else rng.uniform(62, 69), rng.randint(3, 9)
    range_low, range_high = (43, 64) if low else (55, 77)
    for a, b in zip(beats, beats[1:]):
        if phrase <= 0:
            phrase = rng.randint(3, 9) if rng.random() < 0.3 else phrase - (rng.random() < 0.2)
            if phrase <= 0:
                continue
        step = rng.choice([(0.0, 1.0)] * 2 + [(0.0, 0.5), (0.5, 1.0)])
        for on, off in ([step] if step[1] - step[0] == 1 or rng.random() < 0.4 else [(0.0, 0.5), (0.5, 1.0)]):
            t = a + (b - a) * on
            chord = [c for c in song["chords"] if c[0] <= t + 1e-3]
            tones = chord[-1][4] if chord and chord[-1][4] else [0, 2, 4, 5, 7, 9, 11]
            near = [p for p in range(range_low, range_high) if p % 12 in tones] or [round(pitch)]
            pitch = min(near, key=lambda p: abs(p - pitch - rng.gauss(0, 2.5)))
            out.append((t, a + (b - a) * off * rng.uniform(0.85, 1.0) if off < 1 else a + (b - a) * rng.uniform(0.85, 1.0), pitch))
            phrase -= 1
    # Held notes: some last into the next beat.
    return [(a, c[0] if rng.random() < 0.3 and c[0] - b < 0.6 else b, p) for (a, b, p), c in zip(out, out[1:] + [(end, 0, 0)])]


def sing(notes, words: list[Word], start: float, samples: int, rng: random.Random) -> np.ndarray:
    """Each note is one word, stretched to its length, at `RATE`."""
    out = np.zeros(samples, np.float32)
    depth, speed = rng.uniform(0.1, 0.6), rng.uniform(4.8, 6.2)  # vibrato: semitones, Hz
    for on, off, pitch in notes:
        word, n = rng.choice(words), max(8, round((off - on) * 1000 / PERIOD))
        # Consonants at both ends keep their speed, vowels are stretched.
        at = np.interp(np.arange(n), [0, min(n // 3, 16), n - min(n // 4, 10), n], [0, min(n // 3, 16, len(word.pitch) - 1), max(len(word.pitch) - 11, 0), len(word.pitch) - 1]).astype(int)
        t = np.arange(n) * PERIOD / 1000
        bend = -rng.uniform(0, 1.5) * np.exp(-t / 0.04) + depth * np.sin(2 * np.pi * speed * t + rng.random()) * np.clip((t - 0.15) / 0.3, 0, 1)
        f0 = np.where(word.pitch[at] > 0, 440 * 2 ** ((pitch + bend - 69) / 12), 0.0)
        x = pyworld.synthesize(f0, np.ascontiguousarray(word.envelope[at]), np.ascontiguousarray(word.noise[at]), SPEECH_RATE, PERIOD)
        add(out, resample_poly(x, 640, 441), on - start, rng)
    return out


def speak(notes, words: list[Word], start: float, samples: int, rng: random.Random) -> np.ndarray:
    """Each note is a word as it was spoken."""
    out = np.zeros(samples, np.float32)
    for on, _, _ in notes:
        add(out, rng.choice(words).audio, on - start, rng)
    return out


def add(out: np.ndarray, x: np.ndarray, seconds: float, rng: random.Random):
    at = max(0, round(seconds * RATE))
    part = x[:len(out) - at].astype(np.float32) * np.float32(10 ** rng.uniform(-0.2, 0.1))
    fade = min(320, len(part))
    part[len(part) - fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    out[at:at + len(part)] += part


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--corpus", nargs="+", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    voices = {held: vocabulary(held, random.Random(f"voices/{held}")) for held in (False, True)}
    for c, root in enumerate(a.corpus):
        for song in corpus.songs(root):
            path = a.out / f"{c}-{song['id']}.npz"
            if path.exists():
                continue
            rng = random.Random(f"voice/{song['id']}")
            words, low = rng.choice(voices[song["split"] != "train"])
            seconds = song["len"] / RATE
            start = rng.uniform(0, max(0.0, seconds - SECONDS))
            end, samples = min(seconds, start + SECONDS), int((min(seconds, start + SECONDS) - start) * RATE)
            notes = melody(song, start, end, low, rng)
            voice = (speak if rng.random() < 0.2 else sing)(notes, words, start, samples, rng)
            if rng.random() < 0.2:  # a second voice
                voice += 0.6 * sing([(on, off, pitch + rng.choice([3, 4, -5])) for on, off, pitch in notes], words, start, samples, rng)
            chain = mix.random_chain(rng, "other") | {"floor_db": -90.0}
            np.savez(path.with_suffix(".tmp.npz"), voice=mix.process(voice, chain, [rng.randrange(2**31)]), start=int(start * RATE))
            path.with_suffix(".tmp.npz").rename(path)


if __name__ == "__main__":
    main()
