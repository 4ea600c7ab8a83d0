"""Where and how training computes: the device, the number format, and the other processes of a `torchrun`.

    python -m train.lm.train ...                                  # one process: a GPU if there is one, else the CPU
    torchrun --nproc-per-node 4 -m train.lm.train ...             # four: one GPU each, or one core each with --threads 1

With several processes, each samples its own batches, gradients are averaged, and process 0 prints and writes
checkpoints.
"""

import functools
import os
import time

import torch
import torch.distributed as dist

RANK, WORLD_SIZE = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
IS_MAIN = RANK == 0


@functools.cache
def device() -> torch.device:
    """This process's device. The first call joins the process group."""
    here = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    if here.type == "cuda":
        torch.cuda.set_device(here)
    if WORLD_SIZE > 1:
        dist.init_process_group("nccl" if here.type == "cuda" else "gloo")
    return here


@functools.cache
def bf16_is_faster() -> bool:
    """Whether bf16 products are faster than f32 here. CPUs are timed: some that list bf16 instructions are
    slower with them."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()

    def fastest(dtype: torch.dtype) -> float:
        a, b, took = torch.ones(1500, 256, dtype=dtype), torch.ones(256, 1024, dtype=dtype), []
        for _ in range(8):
            start = time.perf_counter()
            a @ b
            took.append(time.perf_counter() - start)
        return min(took)
    return fastest(torch.bfloat16) < fastest(torch.float32)


def autocast(enabled: bool = True, device_type: str | None = None) -> torch.autocast:
    """torch.autocast to bf16 where that is faster. `device_type`: of the tensors, where they are not on this
    process's device."""
    return torch.autocast(device_type or device().type, torch.bfloat16, enabled=enabled and bf16_is_faster())


def average_gradients(parameters) -> None:
    """Averages the gradients over all processes."""
    if WORLD_SIZE > 1:
        for w in parameters:
            if w.grad is not None:
                dist.all_reduce(w.grad)
                w.grad /= WORLD_SIZE


def barrier() -> None:
    """Waits for all processes, for example before they read a file that process 0 writes."""
    if WORLD_SIZE > 1:
        dist.barrier()


def broadcast(model: torch.nn.Module) -> None:
    """Gives every process the weights and buffers of process 0."""
    if WORLD_SIZE > 1:
        for w in [*model.parameters(), *model.buffers()]:
            dist.broadcast(w.data, 0)
