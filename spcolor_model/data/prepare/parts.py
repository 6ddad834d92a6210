"""Photos compared part by part.

Dimensions: P photos, N of which are compared with one, 49 cells, 64 channels.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .collection import Collection


class Parts:
    """The cells of all photos, read where they are used.

    Args:
        photos: with `cells` and `histograms`.

    Example:
        >>> cosines, correlations = Parts(photos).compare(7, np.array([2, 9]))
        >>> cosines + 0.25 * correlations
        array([0.71, 0.64], dtype=float32)
    """

    def __init__(self, photos: Collection) -> None:
        self._cells, self._histograms = photos.load("cells"), photos.load("histograms")

    def compare(self, photo: int, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the like of each cell of a photo among the cells of each other photo.

        Args:
            photo: one of P.
            others: [N] int64.

        Returns:
            Two means over the cells of `photo`, [N] float32: of the cosines of the features, and of
            the correlations of the luminance histograms of the same two cells.
        """
        own, theirs = self._features(photo), self._features(others)
        cosines, matches = (theirs @ own.T).max(dim=1)
        own, theirs = self._standard(photo), self._standard(others)
        matched = theirs.take_along_dim(matches[..., None], dim=1)
        correlations = (own * matched).sum(dim=2)
        return cosines.mean(dim=1).numpy(), correlations.mean(dim=1).numpy()

    def _features(self, photos: int | np.ndarray) -> Tensor:
        """Return unit features [..., 49, 64]."""
        return torch.from_numpy(self._cells[photos].astype(np.float32))

    def _standard(self, photos: int | np.ndarray) -> Tensor:
        """Return histograms [..., 49, 10] whose products are correlations; flat ones are 0."""
        counts = torch.from_numpy(self._histograms[photos].astype(np.float32))
        return F.normalize(counts - counts.mean(dim=-1, keepdim=True), dim=-1)
