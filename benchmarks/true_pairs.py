"""`python -m benchmarks.true_pairs DATA`: held-out pairs whose right colours are known.

DATA is what `spcolor prepare` wrote. Every held-out photo that the packaged weights were not
trained with is paired with itself once: mirrored, or cropped and mirrored, in turn. Views of one
scene, which training left out, follow. The pictures and `manifest.csv` go to out/true_pairs, for
`benchmarks.paper_tables`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spcolor_model.data import Pair, read_manifest, write_manifest
from spcolor_model.data.packaged import FOLDER
from spcolor_model.images import read_image, write_image
from spcolor_model.trained_engine import DEFAULT_WEIGHTS

from .pairs import crop, mirror

OUT = Path("out/true_pairs")
# Two views of one scene, or two frames of one shot.
VIEWS = (
    ("motorcycle_left.png", "motorcycle_right.png"),
    ("opencv_samples_data_aloeL.jpg", "opencv_samples_data_aloeR.jpg"),
    ("opencv_samples_data_leuvenA.jpg", "opencv_samples_data_leuvenB.jpg"),
    ("opencv_samples_data_graf1.png", "opencv_samples_data_graf3.png"),
    ("opencv_samples_data_rubberwhale1.png", "opencv_samples_data_rubberwhale2.png"),
    ("bikes_20.png", "bikes_25.png"),
    ("bikes_60.png", "bikes_66.png"),
    ("bikes_120.png", "bikes_128.png"),
    ("bikes_200.png", "bikes_206.png"),
)


def true_pairs(data: Path, photos: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, target and reference, both [H, W, 3] uint8, of each pair."""
    held_out = read_manifest(data / "manifest.parquet", "held-out")
    with (DEFAULT_WEIGHTS / "photos.csv").open(newline="") as file:
        trained = {row["file"] for row in csv.DictReader(file) if row["split"] == "train"}
    targets = dict.fromkeys(x.target for x in held_out if x.target.name not in trained)
    for index, path in enumerate(targets):
        photo = read_image(path)
        if index % 2:
            yield f"cropped_{path.stem}", crop(photo, (0, 0.15, 0.85, 1)), mirror(photo)
        else:
            yield f"mirrored_{path.stem}", photo, mirror(photo)
    for one, other in VIEWS:
        yield f"views_{Path(one).stem}", read_image(photos / one), read_image(photos / other)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.true_pairs", description=__doc__)
    parser.add_argument("data", type=Path, help="folder that spcolor prepare wrote")
    parser.add_argument("--photos", type=Path, default=FOLDER, help="fetched photos: %(default)s")
    parser.add_argument("--out", type=Path, default=OUT, help="%(default)s")
    options = parser.parse_args()
    pairs = []
    for name, *pictures in true_pairs(options.data, options.photos):
        pair = Pair(*(options.out / kind / f"{name}.png" for kind in ("target", "reference")))
        for path, rgb in zip(pair, pictures, strict=True):
            write_image(path, rgb)
        pairs.append(pair)
    write_manifest(options.out / "manifest.csv", pairs)
    print(options.out / "manifest.csv", f"{len(pairs)} pairs")


if __name__ == "__main__":
    main()
