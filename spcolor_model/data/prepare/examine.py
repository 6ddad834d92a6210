"""What is wrong with an image file, if something is, and the pixels of a good one.

Dimensions: H rows and W columns of the photo.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from ... import files
from ...images import read_image
from .scan import Found

# From twice as many Pillow itself refuses to open a file, from here on it warns.
MOST_PIXELS = 89_478_485
# JPEG leaves a little colour in a gray photo, and dust a few coloured pixels in a scan.
_CHROMA = 8
_COLOURED = 0.001
# Of the published code, filter_out_gray.py.
_MONO = 0.8


class Reason(str, Enum):
    """Why a file is no photo to train with, or that it is one."""

    kept = "kept"
    unreadable = "unreadable"
    no_image = "no image"
    empty = "empty"
    too_many_pixels = "too many pixels"
    small = "small"
    gray = "gray"
    mono = "mono"
    duplicate = "duplicate"


class Examined(NamedTuple):
    """What is known of a file.

    Attributes:
        sha256: of its bytes, in hexadecimal, or None where they cannot be read.
        width, height: in pixels, upright, or None where the header does not tell.
        reason: kept, or why not.
        detail: numbers or a message that explain the reason.
        rgb: [H, W, 3] uint8, of a photo that is kept.
    """

    sha256: str | None
    width: int | None
    height: int | None
    reason: Reason
    detail: str
    rgb: np.ndarray | None = None


def examine(found: Found, min_size: int) -> Examined:
    """Read a file as far as it is good.

    Its size in pixels is judged by the header, before anything is decoded.

    Args:
        found: of `walk`.
        min_size: the least short side, in pixels.

    Example:
        >>> examine(Found(Path("photos/icon.png"), 900), 256)[1:5]
        (16, 16, <Reason.small: 'small'>, 'short side 16')

    Source: the published code, filter_out_gray.py (unreadable, small, gray, mono).
    """
    sha256 = width = height = None
    try:
        if found.problem:
            return Examined(None, None, None, Reason.unreadable, found.problem)
        sha256 = files.sha256(found.path)
        if not found.size:
            return Examined(sha256, None, None, Reason.empty, "0 bytes")
        width, height = _size(found.path)
        if width * height > MOST_PIXELS:
            return Examined(sha256, width, height, Reason.too_many_pixels, f"{width} x {height}")
        if min(width, height) < min_size:
            detail = f"short side {min(width, height)}"
            return Examined(sha256, width, height, Reason.small, detail)
        rgb = read_image(found.path)
    except UnidentifiedImageError:
        return Examined(sha256, None, None, Reason.no_image, "a file of no known format")
    except Image.DecompressionBombError as error:
        return Examined(sha256, None, None, Reason.too_many_pixels, str(error))
    # A damaged or hostile file can make a reader raise anything.
    except Exception as error:
        detail = str(error).removeprefix(f"{found.path}: ") or type(error).__name__
        return Examined(sha256, width, height, Reason.unreadable, detail)
    height, width = rgb.shape[:2]
    reason, detail = _colours(rgb)
    kept = rgb if reason is Reason.kept else None
    return Examined(sha256, width, height, reason, detail, kept)


def _size(path: Path) -> tuple[int, int]:
    """Return width and height of the header."""
    with Image.open(path) as image:
        if image.format == "EPS":
            # To decode it, Pillow runs another program on it.
            raise UnidentifiedImageError
        return image.size


def _colours(rgb: np.ndarray) -> tuple[Reason, str]:
    """Judge a photo [H, W, 3] uint8 by its colours."""
    # Ten times as quick as along the last axis.
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1))
    coloured = np.mean(planes.max(axis=0) - planes.min(axis=0) > _CHROMA)
    if coloured < _COLOURED:
        return Reason.gray, f"{coloured:.2%} of the pixels have a colour"
    largest = max(Image.fromarray(rgb).histogram()) / planes[0].size
    if largest > _MONO:
        return Reason.mono, f"{largest:.0%} of the pixels share a value"
    return Reason.kept, ""
