"""What is benchmarked: the case, its inputs, and one call of a way to compute it.

Dimensions: B images, N target and M reference positions, C channels, D values, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .label_maps import blocky_label_maps, density, related_pairs

SIDE = 64  # N = M = SIDE * SIDE
CHANNELS = 256
VALUES = 3  # two colours and a confidence
TEMPERATURE = 0.01

TOKEN_MAJOR = "token-major"
CHANNEL_FIRST = "channel-first"


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    batch: int
    num_segments: int
    layout: str  # how the features lie in memory
    backward: bool
    side: int = SIDE

    @property
    def name(self) -> str:
        steps = "forward+backward" if self.backward else "forward"
        return f"{self.layout}, {steps}, B={self.batch}, k={self.num_segments}"

    @property
    def short_name(self) -> str:
        """A name that pytest's -k can select parts of."""
        steps = "backward" if self.backward else "forward"
        return f"{self.layout}-{steps}-B{self.batch}-k{self.num_segments}"


class Inputs(NamedTuple):
    """The same raw inputs for every way."""

    query: Tensor  # [B, N, C]
    key: Tensor  # [B, M, C]
    value: Tensor  # [B, M, D]
    query_labels: Tensor  # [B, N]
    key_labels: Tensor  # [B, M]
    num_segments: int
    grad_warped: Tensor  # [B, N, D]
    grad_similarity: Tensor  # [B, N]

    @property
    def pairs(self) -> int:
        return related_pairs(self.query_labels, self.key_labels, self.num_segments)

    @property
    def density(self) -> float:
        return density(self.query_labels, self.key_labels, self.num_segments)


class Outputs(NamedTuple):
    """What a way returns; similarity is None where it cannot give the row maximum."""

    warped: Tensor  # [B, N, D]
    similarity: Tensor | None  # [B, N]


class Way(NamedTuple):
    """One way to compute the correspondence."""

    name: str
    run: Callable[[Inputs], Outputs]
    has_maximum: bool = True
    has_backward: bool = True
    is_compiled: bool = False  # by torch.compile, for one shape


def make_inputs(case: Case) -> Inputs:
    """Return random inputs; the same numbers for every layout and for both passes."""
    generator = torch.Generator().manual_seed(1000 * case.batch + case.num_segments)
    length = case.side**2

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def features() -> Tensor:
        x = normal(case.batch, length, CHANNELS)
        if case.layout == CHANNEL_FIRST:
            x = x.transpose(1, 2).contiguous().transpose(1, 2)
        return x.requires_grad_(case.backward)

    query, key = features(), features()
    value = normal(case.batch, length, VALUES)
    query_labels, key_labels = (
        blocky_label_maps(case.batch, case.num_segments, generator, side=case.side)
        for _ in range(2)
    )
    grad_warped = normal(case.batch, length, VALUES)
    grad_similarity = normal(case.batch, length)
    labels = (query_labels, key_labels, case.num_segments)
    return Inputs(query, key, value, *labels, grad_warped, grad_similarity)


def forward(way: Way, inputs: Inputs) -> Outputs:
    """Run a way without autograd."""
    with torch.no_grad():
        return way.run(inputs)


def forward_backward(
    way: Way, inputs: Inputs, *, use_maximum: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the gradients of query and key: what training needs (values come from the data)."""
    outputs = way.run(inputs)
    pairs = [(outputs.warped, inputs.grad_warped)]
    if use_maximum and outputs.similarity is not None:
        pairs.append((outputs.similarity, inputs.grad_similarity))
    results, grads = zip(*pairs, strict=True)
    return torch.autograd.grad(results, (inputs.query, inputs.key), grads)


def step(case: Case, way: Way, inputs: Inputs) -> Callable[[], object]:
    """Return the call that is timed."""
    run = forward_backward if case.backward else forward
    return lambda: run(way, inputs)
