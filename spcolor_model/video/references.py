"""References of a film: images for any scene, and coloured frames that belong to their own.

Dimensions: H rows and W columns of a reference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..images import read_image
from ..ranking import Ranking

_TIMED = re.compile(r"(?P<time>\d+(\.\d+)?)=(?P<path>.+)")


class FilmReference(NamedTuple):
    """A reference.

    Attributes:
        rgb: [H, W, 3] uint8.
        time: seconds from the beginning to the frame that it is; None of any other image.
        name: what a message calls it.
    """

    rgb: np.ndarray
    time: float | None = None
    name: str = "reference"


def reference_path(text: str) -> tuple[Path, float | None]:
    """Return path and time of PATH or SECONDS=PATH.

    Example:
        >>> reference_path("12.5=coloured.png")
        (PosixPath('coloured.png'), 12.5)
    """
    found = _TIMED.fullmatch(text)
    if found is None or Path(text).exists():
        return Path(text), None
    return Path(found["path"]), float(found["time"])


def read_reference(text: str) -> FilmReference:
    """Read a reference of PATH or SECONDS=PATH.

    Raises:
        FileNotFoundError, ValueError: as `read_image`.
    """
    path, time = reference_path(text)
    return FilmReference(read_image(path), time, str(path))


class SceneReferences:
    """Which references a scene takes.

    A scene that has coloured frames of its own takes these; any other one takes the references that
    are most like its first frame (`Ranking`).

    Args:
        references: all there are.
        scenes: of each reference the scene that it is a frame of, or None.
        top: how many a scene takes that has none of its own.

    Raises:
        ValueError: no references.

    Example:
        >>> SceneReferences(references, [None, 2], 1).of(2, frame)
        [1]
    """

    def __init__(
        self, references: Sequence[FilmReference], scenes: Sequence[int | None], top: int
    ) -> None:
        if not references:
            raise ValueError("references: expected at least one, got none")
        self._scenes, self._top, self._count = scenes, top, len(references)
        self._ranking = Ranking(one.rgb for one in references) if len(references) > top else None

    def of(self, scene: int, first: np.ndarray) -> list[int]:
        """Return numbers of references. first: the scene's first frame, [H, W, 3] uint8."""
        own = [number for number, other in enumerate(self._scenes) if other == scene]
        if own or self._ranking is None:
            return own or list(range(self._count))
        return [found.number for found in self._ranking.best(first, self._top)]
