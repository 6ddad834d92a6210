"""What a semantic prior is: one call from images to class maps (paper section III-B).

Dimensions: B images, K classes, h rows and w columns of the feature grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..features import WorkingImage


class ClassMaps(NamedTuple):
    """Classes C(i) of every position and how sure they are, S_cl(i).

    Attributes:
        labels: [B, h, w] int64 in 0..num_segments-1, or -1 for no class. Images of different sizes
            share one tensor: outside an image the label is -1.
        confidence: [B, h, w] float32 in 0..1; 0 outside an image.
        num_segments: number of classes K.
    """

    labels: Tensor
    confidence: Tensor
    num_segments: int

    def of(self, index: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return labels and confidence [h, w] of one image, whose grid has that size."""
        window = (index, slice(size[0]), slice(size[1]))
        return self.labels[window], self.confidence[window]


class Prior(Protocol):
    """A semantic prior.

    Called with B working images, gray replicated, the target first, it returns
    their `ClassMaps`. Images may have different sizes.
    """

    def __call__(self, images: Sequence[WorkingImage]) -> ClassMaps: ...


def class_maps(
    labels: Sequence[Tensor], confidence: Sequence[Tensor], num_segments: int
) -> ClassMaps:
    """Join B maps [h_b, w_b] of different sizes to `ClassMaps`, padded with -1 and 0.

    Example:
        >>> class_maps([torch.zeros(2, 3).long()], [torch.ones(2, 3)], 1).labels.shape
        torch.Size([1, 2, 3])
    """
    return ClassMaps(_stack(labels, -1), _stack(confidence, 0), num_segments)


def _stack(maps: Sequence[Tensor], padding: int) -> Tensor:
    """Stack B maps [h_b, w_b] to [B, max h_b, max w_b]."""
    height, width = (max(m.shape[dim] for m in maps) for dim in (0, 1))
    return torch.stack(
        [F.pad(m, (0, width - m.shape[1], 0, height - m.shape[0]), value=padding) for m in maps]
    )
