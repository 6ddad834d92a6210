"""One reference or many: as a list, and which of them each position took.

Dimensions: H rows and W columns of a reference, h rows and w columns of the matching grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Reference = TypeVar("Reference")


def as_list(references: Reference | Sequence[Reference]) -> list[Reference]:
    """Return references as a list; a path, a photo or an array [H, W] or [H, W, 3] is one.

    Raises:
        ValueError: an empty list.

    Example:
        >>> as_list("colour.jpg")
        ['colour.jpg']
    """
    is_one = isinstance(references, str) or not isinstance(references, Sequence | np.ndarray)
    if is_one or (isinstance(references, np.ndarray) and references.ndim < 4):
        return [references]
    if len(references) == 0:
        raise ValueError("reference: expected at least one, got none")
    return list(references)


def taken(index: Tensor, counts: Sequence[int]) -> Tensor:
    """Return which reference each position took, of the index into all their positions.

    Args:
        index: [h, w] int64, as of `segment_correspondence`; -1 where unrelated.
        counts: positions of each reference, in their order.

    Returns:
        [h, w] int64: the number of a reference, from 0, or -1.

    Example:
        >>> taken(torch.tensor([[0, 4, -1]]), [4, 9])
        tensor([[ 0,  1, -1]])
    """
    ends = torch.tensor(counts, device=index.device).cumsum(0)
    return torch.bucketize(index, ends, right=True).masked_fill(index < 0, -1)
