"""CIE Lab (D65, 2 degrees) of photos, through scikit-image.

Dimensions: H rows and W columns. L is in 0..100; a and b are about -128..127.
"""

from __future__ import annotations

import warnings

import numpy as np
from skimage.color import lab2rgb, lab2xyz, rgb2lab
from skimage.color.colorconv import rgb_from_xyz

# Halvings of the chroma scale; 1/256 of the chroma is below 8-bit rounding.
_GAMUT_STEPS = 8


def rgb_to_lab(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split [H, W, 3] uint8 into luminance [H, W] and ab [H, W, 2], both float32.

    Example:
        >>> luminance, ab = rgb_to_lab(np.full((1, 1, 3), 255, np.uint8))
        >>> round(float(luminance[0, 0]))
        100
    """
    lab = rgb2lab(rgb).astype(np.float32)
    return lab[..., 0], lab[..., 1:]


def lab_to_rgb(luminance: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """Join luminance and ab to [H, W, 3] uint8, keeping the luminance.

    A colour outside sRGB is moved towards gray of the same luminance until it is inside: clipping
    its channels instead would change the luminance of the photo.

    Args:
        luminance: [H, W].
        ab: [H, W, 2].

    Example:
        >>> lab_to_rgb(np.full((1, 1), 50.0), np.zeros((1, 1, 2)))[0, 0]
        array([119, 119, 119], dtype=uint8)
    """
    ab = np.array(ab, dtype=np.float64)
    outside = ~_in_gamut(luminance, ab)
    ab[outside] = _into_gamut(luminance[outside], ab[outside])
    rgb = lab2rgb(np.concatenate([luminance[..., None], ab], axis=-1))
    # The white point is rounded, so the channels of a gray can differ by one step.
    rgb = np.where((ab == 0).all(axis=-1, keepdims=True), rgb[..., 1:2], rgb)
    return (rgb * 255).round().astype(np.uint8)


def gray_rgb(luminance: np.ndarray) -> np.ndarray:
    """Return the gray photo of a luminance [H, W] as [H, W, 3] uint8.

    Example:
        >>> gray_rgb(np.full((1, 1), 50.0))[0, 0]
        array([119, 119, 119], dtype=uint8)
    """
    lab = np.stack([luminance, np.zeros_like(luminance), np.zeros_like(luminance)], axis=-1)
    # The white point is rounded, so the channels of a gray can differ by one step.
    gray = (lab2rgb(lab)[..., 1:2] * 255).round().astype(np.uint8)
    return np.repeat(gray, 3, axis=2)


def _in_gamut(luminance: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """Tell which colours sRGB has. luminance: [...]; ab: [..., 2]."""
    lab = np.concatenate([luminance[..., None], ab], axis=-1)
    with warnings.catch_warnings():
        # It warns of negative Z; such a colour is outside anyway.
        warnings.simplefilter("ignore", UserWarning)
        linear = lab2xyz(lab) @ rgb_from_xyz.T
    return ((linear >= -1e-3) & (linear <= 1 + 1e-3)).all(axis=-1)


def _into_gamut(luminance: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """Scale the chroma of P colours down into sRGB by bisection. luminance: [P]; ab: [P, 2]."""
    low, high = np.zeros(len(ab)), np.ones(len(ab))
    for _ in range(_GAMUT_STEPS):
        middle = (low + high) / 2
        inside = _in_gamut(luminance, ab * middle[:, None])
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return ab * low[:, None]
