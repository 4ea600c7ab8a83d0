"""Training of the house model: data, codecs, language model, evaluation. Start with train/README.md."""
