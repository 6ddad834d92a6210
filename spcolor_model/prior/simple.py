"""Priors that look at no features: the user's own masks, and none at all.

Dimensions: H rows and W columns of a mask, h rows and w columns of the feature grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ..features import WorkingImage
from .base import ClassMaps, class_maps


class NoPrior:
    """One class for every position: the global matching of earlier work (k = 1), confidence 1.

    Example:
        >>> NoPrior()([target_image, reference_image]).num_segments
        1
    """

    def __call__(self, images: Sequence[WorkingImage]) -> ClassMaps:
        """Return class 0 everywhere. images: B working images."""
        sizes = [image.grid for image in images]
        return class_maps(
            [torch.zeros(size, dtype=torch.int64) for size in sizes],
            [torch.ones(size) for size in sizes],
            1,
        )


class MaskPrior:
    """Classes drawn by the user: pixels of equal value in the two masks are one class.

    Args:
        masks: one array for each image, [H, W] or [H, W, 3] of any integer type; a class is a
            value, or a colour. A mask has the size of its photo, or any other: it is resampled.

    Raises:
        TypeError, ValueError: a mask of another type or shape.

    Example:
        >>> sky = np.zeros((4, 4), np.uint8)
        >>> sky[:2] = 1
        >>> MaskPrior([sky, sky])([target_image, reference_image]).num_segments
        2
    """

    def __init__(self, masks: Sequence[np.ndarray]) -> None:
        for index, mask in enumerate(masks):
            _check_mask(f"masks[{index}]", mask)
        flat = [_values(mask) for mask in masks]
        classes, labels = np.unique(np.concatenate([f.ravel() for f in flat]), return_inverse=True)
        ends = np.cumsum([f.size for f in flat])[:-1]
        self.num_segments = len(classes)
        self._labels = [
            torch.from_numpy(part.reshape(f.shape).astype(np.int64))
            for part, f in zip(np.split(labels.ravel(), ends), flat, strict=True)
        ]

    def __call__(self, images: Sequence[WorkingImage]) -> ClassMaps:
        """Return the masks on each image's grid, confidence 1. images: B working images.

        Raises:
            ValueError: another number of images than of masks.
        """
        if len(images) != len(self._labels):
            raise ValueError(
                f"images: expected {len(self._labels)}, one for each mask, got {len(images)}"
            )
        sizes = [image.grid for image in images]
        labels = [
            F.interpolate(mask[None, None].double(), size, mode="nearest-exact")[0, 0].long()
            for mask, size in zip(self._labels, sizes, strict=True)
        ]
        return class_maps(labels, [torch.ones(size) for size in sizes], self.num_segments)


def _check_mask(name: str, mask: object) -> None:
    if not isinstance(mask, np.ndarray) or not np.issubdtype(mask.dtype, np.integer):
        got = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
        raise TypeError(f"{name}: expected an array of integers, got {got}")
    if mask.ndim not in (2, 3) or (mask.ndim == 3 and mask.shape[2] != 3) or mask.size == 0:
        raise ValueError(f"{name}: expected shape [H, W] or [H, W, 3], got {list(mask.shape)}")


def _values(mask: np.ndarray) -> np.ndarray:
    """Give every pixel of a mask one integer: its value, or its colour as 0xRRGGBB."""
    if mask.ndim == 2:
        return mask.astype(np.int64)
    return mask.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
