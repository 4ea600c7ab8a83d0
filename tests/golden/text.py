"""Golden vectors of the text encoder: small T5 encoders in our format with hidden states from transformers,
and two tokenizers."""
import io
import json
import tempfile
from pathlib import Path

import sentencepiece
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import T5Config, T5EncoderModel

from common import HERE, Rng, exact, save, save_json

LENGTHS = [1, 7, 40, 150]

SENTENCES = """a slow blues with a walking bass and brushes on the snare
driving rock drums, a fat bass guitar and a distorted electric guitar
funk groove with slap bass, clavinet and tight hi-hats at 104 bpm
a warm jazz trio: piano, upright bass and drums, late at night
reggae one drop, dub bass, organ bubble and guitar skank
soft bossa nova with nylon guitar and a gentle shaker
disco octaves in the bass, four on the floor, strings and brass stabs
heavy metal with double kick drums and palm muted guitars
ambient pads, no drums, a long deep bass note
an energetic pop song with synth bass, claps and bright keys
hip hop beat, boom bap drums, sampled keys and a round bass
a waltz in three four for accordion, bass and brushes
country shuffle with train beat, telecaster and upright bass
soul ballad with rhodes, fingered bass and a simple backbeat
latin montuno piano, congas, cowbell and tumbao bass
fast drum and bass with breaks and a reese bass
the band plays softly, then louder, then stops
sparse, dense, quiet, loud, busy, calm, dark, bright, happy, sad""".splitlines()

TEXTS = ["", " ", "   ", "a", "funk groove with slap bass", "Funk Groove With Slap Bass", "a slow blues", "  a  slow   blues ", "a\tslow\nblues",
         "bass, drums and other", "104 bpm!", "rock'n'roll & blues-rock (live)", "</s>", "a </s> b", "<pad>funk", "naïve café", "nai\u0308ve cafe\u0301",
         "\uff26\uff35\uff2e\uff2b \uff42\uff41\uff53\uff53", "\ufb01nger bass", "no\u00a0break\u2003space", "\u2581bass \u2581 drums", "日本のドラム", "🎸 bass 🥁", "\u0001x", "bassbassbassbass",
         "a distorted electric guitar and double kick drums and a long deep bass note and brushes and brushes and brushes"]

# A few of t5-base's nmt_nfkc rules, which are compiled the same way: code points, tab, code points.
RULES = {"\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u2003": " ", "\u3000": " ", "\u0001": "", "\ufb01": "fi", "i\u0308": "ï", "e\u0301": "é",
         **{chr(0xFF21 + i): chr(65 + i) for i in range(26)}, **{chr(0xFF41 + i): chr(97 + i) for i in range(26)}}


def train_sentencepiece(vocab, rules):
    """Trains a unigram SentencePiece model of `vocab` pieces with T5's ids: pad 0, </s> 1, <unk> 2."""
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        tsv = Path(folder) / "rules.tsv"
        hexes = lambda s: " ".join(f"{ord(c):X}" for c in s)
        tsv.write_text("".join(f"{hexes(a)}\t{hexes(b)}\n" for a, b in rules.items()))
        kind = dict(normalization_rule_tsv=str(tsv)) if rules else dict(normalization_rule_name="identity")
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(SENTENCES), model_writer=out, model_type="unigram", vocab_size=vocab,
            pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>", character_coverage=1.0, num_threads=1,
            remove_extra_whitespaces=bool(rules), minloglevel=2, **kind)
    return sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())


def field(message, number):
    """The last length-delimited field `number` of a protobuf message."""
    at, found = 0, None

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 == 2:
            size = varint()
            found, at = message[at : at + size] if tag >> 3 == number else found, at + size
        elif tag & 7 == 0:
            varint()
        else:
            at += {1: 8, 5: 4}[tag & 7]
    return found


def to_tokenizer(sp, t5_like):
    """Converts a SentencePiece model to a Tokenizer (tokenizer.json); `t5_like`: with the normalizer and
    pre-tokenizer of t5-base."""
    t = Tokenizer(models.Unigram([(sp.id_to_piece(i), sp.get_score(i)) for i in range(sp.get_piece_size())], unk_id=2, byte_fallback=False))
    meta = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    if t5_like:
        # ModelProto.normalizer_spec.precompiled_charsmap
        t.normalizer = normalizers.Precompiled(field(field(sp.serialized_model_proto(), 3), 2))
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), meta])
    else:
        t.pre_tokenizer = meta
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    t.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    t.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return t


def tokenizer(name, vocab, t5_like):
    """Writes NAME/tokenizer.json and NAME.tokens.json: texts and their ids, with </s> at the end."""
    sp = train_sentencepiece(vocab, RULES if t5_like else {})
    t = to_tokenizer(sp, t5_like)
    (HERE / name).mkdir(exist_ok=True)
    (HERE / name / "tokenizer.json").write_text(t.to_str(pretty=False) + "\n")
    t = Tokenizer.from_file(str(HERE / name / "tokenizer.json"))
    cases = [dict(text=s, ids=t.encode(s).ids) for s in TEXTS]
    # SentencePiece gives the same ids, except for texts that contain a special token (it does not parse
    # those) and, without `t5_like`, for leading and trailing spaces.
    same = [c["text"] for c in cases if sp.encode(c["text"]) + [1] == c["ids"]]
    differ = [c["text"] for c in cases if c["text"] not in same]
    print(f"  {name}/tokenizer.json: {t.get_vocab_size()} pieces; SentencePiece agrees on {len(same)} of {len(cases)} texts, not on {differ}")
    save_json(f"{name}.tokens.json", dict(cases=cases))
    return t


def random_t5(rng, size, dtype):
    """Random weights of a T5 encoder (text.safetensors) as float64 tensors."""
    inner = size["heads"] * size["head_dim"]
    w = {"shared.weight": rng.normal(size["vocab"], size["dim"]), "encoder.final_layer_norm.weight": rng.normal(size["dim"], std=0.3, mean=1.0),
         "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": rng.normal(size["buckets"], size["heads"], std=1.5)}
    for n in range(size["layers"]):
        p = f"encoder.block.{n}"
        for part in "qkvo":
            shape = (size["dim"], inner) if part == "o" else (inner, size["dim"])
            # T5 does not scale scores by 1/sqrt(head dim), so q is scaled instead.
            w[f"{p}.layer.0.SelfAttention.{part}.weight"] = rng.matrix(*shape, size["head_dim"] ** -0.5 if part == "q" else 1.2)
        w[f"{p}.layer.1.DenseReluDense.wi.weight"] = rng.matrix(size["ffn"], size["dim"], 1.2)
        w[f"{p}.layer.1.DenseReluDense.wo.weight"] = rng.matrix(size["dim"], size["ffn"], 1.2)
        for i in (0, 1):
            w[f"{p}.layer.{i}.layer_norm.weight"] = rng.normal(size["dim"], std=0.3, mean=1.0)
    return {k: exact(v, dtype) for k, v in w.items()}


def hf_t5(w, size):
    config = T5Config(vocab_size=size["vocab"], d_model=size["dim"], d_kv=size["head_dim"], d_ff=size["ffn"], num_layers=size["layers"],
        num_heads=size["heads"], relative_attention_num_buckets=size["buckets"], relative_attention_max_distance=size["max_distance"],
        dropout_rate=0.0, layer_norm_epsilon=size["eps"], feed_forward_proj="relu", pad_token_id=0, eos_token_id=1)
    model = T5EncoderModel(config).double().eval()
    missing, unexpected = model.load_state_dict(w, strict=False)
    assert not unexpected and set(missing) <= {"encoder.embed_tokens.weight"}, (missing, unexpected)
    return model


# First distance of each bucket from 8 on (docs/explanation/musicgen-stem.md section 4).
STARTS = [8, 12, 16, 23, 32, 46, 64, 91]


def bucket(distance):
    """The bucket of a distance key - query, from the table."""
    n = abs(distance)
    small = n if n < 8 else 7 + sum(n >= s for s in STARTS)
    return small + (16 if distance > 0 else 0)


def plain(w, size, ids):
    """A second implementation of the encoder, from the formulas of section 4, to check the vectors."""
    x, h, L = w["shared.weight"][ids], size["heads"], len(ids)
    table = w["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    bias = table[torch.tensor([[bucket(k - q) for k in range(L)] for q in range(L)])].permute(2, 0, 1)

    def norm(name, v):
        return v / (v.square().mean(-1, keepdim=True) + size["eps"]).sqrt() * w[f"{name}.weight"]

    for n in range(size["layers"]):
        p = f"encoder.block.{n}"
        y = norm(f"{p}.layer.0.layer_norm", x)
        q, k, v = ((y @ w[f"{p}.layer.0.SelfAttention.{c}.weight"].T).reshape(L, h, -1).transpose(0, 1) for c in "qkv")
        a = (q @ k.transpose(1, 2) + bias).softmax(-1) @ v
        x = x + a.transpose(0, 1).reshape(L, -1) @ w[f"{p}.layer.0.SelfAttention.o.weight"].T
        y = norm(f"{p}.layer.1.layer_norm", x)
        x = x + (y @ w[f"{p}.layer.1.DenseReluDense.wi.weight"].T).relu() @ w[f"{p}.layer.1.DenseReluDense.wo.weight"].T
    return norm("encoder.final_layer_norm", x)


@torch.no_grad()
def t5(name, size, dtype, seed, lengths=LENGTHS, exact_in=None):
    """Writes NAME/text.safetensors and NAME.text.golden.safetensors. Returns a function from ids to hidden
    states."""
    w = random_t5(Rng(seed), size, exact_in or dtype)
    save(f"{name}/text.safetensors", w, dtype)
    model, out, worst = hf_t5(w, size), {}, 0.0
    hidden = lambda ids: model(torch.as_tensor(ids)[None]).last_hidden_state[0].detach()
    for n in lengths:
        ids = Rng(seed + n).ints(size["vocab"], n)
        ids[-1] = 1
        out[f"ids.{n}"], out[f"hidden.{n}"] = ids, hidden(ids)
        worst = max(worst, float((plain(w, size, ids) - out[f"hidden.{n}"]).abs().max()))
    assert worst < 1e-4, worst
    save(f"{name}.text.golden.safetensors", out)
    print(f"  {name}/text.safetensors: plain against transformers {worst:.1e}, hidden std {float(out[f'hidden.{n}'].std()):.2f}")
    return hidden


def buckets():
    """Writes t5-buckets.json and checks our table against transformers' function."""
    from transformers.models.t5.modeling_t5 import T5Attention
    d = torch.arange(-200, 201)
    theirs = T5Attention._relative_position_bucket(d, bidirectional=True, num_buckets=32, max_distance=128)
    assert theirs.tolist() == [bucket(int(x)) for x in d]
    save_json("t5-buckets.json", dict(about="bucket of key - query for -200..200", first=-200, buckets=theirs.tolist()))
