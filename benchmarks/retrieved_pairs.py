"""`python -m benchmarks.retrieved_pairs DATA`: photos with the best reference found for each.

DATA is what `spcolor prepare` wrote. `manifest.csv` has the pairs whose target's name matches a
glob, by default foolbox's ImageNet photos. Their names hold their class, imagenet_NUMBER_CLASS:
`classes.csv` has it for `benchmarks.paper_tables.one --classes`.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path

from spcolor_model.data import Pair, read_manifest, write_manifest

OUT = Path("out/retrieved_pairs")
_CLASS = re.compile(r"imagenet_\d+_(\d+)")


def best_pairs(pairs: Sequence[Pair], pattern: str) -> list[Pair]:
    """Return each target of a pattern with its first reference; without one it is left out.

    Example:
        >>> best_pairs(read_manifest("data/manifest.parquet"), "imagenet_*")[0].target.name
        'imagenet_00_243.jpg'
    """
    first = {}
    for pair in pairs:
        if pair.reference is not None and fnmatch.fnmatch(pair.target.name, pattern):
            first.setdefault(pair.target, pair)
    return list(first.values())


def classes(pairs: Sequence[Pair]) -> dict[str, int]:
    """Return the ImageNet class of every picture of `paper_tables` whose name states it."""
    found = {pair.target.stem: _CLASS.fullmatch(pair.target.stem) for pair in pairs}
    return {f"{stem}.png": int(match[1]) for stem, match in found.items() if match}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retrieved_pairs", description=__doc__
    )
    parser.add_argument("data", type=Path, help="folder that spcolor prepare wrote")
    parser.add_argument("--targets", default="imagenet_*", help="glob of names: %(default)s")
    parser.add_argument("--out", type=Path, default=OUT, help="%(default)s")
    options = parser.parse_args()
    pairs = best_pairs(read_manifest(options.data / "manifest.parquet"), options.targets)
    if not pairs:
        parser.error(f"--targets: expected a glob of targets of {options.data}, got none")
    write_manifest(options.out / "manifest.csv", pairs)
    print(options.out / "manifest.csv", f"{len(pairs)} pairs")
    if known := classes(pairs):
        with (options.out / "classes.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("file", "class"), *known.items()])
        print(options.out / "classes.csv", f"{len(known)} classes")


if __name__ == "__main__":
    main()
