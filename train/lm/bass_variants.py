"""Renders and encodes each song's bass line on another instrument.

    python -m train.lm.bass_variants --codecs DIR --corpus DIR --out DIR

This is data augmentation: a musician's bass is never one of the training set. The instrument is random (a
sampled bass, any bass of the SoundFonts, or a low sound that is no bass), and so are effects and tone. It
writes ID.voice.npz per song beside its tokens and keeps existing files. It can run during training:
`tasks.ItemSampler` uses new files as they appear.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch

from ..data import heldout, mix, sampler, soundfont
from .tokens import encode, load_codec, vary_tone, write_once

SAMPLED = ["jazz-bass-di", "double-bass-pizz", "synth-bass-1"]
# General MIDI programs: basses 32 to 39 and contrabass 43; and guitars, cello, tuba, bassoon, clavinet,
# leads, organ.
BASSES = [32, 33, 34, 35, 36, 37, 38, 39, 43]
NOT_BASSES = [4, 7, 16, 24, 25, 26, 27, 28, 30, 42, 58, 70, 80, 81, 87]


def instrument(rng: random.Random):
    """A random instrument: the name of a sampled bass or a (soundfont, bank, program), never a held-out one."""
    if rng.random() < 0.25:
        return rng.choice(SAMPLED)
    while True:
        found = (rng.choice(["fluid", "muse"]), 0, rng.choice(BASSES if rng.random() < 0.75 else NOT_BASSES))
        if found not in heldout.PROGRAMS:
            return found


def render(song: dict, rng: random.Random) -> np.ndarray:
    """The song's bass line on a random instrument, float32 [len]."""
    notes, n, sound, cents = song["notes"]["bass"], song["len"], instrument(rng), rng.gauss(0, 8)
    if isinstance(sound, str):
        dry = sampler.bass(sound).render(notes, n, cents, rng, rng.uniform(0.02, 0.15), rng.choice([None, None, rng.uniform(0.15, 0.8)]))
    else:
        dry = soundfont.shared_synth().render(*sound, notes, n, cents)
    chain = mix.random_chain(rng, "bass")
    for key in ("low_db", "high_db", "bell_db"):
        chain[key] *= 2
    x = mix.process(dry, chain, [rng.getrandbits(32)]).astype(np.float32) / 32768.0
    return vary_tone(x, np.random.default_rng(rng.getrandbits(32))) if rng.random() < 0.6 else x


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--codecs", required=True, help="folder of codec checkpoints")
    p.add_argument("--corpus", nargs="+", required=True, help="the corpora of the tokens, in the same order")
    p.add_argument("--out", required=True, help="the folder of tokens")
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    codec = load_codec(Path(a.codecs) / "bass.pt")
    found = []
    for c, root in enumerate(a.corpus):
        for shard in sorted(Path(root).glob("shard-*")):
            found += [(c, shard, k) for k, _ in enumerate((shard / "songs.jsonl").read_text().splitlines())]
    random.Random(1).shuffle(found)  # random order: training may start before all are done
    lines = {}
    for c, shard, k in found:
        if shard not in lines:
            lines[shard] = (shard / "songs.jsonl").read_text().splitlines()
        song = json.loads(lines[shard][k])
        if song["split"] != "test":
            rng = random.Random(f"voice/{c}/{song['id']}")
            write_once(Path(a.out) / f"{c}-{song['id']}.voice.npz", lambda: {"tokens": encode(codec, render(song, rng), fast=True)})


if __name__ == "__main__":
    main()
