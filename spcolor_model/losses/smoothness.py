"""Smoothness of the colours inside the target's regions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spcolor_ops import _checks

from ._inputs import as_float


def smoothness(ab: Tensor, truth_lab: Tensor, alpha: float = 2.0) -> Tensor:
    """Squared distance of every colour from the mean of its neighbours of like true colour.

        w_ik = softmax_k( -||Lab_i - Lab_k||² / alpha )    over the 3 x 3 positions k around i
        L_smooth = mean_bci (ab_bci - sum_k w_bik ab_bck)²

    Positions outside the image count as Lab = 0 (black) with ab = 0, so only a border that is
    nearly black is drawn towards gray. The gradient flows through both ab.

    Args:
        ab: predicted, [B, 2, H, W], in Lab units.
        truth_lab: the target in its true colours, [B, 3, H, W]: L in 0..100, a and b.
        alpha: squared Lab units, above 0; less makes edges sharper.

    Returns:
        A scalar in squared Lab units.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.

    Example:
        >>> truth_lab = torch.full((1, 3, 8, 8), 50.0)
        >>> smoothness(torch.full((1, 2, 8, 8), 20.0), truth_lab) < 1e-9
        tensor(True)

    Source: the paper's L_smooth, which it takes from its reference [6]; neighbourhood, guide and
    alpha are those of the published code.
    """
    ab = as_float("ab", ab, "B 2 H W")
    truth_lab = as_float("truth_lab", truth_lab, "B 3 H W").detach()
    _checks.check_size("ab", ab, 1, 2, "ab")
    _checks.check_size("truth_lab", truth_lab, 1, 3, "Lab")
    for dim in (0, 2, 3):
        _checks.check_size("truth_lab", truth_lab, dim, ab.shape[dim], "ab")
    if not alpha > 0:
        raise ValueError(f"alpha: expected a number above 0, got {alpha}")
    distances = [
        (truth_lab - near).square().sum(1, keepdim=True) for near in _neighbours(truth_lab)
    ]
    weights = torch.stack(distances).div(-alpha).softmax(0)  # [9, B, 1, H, W]
    mean = sum(weight * near for weight, near in zip(weights, _neighbours(ab), strict=True))
    return (ab - mean).square().mean()


def _neighbours(maps: Tensor) -> list[Tensor]:
    """Return the 3 x 3 shifts of [B, C, H, W], padded with 0: views, where unfold would copy."""
    height, width = maps.shape[2:]
    padded = F.pad(maps, (1, 1, 1, 1))
    return [padded[:, :, y : y + height, x : x + width] for y in range(3) for x in range(3)]
