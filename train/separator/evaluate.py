"""How well the separator takes songs apart that it never met, beside controls.

    python -m train.separator.evaluate --separator DIR --corpus DIR [DIR] --voices DIR --split test --json FILE

From each song it takes 20 s with the voice and 20 s without. For each source: SI-SDR (Le Roux et al. 2019) and SDR (energy of
the source over energy of the error), in dB, median and 95 % interval by bootstrap over the excerpts; where a source is
silent, the level of what leaks into it below the mixture. The controls are the mixture itself, the oracle ratio mask (true
magnitudes, the mixture's phases: what a mask of this resolution can reach), and for the bass everything below 150 Hz.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, sosfiltfilt

from .. import checkpoint
from .mixtures import Mixtures
from .model import RATE, SOURCES, Separator, spectrum, waveform

SECONDS = 20
SILENT = 1e-4  # RMS


def si_sdr(truth: np.ndarray, estimate: np.ndarray) -> float:
    scaled = truth * (np.dot(truth, estimate) / np.dot(truth, truth))
    return sdr(scaled, estimate)


def sdr(truth: np.ndarray, estimate: np.ndarray) -> float:
    return 10 * np.log10((np.sum(truth**2) + 1e-12) / (np.sum((truth - estimate) ** 2) + 1e-12))


def oracle(mix: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
    """The sources [S, samples] by the ratio of their true magnitudes."""
    size = spectrum(sources).abs() + 1e-9
    return waveform(size / size.sum(0) * spectrum(mix), mix.shape[1])


def excerpts(music: Mixtures):
    """(mix, sources [4, samples]) of each song, with the voice and without."""
    for song in music.songs:
        samples = min(SECONDS * RATE, song.length)
        at = music.voice_position(song, samples) if song.voice else 0
        stems = np.stack([song.crop(s, at, samples) for s in SOURCES])
        stems[3] *= 0.8
        for voice in (True, False):
            sources = stems.copy()
            if not voice:
                sources[3] = 0
            if (np.sqrt((sources[:3] ** 2).mean(1)) > SILENT).any():
                yield sources.sum(0), sources


def interval(values: list[float], rng) -> list[float]:
    """Median and its 95 % interval."""
    v = np.array(values)
    means = np.median(v[rng.integers(len(v), size=(2000, len(v)))], 1)
    return [round(float(x), 2) for x in (np.median(v), *np.percentile(means, [2.5, 97.5]))]


def evaluate(net: Separator, music: Mixtures) -> dict:
    rows = {}  # (what, source, measure) -> values
    low = butter(4, 150, fs=RATE, output="sos")
    for mix, sources in excerpts(music):
        x = torch.from_numpy(mix)[None]
        estimates = {"separator": net.separate(x)[0].numpy(), "mixture": np.stack([mix] * 4), "oracle mask": oracle(x, torch.from_numpy(sources)).numpy()}
        below = np.zeros_like(sources)
        below[1] = sosfiltfilt(low, mix)
        estimates["below 150 Hz"] = below
        for what, made in estimates.items():
            for k, source in enumerate(SOURCES):
                if what == "below 150 Hz" and source != "bass":
                    continue
                truth, got = sources[k].astype(np.float64), made[k].astype(np.float64)
                if np.sqrt(np.mean(truth**2)) > SILENT:
                    rows.setdefault((what, source, "si_sdr"), []).append(si_sdr(truth, got))
                    rows.setdefault((what, source, "sdr"), []).append(sdr(truth, got))
                elif what != "oracle mask":
                    rows.setdefault((what, source, "leak"), []).append(10 * np.log10((np.sum(got**2) + 1e-12) / np.sum(mix.astype(np.float64) ** 2)))
    rng = np.random.default_rng(0)
    return {" | ".join(k): {"median": interval(v, rng), "excerpts": len(v)} for k, v in rows.items()}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--separator", type=Path, required=True, help="folder of the checkpoint separator.pt")
    p.add_argument("--corpus", nargs="+", type=Path, required=True)
    p.add_argument("--voices", type=Path, required=True)
    p.add_argument("--split", default="test", choices=["train", "valid", "test"])
    p.add_argument("--songs", type=int, help="only the first ones")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--json", type=Path)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    s = checkpoint.load(a.separator / "separator.pt")
    net = Separator(s["config"])
    net.load_state_dict(s["ema"])
    music = Mixtures(a.corpus, a.voices, a.split, 0)
    music.songs = music.songs[:a.songs]
    table = evaluate(net.eval(), music)
    for name, row in table.items():
        print(f"{name:40} {row['median'][0]:7.2f}  [{row['median'][1]:.2f}, {row['median'][2]:.2f}]  {row['excerpts']}")
    if a.json:
        a.json.write_text(json.dumps({"step": s["step"], "split": a.split, "table": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
