"""Writes a model directory from checkpoints.

    python -m train.export --codecs DIR --lm DIR --out models/house --quant q8 [--golden FILE]

The format is docs/reference/model-format.md. `--golden` also writes test vectors with the keys that `sideman
model verify` reads. They are computed from the weights as stored, quantization included, so the engine is
compared with exactly these files.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from . import checkpoint
from .codec.config import FRAME
from .lm.config import CONTROLS, LIVE, SAMPLING, STEMS
from .lm.model import Lm
from .lm.tokens import load_codec


def fold(state: dict) -> dict:
    """Codec tensors as the engine reads them: the layer scale multiplied into pw2, depthwise kernels as [dim,
    kernel], quantizers under the names of the published models."""
    out = {}
    for name, w in state.items():
        if name.endswith("gamma"):
            continue
        if ".pw2." in name:
            gamma = state[name.rsplit(".pw2.", 1)[0] + ".gamma"]
            w = w * (gamma[:, None] if w.ndim == 2 else gamma)
        if name.endswith("dw.weight"):
            w = w[:, 0]
        if name.startswith("quantizer.books."):
            name = name.replace("quantizer.books.", "quantizer.vq.quantizers.")
        out[name] = w
    return out


def stays_f32(name: str, w) -> bool:
    """Whether a tensor is stored as f32: vectors, small tables, and the quantizers, where rounding would
    change codes."""
    return w.ndim < 2 or "quantizer." in name or name.endswith("dw.weight") or "relative_attention_bias" in name


def pack(state: dict, quant: str) -> tuple[dict, dict]:
    """(tensors as stored, the f32 values that the engine gets from them)."""
    stored, read = {}, {}
    for name, w in state.items():
        w = w.detach().float().contiguous()
        table = name.startswith(("emb.", "control.", "shared."))
        if quant == "f32" or stays_f32(name, w):
            stored[name], read[name] = w, w
        elif quant == "bf16" or table or w.shape[1] % 32:
            stored[name] = w.bfloat16()
            read[name] = stored[name].float()
        else:
            blocks = w.reshape(w.shape[0], -1, 32)
            scale = (blocks.abs().amax(-1) / 127).clamp(min=1e-12)
            ints = (blocks / scale[..., None]).round().clamp(-127, 127).to(torch.int8)
            stored[name], stored[f"{name}.scale"] = ints.reshape(w.shape).contiguous(), scale.contiguous()
            read[name] = (ints.float() * scale[..., None]).reshape(w.shape)
    return stored, read


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--codecs", required=True, help="folder of codec checkpoints")
    p.add_argument("--lm", required=True, help="folder of the LM's checkpoint and tokenizer")
    p.add_argument("--out", required=True, help="the model directory")
    p.add_argument("--quant", choices=["f32", "bf16", "q8"], default="q8", help="number format of the LM and the text encoder")
    p.add_argument("--codec-quant", choices=["f32", "bf16", "q8"], default="q8", help="number format of the codecs")
    p.add_argument("--golden", metavar="FILE", help="also write test vectors for `sideman model verify`")
    a = p.parse_args()
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    trained = checkpoint.load(Path(a.lm) / "lm.pt")
    config = trained["config"] | {"controls": CONTROLS, "live": LIVE, "sampling": SAMPLING}
    config["codecs"] = {s: checkpoint.load(Path(a.codecs) / f"{s}.pt")["config"] for s in STEMS}
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    shutil.copy(Path(a.lm) / "tokenizer.json", out / "tokenizer.json")
    lm = Lm(config).eval()
    lm.load_state_dict(trained["ema"], strict=False)
    state = {("condition_provider.conditioners.description." + n if n.startswith("output_proj") else n): w for n, w in lm.state_dict().items() if not n.startswith("text.")}
    state = {(n + ".weight").replace(".weight.weight", ".weight") if n.startswith("control.") else n: w for n, w in state.items()}
    stored, lm_read = pack(state, a.quant)
    save_file(stored, out / "lm.safetensors")
    text = {n.removeprefix("text."): w for n, w in lm.state_dict().items() if n.startswith("text.") and "embed_tokens" not in n}
    stored, text_read = pack(text, "bf16" if a.quant == "q8" else a.quant)
    save_file(stored, out / "text.safetensors")
    codecs = {}
    for stem in STEMS:
        codecs[stem] = load_codec(Path(a.codecs) / f"{stem}.pt")
        stored, read = pack(fold(codecs[stem].state_dict()), a.codec_quant)
        save_file(stored, out / f"codec.{stem}.safetensors")
        unfold(codecs[stem], read)
    size = sum(f.stat().st_size for f in out.iterdir())
    print(f"{out}: {size / 1e6:.1f} MB")
    if a.golden:
        names = {n.replace("condition_provider.conditioners.description.", ""): w for n, w in lm_read.items()}
        names |= {f"text.{n}": w for n, w in text_read.items()}
        missing = lm.load_state_dict(names, strict=False)
        assert not missing.unexpected_keys and all("embed_tokens" in k for k in missing.missing_keys), missing
        save_file(golden(lm, codecs, Tokenizer.from_file(str(out / "tokenizer.json")), config), a.golden)


def unfold(codec, read: dict):
    """Loads tensors in the engine's layout into a codec; the layer scale stays 1 because `fold` has
    multiplied it into pw2."""
    state = {}
    for name, w in read.items():
        name = name.replace("quantizer.vq.quantizers.", "quantizer.books.")
        state[name] = w[:, None] if name.endswith("dw.weight") else w
    codec.load_state_dict(state, strict=False)
    for name, w in codec.named_parameters():
        if name.endswith("gamma"):
            w.data.fill_(1.0)


@torch.no_grad()
def golden(lm: Lm, codecs: dict, tokenizer: Tokenizer, config: dict) -> dict:
    """Test vectors text.*, lm.* and codec.STEM.*: a prompt, a sequence of 40 steps conditioned on it
    (controls null), and 0.85 s of a test signal per stem."""
    rng = np.random.default_rng(5)
    ids = torch.tensor([tokenizer.encode("funk drums, electric piano").ids])
    hidden = lm.text(input_ids=ids).last_hidden_state
    cards = [s["card"] for s in config["streams"]]
    seq = torch.from_numpy(np.stack([np.concatenate([[c], rng.integers(0, c, 39)]) for c in cards]))[None]
    nulls = {c["name"]: torch.full((1, seq.shape[2]), c["card"]) for c in config["controls"]}
    x = lm(seq, nulls, lm.output_proj(hidden), torch.ones_like(ids, dtype=torch.bool))
    logits = torch.stack([head(x[0]) for head in lm.linears], 1)
    out = {"text.ids": ids[0], "text.hidden": hidden[0], "lm.tokens": seq[0], "lm.hidden": hidden[0], "lm.logits": logits}
    t = np.arange(27123) / 32000
    for stem, pitch in (("bass", 55.0), ("drums", 180.0), ("other", 330.0)):
        tone = sum(np.sin(2 * np.pi * pitch * h * t) / h for h in range(1, 6)) * np.exp(-6 * (t % 0.5))
        audio = torch.from_numpy((0.25 * tone + rng.normal(0, 0.02, len(t)) * np.exp(-20 * (t % 0.25))).astype(np.float32))
        codes = codecs[stem].encode(audio[None])
        assert codes.shape[2] == -(-len(t) // FRAME)
        out |= {f"codec.{stem}.audio": audio, f"codec.{stem}.codes": codes[0], f"codec.{stem}.decoded": codecs[stem].decode(codes)[0]}
    return {n: w.detach().contiguous().clone() for n, w in out.items()}


if __name__ == "__main__":
    main()
