"""Compares checkpoints by cross-entropy on held-out songs.

    python -m train.lm.compare --codecs DIR --corpus DIR --tokens DIR --lm A B ...

Use this to choose between checkpoints. Scores of generated music (train.eval) vary with the random seed: BEAT
of 24 songs by 0.06. The difference in cross-entropy on the same windows, song by song, has a standard error
of about 0.003. Songs are the `valid` ones of the corpus; the input stem is 8 frames late or known completely,
on the song's own bass and on one that training never used. Encoded songs are kept in `--tokens`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from .. import checkpoint
from ..data import heldout
from ..eval.songs import render_bass
from .config import STEMS
from .model import Lm
from .tasks import EDIT, LIVE, ItemSampler, Song
from .tokens import encode, load_codec, write_once
from .train import losses

# name: (task, bass, share of the items whose history is masked)
CASES = {"live": (LIVE, "own", 0.0), "live, unheard bass": (LIVE, "unheard", 0.0), "the same, history masked": (LIVE, "unheard", 1.0), "whole bass known": (EDIT, "own", 0.0)}


class SongSampler(ItemSampler):
    """An ItemSampler whose windows all come from `song`, on its own bass or the `unheard` one."""

    song: Song
    bass = "own"

    def window(self, frames: int):
        song = self.song
        at = self.rng.randrange(max(1, song.tokens.shape[1] - frames + 1))
        codes, controls = song.tokens[:, at:at + frames].astype(np.int64), song.controls[:, at:at + frames].copy()
        if self.bass == "unheard":
            codes[self.rows["bass"]] = np.load(Song.of(song.path, "unheard"))["tokens"][:, at:at + frames]
        return *self.pad(codes, controls, frames), song.label


@torch.no_grad()
def cross_entropies(lm: Path, tokens: Path, kind: str, bass: str, mask_history: float, windows: int) -> np.ndarray:
    """[songs, 1 + K]: the weighted cross-entropy of each held-out song, then that of each stream."""
    s = checkpoint.load(lm / "lm.pt")
    model = Lm(s["config"]).eval()
    model.load_state_dict(s["ema"])
    sampler = SongSampler(str(tokens), "valid", s["config"], Tokenizer.from_file(str(lm / "tokenizer.json")), seed=0, mask_history=mask_history, style_only=0.4)
    sampler.bass, rows = bass, []
    for i, sampler.song in enumerate(sampler.songs):
        sampler.rng.seed(i)  # the same windows for every checkpoint
        each, total = losses(model, sampler.batch(windows, kind=kind, lag=8 if kind == LIVE else None))
        rows.append([total.item(), *each])
    return np.array(rows)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--codecs", type=Path, required=True, help="folder of codec checkpoints")
    p.add_argument("--corpus", type=Path, required=True, help="folder of rendered music")
    p.add_argument("--tokens", type=Path, required=True, help="tokens of that corpus alone, made by python -m train.lm.tokens")
    p.add_argument("--lm", type=Path, nargs="+", required=True, help="folders of LM checkpoints; differences are to the first")
    p.add_argument("--windows", type=int, default=2, help="windows per song")
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    codec = load_codec(a.codecs / "bass.pt")
    for shard in sorted(a.corpus.glob("shard-*")):
        for song in map(json.loads, (shard / "songs.jsonl").read_text().splitlines()):
            if song["split"] == "valid":
                def encode_bass():
                    return {"tokens": encode(codec, render_bass(song, heldout.BASSES[0]).astype(np.float32) / 32768.0, fast=True)}
                write_once(a.tokens / f"0-{song['id']}.unheard.npz", encode_bass)
    first: dict[str, np.ndarray] = {}
    print("| weights | case | cross-entropy | difference to the first (mean over songs ± standard error) | first book of drums, of other |\n|---|---|---:|---:|---:|")
    for lm in a.lm:
        for case, settings in CASES.items():
            found = cross_entropies(lm, a.tokens, *settings, a.windows)
            diff = found[:, 0] - first.setdefault(case, found)[:, 0]
            books = ", ".join(f"{found[:, 1 + 2 * STEMS.index(s)].mean():.3f}" for s in ("drums", "other"))
            print(f"| {lm.name} | {case} | {found[:, 0].mean():.3f} | {diff.mean():+.4f} ± {diff.std() / len(diff) ** 0.5:.4f} | {books} |", flush=True)


if __name__ == "__main__":
    main()
