"""Effects from a dry stem to the corpus: drive, compression, EQ and room in one FIR filter, level, limiter,
noise floor."""

import numpy as np
from scipy.signal import butter, oaconvolve, sosfilt

RATE = 32000


def biquad(kind, f, gain_db, q=0.8):
    """A biquad section [1, 6] after the Audio EQ Cookbook (R. Bristow-Johnson): 'low' or 'high' shelf, or
    'bell'."""
    a, w = 10 ** (gain_db / 40), 2 * np.pi * f / RATE
    c, alpha = np.cos(w), np.sin(w) / (2 * q)
    if kind == "bell":
        b0, b1, b2, a0, a1, a2 = 1 + alpha * a, -2 * c, 1 - alpha * a, 1 + alpha / a, -2 * c, 1 - alpha / a
    else:
        s = 1 if kind == "low" else -1
        r = 2 * np.sqrt(a) * alpha
        b0, b1, b2 = a * ((a + 1) - s * (a - 1) * c + r), s * 2 * a * ((a - 1) - s * (a + 1) * c), a * ((a + 1) - s * (a - 1) * c - r)
        a0, a1, a2 = (a + 1) + s * (a - 1) * c + r, -s * 2 * ((a - 1) + s * (a + 1) * c), (a + 1) + s * (a - 1) * c - r
    return np.array([[b0, b1, b2, a0, a1, a2]]) / a0


def random_chain(rng, stem):
    """A random effect chain for a stem, from `rng` (random.Random): a dict that is stored in the song's
    labels."""
    chain = {"low_db": rng.uniform(-4, 4), "high_db": rng.uniform(-5, 4), "bell_db": rng.uniform(-4, 4),
             "bell_hz": round(2 ** rng.uniform(7.5, 11.5)), "drive": 0.0, "squeeze": 0.0, "room_s": 0.0, "wet": 0.0}
    if rng.random() < {"bass": 0.35, "drums": 0.25, "other": 0.2}[stem]:
        chain["drive"] = rng.uniform(0.3, 2.5) if stem == "bass" else rng.uniform(0.2, 1.2)
    if rng.random() < {"bass": 0.5, "drums": 0.4, "other": 0.25}[stem]:
        chain["squeeze"] = rng.uniform(0.2, 0.7)
    if rng.random() < {"bass": 0.3, "drums": 0.7, "other": 0.7}[stem]:
        chain["room_s"] = rng.uniform(0.1, 0.3 if stem == "bass" else 0.5)
        chain["wet"] = rng.uniform(0.03, 0.1) if stem == "bass" else rng.uniform(0.05, 0.3)
    if stem == "bass" and rng.random() < 0.35:
        chain["lowpass_hz"] = round(2 ** rng.uniform(10, 12.5))  # like a tone knob turned down
    chain["rms_db"] = rng.uniform(-23, -18)
    chain["floor_db"] = rng.uniform(-80, -60)
    return {k: round(v, 3) for k, v in chain.items()}


def impulse_response(chain, noise):
    """FIR filter [n] of the chain's EQ, a 20 Hz high-pass and the room. The direct sound is at sample 0, so
    onsets do not move."""
    n = int(RATE * max(0.12, chain["room_s"] * 0.9 + 0.02))
    h = np.zeros(n)
    h[0] = 1
    if chain["wet"] > 0:
        t = np.arange(n) / RATE
        tail = noise.standard_normal(n) * np.exp(-6.9 * t / chain["room_s"])
        tail[: int(0.004 * RATE)] = 0
        tail = sosfilt(butter(1, [200, 6000], "band", fs=RATE, output="sos"), tail)
        h += tail * chain["wet"] / (np.sqrt(np.sum(tail ** 2)) + 1e-9) * 2
    sos = [biquad("low", 150, chain["low_db"]), biquad("high", 3500, chain["high_db"]),
           biquad("bell", chain["bell_hz"], chain["bell_db"], 1.0), butter(2, 20, "high", fs=RATE, output="sos")]
    if "lowpass_hz" in chain:
        sos.append(butter(1, chain["lowpass_hz"], fs=RATE, output="sos"))
    return sosfilt(np.concatenate(sos), h).astype(np.float32)


def active_rms(x):
    """RMS over the 50 ms blocks within 40 dB of the loudest: the level while the stem plays."""
    n = len(x) // 1600 * 1600
    power = np.mean(x[:n].reshape(-1, 1600) ** 2, 1)
    on = power > power.max() * 1e-4
    return float(np.sqrt(power[on].mean())) if power.max() > 0 else 0.0


def compress(x, amount):
    """Feed-forward compressor on 2 ms blocks with 5 ms attack and 120 ms release; `amount` 0..1 is the slope."""
    block = 64
    n = len(x) // block * block
    peak = np.abs(x[:n]).reshape(-1, block).max(1) + 1e-5
    level, env = 0.0, np.empty_like(peak)
    for i, p in enumerate(peak.tolist()):
        level += (p - level) * (0.4 if p > level else 0.016)
        env[i] = level
    threshold = active_rms(x) * 1.2
    gain = np.minimum(1, (threshold / np.maximum(env, 1e-6)) ** amount)
    y = x.copy()
    y[:n] *= np.interp(np.arange(n), np.arange(len(gain)) * block + block / 2, gain).astype(np.float32)
    return y


def limit(x, knee=0.55, ceiling=0.88):
    """Soft limiter: linear below `knee`, always below `ceiling`."""
    over = np.abs(x) > knee
    y = x.copy()
    y[over] = np.sign(x[over]) * (knee + (ceiling - knee) * np.tanh((np.abs(x[over]) - knee) / (ceiling - knee)))
    return y


def process(x, chain, seed):
    """A dry float stem through a chain, int16 [n]. A silent stem becomes the noise floor. `seed`: integers
    for numpy's generator."""
    noise = np.random.default_rng(seed)
    rms = active_rms(x)
    if rms > 1e-6:
        x = x * np.float32(0.1 / rms)
        if chain["drive"] > 0:
            g = np.float32(1 + chain["drive"] * 4)
            x = np.tanh(x * g) / g * (1 - 0.3) + x * np.float32(0.3)
        if chain["squeeze"] > 0:
            x = compress(x, chain["squeeze"])
        x = oaconvolve(x, impulse_response(chain, noise))[: len(x)].astype(np.float32)
        x = limit(x * np.float32(10 ** (chain["rms_db"] / 20) / max(active_rms(x), 1e-6)))
    floor = noise.standard_normal(len(x), dtype=np.float32) * np.float32(10 ** (chain["floor_db"] / 20))
    return np.round((x + floor) * 32767).clip(-32768, 32767).astype("<i2")
