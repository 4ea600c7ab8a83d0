"""Writes a model of random numbers with the size and format of audiocraft's MusicGen medium, to time `sideman
model import`:

    python large.py DIR

It has 3.7 GB and 0.2 GB of codec; 4 MB of random numbers are repeated. Nothing of it is committed. Names and
shapes are from docs/explanation/musicgen-stem.md sections 3 and 5.
"""

import sys
from pathlib import Path

import torch

D, LAYERS, HEADS, BOOKS = 1536, 48, 24, 4
NOISE = (torch.randn(1 << 21) * 0.02).half()


def full(*shape, dtype=torch.float16):
    count = torch.Size(shape).numel()
    # Cloned, because torch.save stores the whole storage of a slice.
    return NOISE.repeat(-(-count // len(NOISE)))[:count].to(dtype).clone().reshape(shape)


def lm():
    state = {}
    for k in range(BOOKS):
        state[f"emb.{k}.weight"], state[f"linears.{k}.weight"] = full(2049, D), full(2048, D)
    for n in range(LAYERS):
        at = f"transformer.layers.{n}."
        for norm in ("norm1", "norm_cross", "norm2"):
            state[f"{at}{norm}.weight"], state[f"{at}{norm}.bias"] = full(D), full(D)
        for part in ("self_attn", "cross_attention"):
            state[f"{at}{part}.in_proj_weight"], state[f"{at}{part}.out_proj.weight"] = full(3 * D, D), full(D, D)
        state[f"{at}linear1.weight"], state[f"{at}linear2.weight"] = full(4 * D, D), full(D, 4 * D)
    state["out_norm.weight"], state["out_norm.bias"] = full(D), full(D)
    project = "condition_provider.conditioners.description.output_proj"
    state[f"{project}.weight"], state[f"{project}.bias"] = full(D, 768), full(D)
    return state


def codec():
    state = {}

    def conv(name, shape, bias):
        state[f"{name}.weight_v"] = full(*shape, dtype=torch.float32)
        state[f"{name}.weight_g"] = torch.ones(shape[0], 1, 1)
        state[f"{name}.bias"] = full(bias, dtype=torch.float32)

    width, ratios = 64, (4, 4, 5, 8)
    conv("encoder.model.0.conv.conv", (width, 1, 7), width)
    for n, r in enumerate(ratios):
        at, c = 1 + 3 * n, width << n
        conv(f"encoder.model.{at}.block.1.conv.conv", (c // 2, c, 3), c // 2)
        conv(f"encoder.model.{at}.block.3.conv.conv", (c, c // 2, 1), c)
        conv(f"encoder.model.{at + 2}.conv.conv", (2 * c, c, 2 * r), 2 * c)
    conv("encoder.model.15.conv.conv", (128, 1024, 7), 128)
    conv("decoder.model.0.conv.conv", (1024, 128, 7), 1024)
    for n, r in enumerate(reversed(ratios)):
        at, c = 3 + 3 * n, 512 >> n
        conv(f"decoder.model.{at}.convtr.convtr", (2 * c, c, 2 * r), c)
        conv(f"decoder.model.{at + 1}.block.1.conv.conv", (c // 2, c, 3), c // 2)
        conv(f"decoder.model.{at + 1}.block.3.conv.conv", (c, c // 2, 1), c)
    conv("decoder.model.15.conv.conv", (1, 64, 7), 1)
    for at in ("encoder.model.13", "decoder.model.1"):
        for layer in range(2):
            for what in ("ih", "hh"):
                state[f"{at}.lstm.weight_{what}_l{layer}"] = full(4096, 1024, dtype=torch.float32)
                state[f"{at}.lstm.bias_{what}_l{layer}"] = full(4096, dtype=torch.float32)
    for q in range(BOOKS):
        book = f"quantizer.vq.layers.{q}._codebook."
        state[f"{book}inited"], state[f"{book}cluster_size"] = torch.ones(1), torch.ones(2048)
        state[f"{book}embed"] = state[f"{book}embed_avg"] = full(2048, 128, dtype=torch.float32)
    return state


LM = f"""transformer_lm: {{dim: {D}, num_heads: {HEADS}, num_layers: {LAYERS}, hidden_scale: 4, n_q: {BOOKS}, card: 2048}}
codebooks_pattern: {{modeling: delay, delay: {{delays: [0, 1, 2, 3], flatten_first: 0, empty_initial: 0}}}}
dataset: {{segment_duration: 30}}
"""
CODEC = f"""encodec: {{autoencoder: seanet, quantizer: rvq, sample_rate: 32000, channels: 1, causal: false, renormalize: false}}
seanet: {{dimension: 128, n_filters: 64, ratios: [8, 5, 4, 4], pad_mode: constant, lstm: 2}}
rvq: {{n_q: {BOOKS}, bins: 2048}}
"""

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    torch.save({"best_state": lm(), "xp.cfg": LM}, folder / "state_dict.bin")
    torch.save({"best_state": codec(), "xp.cfg": CODEC}, folder / "compression_state_dict.bin")
