"""The mean of two runs: `python -m train.lm.mean --lm A B --out DIR`. Weights between where practice began and where it ended.

ItemSampler on few songs learns what is asked and some of those songs by heart; in between, what both have in common is kept and the rest
cancels out. (Wortsman and others, "Model soups", 2022; in train/README.md what it did here.)
"""

import argparse
import shutil
from pathlib import Path

import torch

from ..codec.train import save


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--lm", type=Path, nargs=2, required=True, help="folders of two checkpoints of one shape; the second's step and curve are kept")
    p.add_argument("--share", type=float, default=0.5, help="of the second; the rest is the first's")
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    if (a.out / "lm.pt").exists():
        raise SystemExit(f"{a.out / 'lm.pt'} is there already")
    first, last = (torch.load(folder / "lm.pt", weights_only=False, map_location="cpu") for folder in a.lm)
    a.out.mkdir(parents=True, exist_ok=True)
    mean = {n: torch.lerp(first["ema"][n].float(), w.float(), a.share) if w.is_floating_point() else w for n, w in last["ema"].items()}
    shutil.copy(a.lm[1] / "tokenizer.json", a.out)
    save(a.out / "lm.pt", **last | {"model": mean, "ema": mean, "opt": None})


if __name__ == "__main__":
    main()
