"""Colours for photos that come inside installed packages, with nothing to download.

scikit-image carries the motorcycle stereo pair (Middlebury 2014), Eileen Collins (NASA, public
domain); scikit-learn carries china.jpg (CC-BY-2.0, danielbuechele); matplotlib carries Grace Hopper
(U.S. Navy, public domain).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib.cbook
import numpy as np
import skimage
import sklearn

from .engine import colorize
from .images import read_image, write_image
from .sheet import save_sheet


def run(folder: Path) -> Iterator[Path]:
    """Colour the demo's photos into `folder`; yield each picture and sheet that was written.

    Example:
        >>> for path in run(Path("out/demo")):
        ...     print(path)
    """
    for name, target, reference in photos():
        result = colorize(target, reference)
        picture, sheet = folder / f"{name}.png", folder / f"{name}_sheet.png"
        write_image(picture, result.rgb)
        save_sheet(sheet, result)
        yield from (picture, sheet)


def photos() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, target and reference, both [H, W, 3] uint8, of each picture."""
    scikit_image = Path(skimage.__file__).parent / "data"
    scikit_learn = Path(sklearn.__file__).parent / "datasets/images"
    hopper = read_image(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    astronaut = read_image(scikit_image / "astronaut.png")
    china = read_image(scikit_learn / "china.jpg")
    yield (
        "motorcycle",
        read_image(scikit_image / "motorcycle_left.png"),
        read_image(scikit_image / "motorcycle_right.png"),
    )
    yield "portrait", hopper, astronaut
    yield "tower", china[:, :400], np.ascontiguousarray(china[:, ::-1])
    # A reference without the tower: it must stay pale, and the garden must not.
    yield "tower_without_counterpart", china, china[:, 365:]
