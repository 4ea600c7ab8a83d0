"""Where training runs: on this process's GPU where there is one, else on the CPU; alone, or one of several under `torchrun`.

    python -m train.lm.train ...                                        # CPU, or one GPU
    torchrun --nproc-per-node 4 -m train.lm.train ...                   # four: a GPU each, or a core each (with --threads 1)

Each process draws its own items, gradients are averaged, and the first one prints and keeps checkpoints.
"""

import functools
import os
import time

import torch
import torch.distributed as dist

RANK, COUNT = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
FIRST = RANK == 0


@functools.cache
def device() -> torch.device:
    """This process's device; joins the others on the first call."""
    here = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    if here.type == "cuda":
        torch.cuda.set_device(here)
    if COUNT > 1:
        dist.init_process_group("nccl" if here.type == "cuda" else "gloo")
    return here


@functools.cache
def bf16_is_faster() -> bool:
    """Whether bf16 is faster than f32 here. A GPU says so; CPUs are raced, for some that name bf16 among their instructions are slower in it."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()

    def fastest(kind: torch.dtype) -> float:
        a, b, took = torch.ones(1500, 256, dtype=kind), torch.ones(256, 1024, dtype=kind), []
        for _ in range(8):
            began = time.perf_counter()
            a @ b
            took.append(time.perf_counter() - began)
        return min(took)
    return fastest(torch.bfloat16) < fastest(torch.float32)


def quick(enabled: bool = True, kind: str | None = None) -> torch.autocast:
    """bf16 products where they are the faster ones. `kind`: the device of what is multiplied, where it is not this process's."""
    return torch.autocast(kind or device().type, torch.bfloat16, enabled=enabled and bf16_is_faster())


def share(parameters) -> None:
    """Averages the gradients over all processes."""
    if COUNT > 1:
        for w in parameters:
            if w.grad is not None:
                dist.all_reduce(w.grad)
                w.grad /= COUNT


def wait() -> None:
    """Until all processes are here: before a file is read that the first one writes."""
    if COUNT > 1:
        dist.barrier()


def alike(model: torch.nn.Module) -> None:
    """Gives every process the first one's weights and buffers."""
    if COUNT > 1:
        for w in [*model.parameters(), *model.buffers()]:
            dist.broadcast(w.data, 0)
