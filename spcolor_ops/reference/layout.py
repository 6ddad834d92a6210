"""Class order of positions, by a stable sort."""

from collections.abc import Sequence

import torch
from torch import Tensor


def layout(labels: Sequence[Tensor], num_segments: int) -> list[Tensor]:
    """Return order [B, N], inverse [B, N] and offsets [B, K + 1] of each labels [B, N] in turn."""
    return [tensor for one in labels for tensor in _sort(one, num_segments)]


def _sort(labels: Tensor, num_segments: int) -> tuple[Tensor, Tensor, Tensor]:
    in_range = (labels >= 0) & (labels < num_segments)
    labels = torch.where(in_range, labels, num_segments).long()  # "no class" sorts last
    order = labels.argsort(dim=1, stable=True)
    inverse = order.argsort(dim=1)
    counts = labels.new_zeros((labels.shape[0], num_segments + 1))
    counts.scatter_add_(1, labels, torch.ones_like(labels))
    offsets = counts.cumsum(1).roll(1, dims=1)
    offsets[:, 0] = 0
    return order.int(), inverse.int(), offsets.int()
