"""What is done to a photo before it is a sample: one size for all, and the self-reference.

Dimensions: H rows and W columns of the photo, S rows and columns of the sample.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from skimage.transform import resize
from torchvision.transforms import v2

from ..images import as_rgb

# Of the published code; the paper has no word on how its self-references are made.
_REFERENCE_SIZE = 480
_ASPECT_RATIO = (0.8, 1.2)


def crop_resize(rgb: np.ndarray, size: int) -> np.ndarray:
    """Scale a photo until its short side is `size`, and keep the square in the middle.

    A photo of H x W becomes floor(H S / min(H, W)) x floor(W S / min(H, W)) pixels, bilinear, with
    a Gaussian against aliasing (`skimage.transform.resize`), cut down to 8 bits; a margin of odd
    width leaves the smaller half above or on the left. A square of that size is returned as it is.

    Args:
        rgb: [H, W, 3] uint8.
        size: S, in pixels.

    Returns:
        [S, S, 3] uint8.

    Raises:
        TypeError, ValueError: rgb is no uint8 photo, or size is below 1.

    Example:
        >>> crop_resize(np.zeros((375, 500, 3), np.uint8), 256).shape
        (256, 256, 3)

    Source: the published code; the paper says "rescaled to 256 x 256" (section IV).
    """
    rgb = as_rgb("rgb", rgb)
    check_count("size", size)
    if rgb.shape[:2] == (size, size):
        return rgb
    short = min(rgb.shape[:2])
    scaled = resize(
        rgb,
        [side * size // short for side in rgb.shape[:2]],
        order=1,
        mode="reflect",
        anti_aliasing=True,
        preserve_range=True,
        clip=False,
    )
    top, left = ((side - size) // 2 for side in scaled.shape[:2])
    return scaled[top : top + size, left : left + size].astype(np.uint8)


def self_reference(
    rgb: np.ndarray, generator: torch.Generator, least_area: float = 0.98
) -> np.ndarray:
    """Make a reference of the target itself: mirrored half the time, then cropped.

    The crop is `least_area` to 100 % of the area with width / height in 0.8..1.2, or, where ten
    draws find no such crop, the largest of the nearest ratio in the middle. It is stretched to
    480 x 480 pixels.

    Args:
        rgb: [H, W, 3] uint8.
        generator: of the CPU, the only source of randomness.
        least_area: above 0, at most 1; the default is the published code's.

    Returns:
        [480, 480, 3] uint8.

    Raises:
        TypeError, ValueError: rgb is no uint8 photo, or least_area is out of range.

    Example:
        >>> self_reference(photo, torch.Generator().manual_seed(0)).shape
        (480, 480, 3)

    Source: the published code; the paper takes "the original colorized target" (section IV).
    """
    photo = Image.fromarray(as_rgb("rgb", rgb))
    if not 0 < least_area <= 1:
        raise ValueError(f"least_area: expected a share above 0 and at most 1, got {least_area}")
    transform = v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5),
            v2.RandomResizedCrop(_REFERENCE_SIZE, scale=(least_area, 1.0), ratio=_ASPECT_RATIO),
        ]
    )
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    # The transforms draw from the global generator. Only the CPU's is replaced and restored:
    # torch.manual_seed would also disturb the noise that training draws on a GPU.
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        return np.array(transform(photo))


def check_count(name: str, count: object, least: int = 1) -> None:
    """Check an integer of at least `least`; the message names the argument."""
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"{name}: expected an int, got {type(count).__name__}")
    if count < least:
        raise ValueError(f"{name}: expected at least {least}, got {count}")
