"""The adversarial last third: `python -m train.codec.polish bass --corpus DIR --out DIR --steps 2000`. Resumes.

Only the decoder learns: encoder and quantizer stay, so that tokens, and an LM trained on them, stay what they are. Takes
OUT/STEM.pt (made by train.codec.train) and writes its `ema` and `model` decoders anew, the critics beside it in STEM.critic.pt.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from .. import compute
from .discriminator import Discriminators, discriminator_loss, generator_loss
from .loss import onset_loss, spectral_loss
from .model import Codec, analyse, synthesise
from .dataset import StemDataset
from .train import save


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("stem", choices=["bass", "drums", "other"])
    p.add_argument("--corpus", nargs="+", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--steps", type=int, default=2000)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--seconds", type=float, default=1.28)
    p.add_argument("--lr", type=float, default=2e-4)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(2)
    here = compute.device()
    path, beside = Path(a.out) / f"{a.stem}.pt", Path(a.out) / f"{a.stem}.critic.pt"
    whole = torch.load(path, weights_only=False, map_location="cpu")
    model = Codec(whole["config"]).eval()
    model.load_state_dict(whole["ema"])
    model.to(here)
    ema = Codec(whole["config"]).eval().requires_grad_(False)
    ema.load_state_dict(whole["ema"])
    ema.to(here)
    critics = Discriminators().to(here)
    opt = torch.optim.AdamW(model.decoder.parameters(), lr=a.lr, betas=(0.8, 0.99), weight_decay=0.01, fused=True)
    opt_critic = torch.optim.AdamW(critics.parameters(), lr=a.lr, betas=(0.8, 0.99), weight_decay=0.01, fused=True)
    step = 0
    if beside.exists():
        s = torch.load(beside, weights_only=False, map_location="cpu")
        model.load_state_dict(s["model"]), critics.load_state_dict(s["critics"])
        opt.load_state_dict(s["opt"]), opt_critic.load_state_dict(s["opt_critic"])
        step = s["step"]
    music = Stem(a.corpus, a.stem, "train", seed=1000 + step + 1_000_003 * compute.RANK)
    compute.broadcast(critics)
    samples = int(a.seconds * 50) * 640
    kept, window = time.time(), []
    while step < a.steps:
        x = music.batch(a.batch, samples)[0].to(here)
        with torch.no_grad(), compute.autocast():
            z = model.encoder(analyse(x, model.c))
        with torch.no_grad():
            z = model.quantizer(z.float())[0]
        with compute.autocast():
            head = model.decoder(z)
        y = synthesise(*head, model.c)
        with compute.autocast():
            judged = critics(y.detach()), critics(x)
        loss_critic = discriminator_loss(judged[1], judged[0])
        opt_critic.zero_grad(set_to_none=True)
        loss_critic.backward()
        compute.average_gradients(critics.parameters())
        opt_critic.step()
        critics.requires_grad_(False)
        with compute.autocast():
            fake = critics(y)
        believe, match = generator_loss(judged[1], fake)
        spectra = spectral(y, x, a.stem)
        opt.zero_grad(set_to_none=True)
        strokes = attacks(y, x) if a.stem == "drums" else x.new_zeros(())
        (4 * spectra + 0.3 * believe + 0.6 * match + strokes).backward()
        compute.average_gradients(model.decoder.parameters())
        torch.nn.utils.clip_grad_norm_(model.decoder.parameters(), 1.0)
        opt.step()
        critics.requires_grad_(True)
        step += 1
        with torch.no_grad():
            for e, v in zip(ema.decoder.parameters(), model.decoder.parameters()):
                e.lerp_(v, 0.005)
        window.append([v.item() for v in (loss_critic, believe, match, spectra, strokes)])
        if compute.IS_MAIN and step % 50 == 0:
            print(json.dumps({"step": step, **dict(zip(("critic", "believe", "match", "spectra", "strokes"), (round(sum(v) / len(v), 3) for v in zip(*window))))}), flush=True)
            window = []
        if compute.IS_MAIN and (time.time() - kept > 240 or step == a.steps):
            kept = time.time()
            save(beside, model=model.state_dict(), critics=critics.state_dict(), opt=opt.state_dict(), opt_critic=opt_critic.state_dict(), step=step)
            save(path, **{**whole, "ema": ema.state_dict(), "polished": step})


if __name__ == "__main__":
    main()
