"""Corrects the spectral balance of a decoder with locked phases.

    python -m train.codec.decoder_eq drums --codecs DIR --corpus DIR

Run it once, after train_decoder. Where a decoder is uncertain it predicts medians, and its output is too soft. For each
third of an octave this measures the loss of power over songs of the train split, and adds it to the bias of the
decoder's log magnitudes. Before that it lowers the noise share (`NOISE_BIAS`). Only biases of bins with locked phases
change, so the tokens stay valid.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from .. import checkpoint
from ..lm.tokens import load_codec
from .dataset import StemDataset

SECONDS, N = 10, 4096
LIMIT = 6.0  # dB of correction at most: bands that are silent in most songs are measured badly
# Added to the logit of the noise share. The unsteadiness that the share is trained on is high at every attack; without
# this, drums and bass lose attacks, drums have fewer lines than real cymbals, and `other` sounds of noise
# (docs/measurements/sound.md).
NOISE_BIAS = {"bass": -1.5, "drums": -3.0, "other": -3.0}


def bands() -> np.ndarray:
    """Band edges in Hz, a third of an octave apart."""
    return 50 * 2 ** (np.arange(26) / 3)


def power_lost(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """dB of power that coded sound lacks in each band: the median over the (original, coded) excerpts that have
    sound in the band."""
    hz, edges = np.fft.rfftfreq(N, 1 / 32000), bands()
    size = lambda x: np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(x, N)[::N // 4] * np.hanning(N))) * 4 / N  # noqa: E731
    lost = [[] for _ in edges[1:]]
    for x, y in pairs:
        a, b = ((size(v) ** 2).mean(0) for v in (x, y))
        for k, (low, high) in enumerate(zip(edges, edges[1:])):
            rows = (hz >= low) & (hz < high)
            if rows.any() and np.sqrt(a[rows].mean()) > 3e-5:
                lost[k].append(10 * np.log10(a[rows].mean() / (b[rows].mean() + 1e-12)))
    return np.array([np.median(v) if len(v) >= max(3, len(pairs) // 4) else 0.0 for v in lost])


def coded_pairs(codec, corpus: list[str], stem: str, split: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(original, coded) excerpts of `SECONDS` of up to `count` songs."""
    songs = StemDataset(corpus, stem, split).songs
    out = []
    for raw, _ in songs[:: max(1, len(songs) // count)][:count]:
        x = raw[20 * 32000:(20 + SECONDS) * 32000].astype(np.float32) / 32768
        if len(x) == SECONDS * 32000 and np.sqrt((x**2).mean()) > 0.003:
            out.append((x, codec.decode(codec.encode(torch.from_numpy(x)[None]))[0].numpy()[:len(x)]))
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stem", choices=["bass", "drums", "other"])
    p.add_argument("--corpus", nargs="+", required=True, help="folders of rendered music")
    p.add_argument("--codecs", type=Path, required=True, help="folder of codec checkpoints; STEM.pt is replaced")
    p.add_argument("--songs", type=int, default=60, help="songs to measure on")
    a = p.parse_args()
    torch.set_num_threads(1)
    path = a.codecs / f"{a.stem}.pt"
    trained, codec = checkpoint.load(path), load_codec(path)
    if codec.c.get("phase") != "locked":
        raise SystemExit(f"{path}: its decoder has no locked phases; run train.codec.train_decoder first")
    if "eq_db" in trained:
        raise SystemExit(f"{path}: has been corrected already")
    bias, half = codec.decoder.head.bias.data, codec.c["n_fft"] // 2 + 1
    given = codec.c.get("locked_from", 0)
    bias[half + given:] += NOISE_BIAS[a.stem]
    lost = power_lost(coded_pairs(codec, a.corpus, a.stem, "train", a.songs))
    gain = lost.clip(-LIMIT, LIMIT)
    middle = np.sqrt(bands()[1:] * bands()[:-1])
    hz = np.arange(half) * 32000 / codec.c["n_fft"]
    corrected = torch.from_numpy(np.interp(np.log2(hz.clip(20)), np.log2(middle), gain) * np.log(10) / 20).float()
    bias[given:half] += corrected[given:]
    after = power_lost(coded_pairs(codec, a.corpus, a.stem, "train", a.songs))
    state = codec.state_dict()
    checkpoint.save(path, **trained | {"ema": state, "model": state}, eq_db=gain.round(2).tolist())
    show = lambda v: [round(float(x), 1) for x in v]  # noqa: E731
    print(json.dumps({"stem": a.stem, "hz": [round(m) for m in middle], "power_lost_db": show(lost), "power_lost_db_after": show(after)}))


if __name__ == "__main__":
    main()
