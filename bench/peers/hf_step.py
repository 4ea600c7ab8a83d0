"""Times one cached step of Hugging Face transformers' MusicGen and of Sideman, with the same shapes and precisions.

    pip install torch transformers
    cargo build --release -p sideman-bench
    python bench/peers/hf_step.py --models small --precision f32,bf16 --lanes 2 --context 250 --out step.json

For each case it measures transformers, then Sideman, then transformers again, so that a change of the machine's
speed shows. Weights are random on both sides. A transformers step is one cached forward of MusicgenForCausalLM
over the lanes (two with guidance, batched as its `generate` does), with logits and without sampling. A Sideman
step includes guidance, top-k and sampling. Times are the median and the 99th percentile.
"""

import argparse
import json
import subprocess
import sys
import time

import torch
import transformers
from transformers import MusicgenForCausalLM
from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

SHAPES = {  # dim, layers, heads, streams, card: those of bench/src/models.rs
    "house": (384, 8, 6, 6, 1024),
    "small": (1024, 24, 16, 4, 2048),
    "medium": (1536, 48, 24, 4, 2048),
}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
TEXT = 16  # text tokens, as in speed::step


def build(name, dtype):
    """A model with random weights, created in its precision."""
    dim, layers, heads, streams, card = SHAPES[name]
    config = MusicgenDecoderConfig(vocab_size=card, max_position_embeddings=2048, num_hidden_layers=layers, ffn_dim=4 * dim, dropout=0.0,
                                   num_attention_heads=heads, hidden_size=dim, num_codebooks=streams, pad_token_id=card, bos_token_id=card)
    torch.set_default_dtype(dtype)
    try:
        return MusicgenForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(torch.float32)


@torch.no_grad()
def theirs(model, name, lanes, context, steps):
    """Milliseconds of a prefill of `context` steps, and of each of `steps` cached steps after it."""
    dim, _, _, streams, card = SHAPES[name]
    generator = torch.Generator().manual_seed(0)
    text = torch.randn(lanes, TEXT, dim, generator=generator).to(next(model.parameters()).dtype)
    tokens = torch.randint(0, card, (lanes * streams, context), generator=generator)
    began = time.perf_counter()
    out = model(tokens, encoder_hidden_states=text, use_cache=True)
    prefill = (time.perf_counter() - began) * 1e3
    times = []
    for _ in range(steps):
        token = torch.randint(0, card, (lanes * streams, 1), generator=generator)
        began = time.perf_counter()
        out = model(token, encoder_hidden_states=text, past_key_values=out.past_key_values, use_cache=True)
        out.logits.sum().item()
        times.append((time.perf_counter() - began) * 1e3)
    return prefill, times


def ours(binary, name, precision, lanes, context, steps, threads):
    """The same measurement by sideman-bench, as its JSON output."""
    command = [binary, "step", "--json", "--models", name, "--precision", precision, "--lanes", str(lanes), "--context", str(context),
               "--steps", str(steps), "--threads", str(threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def rank(times, share):
    """Nearest-rank percentile, as in sideman-bench."""
    ordered = sorted(times)
    return ordered[max(0, min(len(ordered), -int(-share * len(ordered) // 1)) - 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="house,small")
    parser.add_argument("--precision", default="f32,bf16")
    parser.add_argument("--lanes", default="2")
    parser.add_argument("--context", default="250")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--binary", default="target/release/sideman-bench")
    parser.add_argument("--out", help="write the results as JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "python": sys.version.split()[0]}
    print(f"{args.threads} threads, {versions}")
    print(f"{'model':8} {'prec':>5} {'lanes':>5} {'context':>7} {'theirs':>9} {'again':>9} {'ours':>9} {'times':>6} {'p99s':>17} {'prefill theirs/ours':>20}")
    rows = []
    for name in args.models.split(","):
        for precision in args.precision.split(","):
            model = build(name, DTYPES[precision])
            for lanes in map(int, args.lanes.split(",")):
                for context in map(int, args.context.split(",")):
                    prefill, first = theirs(model, name, lanes, context, args.steps)
                    machine = ours(args.binary, name, precision, lanes, context, args.steps, args.threads)
                    row = machine["rows"][0]
                    prefill_again, again = theirs(model, name, lanes, context, args.steps)
                    best = min(rank(first, 0.5), rank(again, 0.5))
                    times = best / row["p50_ms"]
                    print(f"{name:8} {precision:>5} {lanes:>5} {context:>7} {rank(first, 0.5):9.2f} {rank(again, 0.5):9.2f} {row['p50_ms']:9.2f} {times:6.2f} "
                          f"{rank(first, 0.99):8.2f}/{row['p99_ms']:8.2f} {min(prefill, prefill_again):9.0f}/{row['prefill_ms']:9.0f}", flush=True)
                    rows.append({"model": name, "precision": precision, "lanes": lanes, "context": context, "times_faster": times,
                                 "theirs": {"p50_ms": [rank(first, 0.5), rank(again, 0.5)], "p99_ms": [rank(first, 0.99), rank(again, 0.99)],
                                            "prefill_ms": [prefill, prefill_again]},
                                 "ours": row, "bandwidth_bytes_per_second": machine["bandwidth_bytes_per_second"]})
            del model
    if args.out:
        with open(args.out, "w") as file:
            json.dump({"threads": args.threads, "versions": versions, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
