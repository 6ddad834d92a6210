"""Plot of time against k."""

from __future__ import annotations

from pathlib import Path

from . import plan
from .measure import Row

LENGTH = 4096


def plot_times(rows: list[Row], path: Path) -> str:
    """Draw one panel for each B, with fp16 features; return what to tell about it."""
    try:
        import matplotlib as mpl
    except ImportError:
        return "No plot: matplotlib is not installed."
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    chosen = [
        row
        for row in rows
        if row.length == LENGTH
        and row.features == plan.HEADLINE
        and row.mode == (plan.GRAPH if row.backend else plan.CALL)
    ]
    batches = sorted({row.batch for row in chosen})
    if not batches:
        return "No plot: nothing was timed that it shows."
    figure, panels = plt.subplots(
        1, len(batches), figsize=(5 * len(batches), 4.6), squeeze=False, layout="constrained"
    )
    for batch, axes in zip(batches, panels[0], strict=True):
        for name in dict.fromkeys(row.entrant for row in chosen):
            line = [row for row in chosen if (row.entrant, row.batch) == (name, batch)]
            _plot_line(axes, sorted(line, key=lambda row: row.k))
        axes.set(title=f"B = {batch}", xlabel="classes k", yscale="log")
        axes.set_xticks(sorted({row.k for row in chosen}))
        axes.grid(which="both", alpha=0.25)
        axes.legend(fontsize=7)
    panels[0][0].set_ylabel("microseconds (median; band: 20 to 80 %)")
    figure.suptitle(
        f"Forward, N = M = {LENGTH}, C = 256, D = 3, fp16; the operator as a CUDA graph"
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return f"Plot: {path}"


def _plot_line(axes, rows: list[Row]) -> None:
    if not rows:
        return
    k = [row.k for row in rows]
    (line,) = axes.plot(
        k,
        [row.median_us for row in rows],
        marker="o",
        ms=4,
        lw=2.5 if rows[0].backend else 1.2,
        label=rows[0].entrant,
    )
    low, high = [row.q20_us for row in rows], [row.q80_us for row in rows]
    axes.fill_between(k, low, high, color=line.get_color(), alpha=0.2, lw=0)
