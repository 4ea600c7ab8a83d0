"""Averages the weights of two LM checkpoints.

    python -m train.lm.average --lm A B --out DIR

Use it after continued training: the average of the weights before and after keeps what was learnt and
overfits less to the new songs (Wortsman et al., "Model soups", 2022). The gains here are in
docs/measurements/training-trials.md.
"""

import argparse
import shutil
from pathlib import Path

import torch

from .. import checkpoint


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--lm", type=Path, nargs=2, required=True, help="folders of two checkpoints of the same size; step and curve are taken from the second")
    p.add_argument("--share", type=float, default=0.5, help="weight of the second, 0 to 1")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    if (a.out / "lm.pt").exists():
        raise SystemExit(f"{a.out / 'lm.pt'} exists: name another --out")
    first, last = (checkpoint.load(folder / "lm.pt") for folder in a.lm)
    a.out.mkdir(parents=True, exist_ok=True)
    mean = {n: torch.lerp(first["ema"][n].float(), w.float(), a.share) if w.is_floating_point() else w for n, w in last["ema"].items()}
    shutil.copy(a.lm[1] / "tokenizer.json", a.out)
    checkpoint.save(a.out / "lm.pt", **last | {"model": mean, "ema": mean, "opt": None})


if __name__ == "__main__":
    main()
