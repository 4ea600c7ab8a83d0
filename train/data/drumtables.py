"""Drum patterns of our own, as strings of steps over one bar: x accent, o normal, g ghost note.

16 steps for straight 4/4, 12 for triplet feels, 12 for 3/4 in sixteenths, 9 for jazz waltz, 6 for 6/8.
"""

LETTER = {"K": 36, "S": 38, "X": 37, "H": 42, "O": 46, "P": 44, "R": 51, "B": 53, "C": 49, "T": 45, "F": 43, "M": 48, "W": 56, "L": 39,
          "A": 70, "Q": 64, "U": 63}
LEVEL = {"x": 112, "o": 88, "g": 40}

PATTERNS = {
    "rock": ["H:o.o.o.o.o.o.o.o. K:x.......x.o..... S:....x.......x...", "H:x.o.x.o.x.o.x.o. K:x.o.......o.o... S:....x.......x...",
             "R:o.o.o.o.o.o.o.o. K:x.....o.x....... S:....x.......x...", "H:o...o...o...o... K:x.......o.o..... S:....x.......x..g",
             "O:o.o.o.o.o.o.o.o. K:x..o..o.x....... S:....x.......x..."],
    "punk": ["O:x.x.x.x.x.x.x.x. K:x...x...x...x... S:..x...x...x...x.", "H:x.x.x.x.x.x.x.x. K:x.....x.x.x..... S:....x.......x..."],
    "pop": ["H:o.o.o.o.o.o.o.o. K:x.....o.o....... S:....x.......x...", "H:ogogogogogogogog K:x......o..x..... S:....x.......x...",
            "H:o.o.o.o.o.o.o.o. K:x..o....x..o.... L:....x.......x...", "A:ogogogogogogogog K:x.......x....... X:....o.......o..."],
    "disco": ["H:o...o...o...o... O:..x...x...x...x. K:x...x...x...x... S:....x.......x...", "H:oo.ooo.ooo.ooo.o O:..x...x...x...x. K:x...x...x...x... S:....x.......x...",
              "H:ogogogogogogogog K:x...x...x...x... L:....x.......x..."],
    "funk": ["H:o.o.o.o.o.o.o.o. K:x.o....o..o..... S:....x..g.g..x..g", "H:oooooooooooooooo K:x..o..o...o..o.. S:....x..g....x...",
             "H:o.o.o.o.o.o.oo.. O:..............o. K:x.o.......o..o.. S:....x.g..g..x.g.", "H:oogooogooogooogo K:x......o..x....o S:....x..g.g..x...",
             "H:o.o.o.o.o.o.o.o. K:x..o......xo.... S:....x..x.g..x..g"],
    "hiphop": ["H:o.o.o.o.o.o.o.o. K:x......o.oo..... S:....x.......x...", "H:o.o.o.oo.o.o.o.o K:x.....o...o..o.. S:....x.......x...",
               "H:ogogogogoggogogo K:x..o......o..... L:....x.......x...", "H:o...o...o...o.o. K:x.......o.o..... S:....x.......x..."],
    "halftime": ["H:o.o.o.o.o.o.o.o. K:x.....o......... S:........x.......", "R:o...o...o...o... K:x.o........o.... S:........x......."],
    "soul": ["H:o.o.o.o.o.o.o.o. K:x.....o.o.o..... S:....x.......x...", "H:o...o...o...o... K:x..o....x..o.... S:x...x...x...x...",
             "H:ogogogogogogogog K:x.......o.o....o S:....x..g.g..x..."],
    "reggae": ["H:o.o.o.o.o.o.o.o. K:........x....... X:........x.......", "H:..o...o...o...o. K:x...x...x...x... X:........x.......",
               "H:o.o.o.o.o.o.o.o. K:x.......x....... S:........x......."],
    "latin": ["H:o.o.o.o.o.o.o.o. K:x..oo..oo..oo..o X:o..o..o...o..o..", "R:o.o.oo.o.o.oo.o. K:x..o..x.x..o..x. X:..o..o....o.o...",
              "H:o.o.o.o.o.o.o.o. K:x.....oox.....oo X:o..o...o..o.o...", "W:x...x...x...x... K:...o..o....o..o. U:..o...oo..o...oo X:x..x..x...x.x..."],
    "metal": ["H:x...x...x...x... K:x.xxx.xxx.xxx.xx S:....x.......x...", "O:x.x.x.x.x.x.x.x. K:x.xx..x.x.xx..x. S:....x.......x...",
              "R:x.x.x.x.x.x.x.x. K:xxxxxxxxxxxxxxxx S:....x.......x...", "C:x............... O:....x...x...x... K:x..x..x.x..x..x. S:........x......."],
    "ballad": ["H:o.o.o.o.o.o.o.o. K:x.........o..... X:....o.......o...", "H:o...o...o...o... K:x.......o....... S:....x.......x...",
               "R:o.o.o.o.o.o.o.o. K:x.....o.o....... S:....x.......x..."],
    "country": ["H:o.o.o.o.o.o.o.o. K:x.......x....... S:....o.......o...", "S:gogxgogxgogxgogx K:x...x...x...x..."],
    "house": ["O:..x...x...x...x. K:x...x...x...x... L:....x.......x... A:gogogogogogogogo"],
    "straight brushes": ["S:o.g.o.g.o.g.o.g. P:....x.......x... K:g.......g.......", "S:o.gog.g.o.gog.g. P:....x.......x... R:x...x...x...x..."],
    # triplets: 12 steps
    "swing": ["R:x..o.ox..o.o P:...x.....x.. K:g..g..g..g.. S:...........g", "R:x..x.ox..x.o P:...x.....x.. S:..g.....g... K:........o...",
              "R:x..o.ox..o.o P:...x.....x.. X:...o.....o.. K:g..g..g..g..", "R:x..o.ox..o.o P:...x.....x.. S:.....o......"],
    "brushes": ["S:o.go.go.go.g P:...x.....x.. K:g.....g.....", "S:o..o.go..o.g P:...x.....x.. R:x.....x....."],
    "shuffle": ["H:x.ox.ox.ox.o K:x.....x.o... S:...x.....x..", "R:x.ox.ox.ox.o K:x.....x..... S:..gx.g..gx.g", "H:x.ox.ox.ox.o K:x..x..x..x.. S:...x.....x.."],
    "shuffled house": ["O:..x..x..x..x K:x..x..x..x.. L:...x.....x..", "O:..x..x..x..x K:x..x..x..x.. A:g.gg.gg.gg.g L:...x.....x.."],
    "twelve": ["H:xooxooxooxoo K:x....ox..... S:...x.....x..", "R:xooxooxooxoo K:x.....o.o... S:...x.....x..", "H:xooxooxooxoo K:x....o..o... X:...o.....o.."],
    "halfshuffle": ["H:x.ox.ox.ox.o K:x....o...... S:.g..g.x.g.g.", "H:xgoxgoxgoxgo K:x.o........o S:......x....."],
    # 3/4: 12 sixteenths; jazz waltz: 9 triplets; 6/8: 6 eighths
    "waltz": ["H:o.o.o.o.o.o. K:x........... S:....o...o...", "R:o...o...o... K:x.......o... X:....o...o..."],
    "jazzwaltz": ["R:x..o.oo.. P:...x..... K:x.....g..", "R:x..x.ox.. P:...x..... S:.....g..g K:x........"],
    "six": ["H:xooxoo K:x....o S:...x..", "R:xooxoo K:x.o... S:...x..", "H:xooxoo K:x..... X:...o.."],
}
STEPS = {"swing": 12, "brushes": 12, "shuffle": 12, "shuffled house": 12, "twelve": 12, "halfshuffle": 12, "waltz": 12, "jazzwaltz": 9, "six": 6}


FREE_KICK = {"rock", "pop", "funk", "hiphop", "soul", "latin", "ballad", "halftime", "metal", "shuffle", "twelve", "six", "halfshuffle", "country"}


def draw_kick(rng, lane, snare, steps, beats):
    """A random variant of a kick lane: the downbeat stays, the other hits (their number may change by one)
    move to steps without a snare accent, eighths more often than sixteenths."""
    want = max(1, lane.count("x") + lane.count("o") - 1 + rng.choice([-1, 0, 0, 1]))
    free = [i for i in range(1, steps) if snare[i] not in "xo"]
    weight = [3 if i % max(1, steps // beats // 2) == 0 else 1 for i in free]
    chosen = set()
    while free and len(chosen) < min(want, len(free)):
        chosen.add(rng.choices(free, weight)[0])
    return "".join("x" if i == 0 else "o" if i in chosen else "." for i in range(steps))


def bars(rng, table, beats, count, ride=False):
    """`count` bars [(beat, gm note, vel, deviation s)] of one pattern with small variations on every second
    or fourth bar, which make phrases."""
    pattern = rng.choice(PATTERNS[table])
    steps = STEPS.get(table, 16)
    lanes = [(LETTER[p[0]], p[2:]) for p in pattern.split()]
    if table in FREE_KICK and rng.random() < 0.7:
        snare = next((s for n, s in lanes if n in (38, 37, 39)), "." * steps)
        lanes = [(n, draw_kick(rng, s, snare, steps, beats) if n == 36 else s) for n, s in lanes]
    if ride:
        lanes = [(51 if n == 42 else n, s) for n, s in lanes]
    if any(len(s) != steps for _, s in lanes):
        raise ValueError(f"drum pattern {pattern!r} of {table}: every lane must have {steps} steps")
    extra = rng.choice([0, 0.3, 0.6])
    out = []
    for b in range(count):
        bar = []
        for note, lane in lanes:
            for i, c in enumerate(lane):
                if c == "." and note == 36 and i % 2 == 0 and i and b % 2 == 1 and table not in ("disco", "swing", "brushes", "straight brushes", "house", "shuffled house", "reggae") \
                        and rng.random() < 0.06 * extra * 2:
                    c = "o"
                if c == ".":
                    continue
                if c == "g" and rng.random() < 0.2:
                    continue
                vel = LEVEL[c] + rng.gauss(0, 5) + (4 if i % (steps // beats) == 0 else -3)
                bar.append((i * beats / steps, note, vel, rng.gauss(0, 0.004)))
        if b % 4 == 3 and table in ("rock", "pop", "funk", "soul", "hiphop") and rng.random() < 0.5:
            bar = [h for h in bar if not (h[1] == 42 and h[0] >= beats - 0.6)] + [(beats - 0.5, 46, 92, rng.gauss(0, 0.004))]
        out.append(sorted(bar))
    return out


def fill(rng, beats, triplet, length):
    """A fill over snare and toms in the last `length` beats of a bar: [(beat, gm note, vel, deviation s)]."""
    per = 3 if triplet else 4
    order = rng.choice([[38, 48, 45, 43], [38, 38, 45, 43], [48, 48, 45, 43], [38, 38, 38, 38], [38, 45, 38, 43]])
    n = round(length * per)
    keep = rng.choice([1.0, 0.85, 0.7])
    out = []
    for i in range(n):
        if i and rng.random() > keep:
            continue
        beat = beats - length + i / per
        note = order[min(int(i / n * 4), 3)]
        out.append((beat, note, 70 + 40 * i / n + (12 if i % per == 0 else 0) + rng.gauss(0, 5), rng.gauss(0, 0.004)))
        if i % per == 0 and rng.random() < 0.5:
            out.append((beat, 36, 90, rng.gauss(0, 0.004)))
    return sorted(out)
