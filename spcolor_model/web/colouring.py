"""What the page does with photos; it knows nothing of browsers.

Dimensions: H rows and W columns of a photo.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..batch import MOST_UNRELATED
from ..engine import Colorization, has_color
from ..explanation import Explanation, explain
from ..files import write_whole
from ..images import read_image
from ..regions import Edits

# Longest side of what the page shows; a result is saved at its full size.
SHOWN_SIDE = 1400
_SMALLEST_PANEL = 480
_PREVIEW_QUALITY = 90


@dataclass(frozen=True)
class Choice:
    """What a visitor chose.

    Args:
        engine: one of `spcolor_model.engine.ENGINES`.
        prior: "clusters" or "none".
        num_segments: number of clusters, fitted to the pair; None is the engine's own prior.
        edits: regions that were drawn, or None.
    """

    engine: str = "trained"
    prior: str = "clusters"
    num_segments: int | None = None
    edits: Edits | None = None


def colour(target: Path, reference: Path, choice: Choice) -> Explanation:
    """Colour one photo, so that single points of it can be explained afterwards.

    Example:
        >>> colour(Path("old.jpg"), Path("new.jpg"), Choice()).colorization.rgb.shape
        (768, 1024, 3)
    """
    return explain(target, reference, **vars(choice))


def remarks(result: Colorization) -> list[str]:
    """Say in sentences what may disappoint."""
    found = []
    if not has_color(result.reference):
        found.append("The reference has hardly any colour to give.")
    unrelated = result.match.unrelated.float().mean().item()
    if unrelated > MOST_UNRELATED:
        found.append(f"The reference has nothing for {unrelated:.0%} of the photo.")
    return found


def preview(photo: Path | np.ndarray, path: Path, side: int = SHOWN_SIDE) -> tuple[int, int]:
    """Write a photo as the page shows it; return its full width and height.

    The browser could not show every format, nor should it load 24 megapixels for a box.

    Example:
        >>> preview(Path("scan.tif"), Path("shown.jpg"))
        (6000, 4000)
    """
    rgb = read_image(photo) if isinstance(photo, Path) else photo
    image = Image.fromarray(rgb)
    image.thumbnail((side, side), Image.LANCZOS)
    image.save(path, quality=_PREVIEW_QUALITY)
    return rgb.shape[1], rgb.shape[0]


def enlarged(panel: np.ndarray) -> np.ndarray:
    """Enlarge a small map without blurring its cells, so that it is seen."""
    scale = -(-_SMALLEST_PANEL // max(panel.shape[:2]))
    return panel.repeat(scale, axis=0).repeat(scale, axis=1) if scale > 1 else panel


def pack(archive: Path, files: list[tuple[str, Path]]) -> None:
    """Write a ZIP of files under given names; photos do not get smaller, so they are only stored.

    Example:
        >>> pack(Path("coloured.zip"), [("old.png", Path("x/result.png"))])
    """

    def write(opened) -> None:
        with zipfile.ZipFile(opened, "w", zipfile.ZIP_STORED) as packed:
            for name, path in files:
                packed.write(path, name)

    write_whole(archive, write)
