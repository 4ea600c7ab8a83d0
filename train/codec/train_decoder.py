"""Trains a decoder with locked phases for the tokens of a codec.

    python -m train.codec.train_decoder other --codecs DIR --tokens DIR --corpus DIR --steps 4500

Encoder and quantizer are frozen, so the tokens, and an LM trained on them, stay valid. It reads DIR/STEM.pt (made by
train.codec.train) and, when all steps are done, replaces the decoder in it; until then its state is in
DIR/STEM.decoder.pt, from which it resumes. `--tokens` holds what train.lm.tokens wrote for the same corpora, in the
same order.

There is nothing to synthesise in training: phases follow from the magnitudes (`locked.py`), so the head is compared
with the spectra of the original. The losses, each with equal weight for each octave rather than for each bin:

* the log magnitude, which tends to its median, and its differences over time and frequency, for attacks and partials;
* the power of third-octave bands as a gamma distribution, which tends to its mean, because medians are too soft;
* the noise share against how unsteady the phase of the original is (`unsteadiness`).

Below the bin `locked_from` the decoder keeps predicting phases. There it is compared with the decoder before, whose
magnitudes and phases it should keep, and the losses above leave these bins out.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from .. import checkpoint, compute
from ..lm.tokens import load_codec
from .config import HOP, SYNTHESIS, locked_config
from .locked import MEDIAN_POWER
from .model import Decoder

FLOOR = 1e-5  # magnitudes of a full-scale sine: below it all is silence
START, END = 40, 8  # fine frames at a crop's ends that the losses leave out: no history, no audio after them


class Pairs:
    """(tokens, audio) of all training songs of one stem."""

    def __init__(self, tokens: Path, corpus: list[str], stem: str, seed: int):
        self.rng, self.songs = np.random.default_rng(seed), []
        for c, root in enumerate(corpus):
            for shard in sorted(Path(root).glob("shard-*")):
                raw = np.memmap(shard / f"{stem}.i16", np.int16, "r")
                for line in (shard / "songs.jsonl").read_text().splitlines():
                    song = json.loads(line)
                    path = tokens / f"{c}-{song['id']}.{stem}.npz"
                    if song["split"] == "train" and path.exists():
                        self.songs.append((np.load(path)["tokens"], raw[song["start"]:song["start"] + song["len"]]))
        if not self.songs:
            raise SystemExit(f"--tokens {tokens}: no tokens of {stem} (python -m train.lm.tokens makes them)")

    def crop(self, frames: int) -> tuple[np.ndarray, np.ndarray]:
        for _ in range(20):
            tokens, raw = self.songs[self.rng.integers(len(self.songs))]
            f = self.rng.integers(0, tokens.shape[1] - frames)
            x = raw[f * 2 * HOP:(f + frames) * 2 * HOP].astype(np.float32) / 32768
            if np.sqrt(np.mean(x * x)) > 0.003:
                break
        return tokens[:, f:f + frames].astype(np.int64), x

    def batch(self, items: int, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes [items, books, frames] and audio [items, 640·frames]."""
        codes, audio = zip(*(self.crop(frames) for _ in range(items)))
        return torch.from_numpy(np.stack(codes)), torch.from_numpy(np.stack(audio))


def target(x: torch.Tensor, n: int) -> torch.Tensor:
    """Complex spectra [B, fine frames, n/2+1] of audio, in the frames of the decoder."""
    x, frames = F.pad(x, (n // 2 - HOP // 2, n)), x.shape[1] // HOP
    return torch.fft.rfft(x.unfold(1, n, HOP)[:, :frames] * torch.hann_window(n, device=x.device))


def unsteadiness(spectra: torch.Tensor) -> torch.Tensor:
    """From 0, where the phase advances evenly as a partial's does, to 1, where it is random as noise's is: one minus
    the mean cosine of the second difference of the phase over about 20 ms, averaged over 5 × 5 bins by magnitude."""
    d = 2 if spectra.shape[-1] > 500 else 1
    unit, weight = spectra / (spectra.abs() + 1e-9), spectra[:, d:-d].abs()
    cosine = (unit[:, 2 * d:] * unit[:, d:-d].conj() ** 2 * unit[:, :-2 * d]).real
    mean = lambda v: F.avg_pool2d(v[:, None], 5, 1, 2)[:, 0]  # noqa: E731
    return 1 - F.pad(mean(cosine * weight) / (mean(weight) + 1e-12), (0, 0, d, d)).clamp(0, 1)


class Losses:
    """The losses of the module's docstring for windows of `n` samples."""

    def __init__(self, n: int, device, first: int = 0):
        bins = n // 2 + 1
        weights = torch.arange(bins, device=device).clamp(min=max(1, n // 680)).float() ** -0.6
        self.kept = weights[:first] / weights[:first].sum()
        weights[:first] = 0
        self.n, self.weights = n, weights / weights.sum()
        edges = sorted({0, bins, *(round(100 * 2 ** (i / 3) * n / 32000) for i in range(-2, 22))})
        self.bands = torch.zeros(bins, len(edges) - 1, device=device)
        for i, (low, high) in enumerate(zip(edges, edges[1:])):
            self.bands[low:high, i] = 1
        self.bands = self.bands[:, [low >= first for low in edges[:-1]]]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        return (values[:, START:-END] * self.weights[-values.shape[-1]:]).sum(-1).mean()

    def __call__(self, log: torch.Tensor, share: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
        """`log` magnitudes and logits of the noise `share` [B, frames, bins] against complex spectra."""
        log, share, scale = log.float(), share.float(), 4 / self.n
        size = truth.abs() * scale
        want, got = torch.log(size + FLOOR), torch.log(torch.exp(log.clamp(max=7)) * scale + FLOOR)
        time_step, bin_step = (lambda v: v[:, 1:] - v[:, :-1]), (lambda v: v[..., 1:] - v[..., :-1])
        power = torch.exp(2 * log.clamp(max=7)) * (1 + (MEDIAN_POWER - 1) * torch.sigmoid(share)) * scale**2
        more = (torch.log(size**2 @ self.bands + 1e-9) - torch.log(power @ self.bands + 1e-9))[:, START:-END]
        gamma = torch.exp(more.clamp(max=3)) * (1 + (more - 3).clamp(min=0)) - more - 1  # straight beyond e³
        audible = ((want - math.log(FLOOR)) / 5).clamp(0, 1)
        noise = F.binary_cross_entropy_with_logits(share, unsteadiness(truth), reduction="none") * audible
        return {"magnitude": self.mean((got - want).abs()),
                "steps": 0.3 * self.mean((time_step(got) - time_step(want)).abs()) + 0.3 * self.mean((bin_step(got) - bin_step(want)).abs()),
                "bands": 0.15 * (gamma.mean() + more.abs().mean()), "noise": 0.3 * self.mean(noise)}


    def keep(self, head, before) -> torch.Tensor:
        """The difference of (log magnitudes, phases) from those of the decoder before, in the bins below the first."""
        (log, phase), (old_log, old_phase) = ([half[..., :len(self.kept)].float() for half in pair] for pair in (head, before))
        audible = ((old_log + math.log(4 / self.n) - math.log(FLOOR)) / 5).clamp(0, 1)
        away = (log - old_log).abs() + 1 - torch.cos(phase - old_phase)
        return ((away * audible)[:, START:-END] * self.kept).sum(-1).mean()


def with_new_head(codec, stem: str):
    """The codec with a head for locked phases. It begins with the old log magnitudes, at the nearest old bins, and below
    the first locked bin with the old phases."""
    old, config = codec.decoder, locked_config(codec.c, stem)
    n, before = config["n_fft"], codec.c["n_fft"]
    nearest = (torch.arange(n // 2 + 1) * (before / n)).round().long().clamp(max=before // 2)
    codec.decoder = Decoder(config)
    state = old.state_dict()
    weight, bias = state["head.weight"][nearest], state["head.bias"][nearest] + math.log(n / before)
    shares, share_bias = torch.zeros_like(weight), torch.zeros_like(bias)
    if given := config.get("locked_from", 0):
        assert n == before, "phases that are kept need the window that they were predicted for"
        shares[:given], share_bias[:given] = state["head.weight"][n // 2 + 1:][:given], state["head.bias"][n // 2 + 1:][:given]
    state["head.weight"], state["head.bias"] = torch.cat([weight, shares]), torch.cat([bias, share_bias])
    codec.decoder.load_state_dict(state)
    codec.c = config
    return codec


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stem", choices=list(SYNTHESIS))
    p.add_argument("--codecs", type=Path, required=True, help="folder of the codec checkpoints")
    p.add_argument("--tokens", type=Path, required=True, help="folder of the tokens")
    p.add_argument("--corpus", nargs="+", required=True, help="folders of rendered music")
    p.add_argument("--steps", type=int, default=4500)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--seconds", type=float, default=3.2, help="of audio per item")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    here, path, own = compute.device(), a.codecs / f"{a.stem}.pt", a.codecs / f"{a.stem}.decoder.pt"
    codec = load_codec(path)
    teacher = copy.deepcopy(codec.decoder).requires_grad_(False)
    if codec.c.get("phase") != "locked":
        codec = with_new_head(codec, a.stem)
    codec.to(here).requires_grad_(False)
    decoder = codec.decoder.requires_grad_(True)
    ema = copy.deepcopy(decoder).requires_grad_(False)
    opt = torch.optim.AdamW(decoder.parameters(), lr=a.lr, betas=(0.8, 0.98), weight_decay=0.01, fused=True)
    step, seconds, curve = 0, 0.0, []
    if own.exists():
        s = checkpoint.load(own)
        decoder.load_state_dict(s["model"]), ema.load_state_dict(s["ema"]), opt.load_state_dict(s["opt"])
        step, seconds, curve = s["step"], s["seconds"], s["curve"]
    music = Pairs(a.tokens, a.corpus, a.stem, seed=1 + step + 1_000_003 * compute.RANK)
    given = codec.c.get("locked_from", 0)
    teacher.to(here)
    losses, start, saved, window = Losses(codec.c["n_fft"], here, given), time.time(), time.time(), []
    while step < a.steps:
        for g in opt.param_groups:
            g["lr"] = a.lr * min(1.0, (step + 1) / 100) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / a.steps)))
        codes, x = (t.to(here) for t in music.batch(a.batch, round(a.seconds * 50)))
        with torch.no_grad():
            z, truth = codec.quantizer.decode(codes), target(x, codec.c["n_fft"])
        with compute.autocast():
            head = decoder(z)
        parts = losses(*head, truth)
        if given:
            with torch.no_grad(), compute.autocast():
                before = teacher(z)
            parts["kept"] = 2 * losses.keep(head, before)
        opt.zero_grad(set_to_none=True)
        sum(parts.values()).backward()
        compute.average_gradients(decoder.parameters())
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        opt.step()
        step += 1
        with torch.no_grad():
            keep = min(0.998, step / (step + 50))
            for e, v in zip(ema.parameters(), decoder.parameters()):
                e.lerp_(v, 1 - keep)
        window.append([v.item() for v in parts.values()])
        if compute.IS_MAIN and step % 50 == 0:
            row = {"step": step, **{k: round(float(v), 4) for k, v in zip(parts, np.mean(window, 0))}, "minutes": round((seconds + time.time() - start) / 60, 1)}
            curve.append(row)
            print(json.dumps(row), flush=True)
            window = []
        if compute.IS_MAIN and (time.time() - saved > 120 or step == a.steps):
            saved = time.time()
            checkpoint.save(own, model=decoder.state_dict(), ema=ema.state_dict(), opt=opt.state_dict(), step=step, curve=curve, seconds=seconds + saved - start)
    if compute.IS_MAIN:
        codec.decoder = ema
        state = codec.state_dict()
        checkpoint.save(path, **checkpoint.load(path) | {"ema": state, "model": state, "config": codec.c, "decoder_steps": step})


if __name__ == "__main__":
    main()
