"""Evaluation of a model on held-out songs: every measure beside its controls. Start with
train/eval/README.md."""
