"""Trains the separator. Resumes from its checkpoint when it is run again.

    python -m train.separator.train --corpus DIR [DIR] --voices DIR --out DIR --steps 20000

The loss is the mean absolute error of real part, imaginary part and magnitude of the masked spectra of all sources, the
silent ones too, over the RMS of the mixture; in the last third also of a short spectrum (512) of the resulting audio,
for attacks. OUT/separator.pt holds the mean of the last weights (`ema`), which is exported.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch

from .. import checkpoint, compute
from .mixtures import Mixtures
from .model import CONFIG, Separator, spectrum, waveform


def distance(got: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of complex spectra [B, sources, frames, bins] for each item."""
    return ((got.real - want.real).abs() + (got.imag - want.imag).abs() + (got.abs() - want.abs()).abs()).mean((1, 2, 3))


def loss_of(net: Separator, mix: torch.Tensor, sources: torch.Tensor, short: bool) -> torch.Tensor:
    b, s, n = sources.shape
    rms = mix.square().mean(1).sqrt() + 1e-4
    spectra, want = spectrum(mix), spectrum(sources.flatten(0, 1)).view(b, s, -1, 1025)
    with compute.autocast():
        shares = net.shares(spectra)
    got = shares * spectra[:, None]
    loss = (distance(got, want) / rms).mean() / 30
    if short:
        audio = waveform(got.flatten(0, 1), n)
        fine = lambda x: spectrum(x, 512, 128).view(b, s, -1, 257)  # noqa: E731
        loss = loss + 0.5 * (distance(fine(audio), fine(sources.flatten(0, 1))) / rms).mean() / 15
    return loss


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--corpus", nargs="+", type=Path, required=True, help="folders of rendered music")
    p.add_argument("--voices", type=Path, required=True, help="folder made by train.separator.voice for the same corpora")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--steps", type=int, default=20000)
    p.add_argument("--batch", type=int, default=6)
    p.add_argument("--seconds", type=float, default=4.096, help="of audio per item")
    p.add_argument("--lr", type=float, default=1.5e-3)
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    a.out.mkdir(parents=True, exist_ok=True)
    path, here = a.out / "separator.pt", compute.device()
    net = Separator(CONFIG).to(here)
    ema = copy.deepcopy(net).requires_grad_(False)
    opt = torch.optim.AdamW(net.parameters(), lr=a.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    step, seconds, curve = 0, 0.0, []
    if path.exists():
        s = checkpoint.load(path)
        net.load_state_dict(s["model"]), ema.load_state_dict(s["ema"]), opt.load_state_dict(s["opt"])
        step, seconds, curve = s["step"], s["seconds"], s["curve"]
    music = Mixtures(a.corpus, a.voices, "train", seed=1 + step + 1_000_003 * compute.RANK)
    samples, start, saved, window = round(a.seconds * 32000), time.time(), time.time(), []
    while step < a.steps:
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1.0, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / a.steps)))
        mix, sources = (torch.from_numpy(np.stack(x)).to(here) for x in zip(*(music.item(samples) for _ in range(a.batch))))
        loss = loss_of(net, mix, sources, step > a.steps * 2 // 3)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        compute.average_gradients(net.parameters())
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        step += 1
        with torch.no_grad():
            keep = min(0.999, step / (step + 50))
            for e, v in zip(ema.parameters(), net.parameters()):
                e.lerp_(v, 1 - keep)
        window.append(loss.item())
        if compute.IS_MAIN and step % 50 == 0:
            row = {"step": step, "loss": round(float(np.mean(window)), 4), "minutes": round((seconds + time.time() - start) / 60, 1)}
            curve.append(row)
            print(json.dumps(row), flush=True)
            window = []
        if compute.IS_MAIN and (time.time() - saved > 120 or step == a.steps):
            saved = time.time()
            checkpoint.save(path, model=net.state_dict(), ema=ema.state_dict(), opt=opt.state_dict(), config=CONFIG, step=step, curve=curve,
                            seconds=seconds + saved - start)


if __name__ == "__main__":
    main()
