"""Comparing checkpoints: every checkpoint gets the same windows, and the unheard bass changes only the bass."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from train.lm.compare import SongSampler
from train.lm.tasks import LIVE, Song

HOUSE = Path("models/house")


def write_song(folder: Path, frames: int) -> None:
    """One song of random codes, with a second recording of its bass."""
    rng = np.random.default_rng(frames)
    label = {"id": "1", "split": "valid", "style": "funk", "meter": [4, 4], "bpm": 100, "instruments": {"bass": "a", "drums": "b", "other": ["pad"]}, "caption_tags": {"tempo": "slow", "mood": "warm", "density": "busy", "mode": "minor"}}
    np.savez(folder / "0-1.song.npz", beat=np.zeros(frames, int), tick=np.zeros(frames, int), chord=np.zeros(frames, int), rests=np.zeros(frames, int), label=json.dumps(label))
    for stem, books in (("bass", 2), ("drums", 2), ("other", 4), ("unheard", 2)):
        np.savez(folder / f"0-1.{stem}.npz", tokens=rng.integers(0, 1024, (books, frames)))
        (folder / f"{stem}.json").write_text(json.dumps({"silence": [3] * books}))


@pytest.mark.parametrize("frames", [2000, 900])
def test_an_unheard_bass_changes_only_the_bass_and_windows_repeat_with_the_seed(tmp_path, frames):
    write_song(tmp_path, frames)
    got = {}
    for bass in ("own", "unheard", "own again"):
        sampler = SongSampler(str(tmp_path), "valid", json.loads((HOUSE / "config.json").read_text()), Tokenizer.from_file(str(HOUSE / "tokenizer.json")), seed=0)
        sampler.song, sampler.bass = sampler.songs[0], bass.split()[0]
        sampler.rng.seed(5)
        codes, controls, _ = sampler.window(1250)
        assert codes.shape == (8, 1250) and controls.shape == (3, 1250)
        sampler.rng.seed(5)
        got[bass] = codes, sampler.batch(1, kind=LIVE, lag=8)
    own, unheard = got["own"][0], got["unheard"][0]
    whole = min(frames, 1250)
    assert (own[2:] == unheard[2:]).all() and (own[:2, :whole] != unheard[:2, :whole]).mean() > 0.99
    assert (own[:, whole:] == 3).all()
    assert np.isin(unheard[:2, :whole], np.load(Song.of(tmp_path / "0-1.song.npz", "unheard"))["tokens"]).all()
    for a, b in zip(got["own"][1], got["own again"][1]):
        assert all(torch.equal(a[n], b[n]) for n in a) if isinstance(a, dict) else torch.equal(a, b)
