"""Counts tempi, meters and charts of each style of the corpus and writes them as a table for the program.

    python -m train.data styles --out models/house/styles.json

`sideman` reads the table where it has a text and no recording (docs/reference/model-format.md). Songs are not
rendered: only the two steps of song.py that choose the tempo and the chart run.
"""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np

from . import charts, heldout, song
from .styles import STYLES
from .theory import is_minor, name

# Name of the entry, style of the corpus, family of charts (None: all), whether its words need a slow text, words.
# The words are those of a musician; a style that the corpus lacks belongs to the nearest one. The first entry of a
# meter is taken where a text names only the meter.
ENTRIES = [
    ("pop", "pop", None, False, "pop, indie pop, synth pop, synthpop, electropop, k pop, singer songwriter, soft rock"),
    ("rock", "rock", None, False, "rock, indie rock, hard rock, classic rock, rock and roll, rock n roll, garage rock, alternative, indie, grunge, surf, psychedelic"),
    ("punk", "punk", None, False, "punk, punk rock, pop punk, hardcore, emo"),
    ("metal", "metal", None, False, "metal, heavy metal, thrash, thrash metal, death metal, black metal, doom, doom metal, metalcore, djent"),
    ("funk", "funk", None, False, "funk, funky, afrobeat, breakbeat, drum and bass, drum n bass, drum & bass, drum'n'bass, dnb, d&b, jungle"),
    ("soul", "soul", None, False, "soul, soulful, motown, gospel"),
    ("rnb", "rnb", None, False, "rnb, r&b, r & b, r and b, r n b, rhythm and blues, neo soul, neosoul, slow jam"),
    ("hiphop", "hiphop", None, False, "hiphop, hip hop, rap, trap, boom bap, lofi, lo fi, chillhop, trip hop, downtempo, chillout"),
    ("disco", "disco", None, False, "disco, nu disco, dance, eurodance"),
    ("house", "house", None, False, "house, deep house, techno, trance, edm, electronic, electronica, electro, synthwave, club, rave, dubstep"),
    ("swing", "swing", None, False, "swing, swinging, jazz, jazzy, bebop, bop, hard bop, big band, dixieland, gypsy jazz, ragtime"),
    ("brushes", "brushes", None, False, "brushes, jazz ballad"),
    ("slow jazz", "brushes", None, True, "jazz, jazzy, swing"),
    ("fusion", "fusion", None, False, "fusion, jazz fusion, jazz funk, jazz rock, prog, prog rock, progressive, progressive rock"),
    ("bossa", "bossa", None, False, "bossa, bossa nova, bossanova, samba, brazilian"),
    ("latin", "latin", None, False, "latin, salsa, mambo, cumbia, cha cha, afro cuban, afrocuban, cuban, rumba, tango, bolero, merengue, montuno, reggaeton, flamenco, calypso"),
    ("reggae", "reggae", None, False, "reggae, dub, roots reggae, rocksteady, ska, dancehall"),
    ("blues", "shuffle", "blues", False, "blues, bluesy, chicago blues, blues rock, blues shuffle, boogie woogie, boogie"),
    ("slow blues", "twelve eight", "blues", True, "blues, bluesy, blues rock"),
    ("shuffle", "shuffle", None, False, "shuffle, rockabilly"),
    ("halfshuffle", "halfshuffle", None, False, "halfshuffle, half shuffle, half time shuffle, purdie, purdie shuffle"),
    ("ballad", "ballad", None, False, "ballad, rock ballad, pop ballad, power ballad, piano ballad"),
    ("country", "country", None, False, "country, country rock, bluegrass, folk, folk rock, americana, western, cajun"),
    ("waltz", "waltz", None, False, "waltz, musette, valse"),
    ("jazz waltz", "jazz waltz", None, False, "jazz waltz, swing waltz"),
    ("twelve eight", "twelve eight", None, False, "twelve eight, doo wop, slow dance"),
    ("six eight", "six eight", None, False, "six eight, jig, sea shanty, shanty"),
]
DEFAULT = "pop"
MOST_CHARTS = 8
QUANTILES = (5, 25, 50, 75, 95)


def plan(style: str, seed: int, index: int) -> tuple[float, str]:
    """(beats per minute, chart source) of a song of a style, chosen as `song.make` chooses them."""
    rng = random.Random(f"table/{seed}/{style}/{index}")
    spec = STYLES[style]
    held_out = heldout.split_of(rng) != "train"
    meter = spec.get("meter", (4, 4))
    bpm, *_ = song.choose_drums(rng, spec, {(12, 8): 4, (6, 8): 2}.get(meter, meter[0]), held_out)
    return bpm, song.choose_form(rng, spec, 32, held_out)[1]


def written(verse: str, chorus: str) -> str:
    """The chart of two named forms in C, in the program's notation: sections of 8 bars, or one of 10 or 12."""
    def bars(form_id: str) -> list[str]:
        found = [",".join(name(c) for _, c in bar) for bar in charts.form(form_id, 0)]
        return found * (4 // len(found)) if len(found) < 4 else found

    def section(title: str, form: list[str]) -> str:
        return f"[{title}] {' '.join(form)}" + (f" [{title}]" if len(form) == 4 else "")

    a, b = bars(verse), bars(chorus)
    return " ".join(a) if a == b else f"{section('Verse', a)} {section('Chorus', b)}"


def in_minor(form_id: str) -> bool:
    """Whether the chord on the first degree is minor."""
    return next((is_minor(c) for bar in charts.form(form_id, 0) for _, c in bar if c.root == 0), False)


def entry(row: tuple, plans: list[tuple[float, str]]) -> dict:
    """An entry of the table from the plans of its style."""
    title, style, family, slow, words = row
    plans = [p for p in plans if family is None or p[1].startswith(family)]
    forms = Counter(source.split("+")[0] for _, source in plans if "+" in source)
    partners = Counter(tuple(source.split("+")[:2]) for _, source in plans if "+" in source)
    ranked = [v for v, _ in forms.most_common()]
    # The commonest forms; at least one in minor and one in major, where the style has both.
    firsts = [next((v for v in ranked if in_minor(v) == minor), None) for minor in (False, True)]
    kept = sorted(list(dict.fromkeys([v for v in firsts if v] + ranked))[:MOST_CHARTS], key=ranked.index)
    found, used = [], Counter()
    for verse in kept:
        # A chorus in the verse's mode that other charts of the table have not.
        able = [(used[c], -n, c) for (v, c), n in sorted(partners.items()) if v == verse and in_minor(c) == in_minor(verse)]
        chorus = min(able, default=(0, 0, verse))[2]
        used[chorus] += 1
        found.append({"songs": forms[verse], "minor": in_minor(verse), "chords": written(verse, chorus)})
    return {
        "name": title, "words": words.split(", "), **({"slow": True} if slow else {}), "songs": len(plans), "meter": "/".join(map(str, STYLES[style].get("meter", (4, 4)))),
        "bpm": [round(float(q), 1) for q in np.percentile([bpm for bpm, _ in plans], QUANTILES)], "charts": found,
    }


def write(out: Path, songs: int, seed: int):
    """Writes the table counted from `songs` planned songs of each style."""
    plans = {style: [plan(style, seed, i) for i in range(songs)] for style in sorted({row[1] for row in ENTRIES})}
    entries = [entry(row, plans[row[1]]) for row in ENTRIES]
    lines = ",\n".join("  " + json.dumps(e) for e in entries)
    out.write_text(f'{{"format": 1, "default": "{DEFAULT}", "styles": [\n{lines}\n]}}\n')
