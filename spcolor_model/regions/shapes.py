"""What a region is made of: boxes, polygons and masks.

Dimensions: H rows and W columns of a photo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from ..images import as_rgb

# Gray value from which on a pixel of a mask file is in the region.
_WHITE = 128


class Shape(Protocol):
    """A part of a photo: `shape.fill(size) -> [H, W] bool`; `size` is (H, W)."""

    def fill(self, size: tuple[int, int]) -> np.ndarray: ...


@dataclass(frozen=True)
class Box:
    """The pixels left <= x < right, top <= y < bottom.

    Raises:
        TypeError, ValueError: not four whole numbers in that order.

    Example:
        >>> Box(0, 0, 2, 1).fill((2, 3)).sum()
        2
    """

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        edges = (self.left, self.top, self.right, self.bottom)
        if not all(isinstance(x, int) and not isinstance(x, bool) for x in edges):
            raise TypeError(f"box: expected four whole numbers, got {list(edges)}")
        if not (0 <= self.left < self.right and 0 <= self.top < self.bottom):
            raise ValueError(
                "box: expected left, top, right, bottom with 0 <= left < right and "
                f"0 <= top < bottom, got {list(edges)}"
            )

    def fill(self, size: tuple[int, int]) -> np.ndarray:
        """Return the box in a photo of a size (H, W), [H, W] bool.

        Raises:
            ValueError: a part of it is outside the photo.
        """
        _check_inside("box", [(self.left, self.top), (self.right, self.bottom)], size)
        inside = np.zeros(size, bool)
        inside[self.top : self.bottom, self.left : self.right] = True
        return inside


@dataclass(frozen=True)
class Polygon:
    """The pixels inside a closed line through points (x, y), and those on it.

    Raises:
        TypeError, ValueError: fewer than three points, or not pairs of numbers.

    Example:
        >>> Polygon([(0, 0), (4, 0), (0, 4)]).fill((5, 5)).sum()
        15
    """

    points: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        points = self.points
        if not isinstance(points, Sequence) or isinstance(points, str) or len(points) < 3:
            raise ValueError(f"polygon: expected at least three points [x, y], got {points!r}")
        for index, point in enumerate(points):
            if (
                not isinstance(point, Sequence)
                or len(point) != 2
                or not all(_is_number(x) for x in point)
            ):
                raise TypeError(f"polygon[{index}]: expected [x, y] of numbers, got {point!r}")

    def fill(self, size: tuple[int, int]) -> np.ndarray:
        """Return the polygon in a photo of a size (H, W), [H, W] bool.

        Raises:
            ValueError: a point is outside the photo.
        """
        _check_inside("polygon", self.points, size)
        inside = np.zeros(size, np.uint8)
        cv2.fillPoly(inside, [np.asarray(self.points).round().astype(np.int32)], 1)
        return inside.astype(bool)


@dataclass(frozen=True)
class Mask:
    """The bright pixels of a picture of the photo's size, or those of an array that are not 0.

    Args:
        picture: a path, whose pixels of 128 and above of 255 are in the region; or an array [H, W]
            of bool or whole numbers.

    Example:
        >>> Mask(np.eye(3, dtype=bool)).fill((3, 3)).sum()
        3
    """

    picture: str | Path | np.ndarray

    def fill(self, size: tuple[int, int]) -> np.ndarray:
        """Return the mask for a photo of a size (H, W), [H, W] bool.

        Raises:
            FileNotFoundError, TypeError, ValueError: it cannot be read, or has another size.
        """
        if isinstance(self.picture, np.ndarray):
            if self.picture.ndim != 2 or self.picture.dtype.kind not in "biu":
                raise TypeError(
                    "mask: expected an array [H, W] of bool or whole numbers, got "
                    f"{list(self.picture.shape)} of {self.picture.dtype}"
                )
            inside = self.picture != 0
        else:
            gray = cv2.cvtColor(as_rgb("mask", self.picture), cv2.COLOR_RGB2GRAY)
            inside = gray >= _WHITE
        if inside.shape != size:
            (height, width), (rows, columns) = size, inside.shape
            name = "an array" if isinstance(self.picture, np.ndarray) else self.picture
            raise ValueError(
                f"mask: expected the photo's {width} x {height} pixels, got {columns} x {rows} in "
                f"{name}"
            )
        return inside


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float | np.number)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _check_inside(name: str, points: Sequence[Sequence[float]], size: tuple[int, int]) -> None:
    height, width = size
    for x, y in points:
        if not (0 <= x <= width and 0 <= y <= height):
            raise ValueError(
                f"{name}: expected x in 0..{width} and y in 0..{height}, the photo's size, got "
                f"{x},{y}"
            )
