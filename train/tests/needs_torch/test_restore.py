"""The weights that ship become checkpoints again: held to their own golden vectors, which the engine is held to as well."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from train import restore

HOUSE = Path("models/house")


def test_restored_weights_compute_what_the_engine_is_held_to():
    golden, config = load_file("tests/golden/models-house.golden.safetensors"), json.loads((HOUSE / "config.json").read_text())
    with torch.no_grad():
        lm = restore.lm(HOUSE, config)
        hidden = lm.text(input_ids=golden["text.ids"][None]).last_hidden_state
        assert torch.allclose(hidden[0], golden["text.hidden"], atol=1e-5)
        seq = golden["lm.tokens"][None]
        nulls = {c["name"]: torch.full((1, seq.shape[2]), c["card"]) for c in config["controls"]}
        x = lm(seq, nulls, lm.output_proj(hidden), torch.ones(hidden.shape[:2], dtype=torch.bool))
        assert torch.allclose(torch.stack([head(x[0]) for head in lm.linears], 1), golden["lm.logits"], atol=1e-4)
        for stem in ("bass", "drums", "other"):
            codec = restore.codec(HOUSE, config, stem)
            codes = codec.encode(golden[f"codec.{stem}.audio"][None])
            assert torch.equal(codes[0], golden[f"codec.{stem}.codes"].to(codes.dtype))
            assert torch.allclose(codec.decode(codes)[0], golden[f"codec.{stem}.decoded"], atol=1e-5)
