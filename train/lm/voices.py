"""The songs' bass lines once more, on other instruments: `python -m train.lm.voices --codecs DIR --corpus DIR --out DIR`.

A player's bass is never one that training had. So each song's line is played by an instrument drawn anew (the sampled basses, every
bass of the SoundFonts, and low sounds that are no bass at all), through a chain and a hand of its own, and encoded. One
ID.voice.npz a song beside its tokens; what is there is kept, and `tasks.ItemSampler` takes up what comes while it trains.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch

from ..data import heldout, mix, sampler, soundfont
from .tokens import vary_tone, encode, keep, load_codec

SAMPLED = ["jazz-bass-di", "double-bass-pizz", "synth-bass-1"]
# General MIDI: basses 32 to 39, contrabass 43; guitars, cello, tuba, bassoon, clavinet, leads and organ for what is no bass.
BASSES = [32, 33, 34, 35, 36, 37, 38, 39, 43]
STRANGE = [4, 7, 16, 24, 25, 26, 27, 28, 30, 42, 58, 70, 80, 81, 87]


def instrument(rng: random.Random):
    """A sampled bass by name or a (soundfont, bank, program); never one that is held out."""
    if rng.random() < 0.25:
        return rng.choice(SAMPLED)
    while True:
        found = (rng.choice(["fluid", "muse"]), 0, rng.choice(BASSES if rng.random() < 0.75 else STRANGE))
        if found not in heldout.PROGRAMS:
            return found


def play(song: dict, rng: random.Random) -> np.ndarray:
    """The line on another instrument, float32 [len]."""
    notes, n, who, cents = song["notes"]["bass"], song["len"], instrument(rng), rng.gauss(0, 8)
    if isinstance(who, str):
        dry = sampler.bass(who).render(notes, n, cents, rng, rng.uniform(0.02, 0.15), rng.choice([None, None, rng.uniform(0.15, 0.8)]))
    else:
        dry = soundfont.shared_synth().render(*who, notes, n, cents)
    chain = mix.draw(rng, "bass")
    for key in ("low_db", "high_db", "bell_db"):
        chain[key] *= 2
    x = mix.process(dry, chain, [rng.getrandbits(32)]).astype(np.float32) / 32768.0
    return vary_tone(x, np.random.default_rng(rng.getrandbits(32))) if rng.random() < 0.6 else x


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--codecs", required=True)
    p.add_argument("--corpus", nargs="+", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    codec = load_codec(Path(a.codecs) / "bass.pt")
    found = []
    for c, root in enumerate(a.corpus):
        for shard in sorted(Path(root).glob("shard-*")):
            found += [(c, shard, k) for k, _ in enumerate((shard / "songs.jsonl").read_text().splitlines())]
    random.Random(1).shuffle(found)  # practice begins before all are there
    lines = {}
    for c, shard, k in found:
        if shard not in lines:
            lines[shard] = (shard / "songs.jsonl").read_text().splitlines()
        song = json.loads(lines[shard][k])
        if song["split"] != "test":
            rng = random.Random(f"voice/{c}/{song['id']}")
            keep(Path(a.out) / f"{c}-{song['id']}.voice.npz", lambda: {"tokens": encode(codec, play(song, rng), fast=True)})


if __name__ == "__main__":
    main()
