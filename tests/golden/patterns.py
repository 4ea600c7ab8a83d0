"""The delay pattern, the generation loop and its counters (docs/explanation/musicgen-stem.md sections 6 and
7). Writes pattern.json."""
import torch

from common import save_json

UNKNOWN = -1


def layout(grid, delays, special):
    """Lays out a grid of frames [K, T] as a sequence [K, 1+T+max(D)]: step s of stream k holds frame s-1-D_k,
    else `special`."""
    K, T = grid.shape
    seq = torch.full((K, 1 + T + max(delays)), special, dtype=torch.long)
    for k, d in enumerate(delays):
        seq[k, d + 1 : d + 1 + T] = grid[k]
    return seq


def revert(seq, delays):
    """The frames [K, T] of a laid-out sequence."""
    T = seq.shape[1] - 1 - max(delays)
    return torch.stack([seq[k, d + 1 : d + 1 + T] for k, d in enumerate(delays)])


def control_row(values, steps, null):
    """A control's value at each step: step s has the value of grid frame s; after the grid it is `null`."""
    row = torch.full((steps,), null, dtype=torch.long)
    row[: len(values)] = torch.as_tensor(values)[:steps]
    return row


def start_grid(K, G, prompt, forced, forced_streams):
    """The grid [K, G] before the loop: prompt and forced streams, the rest UNKNOWN."""
    grid = torch.full((K, G), UNKNOWN, dtype=torch.long)
    P = prompt.shape[1]
    grid[:, :P] = prompt
    for k in forced_streams:
        grid[k, P : P + forced.shape[1]] = forced[k]
    return grid


def edit_prompt(codes, decimation, masked, special):
    """The prompt of an edit [K, n+1]: decimated prefix and transition frame; masked streams are special
    (section 8.1)."""
    prefix = torch.cat([codes[:, ::decimation], torch.full((codes.shape[0], 1), special)], dim=1)
    prefix[masked] = special
    return prefix


def generate(feed, delays, special, G, prompt, forced=None, forced_streams=()):
    """The generation loop of section 7, greedy. `feed(tokens [K, n])` returns the logits [n, K, card] of n
    more steps.

    Returns a dict: codes [K, G], sequence [K, S], number of forwards, how many of them are needed (up to the
    last offset with an unknown slot), length of the prefill, and the smallest difference between the highest
    logit and the second highest.
    """
    K, P = prompt.shape
    seq = layout(start_grid(K, G, prompt, forced, forced_streams), delays, special)
    unknown = seq == UNKNOWN
    S, start, margin = seq.shape[1], P + 1, float("inf")
    fed = 0
    for offset in range(start, S):
        logits = feed(seq[:, fed:offset])[-1]
        fed = offset
        best = logits.topk(2).values
        for k in range(K):
            if unknown[k, offset]:
                seq[k, offset] = logits[k].argmax()
                margin = min(margin, float(best[k, 0] - best[k, 1]))
    last = int(unknown.any(0).nonzero().max()) if unknown.any() else start - 1
    return dict(codes=revert(seq, delays), sequence=seq, forwards=S - start, needed=last + 1 - start, prefill=start, margin=margin)


def counters(delays, G, P):
    """Counters of one run, from running the loop on a model that always predicts 0."""
    calls = []

    def feed(tokens):
        calls.append(tokens.shape[1])
        return torch.tensor([1.0, 0.0]).expand(tokens.shape[1], len(delays), 2)

    r = generate(feed, delays, 2, G, torch.zeros((len(delays), P), dtype=torch.long))
    assert len(calls) == r["forwards"] and calls[0] == r["prefill"] and set(calls[1:]) <= {1}
    return dict(delays=delays, frames=G, prompt=P, steps=r["sequence"].shape[1], prefill=calls[0], forwards=len(calls))


def chunks(seconds, window=30, stride=18, rate=50):
    """The runs [frames, prompt, frames appended] that make a piece longer than the window (section 7.1)."""
    total, P, out, i = int(seconds * rate), 0, [], 0
    while i * stride * rate + P < total:
        G = int(min(seconds - i * stride, window) * rate)
        out.append([G, P, G - P])
        P, i = G - stride * rate, i + 1
    assert sum(r[2] for r in out) == total
    return out


SIX, SEVEN, MONO = [0, 0, 0, 1, 2, 3], [0, 1, 0, 0, 1, 2, 3], [0, 1, 2, 3]

PAPER_TABLE = """99  0  1  2  3 99 99 99
99  4  5  6  7 99 99 99
99  8  9 10 11 99 99 99
99 99 12 13 14 15 99 99
99 99 99 16 17 18 19 99
99 99 99 99 20 21 22 23"""
EDIT_TABLE = """2048 2048 2048 2048    x    x    x    x 2048 2048 2048
2048  100  105 2048  100  101  102  103 2048 2048 2048
2048  200  205 2048  200  201  202  203 2048 2048 2048
2048 2048  300  305 2048  300  301  302  303 2048 2048
2048 2048 2048  400  405 2048  400  401  402  403 2048
2048 2048 2048 2048  500  505 2048  500  501  502  503"""


def table(text):
    return [[UNKNOWN if c == "x" else int(c) for c in row.split()] for row in text.splitlines()]


def by_coordinates(grid, delays, special):
    """The layout from the coordinate lists of section 6, as a check of `layout`."""
    K, T = len(grid), len(grid[0])
    seq = [[special] * (1 + T + max(delays)) for _ in range(K)]
    for u in range(T + max(delays)):
        for k in range(K):
            t = u - delays[k]
            if 0 <= t < T:
                seq[k][u + 1] = grid[k][t]
    return seq


def make():
    cases = []
    for name, delays, T in [("six", SIX, 4), ("seven", SEVEN, 4), ("mono", MONO, 5), ("six_bass_lag_4", [4, 0, 0, 1, 2, 3], 9),
                            ("six_other_lag_5", [0, 0, 5, 6, 7, 8], 7), ("six_short", SIX, 1)]:
        grid = torch.arange(len(delays) * T).reshape(len(delays), T)
        seq = layout(grid, delays, 99)
        assert seq.tolist() == by_coordinates(grid.tolist(), delays, 99) and torch.equal(revert(seq, delays), grid)
        cases.append(dict(name=name, delays=delays, special=99, frames=T, grid=grid.tolist(), sequence=seq.tolist()))
    assert cases[0]["sequence"] == table(PAPER_TABLE)

    codes = torch.arange(6)[:, None] * 100 + torch.arange(10)
    prompt = edit_prompt(codes, 5, [0], 2048)
    kept = [1, 2, 3, 4, 5]
    grid = start_grid(6, 7, prompt, codes[:, :4], kept)
    seq = layout(grid, SIX, 2048)
    assert seq.tolist() == table(EDIT_TABLE)
    run = generate(lambda t: torch.zeros(t.shape[1], 6, 4), SIX, 2048, 7, prompt, codes[:, :4], kept)
    assert run["prefill"] == 4 and run["needed"] == 4 and torch.equal(run["codes"][1:], grid[1:])
    edit = dict(delays=SIX, special=2048, unknown=UNKNOWN, decimation=5, masked=[0], forced_streams=kept, source=codes.tolist(),
                forced_frames=4, frames=7, prompt=prompt.tolist(), grid=grid.tolist(), sequence=seq.tolist(),
                first_offset=run["prefill"], forwards=run["forwards"], needed_forwards=run["needed"])

    runs = [counters(d, G, P) for d, G, P in [(SIX, 1500, 0), (SIX, 1500, 251), (SIX, 300, 251), (SIX, 1501, 251), (SIX, 1500, 600),
                                              (SEVEN, 1500, 251), (MONO, 1500, 0), ([4, 0, 0, 1, 2, 3], 1501, 251)]]
    assert [r["forwards"] for r in runs[:3]] == [1503, 1252, 52] and runs[1]["prefill"] == 252 and runs[1]["steps"] == 1504
    S = layout(torch.zeros(6, 1501, dtype=torch.long), SIX, 9).shape[1]
    valid = [sum(0 <= s - 1 - d < 1501 for s in range(1502)) for d in SIX]
    assert S == 1505 and valid == [1501, 1501, 1501, 1500, 1499, 1498]
    # Positions of frames in a 30 s edit (section 9): [grid frame, stream, step of the token, step whose
    # output predicts it].
    where = [[f, k, f + SIX[k] + 1, f + SIX[k]] for f in (0, 249, 250, 251, 1499) for k in (0, 3, 5)]
    save_json("pattern.json", dict(layouts=cases, edit=edit, runs=runs,
        training=dict(delays=SIX, frames=1501, steps=1502, valid_targets=valid),
        edit_30s_where=where,
        controls=dict(about="step s carries the value of grid frame s, past the grid null; T=4, values 10..13, null 96",
                      delays=SIX, frames=4, values=[10, 11, 12, 13], null=96, steps=8, row=control_row([10, 11, 12, 13], 8, 96).tolist()),
        chunks=[dict(seconds=s, runs=chunks(s)) for s in (10, 30, 31, 48, 60, 75.5, 120)]))
    print("pattern.json: both tables of section 6, counters of sections 7 and 9 hold")


if __name__ == "__main__":
    make()
