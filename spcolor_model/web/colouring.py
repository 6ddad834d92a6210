"""What the page does with photos; it knows nothing of browsers.

Dimensions: H rows and W columns of a photo.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..batch import MOST_UNRELATED
from ..engine import Colorization, colorize, has_color, make_prior
from ..files import write_whole
from ..images import read_image
from ..prior import MaskPrior, Prior

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
        masks: regions [H, W] that were drawn on target and reference, which take its place.
    """

    engine: str = "trained"
    prior: str = "clusters"
    num_segments: int | None = None
    masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None)

    def with_masks(self, target: np.ndarray | None, reference: np.ndarray | None) -> Choice:
        """Return the choice with regions [H, W] that were drawn, None where none were.

        Raises:
            ValueError: regions on one of the photos alone.
        """
        if (target is None) != (reference is None):
            raise ValueError("Regions: expected some on both photos, got one without any.")
        return replace(self, masks=(target, reference))

    def make_prior(self) -> Prior | None:
        """Return the prior that was chosen."""
        if self.masks[0] is not None:
            return MaskPrior(self.masks)
        return make_prior(self.prior, self.num_segments)


def colour(target: Path, reference: Path, choice: Choice) -> tuple[Colorization, list[str]]:
    """Colour one photo; return the result and what is doubtful about it.

    Example:
        >>> result, remarks = colour(Path("old.jpg"), Path("new.jpg"), Choice())
    """
    result = colorize(target, reference, engine=choice.engine, prior=choice.make_prior())
    return result, remarks(result)


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
