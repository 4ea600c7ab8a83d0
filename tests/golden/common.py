"""Shared by all generators here: seeded random tensors and deterministic file output."""
import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
RATE, HOP = 32000, 640


class Rng:
    """Seeded random normal (float64) and integer tensors."""

    def __init__(self, seed):
        self.g = torch.Generator().manual_seed(seed)

    def normal(self, *shape, std=1.0, mean=0.0):
        return torch.randn(*shape, generator=self.g, dtype=torch.float64) * std + mean

    def ints(self, high, *shape):
        return torch.randint(0, high, shape, generator=self.g)

    def matrix(self, rows, cols, gain=1.0):
        """A random matrix that preserves the norm of a vector on average, times `gain`."""
        return self.normal(rows, cols, std=gain / math.sqrt(cols))


def exact(t, dtype):
    """`t` rounded to `dtype`, as float64: goldens are computed from the values that the file stores."""
    return t.to(dtype).double()


def save(path, tensors, dtype=torch.float32):
    """Writes a safetensors file with sorted names; floats as `dtype`, integers as i64."""
    out = {}
    for name in sorted(tensors):
        t = torch.as_tensor(tensors[name]).detach()
        out[name] = t.to(dtype if t.is_floating_point() else torch.int64).contiguous().clone()
    path = HERE / path
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(out, str(path))
    path.chmod(0o644)


def save_json(path, value):
    """Writes JSON with one line per innermost list, for readable diffs."""
    path = HERE / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump(value) + "\n")


def dump(v, pad=""):
    """JSON text of a value, wrapped as `save_json` describes."""
    flat = json.dumps(v, ensure_ascii=False)
    if not isinstance(v, (dict, list)) or not v:
        return flat
    inner = v.values() if isinstance(v, dict) else v
    if len(flat) + len(pad) <= 130 or not any(isinstance(x, (dict, list)) for x in inner):
        return flat
    step = pad + " "
    if isinstance(v, dict):
        rows = [f"{step}{json.dumps(k)}: {dump(x, step)}" for k, x in v.items()]
        return "{\n" + ",\n".join(rows) + f"\n{pad}}}"
    return "[\n" + ",\n".join(step + dump(x, step) for x in v) + f"\n{pad}]"


def test_audio(n, seed):
    """n samples of sines, a sweep and noise bursts, float32-exact, RMS about 0.25."""
    t = np.arange(n) / RATE
    noise = np.random.default_rng(seed).standard_normal(n)
    x = 0.25 * np.sin(2 * np.pi * 82.4 * t) + 0.2 * np.sin(2 * np.pi * (200 + 4000 * t) * t)
    x += noise * 0.15 * (np.sin(2 * np.pi * 7 * t + 0.5) > 0.3) + 0.03
    return torch.from_numpy(x.astype(np.float32))
