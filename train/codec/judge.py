"""Judges how the codecs sound: one table for each stem, of held-out songs.

    python -m train.codec.judge --codecs DIR [--before DIR] --corpus DIR --out DIR

Rows: the truth, another song (what the measure gives for a bad answer), the codecs of --before and of --codecs, and
Opus and Vorbis at low rates beside them, coded by ffmpeg. Each number is the mean over songs with a 95 % bootstrap
interval. Songs whose timbre no training song uses are repeated as rows of their own ("unheard"). Measures are in
measures.py; FAD and KLD compare musicnn's embeddings and tags of all excerpts with those of the truth.
Writes the tables as Markdown and JSON (OUT/judge.*), and a spectrogram of each stem, OUT/STEM.png.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch

from ..data import heldout
from ..eval import fad
from ..eval.onset import f_measure, onsets
from ..eval.pitch import cents, yin
from ..lm.tokens import load_codec
from . import locked, measures
from .dataset import StemDataset
from .model import synthesise

SECONDS = 10
# Codecs of the net at low rates: (row, ffmpeg's options, file name).
OTHERS = [("Opus 6 kb/s", ["-c:a", "libopus", "-b:a", "6k"], "a.opus"), ("Opus 12 kb/s", ["-c:a", "libopus", "-b:a", "12k"], "a.opus"),
          ("Opus 24 kb/s", ["-c:a", "libopus", "-b:a", "24k"], "a.opus"), ("Vorbis q-1", ["-c:a", "libvorbis", "-q:a", "-1"], "a.ogg")]
BANDS = {"1-3": (1000, 3000), "3-6": (3000, 6000), "6-10": (6000, 10000)}  # kHz: Hz


def unheard(song: dict, stem: str) -> bool:
    """Whether no training song uses this stem's timbre."""
    names = [str(song["instruments"][stem])] if stem != "other" else list(map(str, song["programs"]))
    parts = [n.split("/") for n in names]
    keys = [(p[0], int(p[1]), int(p[2])) for p in parts if len(p) == 3 and p[1].isdigit() and p[2].isdigit()]
    known = {"bass": heldout.PROGRAMS, "drums": heldout.KITS, "other": heldout.PROGRAMS}[stem]
    return any(n in heldout.BASSES for n in names) or any(k[0] == heldout.SOUNDFONT or k in known for k in keys)


@torch.no_grad()
def coded(codec, x: np.ndarray) -> tuple[np.ndarray, float]:
    """(decoded audio, dB of the spectra's energy that the overlap-add leaves)."""
    z = codec.quantizer.decode(codec.encode(torch.from_numpy(x)[None]))
    head = codec.decoder(z)
    y = synthesise(*head, codec.c)[0].numpy()[:len(x)]
    power = torch.exp(2 * head[0][0].float().clamp(max=codec.c["max_log"]))
    if codec.c.get("phase") == "locked":
        share = torch.sigmoid(head[1][0].float())
        share[:, :codec.c.get("locked_from", 0)] = 0  # there the head says phases
        power = power * (1 + (locked.MEDIAN_POWER - 1) * share)
    n, hop = codec.c["n_fft"], codec.c["hop"]
    got = measures.spectrum(np.pad(y, (n // 2 - hop // 2, n)), n, hop)[8:len(power) - 8] * (n / 4)
    return y, float(10 * np.log10((got**2).sum() / power[8:len(power) - 8].sum().item()))


def by_ffmpeg(x: np.ndarray, options: list[str], name: str) -> np.ndarray:
    """The audio after another codec, aligned to the sample by the file's own delay."""
    with tempfile.TemporaryDirectory() as folder:
        soundfile.write(f"{folder}/a.wav", np.pad(x, (0, 3200)), measures.RATE)
        for command in ([f"{folder}/a.wav", "-ar", "48000", *options, f"{folder}/{name}"], [f"{folder}/{name}", "-ar", "32000", f"{folder}/b.wav"]):
            subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", *command], check=True)
        y = soundfile.read(f"{folder}/b.wav", dtype="float32")[0]
    return np.pad(y, (0, max(0, len(x) - len(y))))[:len(x)]


def score(x: np.ndarray, y: np.ndarray, stem: str) -> dict:
    """All measures of `y`, whose original is `x`."""
    row = {f"crest {name} kHz, dB": measures.crest(y, *hz) for name, hz in BANDS.items()}
    row |= {f"log spectral distance {name} kHz, dB": measures.log_spectral_distance(x, y, *hz) for name, hz in BANDS.items()}
    levels = measures.level_errors(x, y)
    row["third octaves, mean absolute error, dB"] = float(np.nanmean(np.abs(levels))) if np.isfinite(levels).any() else None
    row["level 3-12 kHz, dB"] = float(np.nanmean(levels[15:])) if np.isfinite(levels[15:]).any() else None
    found = onsets(x)
    row["onsets, F"] = f_measure(found, onsets(y)) if len(found) else None
    rises = measures.attack_times(x, y, found)[1]
    row["attack, ms"] = float(np.median(rises)) if len(rises) else None
    if stem == "drums":
        row["tonal lines 5-10 kHz, dB"] = measures.tonal_lines(y)
    if stem == "bass":
        (a, sure), (b, _) = yin(x), yin(y)
        n = min(len(a), len(b))
        voiced = (a[:n] > 0) & (sure[:n] > np.median(sure))
        off = np.abs(cents(np.where(b[:n] > 0, b[:n], 1), np.where(a[:n] > 0, a[:n], 1)))[voiced]
        row["pitch within 50 cents"] = float((off < 50).mean()) if len(off) else None
    return row


def interval(values: list[float], rng: np.random.Generator) -> tuple[float, float, float]:
    """(mean, lower and upper end of a 95 % bootstrap interval) over songs."""
    v = np.array(values)
    means = v[rng.integers(len(v), size=(1000, len(v)))].mean(1)
    return float(v.mean()), *(float(q) for q in np.percentile(means, [2.5, 97.5]))


def cell(mean: float, low: float, high: float) -> str:
    return f"{mean:.2f} ({low:.2f} to {high:.2f})" if low != high else f"{mean:.2f}"


def judge(stem: str, corpus: list[str], codecs: dict, split: str, songs: int, picture: Path) -> dict:
    """{row: {measure: [values of the songs]}} of one stem."""
    rows, takes, previous = {}, {}, None
    every = StemDataset(corpus, stem, split).songs

    def add(name: str, song: dict, x, y, loss=None):
        for row in [name] + ([f"{name}, unheard"] if unheard(song, stem) else []):
            values = score(x, y, stem) | {"overlap-add, dB": loss}
            for key, value in values.items():
                rows.setdefault(row, {}).setdefault(key, []).append(value)
        takes.setdefault(name, []).append(y)

    for raw, song in every[:: max(1, len(every) // songs)][:songs]:
        x = raw[20 * 32000:(20 + SECONDS) * 32000].astype(np.float32) / 32768
        if len(x) < SECONDS * 32000 or np.sqrt((x**2).mean()) < 0.003:
            continue
        outputs = {name: coded(codec, x) for name, codec in codecs.items()}
        add("truth", song, x, x, 0.0)
        if previous is not None:
            add("another song", song, x, previous)
        for name, (y, loss) in outputs.items():
            add(name, song, x, y, loss)
        for name, options, file in OTHERS:
            add(name, song, x, by_ffmpeg(x, options, file))
        if previous is None:
            plot({"truth": x} | {name: y for name, (y, _) in outputs.items()}, picture, stem)
        previous = x
    if fad.available():
        from ..eval.musicnn import embed
        both = {name: tuple(np.concatenate(v) for v in zip(*(embed(x) for x in audio))) for name, audio in takes.items()}
        true, tags = both["truth"]
        for name, (vectors, probabilities) in both.items():
            rows[name]["FAD-musicnn"] = [fad.distance(true, vectors)]
            if name != "another song":
                p, q = (v / v.sum(1, keepdims=True) for v in (tags + 1e-6, probabilities + 1e-6))
                rows[name]["KLD-musicnn"] = [float((p * np.log(p / q)).sum(1).mean())]
    return rows


def plot(takes: dict, path: Path, stem: str):
    """Spectrograms of three seconds."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    fig, axes = plt.subplots(len(takes), 1, figsize=(14, 4 * len(takes)))
    for ax, (name, x) in zip(axes, takes.items()):
        ax.specgram(x[32000 * 2:32000 * 5] + 1e-9, NFFT=1024, noverlap=896, Fs=32000, vmin=-140, vmax=-40)
        ax.set_ylim(0, 4000 if stem == "bass" else 16000)
        ax.set_title(name)
    fig.tight_layout()
    fig.savefig(path, dpi=70)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--codecs", type=Path, required=True, help="folder of codec checkpoints")
    p.add_argument("--before", type=Path, help="folder of other checkpoints, to compare with")
    p.add_argument("--corpus", nargs="+", required=True, help="folders of rendered music")
    p.add_argument("--stems", nargs="+", default=["bass", "drums", "other"])
    p.add_argument("--split", default="test", choices=["train", "valid", "test"])
    p.add_argument("--songs", type=int, default=30, help="at most this many")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    torch.set_num_threads(1)
    a.out.mkdir(parents=True, exist_ok=True)
    result, text = {}, []
    for stem in a.stems:
        folders = {"before": a.before, "after": a.codecs} if a.before else {"coded": a.codecs}
        rows = judge(stem, a.corpus, {name: load_codec(f / f"{stem}.pt") for name, f in folders.items()}, a.split, a.songs, a.out / f"{stem}.png")
        rng = np.random.default_rng(0)
        table = {row: {k: interval([v for v in values if v is not None and np.isfinite(v)], rng)
                       for k, values in r.items() if any(v is not None and np.isfinite(v) for v in values)} for row, r in rows.items()}
        result[stem] = {"songs": len(rows["truth"]["attack, ms"]), "rows": table}
        measured = list(dict.fromkeys(k for r in table.values() for k in r))
        text += [f"## {stem}: {result[stem]['songs']} songs\n", "| | " + " | ".join(table) + " |", "|---" * (len(table) + 1) + "|"]
        for k in measured:
            text.append(f"| {k} | " + " | ".join(cell(*r[k]) if k in r else "" for r in table.values()) + " |")
        text.append("")
        (a.out / "judge.json").write_text(json.dumps(result, indent=1) + "\n")
        (a.out / "judge").with_suffix(".md").write_text("\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
