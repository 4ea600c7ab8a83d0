"""Encodes a corpus to tokens.

    python -m train.lm.tokens --codecs DIR --corpus DIR --out DIR

One .npz per song and stem; existing files are kept. The bass of every other song is encoded a second time
with another tone (level, tilt, drive, noise), so that the LM copes with basses it has not seen. Test songs
are left out.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import scipy.signal
import torch

from .. import checkpoint
from ..codec.config import FRAME
from ..codec.model import Codec
from .config import STEMS
from .controls import chord_values, clock_values, rests


def load_codec(path: Path) -> Codec:
    """The codec of a checkpoint, for evaluation."""
    s = checkpoint.load(path)
    model = Codec(s["config"]).eval()
    model.load_state_dict(s["ema"])
    return model


def vary_tone(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same recording with another gain, spectral tilt, drive and noise floor."""
    x = x * 10 ** rng.uniform(-0.4, 0.25)
    a = np.exp(-2 * np.pi * rng.uniform(200, 2000) / 32000)
    low = scipy.signal.lfilter([1 - a], [1, -a], x)
    x = low * 10 ** rng.uniform(-0.25, 0.25) + (x - low) * 10 ** rng.uniform(-0.5, 0.35)
    if rng.random() < 0.3:
        drive = rng.uniform(1, 6)
        x = np.tanh(drive * x) / drive
    return np.clip(x + rng.normal(0, 10 ** rng.uniform(-4.5, -2.8), len(x)), -1, 1).astype(np.float32)


def encode(codec: Codec, x: np.ndarray, fast: bool = False) -> np.ndarray:
    """Codes [books, frames] of a whole song, encoded in pieces of ten seconds: a long song at once does not
    fit the CPU's cache and takes 3 times as long.

    Each piece starts with one second of what precedes it, more than the encoder's receptive field, so the
    codes do not depend on the split.
    """
    piece, before, ahead = 500, 50, 2
    out = []
    for start in range(0, -(-len(x) // FRAME), piece):
        first = max(0, start - before)
        codes = codec.encode(torch.from_numpy(x[first * FRAME:(start + piece + ahead) * FRAME])[None], fast=fast)[0]
        out.append(codes[:, start - first:start - first + piece])
    return torch.cat(out, 1).numpy().astype(np.int16)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--codecs", required=True, help="folder of codec checkpoints")
    p.add_argument("--corpus", nargs="+", required=True, help="folders of rendered music")
    p.add_argument("--out", required=True, help="folder for the tokens")
    p.add_argument("--stems", nargs="+", default=STEMS, choices=STEMS, help="stems to encode now, for example those whose codecs are trained")
    p.add_argument("--songs", type=int, help="at most this many per corpus")
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    codecs = {}
    for stem in a.stems:
        path, mark = Path(a.codecs) / f"{stem}.pt", out / f"{stem}.json"
        codecs[stem] = load_codec(path)
        stamp = hashlib.sha256(path.read_bytes()).hexdigest()
        if mark.exists() and json.loads(mark.read_text())["sha256"] != stamp:
            raise SystemExit(f"--out {out}: holds tokens of another {stem} codec; remove them or name another folder")
        quiet = np.random.default_rng(0).normal(0, 3e-4, FRAME * 100).astype(np.float32)
        silence = encode(codecs[stem], quiet)[:, 50].tolist()
        mark.write_text(json.dumps({"sha256": stamp, "config": codecs[stem].c, "silence": silence}))
    for c, root in enumerate(a.corpus):
        songs = 0
        for shard in sorted(Path(root).glob("shard-*")):
            raw = {s: np.memmap(shard / f"{s}.i16", np.int16, "r") for s in a.stems}
            for line in (shard / "songs.jsonl").read_text().splitlines():
                song = json.loads(line)
                songs += 1
                if song["split"] == "test" or songs > (a.songs or songs):
                    continue
                label = {k: song.get(k) for k in ("id", "split", "bpm", "meter", "style", "drummer", "instruments", "caption_tags")}
                frames = song["len"] // FRAME

                def shared():
                    beat, tick = clock_values(song, frames)
                    return {"beat": beat, "tick": tick, "chord": chord_values(song, frames), "rests": rests(song, frames), "label": json.dumps(label)}
                write_once(out / f"{c}-{song['id']}.song.npz", shared)
                for stem in a.stems:
                    def tokens():
                        x = raw[stem][song["start"]:song["start"] + song["len"]].astype(np.float32) / 32768.0
                        made = {"tokens": encode(codecs[stem], x, fast=True)}
                        if stem == "bass" and songs % 2:
                            rng = np.random.default_rng(int(hashlib.md5(str(song["id"]).encode()).hexdigest()[:8], 16))
                            made["other"] = encode(codecs[stem], vary_tone(x, rng), fast=True)
                        return made
                    write_once(out / f"{c}-{song['id']}.{stem}.npz", tokens)


def write_once(path: Path, make):
    """Writes the arrays that `make` returns to a .npz file, unless it exists."""
    if not path.exists():
        tmp = path.with_suffix(".tmp")
        with open(tmp, "wb") as f:
            np.savez(f, **make())
        tmp.rename(path)


if __name__ == "__main__":
    main()
