"""Colours that regions of the target keep, whatever the colorization gives.

Dimensions: H rows and W columns of the target.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..color import rgb_to_lab
from .edits import GRAY, OWN, Edits

# Share of the target's longer side over which a region fades in.
_FEATHER = 1 / 400
# Below it nothing looks coloured.
_LEAST_CHROMA = 5.0


class Recolor:
    """Give regions the colours that they keep.

        ab' = t c + (1 - t) ab,    t = min(1, d / (feather + 1))

    c is 0 for "gray", the target's own ab for "own", and the ab of "#rrggbb"; d is the distance of
    a pixel to the nearest one outside the region. So nothing changes outside, and ab' is c deeper
    inside than the feather.

    Args:
        edits: those of their regions that have a `color`.
        own_ab: [H, W, 2] of the target itself.

    Raises:
        FileNotFoundError, TypeError, ValueError: a region that does not fit the target, or "own"
            where the target has no colour; the message begins with the key.

    Example:
        >>> ab = Recolor(edits, own_ab)(ab)
    """

    def __init__(self, edits: Edits, own_ab: np.ndarray) -> None:
        size = own_ab.shape[:2]
        self._own_ab = own_ab
        self._regions = []
        for name, region in edits.regions.items():
            if region.color is None:
                continue
            inside = edits.fill(name, "target", size)
            if region.color == OWN:
                _check_color(name, own_ab[inside])
            feather = region.feather
            if feather is None:
                feather = round(_FEATHER * max(size))
            self._regions.append((inside, region.color, feather))

    def __call__(self, ab: np.ndarray) -> np.ndarray:
        """Return ab [H, W, 2] float32 with the regions' colours in it."""
        for inside, color, feather in self._regions:
            share = _inward(inside, feather)[..., None]
            ab = (share * self._kept(color) + (1 - share) * ab).astype(np.float32)
        return ab

    def _kept(self, color: str) -> np.ndarray:
        """Return c as [H, W, 2] or [2]."""
        if color == OWN:
            return self._own_ab
        if color == GRAY:
            return np.zeros(2, np.float32)
        rgb = np.frombuffer(bytes.fromhex(color[1:]), np.uint8)
        return rgb_to_lab(rgb[None, None])[1][0, 0]


def _inward(inside: np.ndarray, feather: int) -> np.ndarray:
    """Return t [H, W] of a region [H, W] bool; the photo's rim is no border."""
    if inside.all():
        return np.ones(inside.shape, np.float32)
    distance = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (distance / (feather + 1)).clip(max=1)


def _check_color(name: str, own_ab: np.ndarray) -> None:
    """Check that a region [P, 2] of the target has colours to keep."""
    if np.linalg.norm(own_ab, axis=-1).max() < _LEAST_CHROMA:
        raise ValueError(
            f'regions.{name}.color: expected a target with colours there for "own", got gray'
        )
