"""Full-resolution colour from a coarse warped map and its confidence.

Dimensions: h rows and w columns of the feature grid, H and W of the photo.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from .matching import Match

# Keeps 0 / 0, where nothing votes at all, gray.
_TINY = 1e-6


class Filler(Protocol):
    """Turns a `Match` and the luminance [H, W] (0..100) into ab [H, W, 2].

    The edge-aware filter below is one; a trained colorization network is another.
    """

    def __call__(self, match: Match, luminance: np.ndarray) -> np.ndarray: ...


class EdgeAwareFiller:
    """Spread confident colours within the edges of the luminance.

    With w = S / median(S) cut to 0..1, u = 1 where unrelated, and F an edge-aware smoother that L
    guides,

        ab = F(w ab) / F(w + neutral u).

    Uncertain positions take the confident colours around them. Unrelated ones vote for gray: near
    confident surroundings without an edge between they follow those, elsewhere they fade.

    Args:
        smoothing: strength of F, in areas of a grid cell.
        edge: difference of L (0..255) that counts as an edge.
        neutral: weight of an unrelated position's vote for gray, against 1 of a confident one.

    Raises:
        ValueError: an argument that is not above 0.

    Example:
        >>> EdgeAwareFiller()(match, luminance).shape
        (768, 1024, 2)
    """

    def __init__(self, smoothing: float = 1.0, edge: float = 3.0, neutral: float = 0.1) -> None:
        options = {"smoothing": smoothing, "edge": edge, "neutral": neutral}
        for name, value in options.items():
            if not value > 0:
                raise ValueError(f"{name}: expected a number above 0, got {value}")
        self.smoothing = smoothing
        self.edge = edge
        self.neutral = neutral

    def __call__(self, match: Match, luminance: np.ndarray) -> np.ndarray:
        """Return ab [H, W, 2] float32. luminance: [H, W] in 0..100."""
        weight = _weight(match)
        total = weight + self.neutral * match.unrelated.numpy()
        coarse = np.stack([*(weight * match.ab.numpy()), total], axis=-1, dtype=np.float32)
        height, width = luminance.shape
        fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        guide = (luminance * 2.55).clip(0, 255).astype(np.uint8)
        # The filter counts in pixels, and a cell has more of them in a larger photo.
        strength = self.smoothing * luminance.size / weight.size
        smooth = cv2.ximgproc.fastGlobalSmootherFilter(guide, fine, strength, self.edge)
        return smooth[..., :2] / np.maximum(smooth[..., 2:], _TINY)


def _weight(match: Match) -> np.ndarray:
    """Return the confidence [h, w] relative to this pair's median over related positions."""
    confidence = match.confidence.clamp(min=0)
    related = confidence[~match.unrelated]
    if not related.numel():
        return np.zeros(confidence.shape, np.float32)
    return (confidence / related.median().clamp(min=_TINY)).clamp(max=1).numpy()
