"""Songs to tokens: `python -m train.lm.tokens --codecs DIR --corpus DIR --out DIR`. One .npz a song; what is there is kept.

The bass is encoded a second time as another player would sound (level, tone, drive, noise), so that a real one is understood.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import scipy.signal
import torch

from ..codec.config import FRAME
from ..codec.model import Codec
from .config import STEMS
from .controls import beat_values, chord_values


def load_codec(path: Path) -> Codec:
    s = torch.load(path, weights_only=False)
    model = Codec(s["config"]).eval()
    model.load_state_dict(s["ema"])
    return model


def another_player(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same line from another hand: gain, tilt, drive, noise floor."""
    x = x * 10 ** rng.uniform(-0.4, 0.25)
    a = np.exp(-2 * np.pi * rng.uniform(200, 2000) / 32000)
    low = scipy.signal.lfilter([1 - a], [1, -a], x)
    x = low * 10 ** rng.uniform(-0.25, 0.25) + (x - low) * 10 ** rng.uniform(-0.5, 0.35)
    if rng.random() < 0.3:
        drive = rng.uniform(1, 6)
        x = np.tanh(drive * x) / drive
    return np.clip(x + rng.normal(0, 10 ** rng.uniform(-4.5, -2.8), len(x)), -1, 1).astype(np.float32)


def encode(codec: Codec, x: np.ndarray) -> np.ndarray:
    """Codes [books, frames] of a whole song, ten seconds at a time: a long song at once falls out of the cache and takes 3 times as long.

    A second of sound before each piece is more than the encoder can see, so the codes are those of the song in one piece.
    """
    piece, before, ahead = 500, 50, 2
    out = []
    for start in range(0, -(-len(x) // FRAME), piece):
        first = max(0, start - before)
        codes = codec.encode(torch.from_numpy(x[first * FRAME:(start + piece + ahead) * FRAME])[None])[0]
        out.append(codes[:, start - first:start - first + piece])
    return torch.cat(out, 1).numpy().astype(np.int16)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--codecs", required=True)
    p.add_argument("--corpus", nargs="+", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    codecs = {s: load_codec(Path(a.codecs) / f"{s}.pt") for s in STEMS}
    stamp = hashlib.sha256(b"".join((Path(a.codecs) / f"{s}.pt").read_bytes() for s in STEMS)).hexdigest()
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    mark = out / "codecs.sha256"
    if mark.exists() and mark.read_text() != stamp:
        raise SystemExit(f"{out} holds tokens of other codecs: remove it")
    mark.write_text(stamp)
    configs = {s: codecs[s].c for s in STEMS}
    (out / "codecs.json").write_text(json.dumps(configs))
    for c, root in enumerate(a.corpus):
        for shard in sorted(Path(root).glob("shard-*")):
            raw = {s: np.memmap(shard / f"{s}.i16", np.int16, "r") for s in STEMS}
            for line in (shard / "songs.jsonl").read_text().splitlines():
                song = json.loads(line)
                path = out / f"{c}-{song['id']}.npz"
                if path.exists():
                    continue
                cut = slice(song["start"], song["start"] + song["len"])
                audio = {s: raw[s][cut].astype(np.float32) / 32768.0 for s in STEMS}
                rng = np.random.default_rng(int(hashlib.md5(str(song["id"]).encode()).hexdigest()[:8], 16))
                tokens = {s: encode(codecs[s], audio[s]) for s in STEMS}
                frames = song["len"] // FRAME
                label = {k: song[k] for k in ("id", "split", "bpm", "meter", "style", "instruments", "caption_tags")}
                tmp = path.with_suffix(".tmp.npz")
                np.savez(tmp, **tokens, bass_other=encode(codecs["bass"], another_player(audio["bass"], rng)),
                         beat=beat_values(song, frames), chord=chord_values(song, frames), label=json.dumps(label))
                tmp.rename(path)
    silence = {s: encode(codecs[s], np.random.default_rng(0).normal(0, 3e-4, FRAME * 100).astype(np.float32))[:, 50].tolist() for s in STEMS}
    (out / "silence.json").write_text(json.dumps(silence))


if __name__ == "__main__":
    main()
