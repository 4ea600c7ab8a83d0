"""Trio music (bass, drums, other) made and rendered by rule: `python -m train.data render --out DIR --hours 2`.

Files, in the order a song takes: heldout (what training never hears), theory, charts (chords), groove and drumtables
(drums), bass, comp (other), styles (which goes with which), song (form, clock), mma and mma_styles (songs that mma
plays), soundfont and sampler (sound), mix (augmentation, levels), corpus (shards).
All of it is seeded: song i of seed s is always the same.
"""
