"""Stability of a long take: level, crest factor, level drift, repeated bars, silence, token entropy."""

import numpy as np

from .songs import RATE

BLOCK = 10  # seconds


def db(x):
    """Decibels of a magnitude, −120 for silence."""
    return 20 * np.log10(np.maximum(x, 1e-6))


def levels(x: np.ndarray) -> np.ndarray:
    """RMS level in dB of each 10 s."""
    n = BLOCK * RATE
    x = x[:max(len(x) // n, 1) * n]
    return db(np.sqrt((x.reshape(max(len(x) // n, 1), -1) ** 2).mean(1)))


def bars(x: np.ndarray, bar1: float, bar_s: float) -> np.ndarray:
    """Log spectrogram of each bar, [bars, 32 steps, 24 bands]: what `repetition` compares."""
    count = int((len(x) / RATE - bar1) / bar_s)
    edges = np.geomspace(40, 14000, 25)
    out = []
    for b in range(count):
        a = int((bar1 + b * bar_s) * RATE)
        seg = x[a:a + int(bar_s * RATE)]
        hop = len(seg) // 32
        power = np.abs(np.fft.rfft(seg[:32 * hop].reshape(32, hop) * np.hanning(hop))) ** 2
        f = np.fft.rfftfreq(hop, 1 / RATE)
        out.append([[power[s, (f >= lo) & (f < hi)].sum() for lo, hi in zip(edges[:-1], edges[1:])] for s in range(32)])
    return np.log10(np.asarray(out).reshape(count, 32, 24) + 1e-4)


def repetition(spectrograms: np.ndarray, same_above: float = 0.98) -> float:
    """Share of bars that repeat an earlier one (correlation of their spectrograms above `same_above`).
    Silence counts as repetition."""
    flat = spectrograms.reshape(len(spectrograms), -1)
    flat = flat - flat.mean(1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    flat = flat / np.maximum(norm, 1e-9)
    same = flat @ flat.T
    silent = norm[:, 0] < 1e-6
    return float(np.mean([silent[i] or same[i, :i].max() > same_above for i in range(1, len(flat))])) if len(flat) > 1 else 0.0


def entropy(tokens: np.ndarray) -> float:
    """Entropy in bits of the distribution of tokens."""
    p = np.bincount(tokens.ravel()) / tokens.size
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def rests(x: np.ndarray) -> float:
    """Share of the whole seconds of audio whose RMS is below −50 dB."""
    seconds = x[:len(x) // RATE * RATE].reshape(-1, RATE)
    return float((db(np.sqrt((seconds**2).mean(1))) < -50).mean()) if len(seconds) else 0.0


def score(x: np.ndarray, bar1: float, bar_s: float) -> dict:
    """Scores of one stem: `rms_db`, `crest_db`, `drift_db_min` (slope of the level, dB per minute),
    `range_db` (between the softest and the loudest 10 s), `silent` (share of 10 s blocks below −50 dB),
    `repeated` (share of bars)."""
    level = levels(x)
    minutes = np.arange(len(level)) * BLOCK / 60
    return {"rms_db": float(db(np.sqrt((x**2).mean()))), "crest_db": float(db(np.abs(x).max()) - db(np.sqrt((x**2).mean()))),
            "drift_db_min": float(np.polyfit(minutes, level, 1)[0]) if len(level) > 1 else 0.0,
            "range_db": float(level.max() - level.min()), "silent": float((level < -50).mean()), "repeated": repetition(bars(x, bar1, bar_s))}


def token_score(codec_file, x: np.ndarray) -> dict:
    """Entropy in bits of the codec's first book over `x`, over its first minute and over its last.
    `codec_file`: a checkpoint of train.codec.train."""
    import torch
    from ..lm.tokens import encode, load_codec
    torch.set_num_threads(1)
    with torch.no_grad():
        codes = encode(load_codec(codec_file), x)[0]
    minutes = [codes[i:i + 3000] for i in range(0, max(len(codes) - 1500, 1), 3000)]
    return {"bits": entropy(codes), "bits_first_min": entropy(minutes[0]), "bits_last_min": entropy(minutes[-1])}
