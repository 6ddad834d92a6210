"""Photos compared part by part.

Dimensions: P photos, N of which are compared with one, 49 cells, 64 channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from .collection import Collection

# Of the histograms' correlation, in the sum with the features' cosine.
HISTOGRAM_WEIGHT = 0.25


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
        return compare(
            *(x[photo] for x in (self._cells, self._histograms)),
            *(x[others] for x in (self._cells, self._histograms)),
        )


def compare(
    cells: np.ndarray,
    histograms: np.ndarray,
    other_cells: np.ndarray,
    other_histograms: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the like of each cell of a photo among the cells of each of N other photos.

    Args:
        cells: [49, 64], unit rows.
        histograms: [49, 10].
        other_cells: [N, 49, 64].
        other_histograms: [N, 49, 10].

    Returns:
        As `Parts.compare`.

    Example:
        >>> cosines, correlations = compare(cells[0], histograms[0], cells, histograms)
    """
    own, theirs = (torch.from_numpy(x.astype(np.float32)) for x in (cells, other_cells))
    cosines, matches = (theirs @ own.T).max(dim=1)
    own, theirs = _standard(histograms), _standard(other_histograms)
    matched = theirs.take_along_dim(matches[..., None], dim=1)
    correlations = (own * matched).sum(dim=2)
    return cosines.mean(dim=1).numpy(), correlations.mean(dim=1).numpy()


def _standard(histograms: np.ndarray) -> Tensor:
    """Return histograms [..., 49, 10] whose products are correlations; flat ones are 0."""
    counts = torch.from_numpy(histograms.astype(np.float32))
    return F.normalize(counts - counts.mean(dim=-1, keepdim=True), dim=-1)
