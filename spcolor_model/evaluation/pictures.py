"""Which result belongs to which true picture. Nothing is dropped in silence."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..images import list_images, read_image
from .lists import check_pins, listed, read_pins

# The networks need so many pixels, and SSIM's window fits.
_MIN_SIDE = 32


class Matched(NamedTuple):
    """A true picture and its result.

    Attributes:
        name: the stem of both files.
        truth: path.
        result: path, or None where it is missing.
    """

    name: str
    truth: Path
    result: Path | None


def true_pictures(folder: str | Path, pinned: str | Path | None = None) -> dict[str, Path]:
    """Return the true pictures by stem: a folder's, or those of it that a list pins.

    Raises:
        FileNotFoundError, ValueError: no folder, no picture, two of one stem, or one that cannot be
            read or is not the pinned one.

    Example:
        >>> true_pictures("photos")
        {'a': PosixPath('photos/a.jpg')}
    """
    folder = Path(folder)
    if pinned is None:
        return _by_stem(folder)
    _check_folder(folder)
    pins = read_pins(pinned)
    check_pins(folder, pins)
    return _by_stem(folder, [folder / file for file in pins])


def match_pictures(
    folder: str | Path, truth: dict[str, Path], *, allow_missing: bool = False
) -> list[Matched]:
    """Return every true picture with its result of the same stem, in the order of names.

    All pictures are decoded once, so that a broken one is known before any network is asked.

    Args:
        folder: of the results.
        truth: as of `true_pictures`.
        allow_missing: whether results may be missing.

    Raises:
        FileNotFoundError, ValueError: no folder, or results that are missing, too many, unreadable
            or of another size than the truth; names every one.

    Example:
        >>> match_pictures("coloured", true_pictures("photos"))[0].name
        'a'
    """
    folder = Path(folder)
    found = _by_stem(folder)
    missing = (
        [] if allow_missing else [path.name for name, path in truth.items() if name not in found]
    )
    extra = [path.name for name, path in found.items() if name not in truth]
    matched = [Matched(name, truth[name], found.get(name)) for name in sorted(truth)]
    wrong = [problem for one in matched if one.result and (problem := _problem(one))]
    problems = [
        *([f"no result for {listed(missing)}"] if missing else []),
        *([f"no truth for {listed(extra)}"] if extra else []),
        *wrong,
    ]
    if problems:
        raise ValueError(
            f"{folder}: expected one result for each of {len(truth)} pictures, got "
            + "; ".join(problems)
        )
    return matched


def _by_stem(folder: Path, paths: list[Path] | None = None) -> dict[str, Path]:
    _check_folder(folder)
    by_stem: dict[str, Path] = {}
    for path in list_images(folder) if paths is None else paths:
        if path.stem in by_stem:
            raise ValueError(
                f"{folder}: expected file names of different stems, "
                f"got {by_stem[path.stem].name} and {path.name}"
            )
        by_stem[path.stem] = path
    if not by_stem:
        raise FileNotFoundError(f"{folder}: expected a folder with pictures, got none in it")
    return by_stem


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a folder of pictures, got none at that path")


def _problem(matched: Matched) -> str | None:
    """Return what is wrong with a result beside its truth, if something is."""
    try:
        result, truth = read_image(matched.result), read_image(matched.truth)
    except ValueError as error:
        return str(error)
    if result.shape != truth.shape:
        sizes = [f"{x.shape[0]} x {x.shape[1]}" for x in (truth, result)]
        return f"{matched.result.name}: expected {sizes[0]} pixels as its truth, got {sizes[1]}"
    if min(truth.shape[:2]) < _MIN_SIDE:
        got = f"{truth.shape[0]} x {truth.shape[1]}"
        return f"{matched.truth.name}: expected at least {_MIN_SIDE} pixels a side, got {got}"
    return None
