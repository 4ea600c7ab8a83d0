"""Writes all golden files: `python make.py`. See README.md."""
import torch
from transformers import logging

import checkpoints
import codec
import lm
import patterns
import sampling
import text
from common import HERE, Rng, save, save_json

T5 = {"kind": "t5", "dim": 64, "layers": 3, "heads": 4, "head_dim": 16, "ffn": 64, "vocab": 200, "buckets": 32, "max_distance": 128,
      "eps": 1e-6, "pad": 0, "eos": 1}
SMALL_T5 = T5 | {"dim": 32, "layers": 2, "heads": 2}
SIX = dict(dim=128, layers=2, heads=2, ffn=128, card=64, streams=6)
MONO = dict(dim=64, layers=2, heads=1, ffn=128, card=64, streams=4)
SEVEN = dict(dim=192, layers=1, heads=3, ffn=128, card=40, streams=7)


def config(name, size, delays, t5, books, codecs, controls=(), live=None):
    """config.json of a fixture (docs/reference/model-format.md); `books`: stem -> number of streams, in
    stream order."""
    levels = [(stem, level) for stem, n in books.items() for level in range(n)]
    save_json(f"{name}/config.json", {
        "format": 1, "name": f"fixture-{name}", "fixture": True, "licence": "MIT OR Apache-2.0",
        "provenance": "random weights, made by tests/golden/make.py", "sample_rate": 32000, "frame_rate": 50, "stems": list(books),
        "streams": [{"stem": s, "level": l, "delay": d, "card": size["card"]} for (s, l), d in zip(levels, delays, strict=True)],
        "lm": {k: size[k] for k in ("dim", "layers", "heads", "ffn")} | {"norm_eps": 1e-5}, "text": t5,
        "controls": [{"name": n, "card": c} for n, c in controls], "edit": {"window": 50, "decimation": 5}, "max_frames": 60,
        "live": live or {"strategy": "anticipate"}, "sampling": {"temperature": 1.0, "top_k": 250, "top_p": 0.0, "cfg": 3.0}, "codecs": codecs})


def golden(name, lm_part, ids=None, hidden=None, codecs={}):
    """Writes NAME.golden.safetensors: the keys of `sideman model verify`, and
    lm.logits.{null,guided,controls}, lm.control.*."""
    out = dict(lm_part)
    if ids is not None:
        out |= {"text.ids": torch.tensor(ids), "text.hidden": hidden}
    for stem, part in codecs.items():
        out |= {f"codec.{stem}.{k}": v for k, v in part.items()}
    save(f"{name}.golden.safetensors", out)


def six():
    """A model with the architecture of musicgen-stem-6cb: factorised bass and drums, Euclidean `other`; bf16
    (drums f16)."""
    ids = text.tokenizer("six", 140, True).encode("funk groove with slap bass").ids
    hidden = text.t5("six", T5, torch.bfloat16, 50)
    configs = {"bass": codec.our_config(2, 16, 1, 64, "constant", code_dim=8), "drums": codec.our_config(2, 16, 1, 64, code_dim=8),
               "other": codec.our_config(4, 32, 4, 64)}
    few = lambda key: [1, 641, 6400]
    codecs = {"bass": codec.seanet("six/codec.bass.safetensors", configs["bass"], torch.bfloat16, 42),
              "drums": codec.seanet("six/codec.drums.safetensors", configs["drums"], torch.float16, 43),
              "other": codec.seanet("six/codec.other.safetensors", configs["other"], torch.bfloat16, 41, "codec.other", few)}
    config("six", SIX, patterns.SIX, T5, {"bass": 1, "drums": 1, "other": 4}, configs)
    _, part = lm.golden("six", SIX, patterns.SIX, hidden(ids), torch.bfloat16, 10, [0, 2, 3, 4, 5])
    golden("six", part, ids, hidden(ids), {k: v[2] for k, v in codecs.items()})


def mono():
    """A model with the architecture of musicgen-small; f32 with values exact in bf16, so that hf/ (bf16) is
    the same model."""
    ids = text.tokenizer("mono", 140, False).encode("a slow blues").ids
    hidden = text.t5("mono", SMALL_T5, torch.float32, 60, [7, 40], exact_in=torch.bfloat16)
    c = codec.our_config(2, 16, 4, 64)
    _, encodec, part = codec.seanet("mono/codec.mix.safetensors", c, torch.float32, 40, "codec.mix", lambda key: codec.LENGTHS)
    config("mono", MONO, patterns.MONO, SMALL_T5, {"mix": 4}, {"mix": c})
    w, lm_part = lm.golden("mono", MONO, patterns.MONO, hidden(ids), torch.float32, 20, [0], exact_in=torch.bfloat16)
    golden("mono", lm_part, ids, hidden(ids), {"mix": part})
    return w, encodec


def seven():
    """An LM without codecs (config and lm.safetensors): seven streams, unsorted delays, controls, three
    heads."""
    controls = [("beat", 192), ("chord", 97)]
    config("seven", SEVEN, patterns.SEVEN, T5, {"bass": 2, "drums": 1, "other": 4}, {"bass": codec.our_config(2, 16, 2, 40),
        "drums": codec.our_config(2, 16, 1, 40, code_dim=8), "other": codec.our_config(2, 16, 4, 40)}, controls, {"strategy": "lagged", "lags": [2, 4]})
    _, part = lm.golden("seven", SEVEN, patterns.SEVEN, Rng(70).normal(9, 64), torch.bfloat16, 30, [0, 1, 2], controls)
    golden("seven", part)


def main():
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    patterns.make()
    sampling.make()
    text.buckets()
    codec.quantizers()
    six()
    mono_w, encodec = mono()
    seven()
    checkpoints.write_hf("hf", mono_w, MONO, encodec, SMALL_T5, "mono")
    checkpoints.pickle_sample()
    checkpoints.check()
    # house* and models-house* come from train/.
    made = [f for f in HERE.rglob("*") if f.is_file() and "__pycache__" not in f.parts and "house" not in f.relative_to(HERE).parts[0]]
    size = sum(f.stat().st_size for f in made)
    print(f"all: {size:,} bytes")
    assert size <= 6_000_000, "the golden files must stay under 6 MB in total"


if __name__ == "__main__":
    main()
