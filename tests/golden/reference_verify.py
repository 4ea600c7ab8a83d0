"""Writes a golden file for `sideman model verify` from published weights, computed by transformers.

    python reference_verify.py FOLDER --out golden.safetensors [--t5 T5_FOLDER] [--text "..."] [--steps 24] [--seconds 2]

FOLDER: a Hugging Face MusicGen (config.json and weights; mono), or an audiocraft one (`state_dict.bin` and
`compression_state_dict*.bin`: MusicGen or MusicGen-Stem), which also need a folder with T5 and
`tokenizer.json` in --t5. Then, on the imported model: `sideman model verify DIR --golden golden.safetensors`.
"""
import argparse
import math
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import MusicgenForConditionalGeneration, T5EncoderModel

import codec
import lm
import patterns
from common import Rng, test_audio


class HuggingFace:
    """MusicgenForConditionalGeneration from a folder."""

    def __init__(self, folder, t5):
        self.model = MusicgenForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        c = self.model.config.decoder
        if c.audio_channels != 1:
            raise SystemExit(f"{folder}: is a stereo model, which sideman cannot play; use a mono one")
        self.card, self.delays, self.stems = c.vocab_size, list(range(c.num_codebooks)), ["mix"]
        self.tokenizer, self.t5 = Tokenizer.from_file(str(Path(t5 or folder) / "tokenizer.json")), self.model.text_encoder
        self.model.audio_encoder.double()

    def logits(self, tokens, hidden):
        return lm.Lane(self.model.decoder, self.model.enc_to_dec_proj(hidden)).feed(tokens)

    def codec(self, stem, audio):
        encoder = self.model.audio_encoder
        codes = encoder.encode(audio.double()[None, None], bandwidth=encoder.config.target_bandwidths[-1], return_dict=True).audio_codes
        return codes[0, 0], encoder.decode(codes, [None], return_dict=True).audio_values[0, 0]


class Audiocraft:
    """audiocraft's pickles, loaded into transformers' modules by name (docs/explanation/musicgen-stem.md
    sections 2, 3 and 5)."""

    def __init__(self, folder, t5):
        if t5 is None:
            raise SystemExit("--t5: missing; audiocraft's pickles do not contain T5, so name its folder")
        w, cfg = self.load(folder / "state_dict.bin")
        c, pattern = cfg["transformer_lm"], cfg["codebooks_pattern"]
        streams = sum(name.startswith("emb.") for name in w)
        layers = 1 + max(int(name.split(".")[2]) for name in w if name.startswith("transformer.layers."))
        self.size = dict(dim=w["out_norm.weight"].shape[0], layers=layers, heads=c["num_heads"], ffn=w["transformer.layers.0.linear1.weight"].shape[0],
            card=w["linears.0.weight"].shape[0], streams=streams)
        self.card, self.delays = self.size["card"], list(pattern["delay"]["delays"])
        assert len(self.delays) == streams, f"{folder}: {streams} streams but delays {self.delays}"
        self.w, self.model = w, lm.hf_model(w, self.size, torch.float32)
        self.codecs = {}
        for path in sorted(folder.glob("compression_state_dict*.bin")):
            self.codecs[path.stem.removeprefix("compression_state_dict").lstrip("_") or "mix"] = self.load_codec(path)
        self.stems = list(self.codecs)
        self.tokenizer, self.t5 = Tokenizer.from_file(str(Path(t5) / "tokenizer.json")), T5EncoderModel.from_pretrained(t5, dtype=torch.float32).eval()

    @staticmethod
    def load(path):
        package = torch.load(path, map_location="cpu", weights_only=True)
        if "best_state" not in package:
            raise SystemExit(f"{path}: has no `best_state` but {sorted(package)}, so it refers to another checkpoint; use the Hugging Face form of this model")
        return {k: v.float() for k, v in package["best_state"].items()}, yaml.safe_load(package["xp.cfg"])

    def load_codec(self, path):
        """(tensors with weight norm folded in float64, config) of one compression model, in our format."""
        state, cfg = self.load(path)
        seanet, w = cfg["seanet"], {}
        for name, v in state.items():
            v = v.double()
            if name.endswith("weight_v"):
                g = state[name[:-1] + "g"].double()
                v = g * v / v.flatten(1).norm(dim=1)[:, None, None]
                w[name.removesuffix("_v")] = v[:, :, 0] if "_proj." in name else v
            elif not name.endswith(("weight_g", "inited", "cluster_size", "embed_avg")):
                w[name] = v
        first, last = w["encoder.model.0.conv.conv.weight"], w["encoder.model.15.conv.conv.weight"]
        books = [v for name, v in w.items() if name.endswith(("._codebook.embed", ".codebook.weight"))]
        factorised = "quantizer.vq.quantizers.0.codebook.weight" in w
        c = codec.our_config(first.shape[0], last.shape[0], len(books), books[0].shape[0], seanet["pad_mode"], bool(cfg["encodec"]["causal"]),
            books[0].shape[1] if factorised else None)
        assert list(seanet["ratios"]) == c["ratios"] and seanet["lstm"] == 2 and seanet["true_skip"], f"{path}: the SEANet differs from MusicGen's: {seanet}"
        return w, c

    def logits(self, tokens, hidden):
        return lm.Lane(self.model, lm.project(self.w, hidden)).feed(tokens)

    def codec(self, stem, audio):
        w, c = self.codecs[stem]
        _, codes, decoded, margin = codec.run(w, c, audio)
        print(f"{stem}: smallest margin of a code {margin:.1e}" + (" (rounding may choose another code)" if margin < 1e-5 else ""))
        return codes, decoded


@torch.no_grad()
def reference(folder, t5=None, text="funk groove with slap bass", steps=24, seconds=2.0, tokens=None, audio=None):
    """The tensors of the golden file. `tokens` [K, S] and `audio` {stem: samples} replace the default inputs,
    for a check."""
    folder = Path(folder)
    model = (Audiocraft if (folder / "state_dict.bin").exists() else HuggingFace)(folder, t5)
    ids = torch.tensor(model.tokenizer.encode(text).ids)
    hidden = model.t5(ids[None]).last_hidden_state[0]
    if tokens is None:
        grid = Rng(1).ints(model.card, len(model.delays), steps)
        tokens = patterns.layout(grid, model.delays, model.card)[:, :steps]
    out = {"text.ids": ids, "text.hidden": hidden, "lm.tokens": tokens, "lm.hidden": hidden, "lm.logits": model.logits(tokens, hidden)}
    for stem in model.stems:
        x = audio[stem] if audio else test_audio(int(seconds * 32000), 1)
        codes, decoded = model.codec(stem, x)
        assert codes.shape[1] == math.ceil(len(x) / 640)
        out |= {f"codec.{stem}.audio": x, f"codec.{stem}.codes": codes, f"codec.{stem}.decoded": decoded}
    return {k: (v.float() if v.is_floating_point() else v.long()).contiguous().clone() for k, v in sorted(out.items())}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder")
    p.add_argument("--out", required=True)
    p.add_argument("--t5")
    p.add_argument("--text", default="funk groove with slap bass")
    p.add_argument("--steps", type=int, default=24)
    p.add_argument("--seconds", type=float, default=2.0)
    a = p.parse_args()
    out = reference(a.folder, a.t5, a.text, a.steps, a.seconds)
    save_file(out, a.out)
    for name, t in out.items():
        print(f"{name:24} {str(list(t.shape)):16} {str(t.dtype).removeprefix('torch.')}")


if __name__ == "__main__":
    main()
