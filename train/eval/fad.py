"""FAD-musicnn: Fréchet distance between two bodies of sound in musicnn's penultimate layer. Figures compare only with each other, and
only at the same number of windows: ten minutes a side (20 songs of 30 s) or more, for 200 dimensions."""

import importlib.util

import numpy as np

LOUDNESS = -20.0  # dB RMS to which every take is brought: level is judged elsewhere


def have() -> bool:
    return all(importlib.util.find_spec(m) for m in ("musicnn", "torch"))


def embed(takes: list[np.ndarray]) -> np.ndarray:
    """[windows, 200] of takes at 32 kHz; silence stays silence."""
    from .musicnn import embed as network
    out = []
    for x in takes:
        rms = np.sqrt((x**2).mean())
        out.append(network(x * (10 ** (LOUDNESS / 20) / rms) if rms > 2e-3 else x)[0])
    return np.concatenate(out)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """|μa − μb|² + tr(Σa + Σb − 2 (Σa Σb)^½) of two sets of vectors [n, d]."""
    ca, cb = np.cov(a.T), np.cov(b.T)
    # tr (Σa Σb)^½ by Σa^½ Σb Σa^½, which is symmetric: fewer windows than dimensions do no harm to the sum.
    w, v = np.linalg.eigh(ca)
    half = (v * np.sqrt(np.maximum(w, 0))) @ v.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(half @ cb @ half), 0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb) - 2 * cross)
