"""Measures how well a codec reconstructs its stem.

    python -m train.codec.evaluate bass --codecs DIR --corpus DIR [--split test] [--wav DIR] [--picture FILE]

bass: share of frames whose pitch is within 50 cents after coding, among those whose pitch in the original
agrees with the score (with and without octave errors). drums: F-measure of onsets within 20 ms, and accuracy
of telling kick, snare and hat apart (drum_hits.py). All stems: log-mel distance, level, and codes used.
Control: the same distance to another song.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from ..eval.classify import Classifier
from ..eval.onset import f_measure, onsets
from ..eval.pitch import cents, yin
from ..lm.tokens import load_codec
from . import drum_hits
from .dataset import StemDataset

SECONDS = 30


def mel_matrix(bands=80, n=2048, rate=32000):
    top = 2595 * np.log10(1 + 16000 / 700)
    hz = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    f = np.arange(n // 2 + 1) * rate / n
    up, down = (f - hz[:-2, None]) / (hz[1:-1] - hz[:-2])[:, None], (hz[2:, None] - f) / (hz[2:] - hz[1:-1])[:, None]
    return np.maximum(0, np.minimum(up, down))


def log_mel(x):
    seg = np.lib.stride_tricks.sliding_window_view(x, 2048)[::512] * np.hanning(2048)
    return np.log(np.abs(np.fft.rfft(seg)) @ mel_matrix().T + 1e-2)


def score_pitch(song, at, frames):
    """Pitch in Hz by the score, for each 20 ms frame of an excerpt that starts at second `at`; 0 where no
    note sounds or one has just begun."""
    out = np.zeros(frames)
    for on, off, midi, _ in song["notes"]["bass"]:
        a, b = int(np.ceil((on - at + 0.06) * 50)), int((min(off, on + 2.0) - at - 0.02) * 50)
        out[max(a, 0):max(b, 0)] = 440 * 2 ** ((midi - 69) / 12)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stem", choices=["bass", "drums", "other"])
    p.add_argument("--codecs", required=True, help="folder of codec checkpoints")
    p.add_argument("--corpus", nargs="+", required=True, help="folders of rendered music")
    p.add_argument("--split", default="test", choices=["train", "valid", "test"])
    p.add_argument("--songs", type=int, default=12)
    p.add_argument("--wav", metavar="DIR", help="write original and coded excerpts there")
    p.add_argument("--picture", metavar="FILE", help="spectrograms of the first song")
    a = p.parse_args()
    torch.set_num_threads(1)
    codec = load_codec(Path(a.codecs) / f"{a.stem}.pt")
    songs = StemDataset(a.corpus, a.stem, a.split).songs
    classifier = train_classifier(a.corpus) if a.stem == "drums" else None
    rows, used, previous = [], [set() for _ in range(codec.c["books"])], None
    for raw, song in songs[:: max(1, len(songs) // a.songs)][:a.songs]:
        at = min(20.0, len(raw) / 32000 - SECONDS)
        x = raw[int(at * 32000):][:SECONDS * 32000].astype(np.float32) / 32768
        codes = codec.encode(torch.from_numpy(x)[None])
        y = codec.decode(codes)[0].numpy()[:len(x)]
        for q, book in enumerate(codes[0]):
            used[q] |= set(book.tolist())
        row = {"song": song["id"], "timbre": str(song["instruments"][a.stem]), "mel": float(np.abs(log_mel(x) - log_mel(y)).mean()),
               "level_db": float(20 * np.log10((np.sqrt(np.mean(y**2)) + 1e-6) / (np.sqrt(np.mean(x**2)) + 1e-6)))}
        if previous is not None:
            row["mel_other_song"] = float(np.abs(log_mel(x) - log_mel(previous)).mean())
        if a.stem == "bass":
            want, (truth, _), (got, _) = score_pitch(song, at, SECONDS * 50), yin(x), yin(y)
            n = min(map(len, (want, truth, got)))
            want, truth, got = want[:n], truth[:n], got[:n]
            voiced = (want > 0) & (np.abs(cents(truth, np.where(want > 0, want, 1))) < 80)
            off = np.abs(cents(got, truth))[voiced]
            row |= {"measurable": float(voiced.sum() / max(1, (want > 0).sum())), "pitch": float(np.mean(off < 50)) if len(off) else None,
                    "pitch_folded": float(np.mean(np.minimum(off % 1200, 1200 - off % 1200) < 50)) if len(off) else None}
        if a.stem == "drums":
            truth = onsets(x)
            row |= {"onset_f": f_measure(truth, onsets(y)), "onset_f_other_song": f_measure(truth, onsets(previous)) if previous is not None else None}
            hits = drum_hits.isolated(song, at, SECONDS)
            if hits:
                row |= drum_hits.accuracy([drum_hits.features(x, t) for t, _ in hits], [drum_hits.features(y, t) for t, _ in hits], np.array([k for _, k in hits]), classifier)
        rows.append(row)
        previous = x
        if a.wav:
            Path(a.wav).mkdir(parents=True, exist_ok=True)
            soundfile.write(f"{a.wav}/{a.stem}-{song['id']}-original.wav", x, 32000)
            soundfile.write(f"{a.wav}/{a.stem}-{song['id']}-coded.wav", np.clip(y, -1, 1), 32000)
        if a.picture and len(rows) == 1:
            plot(x, y, a.picture, 2000 if a.stem == "bass" else 16000)
    keys = [k for k in rows[0] | rows[-1] if k not in ("song", "timbre")]
    mean = {k: round(float(np.mean([r[k] for r in rows if r.get(k) is not None])), 4) for k in keys}
    print(json.dumps({"stem": a.stem, "split": a.split, "songs": len(rows), "mean": mean, "codes_used": [len(u) for u in used], "rows": rows}))


def train_classifier(corpus: list[str], count: int = 40) -> Classifier:
    """A classifier of drum hits, trained on the uncoded drums of the train split."""
    songs = StemDataset(corpus, "drums", "train").songs
    rows, kinds = [], []
    for raw, song in songs[:: max(1, len(songs) // count)]:
        at = min(20.0, len(raw) / 32000 - SECONDS)
        x = raw[int(at * 32000):][:SECONDS * 32000].astype(np.float32) / 32768
        for t, kind in drum_hits.isolated(song, at, SECONDS):
            rows.append(drum_hits.features(x, t))
            kinds.append(kind)
    return drum_hits.train(rows, kinds)


def plot(x, y, path, top):
    """Spectrograms of six seconds of the original and of the coded sound, up to `top` Hz."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    fig, axes = plt.subplots(2, 1, figsize=(14, 8))
    for ax, s, name in zip(axes, (x, y), ("original", "coded")):
        ax.specgram(s[32000:32000 * 7] + 1e-9, NFFT=4096 if top < 4000 else 1024, noverlap=3584 if top < 4000 else 768, Fs=32000, vmin=-140, vmax=-30)
        ax.set_ylim(0, top)
        ax.set_title(name)
    fig.tight_layout()
    fig.savefig(path)


if __name__ == "__main__":
    main()
