"""`python -m benchmarks.two_references`: two references that hold one object each of a target.

The targets are a cat beside a cup of coffee, whose references are the two mirrored photos, and the
left view of a motorcycle, whose references are the two halves of the right view.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import skimage.data
import typer

from spcolor_model import colorize
from spcolor_model.color import rgb_to_lab
from spcolor_model.engine import ENGINES, Colorization
from spcolor_model.sheet import save_each, save_sheet


def problems() -> Iterator[tuple[str, np.ndarray, list[np.ndarray]]]:
    """Yield name, target and two references, all [H, W, 3] uint8."""
    cat, cup = skimage.data.chelsea(), skimage.data.coffee()
    cup = cup[50:350, 60:500]
    yield "cat_and_cup", np.hstack([cat, cup]), [cat[:, ::-1].copy(), cup[:, ::-1].copy()]
    left, right, _ = skimage.data.stereo_motorcycle()
    middle = right.shape[1] // 2
    yield "motorcycle", left, [right[:, :middle], right[:, middle:]]


def error(result: Colorization, truth: np.ndarray) -> float:
    """Return the mean distance in ab between a result and the true colours."""
    ab, true_ab = (rgb_to_lab(rgb)[1] for rgb in (result.rgb, truth))
    return float(np.linalg.norm(ab - true_ab, axis=-1).mean())


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder.")] = (
        Path("out/two_references")
    ),
) -> None:
    """Print the ab error with either reference and with both, and save the sheets."""
    typer.echo("| target | engine | first alone | second alone | both |\n|---|---|---|---|---|")
    for name, target, references in problems():
        for engine in ENGINES:
            alone = [colorize(target, one, engine=engine) for one in references]
            both = colorize(target, references, engine=engine)
            errors = [f"{error(result, target):.2f}" for result in (*alone, both)]
            typer.echo(f"| {name} | {engine} | {' | '.join(errors)} |")
            save_sheet(output / f"{name}_{engine}_sheet.png", both)
            save_each(output / f"{name}_{engine}_each.png", both, alone)


if __name__ == "__main__":
    typer.run(main)
