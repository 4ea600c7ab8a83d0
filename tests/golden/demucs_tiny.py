"""Writes htdemucs/: tiny HTDemucs models with random weights, in both formats of the package `demucs` 4.1.0 (code
MIT), and what the package computes with them.

    pip install torch==2.15.0 demucs==4.1.0
    python demucs_tiny.py

* `tiny-HASH.th`: pickle of `torch.save` (f16), four sources, `bottom_channels` 32, metrics as numpy scalars;
  `tiny.golden.safetensors` holds its outputs.
* `six/`: a bag's `six.yaml` with one safetensors file (f16, arguments as JSON in its metadata), six sources, no
  `bottom_channels`; `six.golden.safetensors`.
* `tensors.json`: names and shapes of the tensors of `htdemucs` and `htdemucs_6s`.

`six/six.yaml` is the definition of a bag. Layer scales, biases and norms are random too: at their
initial values a forward without attention or DConv would not differ. Forwards run in float64; layers are
stored as [time, frequency, channels] or [time, channels].
"""

import hashlib
import io
import json
import shutil
from fractions import Fraction

import numpy as np
import torch
from demucs.apply import apply_model
from demucs.htdemucs import HTDemucs
from demucs.hf import load_safetensors_model
from demucs.states import get_state, load_model
from safetensors.torch import save_file

from common import HERE, save, save_json

RATE = 8000
FOUR = ["drums", "bass", "other", "vocals"]
# Less than the published sizes: channels 8 (48), FFT 2048 (4096; nfft / 128 must exceed the kernel of 8).
SMALL = dict(channels=8, nfft=2048, t_heads=4, dconv_mode=3, samplerate=RATE, segment=Fraction(4, 5))
FOLDER = HERE / "htdemucs"


def build(sources, seed, **kwargs):
    """A model whose weights are random and exact in f16."""
    torch.manual_seed(seed)
    model = HTDemucs(sources, **SMALL, **kwargs).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if name.endswith(".scale"):
            p.data = 0.3 * noise
        elif p.dim() == 1:
            p.data = 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)
        elif "embedding" in name:
            p.data = 0.1 * noise
        else:
            p.data = 0.7 * noise / p[0].numel() ** 0.5
        p.data = p.data.half().float()
    return model


def song(seconds, seed):
    """Stereo [2, n]: tones that move, noise bursts, and silence in between."""
    n, rng = int(seconds * RATE), np.random.default_rng(seed)
    t = np.arange(n) / RATE
    left = 0.3 * np.sin(2 * np.pi * 110 * t) + 0.2 * np.sin(2 * np.pi * (300 + 700 * t) * t)
    right = 0.2 * np.sin(2 * np.pi * 165 * t + 1) + 0.1 * rng.standard_normal(n) * (np.sin(2 * np.pi * 5 * t) > 0.6)
    x = np.stack([left, 0.4 * left + right]) * (np.sin(2 * np.pi * 1.3 * t) > -0.8)
    return torch.from_numpy(x.astype(np.float32))


def rows(x):
    """[1, C, F, T] or [1, C, T] as [T, F, C] or [T, C]."""
    return x[0].permute(2, 1, 0) if x.dim() == 4 else x[0].permute(1, 0)


def golden(model, seed, seconds=None):
    """Audio, the outputs of every layer, the whole, and `apply_model` over several segments."""
    model = model.double()
    x, out = song(4 / 5, seed), {}
    layers = {f"{branch}encoder.{i}": m for branch in ("", "t") for i, m in enumerate(getattr(model, f"{branch}encoder"))}
    layers |= {f"{branch}decoder.{i}": m for branch in ("", "t") for i, m in enumerate(getattr(model, f"{branch}decoder"))}
    layers |= {f"layers{branch}.{i}": m for branch in ("", "_t") for i, m in enumerate(getattr(model.crosstransformer, f"layers{branch}"))}

    def keep(name):
        def hook(module, inputs, output):
            y = output[0] if "decoder" in name else output
            out[name] = y[0] if "layers" in name else rows(y)

        return hook

    hooks = [m.register_forward_hook(keep(name)) for name, m in layers.items()]
    with torch.no_grad():
        out["stems"] = model(x.double()[None])[0]
    [h.remove() for h in hooks]
    # Of the largest, some rows are enough.
    for name, every in ("encoder.0", 4), ("decoder.2", 4), ("decoder.3", 16):
        out[name] = out[name][:, ::every]
    out["tdecoder.3"] = out["tdecoder.3"][::8]
    out["audio"] = x
    if seconds:
        long = song(seconds, seed + 1)
        stems = apply_model(model, long.double()[None], shifts=0, split=True, overlap=0.25)[0]
        out |= {"long.audio": long, "long.drums": stems[0], "long.vocals": stems[-1]}
        short = long[:, 1000:3001]
        stems = apply_model(model, short.double()[None], shifts=0, split=True, overlap=0.25)[0]
        out |= {"short.audio": short, "short.bass": stems[1]}
    model.float()
    return out


def write_th(model, args, kwargs, name):
    """The package's pickle, as `serialize_model` makes it, with the digits of its hash in its name."""
    metrics = {"nsdr": np.float64(1.25), "best": np.float32(0.5), "epoch": 3, "history": [0.5, 0.25], "valid": True}
    content = {"klass": HTDemucs, "args": args, "kwargs": kwargs, "state": get_state(model, None, half=True),
               "training_args": {"lr": 3e-4, "seed": 42, "augment": {"shift": None, "flip": False}, "weights": [1.0, 1, -70000]}, "metrics": metrics}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    signature = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    (FOLDER / f"{name}-{signature}.th").write_bytes(buffer.getvalue())
    load_model(FOLDER / f"{name}-{signature}.th")


def write_safetensors(model, args, kwargs, name):
    """A file as the package's hub has it: arguments as JSON in the metadata."""
    fraction = kwargs["segment"]
    kwargs = kwargs | {"segment": {"_type": "fraction", "numerator": fraction.numerator, "denominator": fraction.denominator}}
    metadata = {"klass": "demucs.htdemucs.HTDemucs", "args": json.dumps(args), "kwargs": json.dumps(kwargs)}
    path = FOLDER / name / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    state = {k: v.contiguous() for k, v in get_state(model, None, half=True).items()}
    save_file(state, path, metadata=metadata)
    # The library writes the metadata in any order; here the bytes are the same each time.
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    path.chmod(0o644)
    (FOLDER / name / f"{name}.yaml").write_text(f"models: ['{name}']\nsegment: 44\n")
    load_safetensors_model(path)


def tensors():
    """Names and shapes of the published networks, from the package."""
    published = {"htdemucs": (FOUR, {"bottom_channels": 512}), "htdemucs_6s": (FOUR + ["guitar", "piano"], {"bottom_channels": 0})}
    out = {}
    for name, (sources, kwargs) in published.items():
        with torch.device("meta"):
            model = HTDemucs(sources, dconv_mode=3, segment=Fraction(39, 5), rescale=0, **kwargs)
        out[name] = {key: list(p.shape) for key, p in model.state_dict().items()}
    return out


def main():
    torch.set_num_threads(1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    save_json("htdemucs/tensors.json", tensors())
    args, more = [FOUR], {"bottom_channels": 32}
    model = build(FOUR, 1, **more)
    assert sum(p.numel() for p in model.parameters()) == 415_008
    write_th(model, tuple(args), SMALL | more, "tiny")
    save("htdemucs/tiny.golden.safetensors", golden(model, 3, 2.3 * 4 / 5))
    six, more = FOUR + ["guitar", "piano"], {"bottom_channels": 0, "t_layers": 2, "t_hidden_scale": 2.0}
    model = build(six, 2, **more)
    write_safetensors(model, [six], SMALL | more, "six")
    out = golden(model, 5)
    save("htdemucs/six.golden.safetensors", {k: out[k] for k in ("audio", "layers.1", "layers_t.1")} | {"piano": out["stems"][5]})


if __name__ == "__main__":
    main()
