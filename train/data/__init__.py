"""Generates trio music (bass, drums, other) by rule and renders it.

    python -m train.data render --out DIR --hours 2

Modules in the order in which a song uses them: heldout (what training must not use), theory, charts (chords),
groove and drumtables (drums), bass, comp (other), styles (which of them go together), song (form, clock), mma
and mma_styles (songs played by mma), soundfont and sampler (audio), mix (effects, levels), corpus (shards).
Everything is seeded: song i of seed s is always the same.
"""
