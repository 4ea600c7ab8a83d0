"""Plots the learning curves of checkpoints.

    python -m train.curves --codecs DIR --lm DIR --out DIR

Works while training runs.
"""

import argparse
import json
from pathlib import Path

from . import checkpoint
from .lm.config import STEMS


def plot_lines(axis, title: str, rows: list[dict], **series):
    """Draws one line per series, `name=function of a row`. Rows where the function gives None are left out."""
    for name, read in series.items():
        points = [(r["step"], read(r)) for r in rows if read(r) is not None]
        if points:
            axis.plot(*zip(*points), marker="." if len(points) < 40 else None, label=name)
    axis.set_title(title)
    axis.set_xlabel("step")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--codecs", type=Path, help="folder of codec checkpoints; writes codecs.png")
    p.add_argument("--lm", type=Path, help="folder of the LM's checkpoint; writes lm.png")
    p.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    a = p.parse_args()
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    a.out.mkdir(parents=True, exist_ok=True)
    if a.codecs:
        fig, axes = plt.subplots(1, len(STEMS), figsize=(15, 4.5))
        for axis, stem in zip(axes, STEMS):
            rows = checkpoint.load(a.codecs / f"{stem}.pt")["curve"]
            plot_lines(axis, f"{stem} codec", rows, spectral=lambda r: r["loss"], quantizer=lambda r: r["vq"], semantic=lambda r: r.get("semantic", r.get("meaning")))
        fig.tight_layout()
        fig.savefig(a.out / "codecs.png", dpi=80)
    if a.lm:
        rows = json.loads((a.lm / "curve.json").read_text())
        streams = checkpoint.load(a.lm / "lm.pt")["config"]["streams"]
        first = {s["stem"]: k + 1 for k, s in enumerate(streams) if s["level"] == 0}  # 0 is the weighted loss
        fig, axes = plt.subplots(1, 2, figsize=(15, 4.5))
        for axis, part in zip(axes, ("train", "valid")):
            plot_lines(axis, f"LM, {part} (nats)", rows, weighted=lambda r: r.get(part, [None])[0],
                  **{f"{s}, book 1": lambda r, k=k: r[part][k] if part in r else None for s, k in first.items()})
        fig.tight_layout()
        fig.savefig(a.out / "lm.png", dpi=80)


if __name__ == "__main__":
    main()
