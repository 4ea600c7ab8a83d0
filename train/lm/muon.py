"""Muon (Jordan et al., 2024): momentum with orthogonalised updates, like torch.optim.Muon but in the number
format that is fast here.

torch's own always multiplies in bf16, which takes two thirds of a step on a CPU without fast bf16 products.
"""

import torch

from ..compute import bf16_is_faster

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the Newton-Schulz quintic


def orthogonal(g: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Approximately U·Vᵀ of the singular value decomposition U·S·Vᵀ: singular values end up between 0.5 and
    1.5."""
    a, b, c = COEFFICIENTS
    x = g.bfloat16() if bf16_is_faster() else g.float()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """For matrices only. Updates are scaled to the size of AdamW's. The state is that of torch.optim.Muon, so
    either loads the other's."""

    def __init__(self, matrices, lr: float, weight_decay: float = 0.1, momentum: float = 0.95):
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                state = self.state[w]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(w)
                mean = state["momentum_buffer"]
                mean.lerp_(w.grad, 1 - group["momentum"])
                update = orthogonal(w.grad.lerp(mean, group["momentum"]))
                w.mul_(1 - group["lr"] * group["weight_decay"])
                w.add_(update.to(w.dtype), alpha=-0.2 * max(w.shape) ** 0.5 * group["lr"])
