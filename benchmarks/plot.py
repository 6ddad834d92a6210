"""Plot of time against k."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from .peers import OPERATOR, WAYS
from .problem import TOKEN_MAJOR
from .results import Row


def plot_times(rows: list[Row], path: Path) -> None:
    """Draw one panel for each pass: one image, token-major inputs, all ways."""
    figure, panels = plt.subplots(1, 2, figsize=(12, 4.6), sharey=True, layout="constrained")
    for backward, axes in zip((False, True), panels, strict=True):
        chosen = [
            row
            for row in rows
            if row.backward == backward and row.batch == 1 and row.layout == TOKEN_MAJOR
        ]
        for name in WAYS:
            _plot_way(axes, sorted((r for r in chosen if r.way == name), key=lambda r: r.k))
        axes.set(
            title="forward and backward" if backward else "forward",
            xlabel="classes k",
            yscale="log",
        )
        axes.set_xticks(sorted({row.k for row in chosen}))
        axes.grid(which="both", alpha=0.25)
    panels[0].set_ylabel("ms (median; band: 20 to 80 %)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    figure.suptitle("Per-class correspondence, N = M = 4096, C = 256, D = 3, float32, one image")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _plot_way(axes, rows: list[Row]) -> None:
    if not rows:
        return
    k = [row.k for row in rows]
    width = 2.5 if rows[0].way == OPERATOR.name else 1.2
    (line,) = axes.plot(
        k, [row.median_ms for row in rows], marker="o", ms=4, lw=width, label=rows[0].way
    )
    low, high = [row.q20_ms for row in rows], [row.q80_ms for row in rows]
    axes.fill_between(k, low, high, color=line.get_color(), alpha=0.2, lw=0)
