"""The course of each loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from .overfit import Record

_COLUMNS = 4


def plot_curves(curves: Mapping[str, Sequence[Record]], path: Path) -> None:
    """Draw a panel for the error and one for each loss; a line for each run that has it."""
    losses = list(dict.fromkeys(name for records in curves.values() for name in records[-1].terms))
    rows = math.ceil((1 + len(losses)) / _COLUMNS)
    size = (3.4 * _COLUMNS, 2.6 * rows)
    figure, panels = plt.subplots(rows, _COLUMNS, figsize=size, layout="constrained")
    first, *others = panels.flat
    for run, records in curves.items():
        first.plot([x.step for x in records], [x.error for x in records], label=run)
    first.set(title="ab error / gray's", ylim=(0, None))
    first.legend()
    for axes, name in zip(others, losses, strict=False):
        for records in curves.values():
            known = [(x.step, x.terms[name]) for x in records if name in x.terms]
            # Also where there is nothing: a run keeps its colour in all panels.
            axes.plot([step for step, _ in known], [value for _, value in known])
        axes.set(title=name)
    for axes in panels.flat:
        axes.set(xlabel="steps") if axes.lines else axes.set_axis_off()
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=150)
    plt.close(figure)
