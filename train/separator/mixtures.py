"""Random mixtures with their sources: what the separator is trained on.

Half of the mixtures are from one song; in the others each source is from another song, half of those at about the same
tempo and with bar lines together. Each source gets its own level, EQ, pitch, drive and room, and may be absent. The mix
gets a compressor, noise and a loss of high frequencies. Compressor and level act on all sources alike, so these still
add up to the mix, but for the noise and what was lost.
"""

import json
from pathlib import Path

import numpy as np
import scipy.fft
from scipy.ndimage import uniform_filter1d

from .model import RATE, SOURCES

STEMS = SOURCES[:3]
ABSENT = {"drums": 0.1, "bass": 0.1, "other": 0.1, "voice": 0.45}
LEVEL_DB = {"drums": 0.0, "bass": -1.0, "other": -2.0, "voice": -1.0}  # mean; they vary by ±10 dB


class Song:
    """Memory-mapped sources of a song, int16."""

    def __init__(self, shard: Path, label: dict, voice: Path):
        span = slice(label["start"], label["start"] + label["len"])
        self.label, self.length = label, label["len"]
        self.stems = {s: np.memmap(shard / f"{s}.i16", np.int16, "r")[span] for s in STEMS}
        self.voice = voice if voice.exists() else None
        self.downbeats = np.array(label["downbeats"])

    def crop(self, source: str, at: int, samples: int) -> np.ndarray:
        """`samples` samples from `at` on; zeros where the song has none."""
        if source == "voice":
            if self.voice is None:
                return np.zeros(samples, np.float32)
            with np.load(self.voice) as f:
                x, start = f["voice"], int(f["start"])
        else:
            x, start = self.stems[source], 0
        out = np.zeros(samples, np.float32)
        a, b = max(at, start), min(at + samples, start + len(x))
        if b > a:
            out[a - at:b - at] = x[a - start:b - start].astype(np.float32) / 32768
        return out


class Mixtures:
    """Mixtures of the songs of one split."""

    def __init__(self, corpora: list[Path], voices: Path, split: str, seed: int):
        self.rng, self.songs = np.random.default_rng(seed), []
        for c, root in enumerate(corpora):
            for shard in sorted(root.glob("shard-*")):
                for line in (shard / "songs.jsonl").read_text().splitlines():
                    label = json.loads(line)
                    if label["split"] == split:
                        self.songs.append(Song(shard, label, voices / f"{c}-{label['id']}.npz"))
        if not self.songs:
            raise SystemExit(f"--corpus {' '.join(map(str, corpora))}: no songs of the {split} split (python -m train.data render makes them)")

    def item(self, samples: int) -> tuple[np.ndarray, np.ndarray]:
        """(mix [samples], sources [4, samples])."""
        rng = self.rng
        first = self.songs[rng.integers(len(self.songs))]
        at = self.position(first, samples)
        one_song, aligned = rng.random() < 0.5, rng.random() < 0.5
        sources = []
        for source in SOURCES:
            song, start = first, at
            if not one_song:
                song = self.song_near(first) if aligned else self.songs[rng.integers(len(self.songs))]
                if aligned and len(song.downbeats) and len(first.downbeats):
                    phase = at - self.bar_before(first, at)
                    start = max(0, self.bar_before(song, self.position(song, samples)) + phase)
                else:
                    start = self.position(song, samples)
            if source == "voice" and song.voice is not None and (not one_song or rng.random() < 0.5):
                start = self.voice_position(song, samples)  # few songs are sung throughout
            if rng.random() < ABSENT[source]:
                sources.append(np.zeros(samples, np.float32))
            else:
                semitones = 0.0 if one_song and source != "drums" or rng.random() < 0.5 else rng.uniform(-1, 1)
                sources.append(self.altered(song, source, start, samples, semitones))
        return self.mixed(np.stack(sources))

    def position(self, song: Song, samples: int) -> int:
        return int(self.rng.integers(0, max(1, song.length - samples)))

    def voice_position(self, song: Song, samples: int) -> int:
        with np.load(song.voice) as f:
            return int(f["start"]) + int(self.rng.integers(0, max(1, len(f["voice"]) - samples)))

    def song_near(self, other: Song) -> Song:
        """A song within 3 % of the other's tempo, if there is one among 60."""
        for i in self.rng.integers(len(self.songs), size=60):
            if abs(self.songs[i].label["bpm"] / other.label["bpm"] - 1) < 0.03 and self.songs[i].label["meter"] == other.label["meter"]:
                return self.songs[i]
        return other

    @staticmethod
    def bar_before(song: Song, at: int) -> int:
        i = np.searchsorted(song.downbeats, at / RATE)
        return int(song.downbeats[max(0, i - 1)] * RATE)

    def altered(self, song: Song, source: str, at: int, samples: int, semitones: float) -> np.ndarray:
        """The crop at another pitch and level, with EQ, drive and room."""
        rng = self.rng
        taken = scipy.fft.next_fast_len(round(samples * 2 ** (semitones / 12)), True)
        x = song.crop(source, at, taken)
        if rng.random() < 0.2:
            g = np.float32(10 ** rng.uniform(0, 1.2))
            x = np.tanh(x * g) / g
        spec = scipy.fft.rfft(x)
        bins = samples // 2 + 1
        if len(spec) < bins:
            spec = np.pad(spec, (0, bins - len(spec)))
        spec = spec[:bins] * np.float32(samples / taken)
        hz = np.array([0, 60, 250, 1000, 4000, 16000])
        db = np.interp(np.linspace(0, 16000, 512), hz, rng.normal(0, 2.5, 6))
        eq = np.interp(np.arange(bins) * (511 / (bins - 1)), np.arange(512), db)
        spec = spec * (10 ** (eq / 20)).astype(np.float32)
        if rng.random() < 0.15:
            seconds = rng.uniform(0.1, 0.5)
            tail = rng.standard_normal(int(seconds * RATE)).astype(np.float32) * np.exp(-6.9 * np.arange(int(seconds * RATE)) / (seconds * RATE)).astype(np.float32)
            tail *= np.float32(rng.uniform(0.05, 0.4)) / np.sqrt(np.sum(tail**2))
            tail[0] += 1
            spec = spec * scipy.fft.rfft(tail, samples)  # circular: what leaves the end comes back at the start
        y = scipy.fft.irfft(spec, samples)
        gain = 10 ** ((LEVEL_DB[source] + rng.uniform(-10, 10)) / 20) * rng.choice([-1, 1])
        return (y * gain).astype(np.float32)

    def mixed(self, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rng = self.rng
        mix = sources.sum(0)
        if rng.random() < 0.5:
            level = np.sqrt(uniform_filter1d(mix**2, int(rng.uniform(0.01, 0.15) * RATE)) + 1e-8)
            gain = (1 + level / (level.mean() * rng.uniform(0.5, 2))) ** -rng.uniform(0.2, 0.9)
            sources, mix = sources * gain, mix * gain
        scale = 10 ** (rng.uniform(-26, -12) / 20) / (np.sqrt(np.mean(mix**2)) + 1e-4)
        sources, mix = sources * scale, mix * scale
        if rng.random() < 0.1:
            spec = scipy.fft.rfft(mix)
            spec[int(rng.uniform(7500, 13000) * len(mix) / RATE):] = 0
            mix = scipy.fft.irfft(spec, len(mix))
        if rng.random() < 0.3:
            mix = mix + rng.standard_normal(len(mix)) * 10 ** (rng.uniform(-75, -45) / 20)
        return mix.astype(np.float32), sources.astype(np.float32)
