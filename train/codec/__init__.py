"""Training of the house codecs: one per stem, factorised quantizers and inverse-STFT decoders
(docs/reference/model-format.md)."""
