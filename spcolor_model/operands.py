"""What an engine hands to the correspondence operator, and rows of what comes of it.

Dimensions: N target and M reference positions, C channels, D values, K classes, h rows and w
columns of a grid of positions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from spcolor_ops import segment_cosine_similarity
from spcolor_ops.reference.segments import unit_vectors


class Row(NamedTuple):
    """What one target position takes from the reference.

    Attributes:
        weights: p_ij of paper eq. 7 on the reference's grid, [h', w']; their sum is 1, or all are
            0 where the reference lacks the position's class.
        similarity: S_w of eq. 10, the largest cosine; 0 where the class is lacking.
        best: (row, column) of that maximum on the reference's grid, or None.
        value: sum_j p_ij v_j, [D].
    """

    weights: Tensor
    similarity: float
    best: tuple[int, int] | None
    value: Tensor


class Operands(NamedTuple):
    """Arguments of `segment_correspondence` for one pair, and the grids of their positions.

    Attributes:
        query: [N, C]. key: [M, C].
        value: [M, D]; its first channels are a and b.
        query_labels: [N]. key_labels: [M]; outside 0..num_segments-1 is no class.
        num_segments: number of classes K.
        temperature, center: as in `segment_correspondence`.
        grid: (h, w) of the target's positions, N = h w.
        key_grid: likewise of the reference's.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    query_labels: Tensor
    key_labels: Tensor
    num_segments: int
    temperature: float
    center: bool
    grid: tuple[int, int]
    key_grid: tuple[int, int]

    def without_classes(self) -> Operands:
        """Return the same with one class for all positions: global matching."""
        labels = (torch.zeros_like(x) for x in (self.query_labels, self.key_labels))
        return self._replace(**dict(zip(("query_labels", "key_labels"), labels, strict=True)))

    @torch.inference_mode()
    def row(self, position: tuple[int, int]) -> Row:
        """Return what the target position (row, column) takes: one row of the correspondence.

            p_i = softmax_j(s_ij / temperature),    l_j = l_i

        The cosines s_ij come from `segment_cosine_similarity` with this single query. Its class is
        centred before, because the mean is that of all its positions.

        Example:
            >>> operands.row((10, 20)).weights.sum()
            tensor(1.)
        """
        i = position[0] * self.grid[1] + position[1]
        label = self.query_labels[i]
        weights = torch.zeros(len(self.key), dtype=torch.float32)
        keys = (self.key_labels == label).nonzero()[:, 0]
        if not 0 <= label < self.num_segments or not len(keys):
            nothing = torch.zeros(self.value.shape[1])
            return Row(weights.reshape(self.key_grid), 0.0, None, nothing)
        same = self.query_labels == label
        rank = int(same[:i].sum())
        query, key = (
            unit_vectors(x, center=self.center, normalize=True)
            for x in (self.query[same], self.key[keys])
        )
        one_class = (torch.zeros(1, n, dtype=torch.int64, device=key.device) for n in (1, len(key)))
        scores = segment_cosine_similarity(
            query[None, rank : rank + 1], key[None], *one_class, num_segments=1, normalize=False
        ).values
        softmax = (scores / self.temperature).softmax(0)
        weights[keys.cpu()] = softmax.cpu()
        best = int(keys[scores.argmax()])
        return Row(
            weights.reshape(self.key_grid),
            float(scores.max()),
            divmod(best, self.key_grid[1]),
            (softmax @ self.value[keys].float()).cpu(),
        )


Observer = Callable[[Operands], None]
