"""How far a set of coloured pictures is from the set of true ones, in a network's features.

Dimensions: N result and M true pictures, C channels of the features.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

_SUBSETS = 100
_SUBSET_SIZE = 1000


class KernelDistance(NamedTuple):
    """Mean and standard deviation of the kernel distance over random subsets."""

    mean: float
    std: float


class _Given(nn.Module):
    """Stands where torchmetrics expects a network: the features were computed before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_features = channels

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(results: Tensor, truth: Tensor) -> float | None:
    """Return the Frechet distance of two sets of features (FID).

        |mu_r - mu_t|^2 + tr(S_r + S_t - 2 (S_r S_t)^(1/2))

    with means mu and unbiased covariances S.

    Args:
        results: [N, C].
        truth: [M, C].

    Returns:
        The distance, or None where a set has fewer pictures than channels: its covariance is then
        singular, and the distance says more of the number of pictures than of them.

    Example:
        >>> frechet_distance(torch.zeros(3, 2), torch.zeros(3, 2))
        0.0

    Source: Heusel et al., NeurIPS 2017.
    """
    if min(len(results), len(truth)) < truth.shape[1]:
        return None
    metric = FrechetInceptionDistance(_Given(truth.shape[1])).set_dtype(torch.float64)
    metric.update(truth.double(), real=True)
    metric.update(results.double(), real=False)
    return metric.compute().item()


def kernel_distance(results: Tensor, truth: Tensor) -> KernelDistance:
    """Return the kernel distance of two sets of features (KID), which has no bias of few pictures.

        E k(r, r') + E k(t, t') - 2 E k(r, t),    k(x, y) = (x . y / C + 1)^3

    over 100 random subsets of 1000 pictures, or of half of them where there are fewer than 2000.
    The subsets are the same in every call.

    Args:
        results: [N, C].
        truth: [M, C].

    Raises:
        ValueError: fewer than two pictures.

    Example:
        >>> kernel_distance(torch.rand(50, 8), torch.rand(50, 8)).mean < 0.1
        True

    Source: Binkowski et al., ICLR 2018.
    """
    fewest = min(len(results), len(truth))
    if fewest < 2:
        raise ValueError(f"pictures: expected at least 2 for a kernel distance, got {fewest}")
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # It says that features are kept in memory; they are there already.
        warnings.simplefilter("ignore", UserWarning)
        torch.random.default_generator.manual_seed(0)
        metric = KernelInceptionDistance(
            _Given(truth.shape[1]),
            subsets=_SUBSETS,
            subset_size=max(2, min(_SUBSET_SIZE, fewest // 2)),
        )
        metric.update(truth.double(), real=True)
        metric.update(results.double(), real=False)
        return KernelDistance(*(x.item() for x in metric.compute()))
