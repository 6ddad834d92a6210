"""A data-parallel run: its processes, and batch statistics over all of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class Process(NamedTuple):
    """This process among those of a run.

    Attributes:
        rank: its number.
        world_size: number of processes.
        device: where it computes.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0


@contextlib.contextmanager
def process() -> Iterator[Process]:
    """Join the processes that torchrun started; alone without it."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if "RANK" not in os.environ:
        yield Process(0, 1, device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Process(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()


def is_distributed() -> bool:
    """Whether other processes take part."""
    return dist.is_available() and dist.is_initialized()


def barrier() -> None:
    """Wait for the other processes."""
    if is_distributed():
        dist.barrier()


def any_of_all(*flags: bool, device: torch.device) -> list[bool]:
    """Tell of each flag whether it is set in any process."""
    if not is_distributed():
        return list(flags)
    found = torch.tensor(flags, dtype=torch.int32, device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return [bool(flag) for flag in found.tolist()]


def sum_of_all(x: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, without gradient."""
    total = x.detach().clone()
    if is_distributed():
        dist.all_reduce(total)
    return total


def first_of_all(x: Tensor) -> Tensor:
    """Return the first process's tensor, of one shape in all, in every process."""
    if is_distributed():
        dist.broadcast(x, 0)
    return x


def global_mean(x: Tensor) -> Tensor:
    """Average the elements of all ranks, however many each has; differentiable.

        mean = sum_r sum_i x_ri / sum_r n_r        (rank r holds n_r elements)

    Without a process group it is `torch.mean`. The gradient sums what every rank's loss asks for,
    so averaging gradients over ranks, as DistributedDataParallel does, gives the gradient of the
    ranks' mean loss. All ranks must call it, forward and backward, in the same order.

    Args:
        x: floating, of any shape, which may differ between ranks.

    Returns:
        A scalar, equal on all ranks.

    Example:
        >>> global_mean(torch.tensor([1.0, 3.0]))
        tensor(2.)
    """
    if not is_distributed():
        return torch.mean(x)
    # One message for both sums.
    total, count = _GlobalSum.apply(torch.stack([x.sum(), x.new_tensor(x.numel())]))
    return total / count


class _GlobalSum(torch.autograd.Function):
    """The sum over ranks, whose gradient is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total
