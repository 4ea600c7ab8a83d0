"""Trains one stem's codec.

    python -m train.codec.train bass --corpus DIR --out DIR --steps 6000

Resumes from its checkpoint. This stage uses reconstruction losses and the semantic head.
`train.codec.train_decoder` then trains the decoder that ships, which leaves the tokens unchanged.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import torch

from .. import checkpoint, compute
from .config import codec_config
from .loss import spectral_loss
from .semantic import SemanticHead
from .model import Codec, analyse
from .quantizer import DEAD
from .dataset import StemDataset

WARM_UP = 150  # steps without quantization before the codebooks are initialised; earlier latents make them collapse


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stem", choices=["bass", "drums", "other"])
    p.add_argument("--corpus", nargs="+", required=True, help="folders of rendered music")
    p.add_argument("--out", required=True, help="folder of the codec checkpoints")
    p.add_argument("--steps", type=int, default=6000)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--seconds", type=float, default=1.28, help="of audio per item")
    p.add_argument("--lr", type=float, default=8e-4)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides of the codec's configuration, for trials: card=2048 books=1")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    here = compute.device()
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    c = codec_config(a.stem)
    for item in a.set:
        key, value = item.split("=")
        c[key] = int(value)
    model = Codec(c).train().to(here)
    semantic = SemanticHead(a.stem, c["latent"]).to(here)
    ema = copy.deepcopy(model).eval().requires_grad_(False)
    # No weight decay on the codebooks: a code is the mean of the latents it represents.
    books = [w for n, w in model.named_parameters() if "codebook" in n]
    rest = [w for n, w in model.named_parameters() if "codebook" not in n] + list(semantic.parameters())
    opt = torch.optim.AdamW([{"params": rest, "weight_decay": 0.01}, {"params": books, "weight_decay": 0.0}], lr=a.lr, betas=(0.8, 0.98), fused=True)
    step, curve, seconds = 0, [], 0.0
    path = out / f"{a.stem}.pt"
    if path.exists():
        s = checkpoint.load(path)
        model.load_state_dict(s["model"])
        ema.load_state_dict(s["ema"])
        semantic.load_state_dict(s["semantic"])
        opt.load_state_dict(s["opt"])
        step, curve, seconds = s["step"], s["curve"], s["seconds"]
    music = StemDataset(a.corpus, a.stem, "train", seed=step + 1 + 1_000_003 * compute.RANK)
    compute.broadcast(model), compute.broadcast(semantic)
    samples = int(a.seconds * 50) * 640
    start, saved, losses = time.time(), time.time(), []
    while step < a.steps:
        rate = a.lr * min(1.0, step / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / a.steps)))
        for g in opt.param_groups:
            g["lr"] = rate
        x, labels = (t.to(here) for t in music.batch(a.batch, samples))
        if step == WARM_UP:
            with torch.no_grad():
                model.quantizer.init_from(model.encoder(analyse(music.batch(48, samples)[0].to(here), c)).float())
        y, codes, vq, coarse = model(x, quantize=step >= WARM_UP, drop=0.25 if c["books"] > 2 else 0.1)
        loss, label_loss = spectral_loss(y, x, a.stem), semantic(coarse, labels)
        opt.zero_grad(set_to_none=True)
        (loss + vq + 0.15 * label_loss).backward()
        compute.average_gradients([*model.parameters(), *semantic.parameters()])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        compute.broadcast(model.quantizer)  # dead codes are replaced from each process's own batch: take process 0's
        step += 1
        with torch.no_grad():
            w = min(0.998, step / (step + 50))
            for e, v in zip(ema.parameters(), model.parameters()):
                e.lerp_(v, 1 - w)
        losses.append((loss.item(), vq.item(), label_loss.item()))
        if compute.IS_MAIN and step % 100 == 0:
            mean = [sum(v) / len(v) for v in zip(*losses)]
            used = [len(codes[:, q].unique()) for q in range(codes.shape[1])] if codes is not None else []
            in_use = [int((b.unused_steps < DEAD).sum()) for b in model.quantizer.books]
            row = {"step": step, "loss": round(mean[0], 4), "vq": round(mean[1], 4), "semantic": round(mean[2], 4), "codes": used, "in_use": in_use, "minutes": round((seconds + time.time() - start) / 60, 1)}
            curve.append(row)
            print(json.dumps(row), flush=True)
            losses = []
        if compute.IS_MAIN and (time.time() - saved > 180 or step == a.steps):
            saved = time.time()
            checkpoint.save(path, model=model.state_dict(), semantic=semantic.state_dict(), ema=ema.state_dict(), opt=opt.state_dict(), step=step, curve=curve,
                            seconds=seconds + saved - start, config=c)


if __name__ == "__main__":
    main()
