"""Renders songs into shards (format: README.md). Existing shards are skipped; a new one is written to a
temporary folder and renamed."""

import json
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np

from . import mix, mma, sampler, soundfont
from .song import make

RATE, FRAME, SONGS_PER_SHARD = 32000, 640, 20
STEMS = ("bass", "drums", "other")


def render_song(song, seed, index):
    """Renders a plan of song.make: ({stem: int16 [len]}, {stem: effect chain})."""
    rng = random.Random(f"sound/{seed}/{index}")
    n, timbre, synth = song["len"], song["timbres"], soundfont.shared_synth()
    dry = {}
    notes = song["notes"]["bass"]
    if isinstance(timbre["bass"], str):
        dry["bass"] = sampler.bass(timbre["bass"]).render(notes, n, timbre["cents"][0], rng, rng.uniform(0.03, 0.12), rng.choice([None, None, None, rng.uniform(0.2, 0.7)]))
    else:
        dry["bass"] = synth.render(*timbre["bass"], notes, n, timbre["cents"][0])
    hits = song["notes"]["drums"]
    if timbre["drums"] == "muldjordkit":
        balance = {p: 10 ** (rng.uniform(-3, 3) / 20) for p in ("KdrumL", "Snare", "HihatClosed", "RideL", "Tom1", "Tom2", "Tom3")}
        wash = rng.uniform(-9, -2)  # open cymbals would mask the rest in a mono mix
        balance |= {p: 10 ** (wash / 20) for p in ("HihatOpen", "CrashL", "CrashR", "China")}
        audio, rest = sampler.kit().render(hits, n, rng, balance, rng.choice([None, None, 0.25, 0.6]))
        if rest:
            audio = audio + 0.5 * synth.render("fluid", 128, 0, [(t, t + 0.1, p, v) for t, p, v in rest], n)
    else:
        audio = synth.render(*timbre["drums"], [(t, t + 0.25, p, v) for t, p, v in hits], n)
    dry["drums"] = audio
    other = np.zeros(n, np.float32)
    for k, (program, part) in enumerate(zip(song["programs"], song["parts"])):
        x = synth.render(*program, part, n, timbre["cents"][1 + k % 2])
        rms = mix.active_rms(x)
        if rms > 1e-7:
            other += x * np.float32(0.1 / rms * (1.0 if k == 0 else 10 ** (rng.uniform(-9, -2) / 20)))
    dry["other"] = other
    chains = {s: mix.random_chain(rng, s) for s in STEMS}
    return {s: mix.process(dry[s], chains[s], [seed, index, k]) for k, s in enumerate(STEMS)}, chains


def record(song, chains, start):
    """The object of a song in songs.jsonl."""
    r = {k: v for k, v in song.items() if k not in ("parts", "programs", "families", "modes", "timbres")}
    name = lambda t: t if isinstance(t, str) else "/".join(map(str, t))
    r["start"] = start
    r["instruments"] = {"bass": name(song["timbres"]["bass"]), "drums": name(song["timbres"]["drums"]), "other": song["families"]}
    r["programs"] = [name(p) for p in song["programs"]]
    r["comp_modes"], r["cents"], r["chains"] = song["modes"], song["timbres"]["cents"], chains
    r["notes"] = {"bass": [[round(a, 4), round(b, 4), m, v] for a, b, m, v in song["notes"]["bass"]],
                  "drums": [[round(t, 4), p, v] for t, p, v in song["notes"]["drums"]],
                  "other": [[round(a, 4), round(b, 4), m, v] for a, b, m, v in song["notes"]["other"]]}
    return r


def plan(seed, index, guests=0.0, by_mma=0.0, styles=(), drummers=()):
    """The plan of song `index`, by mma for a share `by_mma` of the songs, else by song.make. The latter do
    not depend on `by_mma`."""
    if random.Random(f"mma or not/{seed}/{index}").random() < by_mma:
        return mma.make(seed, index)
    return make(seed, index, guests, styles, drummers)


def render_shard(out: Path, seed, k, **options):
    """Renders songs k*20 .. k*20+19 of a seed into out/shard-000k. `options` go to `plan`."""
    final, work = out / f"shard-{k:04d}", out / f".shard-{k:04d}.{os.getpid()}"
    work.mkdir(parents=True, exist_ok=True)
    files = {s: open(work / f"{s}.i16", "wb") for s in STEMS}
    start = 0
    with open(work / "songs.jsonl", "w") as lines:
        for index in range(k * SONGS_PER_SHARD, (k + 1) * SONGS_PER_SHARD):
            song = plan(seed, index, **options)
            audio, chains = render_song(song, seed, index)
            for s in STEMS:
                audio[s].tofile(files[s])
            lines.write(json.dumps(record(song, chains, start)) + "\n")
            start += song["len"]
    for f in files.values():
        f.close()
    if final.exists():
        shutil.rmtree(work)
    else:
        work.rename(final)


def songs(folder: Path):
    """All objects of a corpus's songs.jsonl, with the key `shard` added."""
    for shard in sorted(folder.glob("shard-*")):
        for line in open(shard / "songs.jsonl"):
            r = json.loads(line)
            r["shard"] = shard.name
            yield r


def render(out: Path, hours, seed, **options):
    """Renders shards until the corpus has `hours`; existing ones are kept. Writes stats.json after each.
    `options` go to `plan`."""
    if options.get("by_mma"):
        mma.program()  # raises now if it is missing
    out.mkdir(parents=True, exist_ok=True)
    have, k = {}, 0
    while True:
        shard = out / f"shard-{k:04d}"
        if not shard.exists():
            t = time.process_time()
            render_shard(out, seed, k, **options)
            cpu = time.process_time() - t
        else:
            cpu = None
        for line in open(shard / "songs.jsonl"):
            r = json.loads(line)
            have[r["split"]] = have.get(r["split"], 0) + r["len"] / RATE / 3600
        total = sum(have.values())
        (out / "stats.json").write_text(json.dumps({"seed": seed, "hours": {s: round(h, 3) for s, h in have.items()}, "shards": k + 1, "rate": RATE}) + "\n")
        if cpu is not None:
            print(f"{shard.name}: {total:.2f} h in total, {cpu:.0f} s of CPU time", flush=True)
        if total >= hours:
            return
        k += 1
