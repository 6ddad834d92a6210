"""`python -m benchmarks.training.overfit [--out FOLDER]`: does training fit four photos?

Each photo's reference is the photo itself, mirrored and cropped a little, so the truth is known and
L1 alone has to lead to it: until the ab error is at most 20 % of that of leaving everything gray.
Then the same from the start with every loss on; printed and drawn is the course of each.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from torch.utils.data import default_collate

from spcolor_model.data import Sample, read_manifest
from spcolor_model.data.manifest import Pair, write_manifest
from spcolor_model.training.classes import batch_classes
from spcolor_model.training.step import Pass, luminance_noise
from spcolor_model.training.trainer import Trainer
from spcolor_model.training.validation import validate

from .. import machine
from ..machine import Neighbours
from ..tables import markdown, write_csv
from .plot import plot_curves
from .problems import photos, trainer

PHOTOS = ("chelsea_left", "china_left", "coffee_left", "rocket_left")
TARGET = 0.2  # of the error of gray
STRIDE = 10  # steps between two measurements of the error
MAX_STEPS = 600
ALL_STEPS = 200
TABLE_LINES = 11

COMMON = (f"batch_size={len(PHOTOS)}", "data.self_reference_probability=1")
L1_ALONE = tuple(
    f"loss.weights.{name}=0" for name in ("perceptual", "adversarial", "smoothness", "warp")
)
# The preset leaves out the contextual loss, as the paper does; this is the published code's weight.
ALL_LOSSES = ("loss.weights.contextual=0.2",)


class Record(NamedTuple):
    """The state after some steps.

    Attributes:
        step: number of updates so far.
        error: mean ab error over that of gray, of the photos without noise.
        terms: losses of the update before, unweighted; none at step 0.
    """

    step: int
    error: float
    terms: dict[str, float]


def train(run: Trainer, max_steps: int, stride: int = STRIDE) -> Iterator[Record]:
    """Update with the same photos again and again; yield a record after every `stride` steps."""
    config = run.config
    batch = Sample(*default_collate([run.pairs[index] for index in range(len(run.pairs))]))
    classes = batch_classes(run.prior, batch, config.prior)
    yield Record(0, _error(run), {})
    for step in range(1, max_steps + 1):
        shape = batch.luminance.shape
        noise = luminance_noise(shape, config.luminance_noise, config.seed, step, 0)
        terms, _ = run.update([Pass(batch, noise, *classes)])
        if step % stride == 0:
            yield Record(step, _error(run), {name: term.item() for name, term in terms.items()})


def until(records: Iterator[Record], target: float) -> list[Record]:
    """Return records up to the first whose error is at most the target."""
    found = []
    for record in records:
        found.append(record)
        if record.error <= target:
            break
    return found


def table(records: Sequence[Record]) -> list[str]:
    """Return the Markdown table of records spread evenly over the run, the last among them."""
    last = len(records) - 1
    lines = min(TABLE_LINES, len(records))
    chosen = [records[round(i * last / max(lines - 1, 1))] for i in range(lines)]
    names = list(records[-1].terms)
    cells = [
        [
            str(x.step),
            f"{x.error:.3f}",
            *(f"{x.terms[n]:.3g}" if n in x.terms else "" for n in names),
        ]
        for x in chosen
    ]
    return markdown(["step", "ab error / gray's", *names], cells)


def four_photos(folder: Path) -> Path:
    """Write the manifest of PHOTOS, without references: each is its own."""
    by_name = {pair.target.stem: pair.target for pair in read_manifest(photos(folder).train)}
    path = folder / "photos" / "overfit.csv"
    write_manifest(path, [Pair(by_name[name]) for name in PHOTOS])
    return path


def _error(run: Trainer) -> float:
    found = validate(run.model, run.prior, run.pairs, run.config.prior, run.process)
    return found["ab_error"] / found["gray_ab_error"]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training.overfit", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"), help="%(default)s")
    folder = parser.parse_args().out
    print(", ".join(f"{name} {value}" for name, value in machine.describe().items()))
    manifest = four_photos(folder)
    curves = {}
    for name, options, target, max_steps in (
        ("L1 alone", L1_ALONE, TARGET, MAX_STEPS),
        ("all losses", ALL_LOSSES, 0.0, ALL_STEPS),
    ):
        neighbours, start = Neighbours(), time.monotonic()
        with neighbours:
            run = trainer(folder / "overfit", manifest, [*COMMON, *options])
            records = until(train(run, max_steps), target)
        seconds, others = time.monotonic() - start, neighbours.share()
        print(f"\n**{name}**: {seconds:.0f} s, other programs used {others:.0%} of the cores\n")
        print(*table(records), sep="\n", flush=True)
        curves[name] = records
    last = curves["L1 alone"][-1]
    verdict = "met" if last.error <= TARGET else "MISS"
    print(f"\n{verdict} L1 alone: error <= {TARGET:.0%} of gray's, got {last.error:.1%}")
    _save(curves, folder)


def _save(curves: dict[str, list[Record]], folder: Path) -> None:
    """Write all records and draw them."""
    names = dict.fromkeys(name for records in curves.values() for name in records[-1].terms)
    lines = [
        {"run": run, "step": x.step, "error": x.error, **{n: x.terms.get(n, "") for n in names}}
        for run, records in curves.items()
        for x in records
    ]
    write_csv(lines, machine.describe(), folder / "overfit.csv")
    plot_curves(curves, folder / "overfit.png")
    print(f"Saved {folder}/overfit.csv, {folder}/overfit.png")


if __name__ == "__main__":
    main()
