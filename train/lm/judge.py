"""Weights side by side: `python -m train.lm.judge --codecs DIR --corpus DIR --tokens DIR --lm A B ...`, cross-entropy on held-out songs.

Scores of what is played (train.eval) are thrown by dice: BEAT of 24 songs moves by 0.06 from seed to seed. The cross-entropy of the same
windows under two sets of weights, song by song, tells them apart to 0.003. Held-out songs, a player 8 frames late or known whole, on the
songs' own basses and on one that training never heard. Songs are the corpus's `valid` ones; what is encoded is kept in `--tokens`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from ..data import heldout
from ..eval.songs import anew
from .config import STEMS
from .model import Lm
from .tasks import EDIT, LIVE, ItemSampler, Song
from .tokens import encode, keep, load_codec
from .train import losses

# What is asked, on which bass, and whether the band has forgotten what it played.
CASES = {"live": (LIVE, "own", 0.0), "live, unheard bass": (LIVE, "unheard", 0.0), "that, forgetful": (LIVE, "unheard", 1.0), "whole bass known": (EDIT, "own", 0.0)}


class Exam(ItemSampler):
    """ItemSampler whose windows are all of one song, `song`, on its own bass or the `unheard` one."""

    song: Song
    bass = "own"

    def window(self, frames: int):
        song = self.song
        at = self.rng.randrange(max(1, song.tokens.shape[1] - frames + 1))
        codes, controls = song.tokens[:, at:at + frames].astype(np.int64), song.controls[:, at:at + frames].copy()
        if self.bass == "unheard":
            codes[self.rows["bass"]] = np.load(Song.of(song.path, "unheard"))["tokens"][:, at:at + frames]
        return *self.padded(codes, controls, frames), song.label


@torch.no_grad()
def judge(lm: Path, tokens: Path, kind: str, bass: str, forgetful: float, windows: int) -> np.ndarray:
    """[songs, 1 + K]: the weighted cross-entropy of each held-out song, and each stream's."""
    s = torch.load(lm / "lm.pt", weights_only=False, map_location="cpu")
    model = Lm(s["config"]).eval()
    model.load_state_dict(s["ema"])
    exam = Exam(str(tokens), "valid", s["config"], Tokenizer.from_file(str(lm / "tokenizer.json")), seed=0, forgetful=forgetful, brief=0.4)
    exam.bass, rows = bass, []
    for i, exam.song in enumerate(exam.songs):
        exam.rng.seed(i)  # the same windows for all weights
        each, total = losses(model, exam.batch(windows, kind=kind, lag=8 if kind == LIVE else None))
        rows.append([total.item(), *each])
    return np.array(rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--codecs", type=Path, required=True)
    p.add_argument("--corpus", type=Path, required=True)
    p.add_argument("--tokens", type=Path, required=True, help="of that corpus alone: python -m train.lm.tokens --corpus DIR --out DIR")
    p.add_argument("--lm", type=Path, nargs="+", required=True, help="folders of checkpoints; the first is what the others are held to")
    p.add_argument("--windows", type=int, default=2, help="of each song")
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    codec = load_codec(a.codecs / "bass.pt")
    for shard in sorted(a.corpus.glob("shard-*")):
        for song in map(json.loads, (shard / "songs.jsonl").read_text().splitlines()):
            if song["split"] == "valid":
                def line():
                    return {"tokens": encode(codec, anew(song, heldout.BASSES[0]).astype(np.float32) / 32768.0, fast=True)}
                keep(a.tokens / f"0-{song['id']}.unheard.npz", line)
    first: dict[str, np.ndarray] = {}
    print("| weights | case | cross-entropy | less the first's, song by song | first book of drums, of other |\n|---|---|---:|---:|---:|")
    for lm in a.lm:
        for case, asked in CASES.items():
            found = judge(lm, a.tokens, *asked, a.windows)
            less = found[:, 0] - first.setdefault(case, found)[:, 0]
            books = ", ".join(f"{found[:, 1 + 2 * STEMS.index(s)].mean():.3f}" for s in ("drums", "other"))
            print(f"| {lm.name} | {case} | {found[:, 0].mean():.3f} | {less.mean():+.4f} ± {less.std() / len(less) ** 0.5:.4f} | {books} |", flush=True)


if __name__ == "__main__":
    main()
