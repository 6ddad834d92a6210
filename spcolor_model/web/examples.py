"""Pairs of photos to try, out of installed packages: nothing to download.

Dimensions: H rows and W columns of a photo.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..color import gray_rgb, rgb_to_lab
from ..demo import photos

# Height of a picture in the list of examples.
_HEIGHT = 160
_NAMES = {
    "motorcycle": "Motorcycle: the other photo of a stereo pair",
    "portrait": "Grace Hopper, by an astronaut",
    "tower": "A tower, by its mirror image",
    "tower_without_counterpart": "A tower that the reference lacks",
}


class Example(NamedTuple):
    """Two photos, and a picture of both for the list."""

    caption: str
    target: Path
    reference: Path
    thumbnail: Path


def write_examples(folder: Path) -> list[Example]:
    """Write the pairs of `spcolor_model.demo` into a folder, and return them.

    Example:
        >>> [example.caption for example in write_examples(Path("shared"))][0]
        'Motorcycle: the other photo of a stereo pair'
    """
    found = []
    for name, target, reference in photos():
        gray = gray_rgb(rgb_to_lab(target)[0])
        pictures = {
            "target": gray,
            "reference": reference,
            "thumbnail": np.concatenate([_small(gray), _small(reference)], axis=1),
        }
        paths = {}
        for part, picture in pictures.items():
            paths[part] = folder / f"{name}_{part}.png"
            Image.fromarray(picture).save(paths[part])
        found.append(Example(_NAMES[name], **paths))
    return found


def _small(rgb: np.ndarray) -> np.ndarray:
    width = round(rgb.shape[1] * _HEIGHT / rgb.shape[0])
    return np.asarray(Image.fromarray(rgb).resize((width, _HEIGHT), Image.LANCZOS))
