"""L1 loss, where the reference is the target itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spcolor_ops import _checks

from ._inputs import as_float, check_same_shape


def self_reference_l1(
    ab: Tensor,
    truth_ab: Tensor,
    is_self: Tensor,
    *,
    batch_mean: Callable[[Tensor], Tensor] = torch.mean,
) -> Tensor:
    """Mean absolute error of ab over the samples whose true colours are known.

        e_b = mean_cyx |ab_bcyx - truth_bcyx|,    L1 = mean_b(flag_b e_b) / batch_mean_b(flag_b)

    That is the mean of e_b over the self-reference samples, and 0 with gradient 0 where there is
    none. With `batch_mean` over all ranks, each rank's loss is its share of the global one, and
    the ranks' mean is the global L1; the ranks' batches must have one size.

    Args:
        ab: predicted, [B, 2, H, W], in Lab units.
        truth_ab: [B, 2, H, W].
        is_self: [B] bool: the reference is the target itself.
        batch_mean: mean of [B] values: `torch.mean` of the local batch, or
            `spcolor_model.training.distributed.global_mean`.

    Returns:
        A scalar in Lab units.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.

    Example:
        >>> ab, truth_ab = torch.full((2, 2, 8, 8), 3.0), torch.zeros(2, 2, 8, 8)
        >>> self_reference_l1(ab, truth_ab, torch.tensor([True, False]))
        tensor(3.)

    Source: paper eq. 16, and section IV for "otherwise λ_L1 = 0".
    """
    ab = as_float("ab", ab, "B 2 H W")
    truth_ab = as_float("truth_ab", truth_ab, "B 2 H W").detach()
    check_same_shape("truth_ab", truth_ab, "ab", ab)
    _checks.check_tensor("is_self", is_self, "B")
    _checks.check_size("is_self", is_self, 0, ab.shape[0], "ab")
    if is_self.dtype != torch.bool:
        raise TypeError(f"is_self: expected torch.bool, got {is_self.dtype}")
    error = (ab - truth_ab).abs().mean(dim=(1, 2, 3))
    known_error = torch.where(is_self, error, 0.0)
    share = batch_mean(is_self.to(error.dtype))
    # Without a known sample anywhere this is 0 / tiny.
    return known_error.mean() / share.clamp_min(torch.finfo(error.dtype).tiny)
