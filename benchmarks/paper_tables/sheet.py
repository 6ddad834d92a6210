"""A picture of what a table judged: some of the photos under each system."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from spcolor_model.images import list_images, read_image

_PHOTOS = 7
_INCHES = 1.3


def save_sheet(path: Path, folders: Mapping[str, Path], truth: Path) -> None:
    """Save photos from all over the list of names side by side: the truth, and a row a system.

    Args:
        path: a file whose suffix names its format.
        folders: system -> its pictures, with the names of the truth's.
        truth: folder of the true pictures.
    """
    names = [found.name for found in list_images(truth)]
    chosen = [
        names[at]
        for at in np.linspace(0, len(names) - 1, min(_PHOTOS, len(names))).round().astype(int)
    ]
    rows = {"truth": truth} | dict(folders)
    size = (_INCHES * len(chosen), _INCHES * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), len(chosen), squeeze=False)
    for (system, folder), line in zip(rows.items(), axes, strict=True):
        for name, axis in zip(chosen, line, strict=True):
            axis.imshow(read_image(folder / name))
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(system, fontsize=6)
    figure.savefig(path, dpi=110)
