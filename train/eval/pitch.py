"""Pitch tracking of a bass line with YIN (de Cheveigné and Kawahara 2002) at 8 kHz, one estimate every 20 ms."""

import numpy as np
import scipy.signal

RATE, WINDOW, HOP = 8000, 1024, 160


def yin(x: np.ndarray, low: float = 30.0, high: float = 420.0) -> tuple[np.ndarray, np.ndarray]:
    """32 kHz audio → (Hz, aperiodicity 0..1) per 20 ms frame; frame f is centred on 20 ms · f + 10 ms."""
    x = scipy.signal.resample_poly(x, 1, 4)
    reach = int(RATE / low) + 2
    frames = len(x) // HOP
    pad = np.pad(x, (WINDOW // 2 + reach // 2, WINDOW + reach))
    seg = np.lib.stride_tricks.sliding_window_view(pad, WINDOW + reach)[HOP // 2::HOP][:frames]
    n = 1 << (WINDOW + reach).bit_length()
    power = np.concatenate([np.zeros((frames, 1)), np.cumsum(seg.astype(np.float64) ** 2, 1)], 1)
    head = np.fft.rfft(seg[:, :WINDOW], n)
    cross = np.fft.irfft(np.conj(head) * np.fft.rfft(seg, n), n)[:, :reach]
    energy = power[:, WINDOW:WINDOW + reach] - power[:, :reach]
    diff = np.maximum(energy[:, :1] + energy - 2 * cross, 0)
    mean = np.cumsum(diff, 1) / np.maximum(np.arange(reach), 1)
    norm = np.where(mean > 1e-12, diff / np.maximum(mean, 1e-12), 1.0)
    first = int(RATE / high)
    f0, rough = np.zeros(frames), np.ones(frames)
    for i, row in enumerate(norm):
        dips = np.flatnonzero((row[first:-1] < 0.15) & (row[first:-1] <= row[first - 1:-2]) & (row[first:-1] <= row[first + 1:])) + first
        tau = dips[0] if len(dips) else first + int(np.argmin(row[first:-1]))
        a, b, c = row[tau - 1:tau + 2] if tau + 2 <= reach else (row[tau],) * 3
        bend = a - 2 * b + c
        f0[i] = RATE / (tau + (0.5 * (a - c) / bend if bend > 1e-12 else 0.0))
        rough[i] = row[tau]
    return f0, rough


def cents(a, b):
    """The interval from b to a, in cents."""
    return 1200 * np.log2(np.maximum(a, 1e-6) / np.maximum(b, 1e-6))
