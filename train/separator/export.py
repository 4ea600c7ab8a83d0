"""Writes a separator's directory (docs/reference/separator-format.md, kind `mask`) from a checkpoint.

    python -m train.separator.export --separator DIR --out DIR [--golden FILE]

`--golden` also writes test vectors: audio, features, logits and sources, computed from the weights as stored. `--tiny` makes
a small random network in place of a trained one: the fixture of the engine's tests.

    python -m train.separator.export --tiny --out tests/golden/mask --golden tests/golden/mask.golden.safetensors
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from .. import checkpoint
from ..export import fold, pack
from .model import CONFIG, HOP, N_FFT, RATE, SOURCES, Separator, features, spectrum

SEGMENT = 20 * HOP * 32  # samples: 10.24 s
TINY = {**CONFIG, "channels": [4, 8, 8, 16], "width": 32, "hidden": 64, "dilations": [1, 4, 2]}
TINY_SEGMENT = 30 * HOP


def folded(net: Separator) -> dict:
    """Tensors as the engine reads them: `fold`, and biases by row as [rows, channels]."""
    by_row = ("down_bias.", "up_bias.")
    return {name: (w[:, 0].T if name.startswith(by_row) else w).detach().float().contiguous() for name, w in fold(net.state_dict()).items()}


def stored(net: Separator) -> tuple[dict, dict]:
    """(tensors as stored, the f32 values that the engine gets): matrices in q8, convolutions in bf16, the rest in f32."""
    tensors = folded(net)
    wide = {n: w for n, w in tensors.items() if n.endswith(("pw1.weight", "pw2.weight", "in.weight", "out.weight"))}
    rest = {n: w for n, w in tensors.items() if n not in wide}
    out, read = pack(wide, "q8")
    for name, w in rest.items():
        convolution = w.ndim == 4
        out[name] = w.bfloat16() if convolution else w
        read[name] = out[name].float()
    return out, read


def as_read(net: Separator, read: dict) -> Separator:
    """The net with the weights as the engine reads them."""
    made = Separator(net.c).eval()
    state = made.state_dict()
    for name, w in read.items():
        if name.endswith("dw.weight"):
            w = w[:, None]
        if name.startswith(("down_bias.", "up_bias.")):
            w = w.T[:, None]
        state[name] = w
    for name in state:
        if name.endswith("gamma"):
            state[name] = torch.ones_like(state[name])
    made.load_state_dict(state)
    return made


def tiny() -> Separator:
    torch.manual_seed(5)
    made = Separator(TINY).eval()
    for p in made.parameters():  # also those that begin at zero, so that a fault in them shows
        torch.nn.init.normal_(p, std=0.15)
    return made


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--separator", type=Path, help="folder of the checkpoint separator.pt")
    p.add_argument("--tiny", action="store_true")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--golden", type=Path)
    a = p.parse_args()
    if a.tiny:
        net, segment, provenance = tiny(), TINY_SEGMENT, "random weights, for tests"
    else:
        s = checkpoint.load(a.separator / "separator.pt")
        net, segment = Separator(s["config"]).eval(), SEGMENT
        net.load_state_dict(s["ema"])
        provenance = f"train/separator of this project, {s['step']} steps on generated music"
    tensors, read = stored(net)
    a.out.mkdir(parents=True, exist_ok=True)
    save_file({f"0.{name}": w for name, w in tensors.items()}, a.out / "separator.safetensors")
    c = net.c
    config = {"format": 1, "kind": "mask", "name": "tiny" if a.tiny else "house", "licence": "MIT OR Apache-2.0", "provenance": provenance,
              "sources": SOURCES, "sample_rate": RATE,
              "sizes": {"n_fft": N_FFT, "channels": c["channels"], "width": c["width"], "hidden": c["hidden"], "kernel": c["kernel"],
                        "dilations": c["dilations"], "segment": segment},
              "bag": [[1] * len(SOURCES)]}
    (a.out / "separator.json").write_text(json.dumps(config, indent=1) + "\n")
    print(f"{a.out}: {sum(w.nbytes for w in tensors.values()) / 1e6:.1f} MB")
    if a.golden:
        torch.manual_seed(6)
        made = as_read(net, read)
        t = torch.arange(segment) / RATE
        audio = (0.2 * torch.sin(2 * torch.pi * 110 * t) + 0.05 * torch.randn(segment) * (t % 0.2 < 0.05))[None]
        with torch.no_grad():
            x = features(spectrum(audio))
            golden = {"audio": audio[0], "features": x[0, 0], "logits": made(x)[0].permute(1, 2, 0), "sources": made.separate(audio)[0]}
        # A few frames are enough, and the file stays small.
        golden["features"], golden["logits"] = golden["features"][::8].contiguous(), golden["logits"][::8].contiguous()
        save_file({name: w.float().contiguous() for name, w in golden.items()}, a.golden)


if __name__ == "__main__":
    main()
