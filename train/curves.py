"""Learning curves as pictures: `python -m train.curves --codecs DIR --lm DIR --out DIR`, from the checkpoints, at any time."""

import argparse
import json
from pathlib import Path

import torch

from .lm.config import STEMS


def lines(axis, title: str, rows: list[dict], **what):
    """One line for each name and its way to read a row; rows that lack it are passed over."""
    for name, read in what.items():
        points = [(r["step"], read(r)) for r in rows if read(r) is not None]
        if points:
            axis.plot(*zip(*points), marker="." if len(points) < 40 else None, label=name)
    axis.set_title(title)
    axis.set_xlabel("step")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--codecs", type=Path)
    p.add_argument("--lm", type=Path)
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    a.out.mkdir(parents=True, exist_ok=True)
    if a.codecs:
        fig, axes = plt.subplots(1, len(STEMS), figsize=(15, 4.5))
        for axis, stem in zip(axes, STEMS):
            rows = torch.load(a.codecs / f"{stem}.pt", weights_only=False, map_location="cpu")["curve"]
            lines(axis, f"{stem} codec", rows, spectra=lambda r: r["loss"], quantizer=lambda r: r["vq"], meaning=lambda r: r["meaning"])
        fig.tight_layout()
        fig.savefig(a.out / "codecs.png", dpi=80)
    if a.lm:
        rows = json.loads((a.lm / "curve.json").read_text())
        streams = torch.load(a.lm / "lm.pt", weights_only=False, map_location="cpu")["config"]["streams"]
        first = {s["stem"]: k + 1 for k, s in enumerate(streams) if s["level"] == 0}  # 0 is the weighted loss
        fig, axes = plt.subplots(1, 2, figsize=(15, 4.5))
        for axis, part in zip(axes, ("train", "valid")):
            lines(axis, f"LM, {part} (nats)", rows, weighted=lambda r: r.get(part, [None])[0],
                  **{f"{s}, book 1": lambda r, k=k: r[part][k] if part in r else None for s, k in first.items()})
        fig.tight_layout()
        fig.savefig(a.out / "lm.png", dpi=80)


if __name__ == "__main__":
    main()
