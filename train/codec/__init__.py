"""The house codecs: one per stem, inverse-STFT decoders behind factorised quantizers (docs/reference/model-format.md)."""
