"""Evens out what a trained codec leaves too soft: `python -m train.codec.level drums --codecs DIR --corpus DIR`. Once, after training.

A decoder that is unsure plays between what could be: softer, most of all above 2 kHz. For each third of an octave, over true songs of
the train split, this measures how much power and how much of the mean log level is lost, and adds half of both to the bias of the
decoder's log magnitudes. (All of the power would make the haze between partials too loud; all of the log level would leave peaks soft.)
Only the decoder's bias changes: tokens stay what they are.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from ..lm.tokens import load_codec
from .dataset import StemDataset
from .train import save

SECONDS, N = 10, 2048
MOST = 6.0  # dB: a band without sound in most songs says nothing


def bands() -> np.ndarray:
    """Edges in Hz, a third of an octave apart."""
    return 50 * 2 ** (np.arange(26) / 3)


def lost(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """dB that coded sound lacks in each band, by power and by mean log level: of (true, coded) excerpts, the median over those that
    have anything there."""
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


def pairs(codec, corpus: list[str], stem: str, split: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    songs = Stem(corpus, stem, split).songs
    out = []
    for raw, _ in songs[:: max(1, len(songs) // count)][:count]:
        x = raw[20 * 32000:(20 + SECONDS) * 32000].astype(np.float32) / 32768
        if len(x) == SECONDS * 32000 and np.sqrt((x**2).mean()) > 0.003:
            out.append((x, codec.decode(codec.encode(torch.from_numpy(x)[None]))[0].numpy()[:len(x)]))
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stem", choices=["bass", "drums", "other"])
    p.add_argument("--corpus", nargs="+", required=True)
    p.add_argument("--codecs", type=Path, required=True)
    p.add_argument("--songs", type=int, default=60)
    a = p.parse_args()
    torch.set_num_threads(1)
    path = a.codecs / f"{a.stem}.pt"
    whole, codec = torch.load(path, weights_only=False), load_codec(path)
    if "levelled" in whole:
        raise SystemExit(f"{path}: is levelled already")
    power, log = lost(pairs(codec, a.corpus, a.stem, "train", a.songs))
    gain = np.clip((power + log) / 2, -MOST, MOST)
    middle = np.sqrt(bands()[1:] * bands()[:-1])
    hz = np.arange(codec.c["n_fft"] // 2 + 1) * 32000 / codec.c["n_fft"]
    add = np.interp(np.log2(hz.clip(20)), np.log2(middle), gain) * np.log(10) / 20
    for name in ("ema", "model"):
        state = whole[name] = dict(whole[name])
        state["decoder.head.bias"] = state["decoder.head.bias"].clone()
        state["decoder.head.bias"][:len(hz)] += torch.from_numpy(add).float()
    save(path, **whole, levelled=gain.round(2).tolist())
    after = lost(pairs(load_codec(path), a.corpus, a.stem, "train", a.songs))
    show = lambda v: [round(float(x), 1) for x in v]  # noqa: E731
    print(json.dumps({"stem": a.stem, "hz": [round(m) for m in middle], "lost by power": show(power), "by log level": show(log), "added": show(gain),
                      "then lost by power": show(after[0]), "then by log level": show(after[1])}))


if __name__ == "__main__":
    main()
