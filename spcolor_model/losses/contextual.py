"""Contextual loss: the prediction's features, each somewhere in the reference.

Dimensions: B images, C channels of a backbone's map, h rows and w columns of its grid, N = h w
positions of the prediction and M of the reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from spcolor_ops import _checks

from ._inputs import as_float

# From fine to coarse; those of the published code. The paper's eq. 17 has no contextual loss.
_LAYER_WEIGHTS = (2.0, 4.0, 8.0)
# Keeps the relative distance finite where the nearest reference feature is equal.
_EPSILON = 1e-5


def contextual(features: Tensor, reference_features: Tensor, bandwidth: float = 0.1) -> Tensor:
    """Contextual loss of one layer: how alone each feature's nearest reference feature is.

        d_ij = |1 - x_i . y_j|                       (x, y: minus mean_j y_j, then unit vectors)
        A_ij = softmax_j( -d_ij / (min_j d_ij + 1e-5) / bandwidth )
        L_ctx = mean_b( -log mean_i max_j A_bij )

    A feature equal to the mean has no direction: its cosines and its gradient are 0.

    Args:
        features: of the prediction, [B, C, h, w].
        reference_features: of the reference in colour, [B, C, any size].
        bandwidth: above 0; less rewards the nearest feature more.

    Returns:
        A scalar in 0..log M: 0 where every feature has one clear match. Memory: [B, N, M].

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.

    Example:
        >>> features = torch.randn(1, 64, 16, 16)
        >>> contextual(features, features) < contextual(features, torch.randn(1, 64, 16, 16))
        tensor(True)

    Source: R. Mechrez et al., "The contextual loss", 2018, with the maximum over the reference as
    in the paper's reference [6] and the absolute value of the published code; not in the paper.
    """
    features = as_float("features", features, "B C h w")
    reference_features = as_float("reference_features", reference_features, "B C h' w'").detach()
    for dim in (0, 1):
        _checks.check_size(
            "reference_features", reference_features, dim, features.shape[dim], "features"
        )
    if not bandwidth > 0:
        raise ValueError(f"bandwidth: expected a number above 0, got {bandwidth}")
    centre = reference_features.mean(dim=(2, 3), keepdim=True)
    # A cosine in half precision would swamp the distance to a near match.
    with torch.autocast(features.device.type, enabled=False):
        cosine = _directions(features, centre).mT @ _directions(reference_features, centre)
    distance = (1 - cosine).abs()  # [B, N, M]; rounding can bring a cosine above 1
    nearest = distance.min(dim=2, keepdim=True).values
    affinity = (-distance / (nearest + _EPSILON) / bandwidth).softmax(dim=2)
    return -affinity.max(dim=2).values.mean(dim=1).log().mean()


def contextual_pyramid(
    features: Sequence[Tensor], reference_features: Sequence[Tensor], bandwidth: float = 0.1
) -> Tensor:
    """Contextual loss of three layers.

        L = 2 L_ctx(fine, averaged over 2 x 2) + 4 L_ctx(middle) + 8 L_ctx(coarse)

    Args:
        features: three maps [B, C, h, w] of the prediction, from fine to coarse: VGG-19's relu3_2,
            relu4_2 and relu5_2, or those of any other backbone.
        reference_features: likewise, of the reference in colour.
        bandwidth: as in `contextual`.

    Returns:
        A scalar.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.

    Example:
        >>> maps = [torch.randn(1, 8, size, size) for size in (16, 8, 4)]
        >>> contextual_pyramid(maps, [torch.randn_like(x) for x in maps]) > 0
        tensor(True)

    Source: the published code; not in the paper.
    """
    maps = {"features": features, "reference_features": reference_features}
    for name, layers in maps.items():
        if len(layers) != len(_LAYER_WEIGHTS):
            raise ValueError(f"{name}: expected {len(_LAYER_WEIGHTS)} maps, got {len(layers)}")
    (fine, *coarser), (reference_fine, *reference_coarser) = maps.values()
    # An odd border is averaged over what is there.
    fine, reference_fine = (F.avg_pool2d(x, 2, ceil_mode=True) for x in (fine, reference_fine))
    pairs = zip([fine, *coarser], [reference_fine, *reference_coarser], strict=True)
    losses = [contextual(x, y, bandwidth) for x, y in pairs]
    return sum(weight * loss for weight, loss in zip(_LAYER_WEIGHTS, losses, strict=True))


def _directions(features: Tensor, centre: Tensor) -> Tensor:
    """Return unit vectors [B, C, N] of features [B, C, h, w] seen from the centre [B, C, 1, 1]."""
    offsets = (features - centre).flatten(2)
    length = offsets.norm(dim=1, keepdim=True)
    # An offset that is rounding error of the mean would otherwise grow to a unit vector.
    rounding = 8 * torch.finfo(length.dtype).eps * centre.flatten(2).norm(dim=1, keepdim=True)
    has_direction = length > rounding
    return torch.where(has_direction, offsets, 0.0) / torch.where(has_direction, length, 1.0)
