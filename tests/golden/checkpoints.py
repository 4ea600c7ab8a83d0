"""Writes the small models in the formats of published checkpoints: a Hugging Face folder (hf/) and
audiocraft's pickles.

It also checks that reference_verify.py, which reads these formats, reproduces the golden vectors.

    python checkpoints.py DIR    writes `six` in audiocraft's format, with its T5 in DIR/t5 (2.5 MB, not committed)
"""
import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file
from transformers import MusicgenForConditionalGeneration

import lm
import reference_verify
import text
from common import HERE, save

CLOSE = 2e-5


def write_hf(folder, w, size, encodec, t5_size, t5_from):
    """Writes mono's weights with MusicgenForConditionalGeneration.save_pretrained, in bf16, which holds them
    exactly."""
    t5 = text.hf_t5(load_file(HERE / t5_from / "text.safetensors"), t5_size)
    model = MusicgenForConditionalGeneration(text_encoder=t5, audio_encoder=encodec, decoder=lm.hf_model(w, size)).double()
    model.enc_to_dec_proj.weight.data = w[f"{lm.PROJ}.weight"]
    model.enc_to_dec_proj.bias.data = w[f"{lm.PROJ}.bias"]
    model.config.decoder.decoder_start_token_id = size["card"]
    shutil.rmtree(HERE / folder, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(HERE / folder)
    shutil.copyfile(HERE / t5_from / "tokenizer.json", HERE / folder / "tokenizer.json")
    for f in (HERE / folder).iterdir():
        f.chmod(0o644)


def write_audiocraft(folder, w, size, delays, codecs, configs):
    """Writes `state_dict.bin` (fp16) and `compression_state_dict_STEM.bin` (fp32) with audiocraft's keys, as
    plain dicts."""
    folder.mkdir(parents=True, exist_ok=True)

    def write(name, state, cfg):
        torch.save({"best_state": state, "xp.cfg": yaml.safe_dump(cfg), "version": "fixture", "exported": True}, folder / name)

    write("state_dict.bin", {k: v.half() for k, v in w.items()}, {
        "transformer_lm": dict(dim=size["dim"], num_heads=size["heads"], num_layers=size["layers"], hidden_scale=size["ffn"] // size["dim"],
            n_q=size["streams"], card=size["card"]),
        "codebooks_pattern": {"modeling": "delay", "delay": {"delays": delays, "flatten_first": 0, "empty_initial": 0}},
        "classifier_free_guidance": {"inference_coef": 3.0}, "dataset": {"segment_duration": 30},
        "conditioners": {"description": {"model": "t5", "t5": {"name": "t5-base"}}}})
    for stem, tensors in codecs.items():
        c, state = configs[stem], {}
        for name, v in tensors.items():
            v = v.float()
            if name.endswith("_proj.weight"):
                v = v[:, :, None]
            if v.dim() == 3:
                state[f"{name}_g"], state[f"{name}_v"] = v.flatten(1).norm(dim=1)[:, None, None], v
            else:
                state[name] = v
            if name.endswith("._codebook.embed"):
                book = name.removesuffix("embed")
                state |= {book + "inited": torch.ones(1), book + "cluster_size": torch.ones(len(v)), book + "embed_avg": v.clone()}
        kind = "rvq" if c["quantizer"] == "euclidean" else "dac"
        write(f"compression_state_dict_{stem}.bin", state, {
            "encodec": dict(autoencoder="seanet", quantizer=kind, sample_rate=32000, channels=1, causal=c["causal"], renormalize=False),
            "seanet": dict(dimension=c["dim"], n_filters=c["filters"], ratios=c["ratios"], pad_mode=c["pad_mode"], lstm=2, true_skip=True, kernel_size=7,
                last_kernel_size=7, residual_kernel_size=3, compress=2, norm="weight_norm"),
            kind: dict(n_q=c["books"], bins=c["card"])})


def write_six(folder):
    """Writes the committed `six` in audiocraft's format, and its T5 (with tokenizer.json) as a Hugging Face
    folder in FOLDER/t5."""
    c = json.loads((HERE / "six/config.json").read_text())
    read = lambda name: {k: v.double() for k, v in load_file(HERE / "six" / f"{name}.safetensors").items()}
    size = {k: c["lm"][k] for k in ("dim", "layers", "heads", "ffn")} | dict(card=c["streams"][0]["card"], streams=len(c["streams"]))
    write_audiocraft(folder, read("lm"), size, [s["delay"] for s in c["streams"]], {s: read(f"codec.{s}") for s in c["stems"]}, c["codecs"])
    text.hf_t5(read("text"), c["text"]).float().save_pretrained(folder / "t5")
    shutil.copyfile(HERE / "six/tokenizer.json", folder / "t5/tokenizer.json")


def pickle_sample():
    """Writes pickle/state.bin with torch.save, and the same tensors in state.golden.safetensors.

    It has what a reader must handle: offsets, strides, shared storages, `_metadata`, an empty tensor, fp16
    and fp32.
    """
    base = torch.arange(24, dtype=torch.float32) / 7
    state = torch.nn.Linear(2, 1).state_dict()  # an OrderedDict with `_metadata`
    state.update({"weight": base[:2][None], "bias": base[5:6], "transposed": base.view(4, 6).T, "slice": base.view(4, 6)[1:3, 2:5], "shared": base,
                  "strided": base[1::3], "empty": torch.zeros(0, 3), "scalar": torch.tensor(2.5), "half": (base * 3).half().view(2, 3, 4),
                  "half.column": (base * 5).half().view(6, 4)[:, 1]})
    path = HERE / "pickle"
    path.mkdir(exist_ok=True)
    torch.save({"best_state": state, "xp.cfg": "seanet:\n  pad_mode: constant\n  ratios: [8, 5, 4, 4]\n", "version": "1.4.0a1", "exported": True}, path / "state.bin")
    back = torch.load(path / "state.bin", weights_only=True)["best_state"]
    save("pickle/state.golden.safetensors", {k: v.clone().contiguous().float() for k, v in back.items()})


def compare(found, golden, what):
    """Checks that each tensor is equal (integers) or close (floats) to the golden one, and prints the largest
    relative error."""
    worst = 0.0
    for name in found:
        a, b = found[name], golden[name]
        assert a.shape == b.shape, (what, name, a.shape, b.shape)
        if a.is_floating_point():
            err = float((a - b).norm() / b.norm())
            assert err < CLOSE, (what, name, err)
            worst = max(worst, err)
        else:
            assert torch.equal(a, b), (what, name)
    print(f"{what}: {len(found)} tensors match the golden file, largest relative error {worst:.1e}")


def check_generate():
    """Checks that transformers' own `generate` (delay pattern, loop, guidance) reproduces the audio of mono's
    two greedy text runs."""
    model = MusicgenForConditionalGeneration.from_pretrained(HERE / "hf", dtype=torch.float64).eval()
    ids = load_file(HERE / "mono.golden.safetensors")["text.ids"][None]
    runs = {c["name"]: c for c in json.loads((HERE / "mono.runs.json").read_text())["cases"]}
    for name in ("text", "text_without_guidance"):
        run, card = runs[name], model.config.decoder.vocab_size
        audio = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, guidance_scale=run["guidance"],
            max_length=run["frames"] + 4, decoder_start_token_id=card, pad_token_id=card)
        ours = model.audio_encoder.decode(torch.tensor(run["codes"])[None, None], [None], return_dict=True).audio_values
        assert torch.allclose(audio, ours, atol=1e-12), name
    print("transformers' generate reproduces the audio of mono's greedy text runs")


def check():
    """Checks that reference_verify.py reproduces the goldens of mono (from hf/) and of six (from audiocraft's
    format)."""
    check_generate()
    golden = load_file(HERE / "mono.golden.safetensors")
    compare(reference_verify.reference(HERE / "hf", text="a slow blues", tokens=golden["lm.tokens"], audio={"mix": golden["codec.mix.audio"]}),
            golden, "reference_verify on hf/")
    golden = load_file(HERE / "six.golden.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        write_six(Path(folder))
        audio = {stem: golden[f"codec.{stem}.audio"] for stem in ("bass", "drums", "other")}
        found = reference_verify.reference(folder, Path(folder) / "t5", "funk groove with slap bass", tokens=golden["lm.tokens"], audio=audio)
    compare(found, golden, "reference_verify on audiocraft's pickles of six")


if __name__ == "__main__":
    write_six(Path(sys.argv[1]))
