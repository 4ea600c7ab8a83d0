"""Hyper-parameters of the house LM, with the keys of config.json (docs/reference/model-format.md)."""

from ..codec.config import codec_config

STEMS = ["bass", "drums", "other"]
DELAYS = {"bass": [0, 1], "drums": [0, 1], "other": [0, 1, 2, 3]}
# Weight of each stream's cross-entropy: book 0 carries the music, so it counts more than the residual books.
WEIGHTS = {"bass": [1.0, 0.4], "drums": [1.0, 0.5], "other": [1.0, 0.5, 0.3, 0.2]}

WINDOW, DECIMATION, MAX_FRAMES = 1250, 5, 1500
LAGS = (4, 25)
# `guides`: the null lane of classifier-free guidance leaves the control out. tasks.py drops controls in
# training for that.
CONTROLS = [{"name": "beat", "card": 192, "guides": True}, {"name": "tick", "card": 17, "guides": True}, {"name": "chord", "card": 97, "guides": True}]
# Defaults of playing. They were chosen after training, so export writes them from here and not from the
# checkpoint.
LIVE = {"strategy": "lagged", "lags": list(LAGS), "guides": True}
# Guidance per stem, as a factor of cfg − 1: with more the drums get busy and lose the clock, with less
# `other` loses the chords.
SAMPLING = {"temperature": 0.8, "top_k": 100, "top_p": 0.0, "cfg": 2.0, "cfg_scale": {"drums": 0.5, "other": 2.0}}


def model_config(dim: int, layers: int, codecs: dict[str, dict] | None = None) -> dict:
    """config.json of the house model; `codecs`: the configurations that the codecs were trained with."""
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
