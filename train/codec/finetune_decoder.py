"""Fine-tunes a codec's decoder against discriminators.

    python -m train.codec.finetune_decoder bass --corpus DIR --out DIR --steps 2000

Only the decoder learns. Encoder and quantizer are frozen, so tokens, and an LM trained on them, stay valid.
It takes OUT/STEM.pt (made by train.codec.train) and replaces its `ema` decoder; its own state is in
OUT/STEM.discriminator.pt, from which it resumes.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from .. import checkpoint, compute
from .discriminator import Discriminators, discriminator_loss, generator_loss
from .loss import onset_loss, spectral_loss
from .model import Codec, analyse, synthesise
from .dataset import StemDataset


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stem", choices=["bass", "drums", "other"])
    p.add_argument("--corpus", nargs="+", required=True, help="folders of rendered music")
    p.add_argument("--out", required=True, help="folder of the codec checkpoints")
    p.add_argument("--steps", type=int, default=2000)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--seconds", type=float, default=1.28, help="of audio per item")
    p.add_argument("--lr", type=float, default=2e-4)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(2)
    here = compute.device()
    path, own_path = Path(a.out) / f"{a.stem}.pt", Path(a.out) / f"{a.stem}.discriminator.pt"
    trained = checkpoint.load(path)
    model = Codec(trained["config"]).eval()
    model.load_state_dict(trained["ema"])
    model.to(here)
    ema = Codec(trained["config"]).eval().requires_grad_(False)
    ema.load_state_dict(trained["ema"])
    ema.to(here)
    discriminators = Discriminators().to(here)
    opt = torch.optim.AdamW(model.decoder.parameters(), lr=a.lr, betas=(0.8, 0.99), weight_decay=0.01, fused=True)
    opt_discriminators = torch.optim.AdamW(discriminators.parameters(), lr=a.lr, betas=(0.8, 0.99), weight_decay=0.01, fused=True)
    step = 0
    if own_path.exists():
        s = checkpoint.load(own_path)
        model.load_state_dict(s["model"]), discriminators.load_state_dict(s["discriminators"])
        opt.load_state_dict(s["opt"]), opt_discriminators.load_state_dict(s["opt_discriminators"])
        step = s["step"]
    music = StemDataset(a.corpus, a.stem, "train", seed=1000 + step + 1_000_003 * compute.RANK)
    compute.broadcast(discriminators)
    samples = int(a.seconds * 50) * 640
    saved, window = time.time(), []
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
            fake, real = discriminators(y.detach()), discriminators(x)
        d_loss = discriminator_loss(real, fake)
        opt_discriminators.zero_grad(set_to_none=True)
        d_loss.backward()
        compute.average_gradients(discriminators.parameters())
        opt_discriminators.step()
        discriminators.requires_grad_(False)
        with compute.autocast():
            fake = discriminators(y)
        adversarial, features = generator_loss(real, fake)
        spectral = spectral_loss(y, x, a.stem)
        opt.zero_grad(set_to_none=True)
        onsets = onset_loss(y, x) if a.stem == "drums" else x.new_zeros(())
        (4 * spectral + 0.3 * adversarial + 0.6 * features + onsets).backward()
        compute.average_gradients(model.decoder.parameters())
        torch.nn.utils.clip_grad_norm_(model.decoder.parameters(), 1.0)
        opt.step()
        discriminators.requires_grad_(True)
        step += 1
        with torch.no_grad():
            for e, v in zip(ema.decoder.parameters(), model.decoder.parameters()):
                e.lerp_(v, 0.005)
        window.append([v.item() for v in (d_loss, adversarial, features, spectral, onsets)])
        if compute.IS_MAIN and step % 50 == 0:
            print(json.dumps({"step": step, **dict(zip(("discriminators", "adversarial", "features", "spectral", "onsets"), (round(sum(v) / len(v), 3) for v in zip(*window))))}), flush=True)
            window = []
        if compute.IS_MAIN and (time.time() - saved > 240 or step == a.steps):
            saved = time.time()
            checkpoint.save(own_path, model=model.state_dict(), discriminators=discriminators.state_dict(), opt=opt.state_dict(), opt_discriminators=opt_discriminators.state_dict(), step=step)
            checkpoint.save(path, **{**trained, "ema": ema.state_dict(), "decoder_steps": step})


if __name__ == "__main__":
    main()
