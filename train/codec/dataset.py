"""Random crops of one stem of a rendered corpus (train/data/README.md describes the format)."""

import json
from pathlib import Path

import numpy as np
import torch

from .semantic import labels


class StemDataset:
    """One stem of all songs of a split, memory-mapped. Crops are taken where the stem sounds; 5 % are taken
    anywhere."""

    def __init__(self, corpus: list[str], stem: str, split: str, seed: int = 0):
        self.rng, self.stem, self.known = np.random.default_rng(seed), stem, {}
        self.songs = []  # (int16 samples, song label)
        for root in corpus:
            for shard in sorted(Path(root).glob("shard-*")):
                raw = np.memmap(shard / f"{stem}.i16", np.int16, "r")
                for line in (shard / "songs.jsonl").read_text().splitlines():
                    song = json.loads(line)
                    if song["split"] == split:
                        self.songs.append((raw[song["start"]:song["start"] + song["len"]], song))
        if not self.songs:
            raise SystemExit(f"--corpus {' '.join(map(str, corpus))}: no songs of the {split} split (python -m train.data render makes them)")

    def crop(self, samples: int):
        """(samples, labels of their frames)."""
        for _ in range(20):
            i = self.rng.integers(len(self.songs))
            raw, song = self.songs[i]
            frame = self.rng.integers(0, (len(raw) - samples) // 640 + 1)
            x = raw[frame * 640:frame * 640 + samples].astype(np.float32) / 32768.0
            if np.sqrt(np.mean(x * x)) > 0.003 or self.rng.random() < 0.05:
                break
        if i not in self.known:
            self.known[i] = labels(self.stem, song)
        gain = np.float32(10 ** self.rng.uniform(-0.4, 0.15)) * self.rng.choice([-1.0, 1.0]).astype(np.float32)
        return x * gain, self.known[i][frame:frame + samples // 640]

    def batch(self, items: int, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Audio [items, samples] and labels [items, frames, …] (`semantic.labels`)."""
        audio, known = zip(*(self.crop(samples) for _ in range(items)))
        return torch.from_numpy(np.stack(audio)).clamp(-1, 1), torch.from_numpy(np.stack(known))
