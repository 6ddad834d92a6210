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

    With w = S / median(S) cut to 0..1, u = 1 where unrelated, m the w-weighted mean of the warped
    ab, and F an edge-aware smoother that L guides,

        ab = F(w ab + neutral u tint m) / F(w + neutral u).

    Uncertain positions take the confident colours around them. Unrelated ones vote, weakly, for a
    pale tint of the whole picture: near confident surroundings without an edge between they follow
    those, elsewhere they fade.

    Args:
        smoothing: strength of F, in areas of a grid cell.
        edge: difference of L (0..255) that counts as an edge.
        neutral: weight of an unrelated position's vote, against 1 of a confident one.
        tint: saturation of that vote; 0 is gray.

    Raises:
        ValueError: smoothing, edge or neutral not above 0, or tint not in 0..1.

    Example:
        >>> EdgeAwareFiller()(match, luminance).shape
        (768, 1024, 2)
    """

    def __init__(
        self,
        smoothing: float = 1.0,
        edge: float = 3.0,
        neutral: float = 0.1,
        tint: float = 0.3,
    ) -> None:
        for name, value in {"smoothing": smoothing, "edge": edge, "neutral": neutral}.items():
            if not value > 0:
                raise ValueError(f"{name}: expected a number above 0, got {value}")
        if not 0 <= tint <= 1:
            raise ValueError(f"tint: expected a number in 0..1, got {tint}")
        self.smoothing = smoothing
        self.edge = edge
        self.neutral = neutral
        self.tint = tint

    def __call__(self, match: Match, luminance: np.ndarray) -> np.ndarray:
        """Return ab [H, W, 2] float32. luminance: [H, W] in 0..100."""
        height, width = luminance.shape
        votes = self._votes(match)
        fine = cv2.resize(votes, (width, height), interpolation=cv2.INTER_LINEAR)
        guide = (luminance * 2.55).clip(0, 255).astype(np.uint8)
        # The filter counts in pixels, and a cell has more of them in a larger photo.
        strength = self.smoothing * luminance.size / (votes.shape[0] * votes.shape[1])
        smooth = cv2.ximgproc.fastGlobalSmootherFilter(guide, fine, strength, self.edge)
        return smooth[..., :2] / np.maximum(smooth[..., 2:], _TINY)

    def _votes(self, match: Match) -> np.ndarray:
        """Return weighted a, weighted b and weight as [h, w, 3] float32."""
        weight, ab = relative_confidence(match), match.ab.numpy()
        mean = (weight * ab).sum((1, 2)) / max(weight.sum(), _TINY)
        neutral = self.neutral * match.unrelated.numpy()
        colour = weight * ab + neutral * self.tint * mean[:, None, None]
        return np.stack([*colour, weight + neutral], axis=-1, dtype=np.float32)


def relative_confidence(match: Match) -> np.ndarray:
    """Return S / median(S) cut to 0..1, [h, w]; the median is over related positions.

    Example:
        >>> relative_confidence(match).max()
        1.0
    """
    confidence = match.confidence.clamp(min=0)
    related = confidence[~match.unrelated]
    if not related.numel():
        return np.zeros(confidence.shape, np.float32)
    return (confidence / related.median().clamp(min=_TINY)).clamp(max=1).numpy()
