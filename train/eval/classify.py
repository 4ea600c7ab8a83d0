"""A simple classifier: ridge regression to one-hot kinds on standardised features, in which kinds count alike however many there are of each."""

import numpy as np


class Classifier:
    def __init__(self, x: np.ndarray, y: np.ndarray, kinds: int, ridge: float = 10.0):
        """Features x [n, features] and kinds y [n], from 0 to `kinds` − 1."""
        self.mean, self.std = x.mean(0), x.std(0) + 1e-3
        z, weight = self.put(x), 1 / np.bincount(y, minlength=kinds).clip(1)[y]
        weight *= len(y) / weight.sum()
        self.w = np.linalg.solve(z.T @ (z * weight[:, None]) + ridge * np.eye(z.shape[1]), z.T @ (np.eye(kinds)[y] * weight[:, None]))

    def put(self, x):
        return np.hstack([(x - self.mean) / self.std, np.ones((len(x), 1))])

    def scores(self, x: np.ndarray) -> np.ndarray:
        """[n, kinds]; the highest is the kind heard."""
        return self.put(x) @ self.w

    def votes(self, x: np.ndarray) -> np.ndarray:
        """Mean score of each kind over the pieces of a take."""
        return self.scores(x).mean(0)
