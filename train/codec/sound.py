"""Random crops of one stem's rendered music (the corpus format is `train/data/README.md`'s)."""

import json
from pathlib import Path

import numpy as np
import torch


class Stem:
    """All songs of one split, memory-mapped; crops are drawn where the stem sounds (5 % anywhere)."""

    def __init__(self, corpus: list[str], stem: str, split: str, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.songs = []  # (int16 samples, song label)
        for root in corpus:
            for shard in sorted(Path(root).glob("shard-*")):
                raw = np.memmap(shard / f"{stem}.i16", np.int16, "r")
                for line in (shard / "songs.jsonl").read_text().splitlines():
                    song = json.loads(line)
                    if song["split"] == split:
                        self.songs.append((raw[song["start"]:song["start"] + song["len"]], song))
        if not self.songs:
            raise SystemExit(f"no {split} songs under {corpus}")

    def crop(self, samples: int) -> np.ndarray:
        for _ in range(20):
            raw, _ = self.songs[self.rng.integers(len(self.songs))]
            at = self.rng.integers(0, len(raw) - samples + 1)
            x = raw[at:at + samples].astype(np.float32) / 32768.0
            if np.sqrt(np.mean(x * x)) > 0.003 or self.rng.random() < 0.05:
                break
        return x * np.float32(10 ** self.rng.uniform(-0.4, 0.15)) * self.rng.choice([-1.0, 1.0]).astype(np.float32)

    def batch(self, items: int, samples: int) -> torch.Tensor:
        return torch.from_numpy(np.stack([self.crop(samples) for _ in range(items)])).clamp(-1, 1)
