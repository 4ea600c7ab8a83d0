"""musicnn (Pons and Serra 2019) in PyTorch, as an embedding; the weights are those of the `musicnn` package
(ISC licence).

The TensorFlow checkpoint is read without TensorFlow: its index is a sorted table of names, shapes and
offsets, its data plain float32.
"""

import functools
import importlib.util
import struct
from pathlib import Path

import numpy as np
import scipy.signal

TAGS = ["guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano", "ambient", "beat"]  # the first of 50
FRAMES, MELS = 187, 96  # three seconds at 16 kHz, hop 256


def varint(b: bytes, i: int) -> tuple[int, int]:
    """(value, next position) of the variable-length integer at `i`."""
    value = shift = 0
    while True:
        value |= (b[i] & 127) << shift
        shift, i = shift + 7, i + 1
        if b[i - 1] < 128:
            return value, i


def block(b: bytes, at: int, size: int):
    """(key, value) pairs of one block of a sorted string table, in which keys are stored as a difference to
    the previous key."""
    restarts = struct.unpack_from("<I", b, at + size - 4)[0]
    i, end, key = at, at + size - 4 - 4 * restarts, b""
    while i < end:
        shared, i = varint(b, i)
        new, i = varint(b, i)
        length, i = varint(b, i)
        key = key[:shared] + b[i:i + new]
        yield key, b[i + new:i + new + length]
        i += new + length


def fields(b: bytes) -> list[tuple[int, object]]:
    """(number, value) of the fields of a protobuf message."""
    out, i = [], 0
    while i < len(b):
        tag, i = varint(b, i)
        if tag & 7 == 0:
            value, i = varint(b, i)
        elif tag & 7 == 2:
            n, i = varint(b, i)
            value, i = b[i:i + n], i + n
        else:  # fixed32: the checksum
            value, i = b[i:i + 4], i + 4
        out.append((tag >> 3, value))
    return out


def checkpoint(folder: Path) -> dict[str, np.ndarray]:
    """The float32 variables of a TensorFlow checkpoint, without the optimizer's."""
    index, data = (folder / ".index").read_bytes(), (folder / ".data-00000-of-00001").read_bytes()
    i = len(index) - 48  # footer: handles of the meta and the index block
    _, i = varint(index, i)
    _, i = varint(index, i)
    at, i = varint(index, i)
    size, i = varint(index, i)
    out = {}
    for _, handle in block(index, at, size):
        a, j = varint(handle, 0)
        n, _ = varint(handle, j)
        for key, entry in block(index, a, n):
            f = dict(fields(entry))
            if key and f.get(1) == 1 and b"Adam" not in key:
                shape = [dict(fields(d)).get(1, 1) for k, d in fields(f.get(2, b"")) if k == 2]
                out[key.decode()] = np.frombuffer(data, "<f4", f[5] // 4, f.get(4, 0)).reshape(shape)
    return out


@functools.cache
def weights() -> dict:
    """The weights of the package's MTT_musicnn, as tensors."""
    import torch
    home = Path(importlib.util.find_spec("musicnn").submodule_search_locations[0]) / "MTT_musicnn"
    return {k: torch.from_numpy(v.copy()) for k, v in checkpoint(home).items()}


@functools.cache
def mel() -> np.ndarray:
    """Slaney mel filter bank [96, 257]: linear to 1 kHz, then logarithmic; triangles of equal area."""
    to = lambda m: np.where(m < 15, m * 200 / 3, 1000 * np.exp((m - 15) * np.log(6.4) / 27))  # noqa: E731
    edges = to(np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), MELS + 2))
    f = np.arange(257) * 16000 / 512
    up, down = (f - edges[:-2, None]) / np.diff(edges)[:-1, None], (edges[2:, None] - f) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(up, down)) * (2 / (edges[2:] - edges[:-2]))[:, None]


def patches(x: np.ndarray, hop_s: float = 1.0) -> np.ndarray:
    """32 kHz audio → log-mel spectrograms [n, 187, 96], one every `hop_s` seconds."""
    y = np.pad(scipy.signal.resample_poly(x, 1, 2), 256)
    seg = np.lib.stride_tricks.sliding_window_view(y, 512)[::256] * scipy.signal.get_window("hann", 512)
    m = np.log10(10000 * (np.abs(np.fft.rfft(seg)) ** 2 @ mel().T) + 1).astype(np.float32)
    hop = round(hop_s * 16000 / 256)
    return np.stack([m[i:i + FRAMES] for i in range(0, len(m) - FRAMES + 1, hop)])


def embed(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(penultimate layer [n, 200], tag probabilities [n, 50]) of windows of three seconds, one second apart."""
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(1)
    w = weights()

    def name(kind, i, part):
        return w[f"{kind}{f'_{i}' if i else ''}/{part}"]

    def norm(v, i, dim):
        shape = [1] * v.ndim
        shape[dim] = -1
        g, b, m, s = (name("batch_normalization", i, p).reshape(shape) for p in ("gamma", "beta", "moving_mean", "moving_variance"))
        return (v - m) / torch.sqrt(s + 1e-3) * g + b

    def conv(v, i, **pad):
        return F.relu(F.conv2d(v, name("conv2d", i, "kernel").permute(3, 2, 0, 1), name("conv2d", i, "bias"), **pad))

    out = []
    with torch.no_grad():
        for p in torch.from_numpy(patches(x)).split(16):
            v = norm(p[:, None], 0, 1)
            wide = F.pad(v, (0, 0, 3, 3))
            maps = [norm(conv(wide, i), i + 1, 1).amax(3) for i in (0, 1)]
            for i, n in ((2, 128), (3, 64), (4, 32)):
                before = (n - 1) // 2  # "same", as TensorFlow pads an even kernel
                maps.append(norm(conv(F.pad(v, (0, 0, before, n - 1 - before)), i), i + 1, 1).amax(3))
            front = torch.cat(maps, 1)[:, None].transpose(2, 3)  # [n, 1, time, features]
            mid = norm(conv(F.pad(front, (0, 0, 3, 3)), 5), 6, 1).transpose(1, 3).transpose(1, 2)  # [n, 64, time, 1] → [n, time, 1, 64]
            mid = mid.transpose(1, 2)  # [n, 1, time, 64]
            all_maps = [front, mid]
            for i in (6, 7):
                more = norm(conv(F.pad(all_maps[-1], (0, 0, 3, 3)), i), i + 1, 1).permute(0, 3, 2, 1) + all_maps[-1]
                all_maps.append(more)
            full = torch.cat(all_maps, 3)[:, 0]  # [n, time, 753]
            # TensorFlow flattens [features, (max, mean)]
            pooled = torch.stack([full.amax(1), full.mean(1)], 2).flatten(1)
            hidden = norm(F.relu(norm(pooled, 9, 1) @ name("dense", 0, "kernel") + name("dense", 0, "bias")), 10, 1)
            out.append((hidden, torch.sigmoid(hidden @ name("dense", 1, "kernel") + name("dense", 1, "bias"))))
    return torch.cat([a for a, _ in out]).numpy(), torch.cat([b for _, b in out]).numpy()
