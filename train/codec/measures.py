"""Measures of how coded sound differs from the original, beyond spectral distance: what a listener calls haze,
dullness, buzz and soft attacks.

All take audio at 32 kHz, [samples], original first where there are two. Spectra use a periodic Hann window of
`N` samples, a hop of `N`/4, scaled so that a full-scale sine has magnitude 1.
"""

import numpy as np
import scipy.ndimage

RATE = 32000
N = 2048
FLOOR = 1e-5  # magnitudes below it count as silence
LOUD = 10 ** (-60 / 20)  # frames below this RMS are left out: there is nothing to hear in them


def spectrum(x: np.ndarray, n: int = N, hop: int | None = None) -> np.ndarray:
    """Magnitudes [frames, n/2 + 1]."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    return np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(x, n)[::hop or n // 4] * window)) * (4 / n)


def rows(low: float, high: float, n: int = N) -> slice:
    """The bins from `low` up to `high` Hz."""
    return slice(int(np.ceil(low * n / RATE)), int(np.ceil(high * n / RATE)))


def crest(x: np.ndarray, low: float, high: float) -> float:
    """Median over the frames of the band's highest magnitude over its RMS, in dB. Partials stand out, noise and
    haze don't: white noise has about 7."""
    s = spectrum(x)[:, rows(low, high)]
    rms = np.sqrt((s**2).mean(1))
    s, rms = s[rms > FLOOR], rms[rms > FLOOR]
    return float(np.median(20 * np.log10(s.max(1) / rms))) if len(s) else float("nan")


def third_octaves(low: float = 100.0, high: float = 12000.0) -> list[tuple[float, float]]:
    """Edges in Hz of the third-octave bands whose centres lie between `low` and `high`."""
    centres = 1000 * 2 ** (np.arange(-12, 13) / 3)
    return [(c * 2 ** (-1 / 6), c * 2 ** (1 / 6)) for c in centres if low * 0.99 <= c <= high]


def level_errors(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How much louder `y` is than `x` in each third-octave band, in dB by mean power; NaN where the band of `x` is
    below −70 dB."""
    a, b = (spectrum(v, 4096) for v in (x, y))
    out = []
    for low, high in third_octaves():
        p, q = ((v[:, rows(low, high, 4096)] ** 2).mean() for v in (a, b))
        out.append(10 * np.log10((q + 1e-12) / p) if p > 1e-7 else np.nan)
    return np.array(out)


def log_spectral_distance(x: np.ndarray, y: np.ndarray, low: float, high: float) -> float:
    """RMS over bins of the difference in dB (floor `FLOOR`), mean over the frames in which the original sounds."""
    a, b = (spectrum(v)[:, rows(low, high)] for v in (x, y))
    heard = np.sqrt((spectrum(x) ** 2).mean(1)) > FLOOR * 10
    d = 20 * np.log10((a + FLOOR) / (b + FLOOR))
    return float(np.sqrt((d[heard] ** 2).mean(1)).mean()) if heard.any() else float("nan")


def tonal_lines(x: np.ndarray, low: float = 5000, high: float = 10000) -> float:
    """Peaks of the mean spectrum over its envelope, in dB: the 95th percentile of each bin's mean power over the
    median of the 31 bins around it. Lines that sound all the time, such as a buzz, raise it."""
    p = 10 * np.log10((spectrum(x, 4096) ** 2).mean(0) + 1e-12)
    over = p - scipy.ndimage.median_filter(p, 31)
    return float(np.percentile(over[rows(low, high, 4096)], 95))


def envelope(x: np.ndarray) -> np.ndarray:
    """RMS of 2 ms around every 0.5 ms."""
    power = np.concatenate([[0.0], np.cumsum(x.astype(np.float64) ** 2)])
    at = np.arange(0, len(x) - 64, 16)
    return np.sqrt((power[at + 64] - power[at]) / 64)


def attack_times(x: np.ndarray, y: np.ndarray, onsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rise times in ms (10 to 90 % of the peak within 60 ms) of `x` and of `y` at onsets in seconds, where the
    level of `x` rises to at least four times what it was."""
    ex, ey, out = envelope(x), envelope(y), []
    for t in onsets:
        at = int(t * 2000)
        if at < 80 or at + 120 > len(ex):
            continue
        a, b = ex[at - 40:at + 120], ey[at - 40:at + 120]
        if a.max() > 4 * np.median(a[:30]) and a.max() > 0.01:
            out.append([rise(a), rise(b)])
    out = np.array(out).reshape(-1, 2)
    return out[:, 0], out[:, 1]


def rise(e: np.ndarray) -> float:
    top = int(e.argmax())
    base = np.median(e[:30])
    level = (e[:top + 1] - base) / max(e[top] - base, 1e-9)
    ten = int(np.flatnonzero(level < 0.1).max(initial=0))
    ninety = int(np.argmax(level >= 0.9))
    return max(0, ninety - ten) * 0.5
