"""Hyper-parameters of the three house codecs, with the keys of config.json (docs/reference/model-format.md)."""

import math

SAMPLE_RATE = 32000
HOP = 320
FRAME = 640

COMMON = {
    "kind": "istft", "causal": True, "dim": 256, "latent": 128, "ffn": 768, "kernel": 7, "eps": 1e-6,
    "encoder_blocks": 4, "encoder_blocks50": 2, "decoder_blocks50": 2, "decoder_blocks": 6,
    "hop": HOP, "max_log": 7.0, "quantizer": "factorised", "code_dim": 8,
}

STEMS = {
    # Long windows for low frequencies: neighbouring bass notes are 2 Hz apart. A look-ahead of 40 ms (1280
    # samples) lets the second frame of a note already show its pitch.
    "bass": {"analysis": [{"n_fft": 8192, "bins": 320}, {"n_fft": 2048, "bins": 256}, {"n_fft": 512, "bins": 128}],
             "analysis_ahead": 1280, "n_fft": 2048, "books": 2, "card": 1024},
    # Short windows: timing matters most.
    "drums": {"analysis": [{"n_fft": 2048, "bins": 512}, {"n_fft": 512, "bins": 257}],
              "analysis_ahead": 640, "n_fft": 1280, "books": 2, "card": 1024},
    "other": {"analysis": [{"n_fft": 8192, "bins": 512}, {"n_fft": 2048, "bins": 768}, {"n_fft": 512, "bins": 257}],
              "analysis_ahead": 640, "n_fft": 2048, "books": 4, "card": 1024},
}


# Decoders with locked phases: the window of the inverse STFT, and a seed, because each stem has noise of its own.
# A short window keeps drum attacks sharp; a long one separates the partials of chords. The chords of `other` are clear
# only with the phases that the network predicts below 2 kHz (bin 128).
SYNTHESIS = {"bass": {"n_fft": 2048, "noise_seed": 1}, "drums": {"n_fft": 800, "noise_seed": 2},
             "other": {"n_fft": 2048, "noise_seed": 3, "locked_from": 128}}


def look_ahead(c: dict) -> dict:
    """Look-ahead in frames of 640 samples of a codec's configuration."""
    fine = math.ceil((c["n_fft"] // 2 - HOP // 2) / HOP)
    return {"encode": math.ceil(c["analysis_ahead"] / FRAME), "decode": math.ceil(fine / 2)}


def codec_config(stem: str) -> dict:
    """The complete configuration of one stem's codec."""
    c = {**COMMON, **STEMS[stem]}
    return c | {"look_ahead": look_ahead(c)}


def locked_config(c: dict, stem: str) -> dict:
    """The configuration of the codec `c` with a decoder of locked phases (train_decoder.py)."""
    c = c | SYNTHESIS[stem] | {"phase": "locked"}
    return c | {"look_ahead": look_ahead(c)}
