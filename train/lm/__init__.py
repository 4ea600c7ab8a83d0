"""The house LM: MusicGen-Stem in small, trained on the tokens of our own music, for live play (docs/reference/model-format.md)."""
