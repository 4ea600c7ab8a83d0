"""Hyper-parameters of the house LM, in the words of config.json (docs/reference/model-format.md)."""

from ..codec.config import codec_config

STEMS = ["bass", "drums", "other"]
DELAYS = {"bass": [0, 1], "drums": [0, 1], "other": [0, 1, 2, 3]}
# What a stream's cross-entropy counts: the coarse book carries the music, residual ones must not drown it.
WEIGHTS = {"bass": [1.0, 0.4], "drums": [1.0, 0.5], "other": [1.0, 0.5, 0.3, 0.2]}

WINDOW, DECIMATION, MAX_FRAMES = 1250, 5, 1500
LAGS = (4, 25)
# All of them guide: a null lane without clock and chords is what practice without them (tasks.py) is for.
CONTROLS = [{"name": "beat", "card": 192, "guides": True}, {"name": "tick", "card": 17, "guides": True}, {"name": "chord", "card": 97, "guides": True}]
# How it is played unless asked otherwise; chosen by ear and grid after training, so that export takes all three from here.
LIVE = {"strategy": "lagged", "lags": list(LAGS), "guides": True}
# The drums take half of the guidance, `other` twice as much: by more the drums grow busy and lose the clock, by less `other` loses the chords.
SAMPLING = {"temperature": 0.8, "top_k": 100, "top_p": 0.0, "cfg": 2.0, "lean": {"drums": 0.5, "other": 2.0}}


def model_config(dim: int, layers: int, codecs: dict[str, dict] | None = None) -> dict:
    """config.json of the house model at one size; `codecs` as trained (trial overrides included)."""
    codecs = codecs or {s: codec_config(s) for s in STEMS}
    return {
        "format": 1, "name": "house", "licence": "MIT OR Apache-2.0", "provenance": "train/ of this repository, on music it makes",
        "sample_rate": 32000, "frame_rate": 50, "stems": STEMS,
        "streams": [{"stem": s, "level": q, "delay": DELAYS[s][q], "card": codecs[s]["card"]} for s in STEMS for q in range(codecs[s]["books"])],
        "lm": {"dim": dim, "layers": layers, "heads": dim // 64, "ffn": 4 * dim, "norm_eps": 1e-5},
        "text": {"kind": "t5", "dim": 128, "layers": 2, "heads": 2, "head_dim": 64, "ffn": 256, "vocab": 512,
                 "buckets": 32, "max_distance": 128, "eps": 1e-6, "pad": 0, "eos": 1},
        "controls": CONTROLS, "edit": {"window": WINDOW, "decimation": DECIMATION}, "max_frames": MAX_FRAMES,
        "live": LIVE,
        "sampling": SAMPLING,
        "codecs": codecs,
    }
