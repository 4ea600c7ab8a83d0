"""The features of `engine/src/listen` in numpy: pitch, level, onsets and chroma of a signal at 32 kHz, one value
for each frame of 20 ms. Definitions: docs/explanation/listening.md.

`features(x)` gives what the engine's `Listener` gives, within 1e-5; a test compares both with the same golden
vectors (tests/golden/README.md).
"""

from dataclasses import dataclass

import numpy as np

FRAME, FACTOR = 640, 4
DECIMATED = FRAME // FACTOR
SUM, LAGS, SHORTEST = 192, 269, 8  # pitch: samples that are compared, lags, shortest lag
SUBFRAME, WINDOW, REACH, MEAN, GAP = 160, 512, 4, 40, 10  # onsets
CHROMA = 1024


@dataclass
class Features:
    """Features of F frames."""

    pitch: np.ndarray  # [F] MIDI note numbers with fractions, 0 without a pitch
    confidence: np.ndarray  # [F] 0..1
    level: np.ndarray  # [F] dB of full scale
    sounding: np.ndarray  # [F] bool
    chroma: np.ndarray  # [F, 12] uint8, C first
    onsets: list[tuple[int, int, float, list[float]]]  # (frame in which it is reported, sample, strength, rise in three ranges)


def features(x: np.ndarray) -> Features:
    """The features of a signal [n] at 32 kHz; what is left over after the last whole frame is dropped."""
    x = np.asarray(x, np.float64)
    x = np.where(np.isfinite(x), x, 0.0)[:len(x) // FRAME * FRAME]
    y = decimate(x)
    pitch, confidence = pitches(y)
    level, sounding = levels(y)
    return Features(pitch, confidence, level, sounding, chromas(y), onsets(x))


def decimate(x: np.ndarray) -> np.ndarray:
    """32 kHz [4n] to 8 kHz [n]."""
    i = np.arange(65)
    taps = np.sinc(0.2125 * (i - 32)) * (0.54 - 0.46 * np.cos(2 * np.pi * i / 64))
    return np.convolve(x, taps / taps.sum())[FACTOR - 1:len(x):FACTOR]


def parabola(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Extremum of the parabola through three points at -1, 0 and 1: its position and value."""
    bend = a - 2 * b + c
    at = np.where(bend == 0, 0.0, np.clip(0.5 * (a - c) / np.where(bend == 0, 1.0, bend), -1, 1))
    return at, b - 0.25 * (a - c) * at


def windows(y: np.ndarray, length: int, hop: int) -> np.ndarray:
    """The `length` samples before the end of each hop [n // hop, length]; zeros before the start."""
    padded = np.concatenate([np.zeros(length - hop), y])
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]


def pitches(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(MIDI note, confidence) of each frame, by YIN with a relative threshold."""
    z = windows(y, SUM + LAGS, DECIMATED)[:, ::-1]
    d = np.stack([((z[:, :SUM] - z[:, lag:lag + SUM]) ** 2).sum(1) for lag in range(LAGS)], 1)
    mean = np.cumsum(d, 1) / np.maximum(np.arange(LAGS), 1)
    c = np.where(mean <= 1e-12, 1.0, d / np.where(mean <= 1e-12, 1.0, mean))
    pitch, confidence = np.zeros(len(c)), np.zeros(len(c))
    for f, row in enumerate(c):
        inner = row[SHORTEST:LAGS - 1]
        lags = np.flatnonzero((inner <= row[SHORTEST - 1:LAGS - 2]) & (inner < row[SHORTEST + 1:LAGS])) + SHORTEST
        if len(lags) == 0:
            continue
        least = row[lags].min()
        lag = lags[row[lags] <= min(least + 0.08, max(least, 0.15))][0]
        at, value = parabola(row[lag - 1], row[lag], row[lag + 1])
        pitch[f] = 69 + 12 * np.log2(8000 / (lag + at) / 440)
        confidence[f] = np.clip(1 - value, 0, 1)
    return pitch, confidence


def levels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(level in dB of the last 40 ms, whether something sounds) of each frame."""
    level = 10 * np.log10((windows(y, 2 * DECIMATED, DECIMATED) ** 2).mean(1) + 1e-10)
    peak, sounding = -np.inf, np.zeros(len(level), bool)
    for f, db in enumerate(level):
        peak = max(db, peak - 1 / 50)
        sounding[f] = db > max(peak - 45, -70)
    return level, sounding


def spectra(frames: np.ndarray, scale: float) -> np.ndarray:
    """Hann-windowed magnitudes [n, length / 2 + 1], times `scale`."""
    length = frames.shape[1]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    return np.abs(np.fft.rfft(frames * hann, axis=1)) * scale


def bands() -> tuple[np.ndarray, np.ndarray]:
    """Weights [bands, bins] of triangular bands of a sixth of an octave from 60 Hz, and the range of each: 0 below
    200 Hz, 1 below 2 kHz, 2 above."""
    width = 32000 / WINDOW
    corners = np.unique([c for c in np.round(60 * 2.0 ** (np.arange(47) / 6) / width).astype(int) if c > 0])
    weights, ranges = [], []
    for low, middle, high in zip(corners, corners[1:], corners[2:]):
        bins = np.arange(WINDOW // 2 + 1)
        up, down = (bins - low) / (middle - low), (high - bins) / (high - middle)
        w = np.where((bins > low) & (bins < high), np.where(bins <= middle, up, down), 0.0)
        weights.append(w / w.sum())
        ranges.append(int(middle * width >= 200) + int(middle * width >= 2000))
    return np.array(weights), np.array(ranges)


def onsets(x: np.ndarray) -> list[tuple[int, int, float, list[float]]]:
    """Onsets, as `Features.onsets` has them."""
    weights, ranges = bands()
    levels = np.log(1 + 1000 * spectra(windows(x, WINDOW, SUBFRAME), 2 / WINDOW) @ weights.T)
    before = np.concatenate([np.zeros((REACH, len(weights))), levels])[:len(levels)]
    edge = np.full((len(before), 1), -np.inf)
    padded = np.concatenate([edge, before, edge], 1)
    rise = np.maximum(0, levels - np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:]))
    d = np.concatenate([np.zeros(MEAN + 1), rise.mean(1)])  # zeros before the start
    found, last = [], None
    for k in range(1, len(levels)):  # subframe k - 1 may be a peak; k is the present one
        at = k - 1 + MEAN + 1
        strength = d[at]
        free = last is None or k - last >= GAP
        if free and strength >= d[at - 3:at + 2].max() and strength >= 0.25 + 2 * d[at - MEAN:at].mean():
            last = k
            three = [float(rise[k - 1][ranges == r].mean()) for r in range(3)]
            found.append((k * SUBFRAME // FRAME, k * SUBFRAME - WINDOW, float(strength), three))
    return found


def chromas(y: np.ndarray) -> np.ndarray:
    """Chroma [F, 12] of each frame."""
    m = spectra(windows(y, CHROMA, DECIMATED), 4 / CHROMA)
    out = np.zeros((len(m), 12))
    for f, row in enumerate(m):
        inner = row[1:-1]
        bins = np.flatnonzero((inner > 1e-4) & (inner >= row[:-2]) & (inner > row[2:])) + 1
        at, size = parabola(row[bins - 1], row[bins], row[bins + 1])
        hz = (bins + at) * 8000 / CHROMA
        heard = (hz >= 110) & (hz <= 2000)
        note = 69 + 12 * np.log2(hz[heard] / 440)
        near = np.floor(np.abs(note) + 0.5) * np.sign(note)
        np.add.at(out[f], near.astype(int) % 12, np.sqrt(size[heard]) * (1 - np.abs(note - near)))
    norm = np.maximum(np.sqrt((out ** 2).sum(1)), 1e-3)
    return np.floor(255 * out / norm[:, None] + 0.5).astype(np.uint8)
