"""FAD-musicnn: Fréchet distance between two sets of recordings in musicnn's penultimate layer (200
dimensions).

Compare values only with each other and at the same number of windows; use ten minutes per set or more (20
songs of 30 s).
"""

import importlib.util

import numpy as np

LOUDNESS = -20.0  # dB RMS; takes are normalised to it, because level is measured elsewhere


def available() -> bool:
    """Whether the packages for it are installed."""
    return all(importlib.util.find_spec(m) for m in ("musicnn", "torch"))


def embed(takes: list[np.ndarray]) -> np.ndarray:
    """Embeddings [windows, 200] of takes at 32 kHz. Near-silent takes are not normalised."""
    from .musicnn import embed as network
    out = []
    for x in takes:
        rms = np.sqrt((x**2).mean())
        out.append(network(x * (10 ** (LOUDNESS / 20) / rms) if rms > 2e-3 else x)[0])
    return np.concatenate(out)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """|μa − μb|² + tr(Σa + Σb − 2 (Σa Σb)^½) of two sets of vectors [n, d]."""
    ca, cb = np.cov(a.T), np.cov(b.T)
    # tr (Σa Σb)^½ from the symmetric Σa^½ Σb Σa^½, which also works with fewer windows than dimensions.
    w, v = np.linalg.eigh(ca)
    half = (v * np.sqrt(np.maximum(w, 0))) @ v.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(half @ cb @ half), 0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb) - 2 * cross)
