"""Which photos of many are the best references of a target.

Dimensions: P photos, H rows and W columns of a photo.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .data.prepare.describe import look
from .data.prepare.parts import HISTOGRAM_WEIGHT, compare
from .images import list_images, read_image

# How many of the nearest as a whole are compared part by part.
_CANDIDATES = 200


class Ranked(NamedTuple):
    """A photo's number and its score; higher is more like the target."""

    number: int
    score: float


class Ranking:
    """Rank photos by how like a target they are: as a whole, then part by part.

    The 200 photos whose pooled features have the highest cosine to the target's are ordered by the
    score of `spcolor prepare`: averaged over the target's 49 cells, the best cosine among the
    photo's cells plus 0.25 times the correlation of the luminance histograms of the two cells. All
    photos are seen in gray.

    Args:
        photos: P, [H, W, 3] uint8, read one after another.

    Raises:
        ValueError: no photos.

    Example:
        >>> Ranking([other, same]).best(same, 1)
        [Ranked(number=1, score=1.25)]
    """

    def __init__(self, photos: Iterable[np.ndarray]) -> None:
        looks = [look(photo) for photo in photos]
        if not looks:
            raise ValueError("photos: expected at least one, got none")
        self._whole, self._cells, self._histograms = map(np.stack, zip(*looks, strict=True))

    def best(self, target: np.ndarray, count: int) -> list[Ranked]:
        """Return the best photos for a target [H, W, 3] uint8, the best first."""
        own = look(target)
        cosines = self._whole.astype(np.float32) @ own.whole.astype(np.float32)
        near = np.argsort(-cosines, kind="stable")[:_CANDIDATES]
        alike, correlations = compare(
            own.cells, own.histograms, self._cells[near], self._histograms[near]
        )
        scores = alike + HISTOGRAM_WEIGHT * correlations
        order = np.lexsort((near, -scores))[:count]
        return [Ranked(int(near[i]), float(scores[i])) for i in order]


class Folder:
    """The photos of a folder, ranked for each target.

    Args:
        path: with image files; what is below it is not read.

    Raises:
        FileNotFoundError, ValueError: no such folder, no photo in it, or a damaged one.

    Example:
        >>> Folder(Path("photos")).best(target, 2)
        [(PosixPath('photos/b.jpg'), 1.02), (PosixPath('photos/a.jpg'), 0.87)]
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise FileNotFoundError(f"--references: expected a folder, got {path}")
        self.paths = list_images(path)
        if not self.paths:
            raise FileNotFoundError(f"--references: expected a folder with photos, got {path}")
        self._ranking = Ranking(read_image(photo) for photo in self.paths)

    def best(
        self, target: np.ndarray, count: int, *, without: Path | None = None
    ) -> list[tuple[Path, float]]:
        """Return paths and scores of the best references, the best first.

        Args:
            target: [H, W, 3] uint8.
            count: how many.
            without: a photo that is no reference, as it is the target's own file.
        """
        ranked = self._ranking.best(target, count + 1)
        found = [(self.paths[one.number], one.score) for one in ranked]
        own = without and without.resolve()
        return [(path, score) for path, score in found if path.resolve() != own][:count]
