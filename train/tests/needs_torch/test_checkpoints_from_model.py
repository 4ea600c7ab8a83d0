"""Checkpoints made from the shipped model, compared with its golden vectors, with which the engine is
compared too."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from train import checkpoint, checkpoints_from_model

HOUSE = Path("models/house")


def test_weights_read_from_the_model_compute_its_golden_vectors():
    golden, config = load_file("tests/golden/models-house.golden.safetensors"), json.loads((HOUSE / "config.json").read_text())
    with torch.no_grad():
        lm = checkpoints_from_model.lm(HOUSE, config)
        hidden = lm.text(input_ids=golden["text.ids"][None]).last_hidden_state
        assert torch.allclose(hidden[0], golden["text.hidden"], atol=1e-5)
        seq = golden["lm.tokens"][None]
        nulls = {c["name"]: torch.full((1, seq.shape[2]), c["card"]) for c in config["controls"]}
        x = lm(seq, nulls, lm.output_proj(hidden), torch.ones(hidden.shape[:2], dtype=torch.bool))
        assert torch.allclose(torch.stack([head(x[0]) for head in lm.linears], 1), golden["lm.logits"], atol=1e-4)
        for stem in ("bass", "drums", "other"):
            codec = checkpoints_from_model.codec(HOUSE, config, stem)
            codes = codec.encode(golden[f"codec.{stem}.audio"][None])
            assert torch.equal(codes[0], golden[f"codec.{stem}.codes"].to(codes.dtype))
            assert torch.allclose(codec.decode(codes)[0], golden[f"codec.{stem}.decoded"], atol=1e-5)


def test_a_checkpoint_with_old_key_names_is_read_with_the_new_ones(tmp_path):
    torch.save({"model": {}, "meaning": {"read.0.weight": 1}, "spent": 2.0, "words": True}, tmp_path / "old.pt")
    assert checkpoint.load(tmp_path / "old.pt") == {"model": {}, "semantic": {"read.0.weight": 1}, "seconds": 2.0, "text_pretrained": True}
    checkpoint.save(tmp_path / "new.pt", step=3)
    assert checkpoint.load(tmp_path / "new.pt") == {"step": 3} and not list(tmp_path.glob("*.tmp"))
