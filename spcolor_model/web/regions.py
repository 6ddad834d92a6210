"""Regions that are drawn on the page, as edits.

Dimensions: H rows and W columns of a photo, h rows and w columns of a drawing on it.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from ..regions import Edits, Mask, Region

# Brushes of region 1, 2, ...; they differ in hue and in lightness.
BRUSHES = {
    "red": "#e6194b",
    "green": "#3cb44b",
    "blue": "#4363d8",
    "yellow": "#ffe119",
    "orange": "#f58231",
    "purple": "#911eb4",
    "cyan": "#42d4f4",
    "pink": "#f032e6",
}
_OPAQUE = 128


def drawn_edits(
    target: Mapping | None,
    reference: Mapping | None,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    alone: str = "gray",
) -> Edits | None:
    """Return what was drawn on both photos, or None where nothing was.

    What has a brush's colour on both photos takes its colours from there alone.

    Args:
        target, reference: drawings, as of `drawn_regions`.
        sizes: (H, W) of both photos.
        alone: what a region of the target keeps that the reference lacks: "gray" or "own".

    Raises:
        ValueError: a brush was used on the reference alone.

    Example:
        >>> drawn_edits(target_drawing, None, ((768, 1024), (600, 800))).regions
        {'red': Region(target=[Mask(...)], reference=[], color='gray', feather=None)}
    """
    drawings = [drawn_regions(drawing) for drawing in (target, reference)]
    regions = {}
    for number, name in enumerate(BRUSHES, 1):
        on_target, on_reference = (
            _shapes(drawing, number, size) for drawing, size in zip(drawings, sizes, strict=True)
        )
        if on_reference and not on_target:
            raise ValueError(
                f"Regions: expected {name} on the photo too, got it on the reference alone."
            )
        if on_target:
            regions[name] = Region(on_target, on_reference, None if on_reference else alone)
    return Edits(regions) if regions else None


def drawn_regions(drawing: Mapping | None) -> np.ndarray | None:
    """Return the number of each pixel's region, [h, w], 0 where nothing was drawn.

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
    palette = np.array([list(bytes.fromhex(brush[1:])) for brush in BRUSHES.values()])
    regions = np.zeros(layers[0].shape[:2], np.uint8)
    for layer in layers:
        drawn = layer[..., 3] >= _OPAQUE
        distance = np.square(layer[drawn][:, None, :3].astype(int) - palette).sum(-1)
        regions[drawn] = 1 + distance.argmin(-1)
    return regions if regions.any() else None


def _shapes(drawing: np.ndarray | None, number: int, size: tuple[int, int]) -> list[Mask]:
    """Return one region's part of a photo of a size (H, W); none where it has none."""
    if drawing is None or not (drawing == number).any():
        return []
    inside = cv2.resize(
        (drawing == number).astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST
    )
    return [Mask(inside)]
