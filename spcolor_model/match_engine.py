"""Colorization without training: pretrained features, matching by class, edge-aware filling.

Dimensions: H rows and W columns of the target.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .color import gray_rgb, rgb_to_lab
from .engine import Estimate
from .features import WorkingImage
from .filling import EdgeAwareFiller, Filler, relative_confidence
from .matching import Match, match
from .operands import Observer
from .prior import ClusterPrior, Prior
from .references import as_list


class MatchEngine:
    """An `Engine` that takes colours as they are matched.

        ab = filler(warped ab, S, L),    S = S_w S_clT S'_clR    (paper eq. 5-14)

    Its own prior is `ClusterPrior`: 22 clusters, fitted to all photos together.

    Args:
        filler: what makes full-resolution ab of the match; an edge-aware filter where None.

    Example:
        >>> colorize("gray.jpg", "colour.jpg", engine=MatchEngine(EdgeAwareFiller(tint=0)))
    """

    def __init__(self, filler: Filler | None = None) -> None:
        self.filler = filler or EdgeAwareFiller()
        self.prior = ClusterPrior()

    def __call__(
        self,
        luminance: np.ndarray,
        reference: np.ndarray | Sequence[np.ndarray],
        prior: Prior | None = None,
        observe: Observer | None = None,
    ) -> Estimate:
        """Find colours. luminance: [H, W] in 0..100; reference: [H', W', 3] uint8, or several."""
        colours = [rgb_to_lab(one) for one in as_list(reference)]
        # Features of a gray and of a coloured photo differ, so both are seen in gray.
        images = [WorkingImage(gray_rgb(x)) for x in (luminance, *(light for light, _ in colours))]
        maps = (prior or self.prior)(images)
        found = match(images[0], images[1:], [ab for _, ab in colours], maps, observe)
        labels = [maps.of(index, image.grid)[0] for index, image in enumerate(images)]
        return Estimate(self.filler(found, luminance), labels[0], labels[1:], found)

    def trust(self, match: Match) -> np.ndarray:
        """Return how far the result follows the warped colours, [h, w] in 0..1."""
        return relative_confidence(match)
