"""Folders of pictures for the tables: the truth of pairs, gray, and what colours them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from spcolor_model import colorize
from spcolor_model.color import gray_rgb, rgb_to_lab
from spcolor_model.data import Pair, crop_resize
from spcolor_model.engine import Engine
from spcolor_model.evaluation.protocols import through_lab
from spcolor_model.images import list_images, read_image, write_image

STDERR = Console(stderr=True)


def names(pairs: Sequence[Pair]) -> list[str]:
    """Return a name for each pair: the target's stem, or both stems where targets repeat.

    Raises:
        ValueError: a pair without a reference, or two of one name.
    """
    alone = [pair.target for pair in pairs if pair.reference is None]
    if alone:
        raise ValueError(f"pairs: expected a reference for each target, got none for {alone[0]}")
    found = [pair.target.stem for pair in pairs]
    if len(set(found)) < len(found):
        found = [f"{target.stem}_by_{reference.stem}" for target, reference in pairs]
    if len(set(found)) < len(found):
        raise ValueError("pairs: expected different file names, got two pairs of the same")
    return found


def write_truth(folder: Path, pairs: Sequence[Pair], size: int) -> Path:
    """Write the targets as the published code does, size x size, into a folder; return it.

    Raises:
        ValueError: the folder has pictures of other pairs, which would be judged too.
    """
    others = {x.stem for x in list_images(folder)} - {*names(pairs)} if folder.is_dir() else set()
    if others:
        raise ValueError(
            f"{folder}: expected a folder for these pairs alone, has {len(others)} other pictures, "
            f"such as {min(others)}"
        )
    for name, pair in zip(names(pairs), pairs, strict=True):
        write_image(folder / f"{name}.png", through_lab(crop_resize(read_image(pair.target), size)))
    return folder


def write_gray(folder: Path, truth: Path) -> Path:
    """Write the gray versions of a folder's pictures into another; return it."""
    for path in list_images(truth):
        write_image(folder / f"{path.stem}.png", gray_rgb(rgb_to_lab(read_image(path))[0]))
    return folder


def color(engine: Engine | str, folder: Path, pairs: Sequence[Pair], size: int) -> Path:
    """Colour the targets, size x size, by an engine into a folder; return it."""
    for name, pair in zip(
        names(pairs), track(pairs, description=folder.name, console=STDERR), strict=True
    ):
        target, reference = (crop_resize(read_image(path), size) for path in pair)
        result = colorize(target, reference, engine=engine, prior=None)
        write_image(folder / f"{name}.png", result.rgb)
    return folder
