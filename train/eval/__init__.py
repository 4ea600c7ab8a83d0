"""Evaluation of a model on held-out songs: every measure with its controls. Start with
train/eval/README.md."""
