"""Captions of songs, made from their labels, and the tokenizer trained on them."""

import json
import random
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, decoders, trainers

NAMES = {"ep": "electric piano", "clav": "clavinet", "vibes": "vibraphone", "gtr": "guitar"}


def style_caption(song: dict, rng: random.Random) -> str:
    """A caption that names only the drums' style."""
    style = song.get("drummer") or song["style"]
    return rng.choice([f"{style} drums", f"{style} drums", f"{style} groove", style])


def caption(song: dict, rng: random.Random) -> str:
    """A caption of a few words in random order: style, drums, instruments, tempo, mood. Each may be left out."""
    tags, style = song["caption_tags"], song["style"]
    other = [NAMES.get(i, i.replace("_", " ").replace("-", " ")) for i in song["instruments"]["other"]]
    parts = []
    drummer = song.get("drummer")
    if drummer:  # The drums play another style than the band, and only the caption says so: always name it.
        parts.append(rng.choice([f"{drummer} drums", f"{drummer} drums", f"{drummer} groove", drummer, f"{style} band with {drummer} drums"]))
    elif rng.random() < 0.85:
        parts.append(rng.choice([style, f"{style} drums", f"{style} groove", f"a {style} band", f"{style} trio"]))
    if rng.random() < 0.7:
        parts.append(rng.choice([" and ".join(other), "with " + " and ".join(other), rng.choice(other)]))
    if rng.random() < 0.4:
        parts.append(rng.choice([tags["tempo"], f"{tags['tempo']} tempo", f"{round(song['bpm'])} bpm"]))
    for key in ("mood", "density", "mode"):
        if rng.random() < 0.3:
            parts.append(str(tags[key]))
    rng.shuffle(parts)
    return rng.choice([", ", " ", ", "]).join(parts)


def train_tokenizer(songs: list[dict], vocab: int, out: Path) -> Tokenizer:
    """Trains a unigram tokenizer with T5's special ids (pad 0, </s> 1, unk 2) and writes it as
    tokenizer.json."""
    rng = random.Random(1)
    texts = [caption(s, rng) for s in songs for _ in range(40)]
    letters = [chr(c) for c in range(32, 127)]
    t = Tokenizer(models.Unigram())
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.decoder = decoders.Metaspace()
    t.normalizer = tokenizers.normalizers.Lowercase()
    trainer = trainers.UnigramTrainer(vocab_size=vocab, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", initial_alphabet=letters)
    t.train_from_iterator(texts + ["".join(letters)] * 3, trainer)
    t.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    t.save(str(out))
    assert t.get_vocab_size() <= vocab, json.dumps(t.get_vocab_size())
    return t
