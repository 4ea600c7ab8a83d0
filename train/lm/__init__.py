"""Training of the house LM: a small MusicGen-Stem on the tokens of our own music, for live play
(docs/reference/model-format.md)."""
