"""Spectrograms of true and generated stems side by side."""

from pathlib import Path

import numpy as np

SECONDS = 8


def plot(columns: dict[str, dict[str, np.ndarray]], start: float, bars: np.ndarray, path: Path):
    """Writes a picture: one column per take ({"truth": {"drums": x, …}, …}), one row per stem, bar lines in
    white."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    rows = ("drums", "other")
    fig, axes = plt.subplots(len(rows), len(columns), figsize=(7 * len(columns), 8), squeeze=False)
    for j, (name, stems) in enumerate(columns.items()):
        for i, stem in enumerate(rows):
            a = int(start * 32000)
            ax = axes[i, j]
            ax.specgram(stems[stem][a:a + SECONDS * 32000] + 1e-9, NFFT=1024 if stem == "drums" else 4096,
                        noverlap=768 if stem == "drums" else 3584, Fs=32000, vmin=-140, vmax=-30)
            for b in bars:
                if start <= b < start + SECONDS:
                    ax.axvline(b - start, color="white", lw=0.6)
            ax.set_ylim(0, 16000 if stem == "drums" else 5000)
            ax.set_title(f"{stem}: {name}")
    fig.tight_layout()
    fig.savefig(path, dpi=70)
    plt.close(fig)
