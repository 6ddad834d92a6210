"""What is computed: a problem's size and type, and its inputs, made on the device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..label_maps import blocky_label_maps
from ..problem import CHANNELS, VALUES, Inputs

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Problem:
    """B images of N = M positions and k classes; features and values of one type."""

    batch: int
    length: int  # a square
    num_segments: int
    features: str = "fp16"  # a name of DTYPES

    @property
    def name(self) -> str:
        return f"B={self.batch} N={self.length} k={self.num_segments} {self.features}"


def make_inputs(problem: Problem, device: torch.device) -> Inputs:
    """Return random inputs, the same numbers for every type of the features."""
    seed = 1000 * problem.batch + problem.num_segments
    generator = torch.Generator(device).manual_seed(seed)
    dtype = DTYPES[problem.features]

    def normal(*shape: int) -> Tensor:
        return torch.randn(problem.batch, *shape, generator=generator, device=device).to(dtype)

    side = math.isqrt(problem.length)
    labels = torch.Generator().manual_seed(seed)
    query_labels, key_labels = (
        blocky_label_maps(problem.batch, problem.num_segments, labels, side=side).to(device)
        for _ in range(2)
    )
    length = problem.length
    return Inputs(
        normal(length, CHANNELS).requires_grad_(),
        normal(length, CHANNELS).requires_grad_(),
        normal(length, VALUES),
        query_labels,
        key_labels,
        problem.num_segments,
        normal(length, VALUES),
        normal(length).float(),
    )
