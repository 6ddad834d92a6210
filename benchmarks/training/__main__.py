"""`python -m benchmarks.training [--quick] [--out FOLDER]`: training steps and WarpNet's forward.

Each is measured with the operator, with the published boolean-mask loop in its place, and with a
gentler loop over rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from .. import machine
from ..machine import Neighbours
from ..peers import WAYS
from ..report import BUSY
from ..tables import write_csv
from . import forward, steps
from .memory import peak_megabytes
from .problems import Problem, full, photos, small

ROUNDS = {"small": 24, "full": 7, "forward": 9}
QUICK_ROUNDS = {"small": 2, "full": 1, "forward": 1}
QUICK_SEGMENTS = (1, 22)

LEGEND = (
    "Ways take turns on the same photos and weights. s/step: median (20-80 % quantiles). Matching "
    "is the operator's or the loop's whole part, layouts or label masks, centring and normalising "
    "included; the boolean-mask loop visits 27 classes, whatever k is. `x`: times that of "
    "spcolor_ops, the median over the rounds. Peak memory is of one run; repeats differ by tens "
    "of MB."
)
FORWARD_TITLE = (
    "WarpNet's forward, 256 channels, 256 x 256, one image, random blocks of classes. The last "
    "column is the paper's Table III, of other hardware and STEGO's classes: compare only trends"
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, no memory: a smoke test")
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"), help="%(default)s")
    options = parser.parse_args()
    folder, rounds = options.out, QUICK_ROUNDS if options.quick else ROUNDS
    print(", ".join(f"{name} {value}" for name, value in machine.describe().items()))
    print(f"\n{LEGEND}")

    manifest = photos(folder).train
    problem = small(folder / "small", manifest)
    neighbours = Neighbours()
    lines = steps.measure(problem, rounds["small"], neighbours)
    _report(_title(problem), lines, steps.table, neighbours, folder / "small_step.csv")

    problem = full(manifest)
    neighbours = Neighbours()
    lines = steps.measure(problem, rounds["full"], neighbours)
    if not options.quick:
        for line in lines:
            line["peak_mb"] = peak_megabytes(WAYS[line["way"]], manifest)
    _report(_title(problem), lines, steps.table, neighbours, folder / "full_step.csv")

    neighbours = Neighbours()
    segments = QUICK_SEGMENTS if options.quick else forward.PAPER_MS
    lines = forward.measure(problem, segments, rounds["forward"], neighbours)
    _report(FORWARD_TITLE, lines, forward.table, neighbours, folder / "warp_net_forward.csv")


def _title(problem: Problem) -> str:
    return f"Training step, {problem.name}, B = {problem.images}"


def _report(
    title: str,
    lines: list[dict[str, object]],
    table: Callable[[list[dict[str, object]]], list[str]],
    neighbours: Neighbours,
    path: Path,
) -> None:
    """Print a table and save its lines, both with what other programs took of the machine."""
    others = neighbours.share()
    remark = ": THE NUMBERS ARE ROUGH." if others >= BUSY else "."
    print(f"\n**{title}**\n", *table(lines), sep="\n")
    print(f"\nOther programs used {others:.0%} of the cores{remark} Saved {path}", flush=True)
    write_csv(lines, machine.describe() | {"other_programs": round(others, 3)}, path)


if __name__ == "__main__":
    main()
