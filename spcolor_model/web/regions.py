"""Regions that are drawn on the page: colours of a brush, and the numbers that they stand for.

Dimensions: H rows and W columns of a drawing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# Brushes of region 1, 2, ...; they differ in hue and in lightness.
BRUSHES = ("#e6194b", "#3cb44b", "#4363d8", "#ffe119", "#f58231", "#911eb4", "#42d4f4", "#f032e6")
_OPAQUE = 128


def drawn_regions(drawing: Mapping | None) -> np.ndarray | None:
    """Return the number of each pixel's region, [H, W], 0 where nothing was drawn.

    Args:
        drawing: value of an ImageEditor of Pillow images: its layers, the lowest first. A pixel
            belongs to the brush whose colour is nearest.

    Returns:
        None where nothing at all was drawn.

    Example:
        >>> drawn_regions({"layers": [layer]}).max()
        3
    """
    layers = [np.asarray(layer.convert("RGBA")) for layer in (drawing or {}).get("layers", [])]
    if not layers:
        return None
    palette = np.array([[int(brush[i : i + 2], 16) for i in (1, 3, 5)] for brush in BRUSHES])
    regions = np.zeros(layers[0].shape[:2], np.int64)
    for layer in layers:
        drawn = layer[..., 3] >= _OPAQUE
        distance = np.square(layer[drawn][:, None, :3].astype(int) - palette).sum(-1)
        regions[drawn] = 1 + distance.argmin(-1)
    return regions if regions.any() else None
