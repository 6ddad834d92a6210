"""Measures of one picture, and of one beside its truth.

Dimensions: H rows and W columns of a picture.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from ..color import rgb_to_lab

# Of the published formula; fitted to what people said of photos.
_MEAN_WEIGHT = 0.3


def colorfulness(rgb: np.ndarray) -> float:
    """Return how colourful a picture looks: 0 of a gray one, about 100 of an extremely vivid one.

        M = sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2),    rg = R - G,  yb = (R + G) / 2 - B

    with standard deviations s and means m over the pixels.

    Args:
        rgb: [H, W, 3] uint8.

    Example:
        >>> colorfulness(np.full((2, 2, 3), 90, np.uint8))
        0.0

    Source: Hasler and Suesstrunk, Human Vision and Electronic Imaging 2003.
    """
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    opponents = np.stack([red - green, (red + green) / 2 - blue])
    spread = np.linalg.norm(opponents.std(axis=(1, 2)))
    return float(spread + _MEAN_WEIGHT * np.linalg.norm(opponents.mean(axis=(1, 2))))


def ab_error(rgb: np.ndarray, truth: np.ndarray, region: np.ndarray | None = None) -> float:
    """Return mean |ab - ab of the truth| (Euclidean, in Lab units) of two [H, W, 3] uint8.

    Args:
        rgb: of the result.
        truth: likewise.
        region: [H, W] bool, where to measure; everywhere unless given.

    Example:
        >>> ab_error(photo, photo)
        0.0
    """
    distance = np.linalg.norm(rgb_to_lab(rgb)[1] - rgb_to_lab(truth)[1], axis=-1)
    return float(distance.mean() if region is None else distance[region].mean())


def psnr(rgb: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two [H, W, 3] uint8, in dB; inf where they are one.

    Example:
        >>> psnr(photo, photo)
        inf
    """
    pair = (unit_range(x).double() for x in (rgb, truth))
    return peak_signal_noise_ratio(*pair, data_range=1.0).item()


def ssim(rgb: np.ndarray, truth: np.ndarray) -> float:
    """Return the structural similarity of two [H, W, 3] uint8.

    The window is a Gaussian of 1.5 pixels, and the borders are reflected.

    Example:
        >>> ssim(photo, photo)
        1.0

    Source: Wang et al., IEEE Transactions on Image Processing 2004.
    """
    # In float64 the same to four digits, and ten times slower.
    return structural_similarity_index_measure(
        unit_range(rgb), unit_range(truth), data_range=1.0
    ).item()


def unit_range(rgb: np.ndarray) -> Tensor:
    """Return [H, W, 3] uint8 as [1, 3, H, W] float32 in 0..1.

    Example:
        >>> unit_range(np.zeros((2, 4, 3), np.uint8)).shape
        torch.Size([1, 3, 2, 4])
    """
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float() / 255
