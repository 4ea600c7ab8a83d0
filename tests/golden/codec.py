"""Golden vectors of codec kind `seanet`: random weights in our format, codes and audio from transformers'
EncodecModel. Both quantizers."""
import math

import torch
from transformers import EncodecConfig, EncodecModel

from common import HOP, Rng, exact, save, save_json, test_audio

RATIOS = [8, 5, 4, 4]
LENGTHS = [1, 639, 640, 641, 3217, 16000]


def our_config(filters, dim, books, card, pad="reflect", causal=False, code_dim=None):
    """A codec's object in config.json (docs/reference/model-format.md)."""
    quantizer = {"quantizer": "euclidean"} if code_dim is None else {"quantizer": "factorised", "code_dim": code_dim}
    return {"kind": "seanet", "causal": causal, "pad_mode": pad, "channels": 1, "dim": dim, "filters": filters, "ratios": RATIOS, "kernel": 7,
            "last_kernel": 7, "residual_kernel": 3, "compress": 2, "lstm": 2, **quantizer, "books": books, "card": card}


def hf_config(c):
    # transformers has no field for the number of books: it is floor(1000 * bandwidth / (50 * bits of a
    # code)).
    bandwidth = (c["books"] * math.log2(c["card"]) * 50 + 1) / 1000
    return EncodecConfig(target_bandwidths=[bandwidth], sampling_rate=32000, audio_channels=1, hidden_size=c["dim"], codebook_dim=c["dim"],
        num_filters=c["filters"], upsampling_ratios=c["ratios"], codebook_size=c["card"], num_lstm_layers=c["lstm"], norm_type="weight_norm",
        use_causal_conv=c["causal"], pad_mode=c["pad_mode"], use_conv_shortcut=False, chunk_length_s=None)


def hf_model(c):
    return EncodecModel(hf_config(c)).double().eval()


def our_name(name):
    """`encoder.layers.3.conv.X` to `encoder.model.3.conv.conv.X`, the transposed ones of the decoder to
    `.convtr.convtr`."""
    side, _, n, rest = name.split(".", 3)
    if rest.startswith("lstm"):
        return f"{side}.model.{n}.{rest}"
    kind = "convtr" if side == "decoder" and int(n) in (3, 6, 9, 12) else "conv"
    head, leaf = rest.rsplit("conv.", 1)
    return f"{side}.model.{n}.{head}{kind}.{kind}.{leaf}"


def randomise(model, rng):
    """Sets random weights that roughly preserve the level of a signal, in weight-norm form (g, v)."""
    for name, p in model.named_parameters():
        if name.endswith("original0"):  # g: [out,1,1], or [in,1,1] of a transposed convolution
            stride = {3: 8, 6: 5, 9: 4, 12: 4}.get(int(name.split(".")[2]), 0) if name.startswith("decoder") else 0
            gain = 1.3 * math.sqrt(stride / 2) if stride else 1.3
            p.data = gain * (1 + 0.3 * rng.normal(*p.shape).clamp(-2, 2))
        elif name.endswith("original1"):
            p.data = rng.normal(*p.shape)
        elif "lstm" in name:
            p.data = rng.normal(*p.shape, std=1.2 / math.sqrt(p.shape[-1]) if p.dim() == 2 else 0.2)
        else:
            p.data = rng.normal(*p.shape, std=0.1)
        if name.startswith("decoder.layers.15."):
            p.data *= 0.04  # brings decoded audio to a usual level
        p.data = exact(p.data, torch.bfloat16)


def folded(model):
    """Encoder and decoder tensors under our names, with weight norm folded in float64."""
    out, state = {}, dict(model.named_parameters())
    for name, p in state.items():
        if name.endswith("original1"):
            g = state[name[:-1] + "0"]
            assert g.shape == (p.shape[0], 1, 1)
            out[our_name(name.replace("parametrizations.weight.original1", "weight"))] = (g * p / p.flatten(1).norm(dim=1)[:, None, None]).data
        elif not name.endswith("original0"):
            out[our_name(name)] = p.data
    return out


def load_folded(model, tensors):
    """Loads folded (and rounded) tensors into the model: v = W, g = ‖W‖."""
    for name, p in model.named_parameters():
        if name.endswith("original0"):
            t = tensors[our_name(name.replace("parametrizations.weight.original0", "weight"))]
            p.data = t.flatten(1).norm(dim=1)[:, None, None].clone()
        else:
            p.data = tensors[our_name(name.replace("parametrizations.weight.original1", "weight"))].clone()


# Quantizers, from the formulas of section 3.7. Latents are [T, dim], codes [books, T].

def euclidean_encode(w, z, books):
    """(codes, margin): the smallest (d2 - d1)/(d2 + d1) of the distances to the nearest and to the second
    nearest code."""
    codes, margin = [], 1.0
    for q in range(books):
        e = w[f"quantizer.vq.layers.{q}._codebook.embed"]
        d = ((z[:, None] - e) ** 2).sum(-1)
        codes.append(d.argmin(1))
        a, b = d.topk(2, largest=False).values.unbind(1)
        margin = min(margin, float(((b - a) / (b + a)).min()))
        z = z - e[codes[-1]]
    return torch.stack(codes), margin


def euclidean_decode(w, codes):
    return sum(w[f"quantizer.vq.layers.{q}._codebook.embed"][row] for q, row in enumerate(codes))


def factorised_decode(w, codes):
    p = [f"quantizer.vq.quantizers.{q}" for q in range(len(codes))]
    return sum(w[f"{n}.codebook.weight"][row] @ w[f"{n}.out_proj.weight"].T + w[f"{n}.out_proj.bias"] for n, row in zip(p, codes))


def factorised_encode(w, z, books):
    """(codes, margin): the smallest difference between the highest cosine and the second highest."""
    codes, margin = [], 2.0
    for q in range(books):
        p = f"quantizer.vq.quantizers.{q}"
        e = z @ w[f"{p}.in_proj.weight"].T + w[f"{p}.in_proj.bias"]
        c = w[f"{p}.codebook.weight"]
        cos = (e / e.norm(dim=1, keepdim=True).clamp_min(1e-12)) @ (c / c.norm(dim=1, keepdim=True).clamp_min(1e-12)).T
        codes.append(cos.argmax(1))
        a, b = cos.topk(2).values.unbind(1)
        margin = min(margin, float((a - b).min()))
        z = z - (c[codes[-1]] @ w[f"{p}.out_proj.weight"].T + w[f"{p}.out_proj.bias"])
    return torch.stack(codes), margin


def quantize(w, c, z):
    return (euclidean_encode if c["quantizer"] == "euclidean" else factorised_encode)(w, z, c["books"])


def dequantize(w, c, codes):
    return (euclidean_decode if c["quantizer"] == "euclidean" else factorised_decode)(w, codes)


def spread(points, card):
    """`card` of the points, each the farthest from those before, so that all codes are used and far apart."""
    picked, d = [0], ((points - points[0]) ** 2).sum(1)
    while len(picked) < card:
        picked.append(int(d.argmax()))
        d = torch.minimum(d, ((points - points[picked[-1]]) ** 2).sum(1))
    return points[picked]


def random_quantizer(rng, c, latents, dtype):
    """A quantizer fitted to latents [T, dim]: each book is spread over what the books before it leave."""
    w, z = {}, latents
    for q in range(c["books"]):
        if c["quantizer"] == "euclidean":
            w[f"quantizer.vq.layers.{q}._codebook.embed"] = exact(spread(z, c["card"]) * 0.8, dtype)
            z = z - w[f"quantizer.vq.layers.{q}._codebook.embed"][euclidean_encode({f"quantizer.vq.layers.0._codebook.embed":
                w[f"quantizer.vq.layers.{q}._codebook.embed"]}, z, 1)[0][0]]
        else:
            p = f"quantizer.vq.quantizers.{q}"
            w[f"{p}.in_proj.weight"] = exact(rng.matrix(c["code_dim"], c["dim"]), dtype)
            w[f"{p}.in_proj.bias"] = exact(rng.normal(c["code_dim"], std=0.1), dtype)
            w[f"{p}.out_proj.weight"] = exact(rng.matrix(c["dim"], c["code_dim"]), dtype)
            w[f"{p}.out_proj.bias"] = exact(rng.normal(c["dim"], std=0.1), dtype)
            e = z @ w[f"{p}.in_proj.weight"].T + w[f"{p}.in_proj.bias"]
            # Codes of different length, so that a missing normalisation shows.
            w[f"{p}.codebook.weight"] = exact(spread(e / e.norm(dim=1, keepdim=True), c["card"]) * (1 + rng.normal(c["card"], 1, std=0.3).abs()), dtype)
            one = {k.replace(f"quantizers.{q}.", "quantizers.0."): v for k, v in w.items() if f"quantizers.{q}." in k}
            z = z - factorised_decode(one, factorised_encode(one, z, 1)[0])
    return w


def build(c, dtype, seed):
    """(tensors, model): random codec tensors, exact in dtype, and the EnCodec model (weight norm unfolded,
    exact in bf16) they come from."""
    rng = Rng(seed)
    model = hf_model(c)
    randomise(model, rng)
    w = {k: exact(v, dtype) for k, v in folded(model).items()}
    with torch.no_grad():
        signal = torch.cat([test_audio(40000, seed + i).double() * (0.3 + 0.4 * i) for i in range(6)])
        latents = model.encoder(signal[None, None])[0].T
    latents = latents + rng.normal(*latents.shape, std=0.3 * float(latents.std()))
    quantizer = random_quantizer(rng, c, latents, torch.bfloat16 if dtype == torch.float32 else dtype)
    if c["quantizer"] == "euclidean":
        set_books(model, quantizer)
    return w | quantizer, model


def set_books(model, w):
    for q, layer in enumerate(model.quantizer.layers):
        layer.codebook.embed.copy_(w[f"quantizer.vq.layers.{q}._codebook.embed"])


def run(w, c, audio):
    """Encodes and decodes with transformers' networks and the quantizer above: latents [F, dim], codes [K,
    F], decoded [640 F], margin."""
    model = hf_model(c)
    load_folded(model, w)
    with torch.no_grad():
        z = model.encoder(audio.double()[None, None])[0].T
        codes, margin = quantize(w, c, z)
        decoded = model.decoder(dequantize(w, c, codes).T[None])[0, 0]
        if c["quantizer"] == "euclidean":  # transformers' complete path gives the same
            set_books(model, w)
            theirs = model.encode(audio.double()[None, None], return_dict=True)
            assert torch.equal(theirs.audio_codes[0, 0], codes)
            assert torch.allclose(model.decode(theirs.audio_codes, [None], return_dict=True).audio_values[0, 0], decoded, rtol=1e-9, atol=1e-9)
    assert z.shape[0] == math.ceil(len(audio) / HOP) and len(decoded) == HOP * z.shape[0]
    return z, codes, decoded, margin


def variants(c):
    """The config with both pad modes, centred and causal: {`PAD.centred`, `PAD.causal`: config}."""
    return {f"{pad}.{'causal' if causal else 'centred'}": {**c, "pad_mode": pad, "causal": causal} for pad in ("reflect", "constant") for causal in (False, True)}


def seanet(path, c, dtype, seed, golden=None, lengths=lambda key: []):
    """Writes a codec to `path` and, if `golden` is given, vectors of all variants at their lengths.

    Tries seeds until every code is chosen with a margin above 1e-4. Returns the tensors, the EnCodec model,
    and the vectors that `sideman model verify` needs, of 3217 samples: audio, codes, decoded.
    """
    audio = test_audio(16000, seed)
    for attempt in range(50):
        w, model = build(c, dtype, seed + 1000 * attempt)
        _, codes, decoded, worst = run(w, c, audio[:3217])
        out, used, longest = {}, set(codes[0].tolist()), 0
        for key, config in variants(c).items() if golden else ():
            for n in lengths(key):
                z, k, y, margin = run(w, config, audio[:n])
                worst, used, longest = min(worst, margin), used | set(k[0].tolist()), max(longest, n)
                out |= {f"{key}.{n}.latents": z, f"{key}.{n}.codes": k, f"{key}.{n}.decoded": y}
        if worst > 1e-4:
            break
    assert worst > 1e-4, f"{path}: no seed of 50 gave a margin above 1e-4"
    save(path, w, dtype)
    if golden:
        save(f"{golden}.golden.safetensors", out | {"audio": audio[:longest]})
        save_json(f"{golden}.configs.json", {"weights": path, "configs": variants(c), "lengths": {k: lengths(k) for k in variants(c)}})
    print(f"  {path}: smallest margin {worst:.1e}, {len(used)} of {c['card']} codes of book 0 used, decoded RMS {float(decoded.std()):.2f}")
    return w, model, dict(audio=audio[:3217], codes=codes, decoded=decoded)


def quantizers():
    """Writes quantizers.golden.safetensors: both quantizers alone, with a duplicated code, of which the first
    must be chosen."""
    out = {}
    for c in (our_config(2, 16, 4, 64), our_config(2, 16, 2, 64, code_dim=8)):
        kind = c["quantizer"]
        for seed in range(700, 800):
            rng = Rng(seed)
            z = rng.normal(50, 16)
            w = random_quantizer(rng, c, rng.normal(300, 16), torch.float32)
            codes, margin = quantize(w, c, z)
            if margin > 1e-4:
                break
        assert margin > 1e-4 and len(set(codes[0].tolist())) > 20
        book = next(w[n] for n in w if n.endswith(("0._codebook.embed", "0.codebook.weight")))
        twin = int(codes[0, 0])
        book[(twin + 7) % 64 if twin < 57 else twin - 7] = book[twin]
        assert int((book == book[twin]).all(1).sum()) == 2
        codes = quantize(w, c, z)[0]
        decoded = dequantize(w, c, codes)
        by_hand(w, c, z, codes, decoded)
        out.update({f"{kind}.{k}": v for k, v in w.items()} | {f"{kind}.latents": z, f"{kind}.codes": codes, f"{kind}.decoded": decoded})
        print(f"  {kind}: smallest margin {margin:.1e}; code {int(codes[0, 0])} is stored twice")
    save("quantizers.golden.safetensors", out)


def by_hand(w, c, z, codes, decoded):
    """Checks the vectors with a second implementation of the quantizers, one latent at a time in numpy."""
    import numpy as np
    n = {k: v.numpy() for k, v in w.items()}
    for t, r in enumerate(z.numpy()):
        total = np.zeros_like(r)
        for q in range(c["books"]):
            if c["quantizer"] == "euclidean":
                e = n[f"quantizer.vq.layers.{q}._codebook.embed"]
                i = int(np.argmax([-(r @ r - 2 * (r @ x) + x @ x) for x in e]))
                y = e[i]
            else:
                p = f"quantizer.vq.quantizers.{q}"
                v = n[f"{p}.in_proj.weight"] @ r + n[f"{p}.in_proj.bias"]
                i = int(np.argmax([v @ x / np.linalg.norm(v) / np.linalg.norm(x) for x in n[f"{p}.codebook.weight"]]))
                y = n[f"{p}.out_proj.weight"] @ n[f"{p}.codebook.weight"][i] + n[f"{p}.out_proj.bias"]
            assert i == int(codes[q, t]), (q, t, i)
            r, total = r - y, total + y
        assert np.abs(total - decoded[t].numpy()).max() < 1e-12
