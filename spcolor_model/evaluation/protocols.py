"""Two protocols: what is measured of a picture, and how networks are shown it.

"standard" is what torchvision's networks were trained to see, "published" what the paper's code
shows them, with its quirks:

| | standard | published |
|---|---|---|
| picture | as it is | of 256 x 256 as it is; else its centre, through Lab, cut to 8 bits |
| stretched for FID | antialiased | bilinear without antialiasing |
| Inception's input | normalised once | 2 x - 1, normalised again: less contrast |
| classified | centre of short side 256 | centre of short side 224 |
| missing result | not in Top-1 and Top-5 | a wrong answer |

Dimensions: H rows and W columns of a picture, S rows and columns of a network's input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from skimage.color import lab2rgb
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torchvision.transforms import functional

from ..color import rgb_to_lab
from ..data import crop_resize

PUBLISHED_SIZE = 256
CLASSIFIED_SIZE = 224


class Protocol(NamedTuple):
    """One way to measure.

    Attributes:
        name: "standard" or "published".
        picture: from a photo [H, W, 3] uint8 to the picture that is measured.
        antialiased: whether `stretch` is.
        mean, std: of Inception's input (x - mean) / std, x in 0..1. Torchvision's network undoes
            ImageNet's, so that it sees 2 x - 1.
        short_side: in pixels, before the centre is classified.
        counts_missing: whether a missing picture is a wrong answer.
    """

    name: str
    picture: Callable[[np.ndarray], np.ndarray]
    antialiased: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    short_side: int
    counts_missing: bool

    def stretch(self, picture: np.ndarray, size: int) -> np.ndarray:
        """Resize a picture to [S, S, 3] uint8 for FID and KID, bilinearly.

        Example:
            >>> PUBLISHED.stretch(np.zeros((256, 256, 3), np.uint8), 299).shape
            (299, 299, 3)
        """
        if self.antialiased:
            return np.array(Image.fromarray(picture).resize((size, size), Image.BILINEAR))
        return cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR)

    def center(self, picture: np.ndarray) -> np.ndarray:
        """Return what is classified of a picture, [224, 224, 3] uint8.

        Example:
            >>> STANDARD.center(np.zeros((300, 400, 3), np.uint8)).shape
            (224, 224, 3)
        """
        scaled = functional.resize(Image.fromarray(picture), self.short_side)
        return np.array(functional.center_crop(scaled, CLASSIFIED_SIZE))


def through_lab(rgb: np.ndarray) -> np.ndarray:
    """Return [H, W, 3] uint8 as the published code writes pictures: from Lab, cut to 8 bits.

    Example:
        >>> through_lab(np.full((1, 1, 3), 255, np.uint8)).shape
        (1, 1, 3)
    """
    luminance, ab = rgb_to_lab(rgb)
    return (255 * lab2rgb(np.concatenate([luminance[..., None], ab], axis=-1))).astype(np.uint8)


def _published_picture(rgb: np.ndarray) -> np.ndarray:
    """Return a picture of 256 x 256 as it is, and make one of any other as the code does."""
    if rgb.shape[:2] == (PUBLISHED_SIZE, PUBLISHED_SIZE):
        return rgb
    return through_lab(crop_resize(rgb, PUBLISHED_SIZE))


STANDARD = Protocol(
    name="standard",
    picture=np.asarray,
    antialiased=True,
    mean=IMAGENET_DEFAULT_MEAN,
    std=IMAGENET_DEFAULT_STD,
    short_side=256,
    counts_missing=False,
)
PUBLISHED = Protocol(
    name="published",
    picture=_published_picture,
    antialiased=False,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    short_side=224,
    counts_missing=True,
)
PROTOCOLS = {"standard": (STANDARD,), "published": (PUBLISHED,), "both": (STANDARD, PUBLISHED)}
