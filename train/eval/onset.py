"""Onset detection by spectral flux, and the F-measure between two lists of onsets."""

import numpy as np
import scipy.ndimage

HOP = 160  # 5 ms at 32 kHz
WINDOW = 1024


def onsets(x: np.ndarray, threshold: float = 1.0) -> np.ndarray:
    """Onset times in seconds of 32 kHz audio: peaks of the rise of the log spectrum above their surroundings
    by `threshold`."""
    x = np.pad(x, (WINDOW // 2, WINDOW))
    seg = np.lib.stride_tricks.sliding_window_view(x, WINDOW)[::HOP] * np.hanning(WINDOW)
    mag = np.abs(np.fft.rfft(seg))
    edges = np.unique(np.round(np.geomspace(1, WINDOW // 2, 40)).astype(int))
    bands = np.log1p(1000 / WINDOW * np.stack([mag[:, a:b].mean(1) for a, b in zip(edges[:-1], edges[1:])], 1) * 4)
    rise = np.maximum(bands[3:] - scipy.ndimage.maximum_filter1d(bands, 3, axis=1)[:-3], 0).sum(1)
    rise = np.concatenate([np.zeros(3), rise])
    local = scipy.ndimage.uniform_filter1d(rise, 41)
    peak = (rise == scipy.ndimage.maximum_filter1d(rise, 11)) & (rise > local * 1.5 + threshold)
    return np.flatnonzero(peak) * HOP / 32000


def f_measure(reference: np.ndarray, estimate: np.ndarray, window: float = 0.02) -> float:
    """F-measure of a one-to-one match within ±`window` seconds (greedy in time; both lists sorted)."""
    if len(reference) == 0 or len(estimate) == 0:
        return 0.0
    i = j = hits = 0
    while i < len(reference) and j < len(estimate):
        d = estimate[j] - reference[i]
        if abs(d) <= window:
            hits, i, j = hits + 1, i + 1, j + 1
        elif d > 0:
            i += 1
        else:
            j += 1
    return 2 * hits / (len(reference) + len(estimate))
