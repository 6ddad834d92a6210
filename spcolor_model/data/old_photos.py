"""What an old photograph would have kept of a photo: its luminance through film, paper and time.

Dimensions: H rows and W columns of the photo. L is in 0..100. Toning (sepia) is not drawn: a
coloured print keeps its luminance, and nothing else of a target is ever seen.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from ..color import rgb_to_lab
from ..images import as_rgb

# Shares of linear red, green and blue: panchromatic film sees them as the eye does; orthochromatic
# film is blind to red, and the oldest emulsions saw little but blue.
_PANCHROMATIC = np.array([0.2126, 0.7152, 0.0722])
_ORTHOCHROMATIC = np.array([0.02, 0.53, 0.45])
# Black of a faded print, white of a yellowed one, and the spread of the exponent between them.
_FADED_BLACK = 20.0
_FADED_WHITE = 80.0
_GAMMA_SPREAD = 0.3
# Most blur of a lens, size and strength of grain, and uneven fading from corner to corner.
_BLUR = 1.2
_GRAIN_SIZE = 1.0
_GRAIN = 6.0
_UNEVEN = 8.0


def old_luminance(rgb: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """Draw the luminance that a photo could have as an old photograph.

        L' = black + (white - black) (L_film / 100)^gamma,   then blur, grain and uneven fading

    L_film is the luminance of a mixture of panchromatic and orthochromatic film, and every strength
    is drawn from none to that of a bad print.

    Args:
        rgb: [H, W, 3] uint8.
        generator: of the CPU, the only source of randomness.

    Returns:
        [H, W] float32 in 0..100.

    Raises:
        TypeError, ValueError: rgb is no uint8 photo.

    Example:
        >>> old_luminance(photo, torch.Generator().manual_seed(0)).shape
        (256, 256)
    """
    rgb = as_rgb("rgb", rgb)
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    random = np.random.default_rng(seed)
    luminance = _fade(_film(rgb, random), random)
    luminance = cv2.GaussianBlur(luminance, (0, 0), 0.3 + _BLUR * random.random() ** 2)
    luminance += _grain(luminance.shape, random) + _unevenness(luminance.shape, random)
    return luminance.clip(0, 100)


def _film(rgb: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return L [H, W] as a film sees a photo."""
    blindness = random.random()
    share = (1 - blindness) * _PANCHROMATIC + blindness * _ORTHOCHROMATIC
    linear = (rgb / 255.0) ** 2.2 @ share
    gray = (255 * linear.clip(0, 1) ** (1 / 2.2)).round().astype(np.uint8)
    return rgb_to_lab(np.repeat(gray[..., None], 3, axis=2))[0]


def _fade(luminance: np.ndarray, random: np.random.Generator) -> np.ndarray:
    strength = random.random() ** 2
    black = strength * _FADED_BLACK * random.random()
    white = 100 - strength * (100 - _FADED_WHITE) * random.random()
    gamma = np.exp(_GAMMA_SPREAD * random.standard_normal())
    return (black + (white - black) * (luminance / 100) ** gamma).astype(np.float32)


def _grain(shape: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    noise = random.standard_normal(shape, dtype=np.float32)
    clumped = cv2.GaussianBlur(noise, (0, 0), 0.1 + _GRAIN_SIZE * random.random())
    return clumped / clumped.std().clip(1e-6) * _GRAIN * np.float32(random.random() ** 2)


def _unevenness(shape: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Return a smooth change of L [H, W] between four corners."""
    corners = random.uniform(-1, 1, (2, 2)) * _UNEVEN * random.random() ** 2
    return cv2.resize(corners.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)
