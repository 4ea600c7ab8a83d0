"""Sample playback in numpy: the CC0 basses and the CC-BY drum kit of the data folder."""

import json
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile

from .paths import data_dir

RATE = 32000
PITCHES = Path(__file__).with_name("bass_pitch.json")
# GM drum note: samples of the kit. Notes without samples (congas, cowbell) are rendered by a SoundFont.
KIT = {35: "KdrumL", 36: "KdrumL", 37: "SnareRest", 38: "Snare", 40: "Snare", 42: "HihatClosed", 44: "HihatClosed",
       46: "HihatOpen", 49: "CrashL", 57: "CrashR", 55: "CrashR", 52: "China", 51: "RideL", 59: "RideL", 53: "RideLBell",
       48: "Tom1", 50: "Tom1", 45: "Tom2", 47: "Tom2", 43: "Tom3", 41: "Tom4"}


def read(path: Path) -> np.ndarray:
    """A file as mono float32 at 32 kHz. Raises ValueError if it has another rate."""
    audio, rate = soundfile.read(path, dtype="float32")
    if rate != RATE:
        raise ValueError(f"{path}: is {rate} Hz, samples must be {RATE} Hz")
    return audio if audio.ndim == 1 else audio.mean(1)


def measure_pitch(x: np.ndarray, start=0.06, end=0.7) -> float:
    """MIDI pitch (fractional) of a plucked note by autocorrelation from `start` to `end` seconds; plucked
    strings start sharp."""
    seg = x[int(min(start, len(x) / RATE * 0.3) * RATE):int(end * RATE)]
    n = 1 << int(np.ceil(np.log2(len(seg) * 2)))
    power = np.abs(np.fft.rfft(seg, n)) ** 2
    power[: int(22 * n / RATE)] = 0
    ac = np.fft.irfft(power)[: len(seg)] / np.arange(len(seg), 0, -1)
    lo, hi = RATE // 1200, min(RATE // 27, len(seg) // 2)
    peaks = [i for i in range(lo, hi) if ac[i] > ac[i - 1] and ac[i] >= ac[i + 1]]
    if not peaks:
        return float("nan")
    best = max(ac[i] for i in peaks)
    k = next(i for i in peaks if ac[i] > 0.9 * best)
    d = (ac[k - 1] - ac[k + 1]) / (2 * (ac[k - 1] - 2 * ac[k] + ac[k + 1]))
    return float(69 + 12 * np.log2(RATE / (k + d) / 440))


def note_of(file):
    """The part of a bass sample's file name that names the note. Its octave is unreliable, so pitches are
    measured."""
    return re.sub(r"_(pp|p|f|ff|staccato)_rr\d|_[fmp][abcd]$", "", file)


class Bass:
    """A sampled bass: velocity layers of {midi of the sample: [(pitch, audio) of each round robin]}. Pitch is
    changed by resampling."""

    LAYERS = {"jazz-bass-di": ["pp", "p", "f", "ff"], "double-bass-pizz": ["p", "m", "f"],
              "electric-bass-yr": [""], "synth-bass-1": [""]}

    def __init__(self, name: str):
        folder = data_dir() / "bass" / name
        self.name, self.layers, self.staccato = name, [dict() for _ in self.LAYERS[name]], {}
        table = json.loads(PITCHES.read_text())[name]
        keys = {}
        for file, pitch in table.items():
            keys.setdefault(note_of(file), []).append(pitch)
        for file, pitch in table.items():
            entry, key = (pitch, read(folder / f"{file}.flac")), round(float(np.median(keys[note_of(file)])))
            if "staccato" in file:
                self.staccato.setdefault(key, []).append(entry)
                continue
            layer = 0
            if name == "jazz-bass-di":
                layer = self.LAYERS[name].index(file.split("_")[1])
            elif name == "double-bass-pizz":
                layer = self.LAYERS[name].index(file.rsplit("_", 1)[1][0])
            self.layers[layer].setdefault(key, []).append(entry)
        # Samples are normalised: the velocity curve in `render` sets the level, the layer only the tone.
        for bank in [*self.layers, self.staccato]:
            for group in bank.values():
                for i, (pitch, audio) in enumerate(group):
                    loud = np.sqrt(np.mean(audio[: RATE // 2] ** 2)) + 1e-6
                    group[i] = (pitch, audio * (0.12 / loud))

    def render(self, notes, samples, cents=0.0, rng=None, release=0.06, decay=None):
        """Mono float32 [samples] of notes [(on s, off s, midi, vel)]; velocity below 36 is a dead note.
        `decay` in seconds damps every note, like a palm mute."""
        out = np.zeros(samples + RATE, np.float32)
        for on, off, midi, vel in notes:
            ghost = vel < 36
            k = min(int(vel / 128 * len(self.layers)), len(self.layers) - 1)
            bank = self.staccato if ghost and self.staccato else self.layers[k]
            sample_midi = min(bank, key=lambda m: abs(m - midi))
            group = bank[sample_midi]
            pitch, audio = group[rng.randrange(len(group))]
            ratio = 2 ** ((midi + cents / 100 - pitch) / 12)
            start = round(on * RATE)
            fade = int((0.012 if ghost else release) * RATE)
            length = int((min(off - on, 0.05) if ghost else off - on) * RATE) + fade
            length = min(length, int((len(audio) - 3) / ratio), len(out) - start)
            if length <= fade:
                continue
            at = np.arange(length, dtype=np.float64) * ratio
            i = at.astype(np.int64)
            f = (at - i).astype(np.float32)
            y = audio[i] * (1 - f) + audio[i + 1] * f if abs(ratio - 1) < 1e-4 else cubic(audio, i, f)
            if decay:
                y = y * np.exp(-np.arange(length, dtype=np.float32) / np.float32(decay * RATE))
            y[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32) ** 2
            out[start:start + length] += y * np.float32((vel / 100) ** 1.2)
        return out[:samples]


def cubic(x, i, f):
    """Catmull-Rom interpolation of x at i + f."""
    a, b, c, d = x[np.maximum(i - 1, 0)], x[i], x[i + 1], x[i + 2]
    return b + 0.5 * f * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a)))


class Kit:
    """The sampled kit: {piece: hits sorted by loudness}. A closed or pedal hat stops the open hat."""

    def __init__(self):
        self.pieces = {}
        for path in sorted((data_dir() / "drums" / "muldjordkit").glob("*.flac")):
            piece = re.sub(r"_\d+$", "", path.stem)
            self.pieces.setdefault(piece, []).append(read(path))
        for hits in self.pieces.values():
            hits.sort(key=lambda x: float(np.sum(x[: RATE // 5] ** 2)))

    def render(self, hits, samples, rng, balance=None, decay=None):
        """(mono float32 [samples], hits without a sample in this kit) of hits [(t s, gm note, vel)].
        `balance`: {piece: gain}; `decay` in seconds damps every hit."""
        out = np.zeros(samples + 10 * RATE, np.float32)
        rest, last = [], {}
        hats = [(t, n) for t, n, _ in hits if n in (42, 44, 46)]
        at_hat = 0
        for t, note, vel in hits:
            piece = KIT.get(note)
            if piece is None:
                rest.append((t, note, vel))
                continue
            bank = self.pieces[piece]
            rank = (vel / 127) ** 1.15 * (len(bank) - 1) + rng.uniform(-1, 1) * min(1.5, len(bank) / 12)
            k = min(max(round(rank), 0), len(bank) - 1)
            if last.get(piece) == k and len(bank) > 4:  # not the same sample twice in a row
                k = k - 1 if k else 1
            last[piece] = k
            x = bank[k]
            start = round(t * RATE)
            length = min(len(x), len(out) - start)
            if note == 44:
                length = min(length, RATE // 12)
            if note in (42, 44, 46):
                while at_hat < len(hats) and hats[at_hat][0] <= t + 1e-6:
                    at_hat += 1
                if note == 46 and at_hat < len(hats):
                    length = min(length, round((hats[at_hat][0] - t) * RATE) + 600)
            if length < 64:
                continue
            y = x[:length] * np.float32((balance or {}).get(piece, 1.0) * (0.55 + 0.45 * vel / 127))
            if decay:
                y = y * np.exp(-np.arange(length, dtype=np.float32) / np.float32(decay * RATE))
            if length < len(x):
                n = min(600, length)
                y[-n:] *= np.linspace(1, 0, n, dtype=np.float32)
            out[start:start + length] += y
        return out[:samples], rest


@lru_cache(None)
def bass(name: str) -> Bass:
    """A sampled bass, loaded once."""
    return Bass(name)


@lru_cache(1)
def kit() -> Kit:
    """The sampled kit, loaded once."""
    return Kit()


def write_pitch_table():
    """Measures the pitch of every bass sample and writes bass_pitch.json.

    Staccato notes are too short to measure; they get the pitch of the same note's loudest sustained samples.
    """
    table = {}
    for name in Bass.LAYERS:
        folder, rows = data_dir() / "bass" / name, {}
        for path in sorted(folder.glob("*.flac")):
            if not re.search("noise|scrape|release", path.stem):
                rows[path.stem] = measure_pitch(read(path))
        groups, hard = {}, {}
        for stem, pitch in rows.items():
            if "staccato" not in stem:
                groups.setdefault(note_of(stem), []).append(pitch)
            if "_ff_" in stem:
                hard.setdefault(note_of(stem), []).append(pitch)
        for stem, pitch in rows.items():
            middle = float(np.median(groups[note_of(stem)]))
            if "staccato" in stem:
                pitch = float(np.median(hard[note_of(stem)]))
            elif not abs(pitch - middle) < 0.9:  # an octave error of the measurement
                pitch = middle
            rows[stem] = round(pitch, 2)
        table[name] = rows
    PITCHES.write_text(json.dumps(table, indent=0) + "\n")
