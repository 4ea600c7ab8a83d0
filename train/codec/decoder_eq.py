"""Corrects the spectral balance of a trained codec.

    python -m train.codec.decoder_eq drums --codecs DIR --corpus DIR

Run it once, after training. Where a decoder is uncertain it averages, and its output is too soft, mostly
above 2 kHz. For each third of an octave, over songs of the train split, this measures the loss of power and
the loss of mean log level, and adds the mean of the two to the bias of the decoder's log magnitudes. (The
full power loss would make the noise between partials too loud; the full log-level loss alone would leave
peaks soft.) Only that bias changes, so the tokens stay valid.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from .. import checkpoint
from ..lm.tokens import load_codec
from .dataset import StemDataset

SECONDS, N = 10, 2048
LIMIT = 6.0  # dB of correction at most: bands that are silent in most songs are measured badly


def bands() -> np.ndarray:
    """Band edges in Hz, a third of an octave apart."""
    return 50 * 2 ** (np.arange(26) / 3)


def loss_by_band(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """dB that coded sound lacks in each band, by power and by mean log level: the median over the (original,
    coded) excerpts that have sound in the band."""
    hz, edges = np.fft.rfftfreq(N, 1 / 32000), bands()
    size = lambda x: np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(x, N)[::512] * np.hanning(N))) * 4 / N  # noqa: E731
    power, log = [[] for _ in edges[1:]], [[] for _ in edges[1:]]
    for x, y in pairs:
        a, b = size(x), size(y)
        for k, (low, high) in enumerate(zip(edges, edges[1:])):
            rows = (hz >= low) & (hz < high)
            if rows.any() and np.sqrt((a[:, rows] ** 2).mean()) > 1e-4:
                power[k].append(10 * np.log10((a[:, rows] ** 2).mean() / ((b[:, rows] ** 2).mean() + 1e-12)))
                log[k].append(20 * np.mean(np.log10((a[:, rows] + 1e-4) / (b[:, rows] + 1e-4))))
    return tuple(np.array([np.median(v) if len(v) >= max(3, len(pairs) // 4) else 0.0 for v in rows]) for rows in (power, log))


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
    if "eq_db" in trained:
        raise SystemExit(f"{path}: has been corrected already")
    power, log = loss_by_band(coded_pairs(codec, a.corpus, a.stem, "train", a.songs))
    gain = np.clip((power + log) / 2, -LIMIT, LIMIT)
    middle = np.sqrt(bands()[1:] * bands()[:-1])
    hz = np.arange(codec.c["n_fft"] // 2 + 1) * 32000 / codec.c["n_fft"]
    add = np.interp(np.log2(hz.clip(20)), np.log2(middle), gain) * np.log(10) / 20
    for name in ("ema", "model"):
        state = trained[name] = dict(trained[name])
        state["decoder.head.bias"] = state["decoder.head.bias"].clone()
        state["decoder.head.bias"][:len(hz)] += torch.from_numpy(add).float()
    checkpoint.save(path, **trained, eq_db=gain.round(2).tolist())
    after = loss_by_band(coded_pairs(load_codec(path), a.corpus, a.stem, "train", a.songs))
    show = lambda v: [round(float(x), 1) for x in v]  # noqa: E731
    print(json.dumps({"stem": a.stem, "hz": [round(m) for m in middle], "power_lost_db": show(power), "log_level_lost_db": show(log), "added_db": show(gain),
                      "power_lost_db_after": show(after[0]), "log_level_lost_db_after": show(after[1])}))


if __name__ == "__main__":
    main()
