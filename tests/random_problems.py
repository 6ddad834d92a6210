"""Random ragged problems, from a seed or from hypothesis: sizes, types, options and labels."""

from typing import NamedTuple

import torch
from cases import Inputs, Options


class Problem(NamedTuple):
    """What describes a problem; `build` makes it."""

    batch: int
    n: int
    m: int
    channels: int
    values: int
    num_segments: int
    dtype: torch.dtype
    value_dtype: torch.dtype
    pattern: str
    features: str
    strides: str
    options: Options
    seed: int


PATTERNS = ("uniform", "sorted", "giant", "one_sided", "few", "outside")
FEATURES = ("normal", "shifted", "relu", "sparse", "repeated")
STRIDES = ("dense", "channel_first", "part")
TEMPERATURES = (0.01, 0.03, 0.1, 1.0, 10.0)


def _labels(problem: Problem, length: int, is_key: bool, generator: torch.Generator):
    k, shape = problem.num_segments, (problem.batch, length)

    def uniform(low: int, high: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=generator)

    match problem.pattern:
        case "uniform":
            return uniform(0, k)
        case "sorted":
            return uniform(0, k).sort(1).values
        case "giant":
            return torch.where(uniform(0, 10) > 0, k // 2, uniform(0, k))
        case "one_sided":
            return uniform(k // 2, k) if is_key else uniform(0, k // 2 + 1)
        case "few":
            return uniform(0, min(k, 2))
        case "outside":
            return uniform(-2, k + 3)


def _features(problem: Problem, length: int, generator: torch.Generator):
    shape = (problem.batch, length, problem.channels)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    match problem.features:
        case "normal":
            return x
        case "shifted":
            return x + 3
        case "relu":
            return x.relu()
        case "sparse":
            return x * (torch.rand(shape, generator=generator) < 0.2)
        case "repeated":
            rows = torch.randint(0, 3, (length,), generator=generator)
            return x[:, rows.clamp(max=max(length - 1, 0))]


def _strided(x: torch.Tensor, strides: str) -> torch.Tensor:
    if strides == "channel_first":
        return x.mT.contiguous().mT
    if strides == "part":
        return torch.nn.functional.pad(x, (1, 2, 1, 0))[:, 1:, 1 : 1 + x.shape[2]]
    return x


def build(problem: Problem) -> Inputs:
    """Return the inputs that the problem describes, the same ones each time."""
    generator = torch.Generator().manual_seed(problem.seed)
    scale = 1.0
    if not problem.options.normalize:  # keep products near 1, as the softmax expects them
        scale = problem.channels**-0.5
    query, key = (
        (_features(problem, length, generator) * scale).to(problem.dtype)
        for length in (problem.n, problem.m)
    )
    value_shape = (problem.batch, problem.m, problem.values)
    value = torch.randn(value_shape, generator=generator).to(problem.value_dtype)
    return Inputs(
        *(_strided(x, problem.strides) for x in (query, key, value)),
        _labels(problem, problem.n, False, generator),
        _labels(problem, problem.m, True, generator),
        problem.num_segments,
    )
