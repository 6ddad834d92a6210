"""Writes CSV, Markdown tables and a plot, and returns the lines for the terminal."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from . import machine, verdict
from .peers import OPERATOR, WAYS
from .plot import plot_times
from .problem import TOKEN_MAJOR
from .results import Results, Row
from .tables import markdown, write_csv

BUSY = 0.05  # part of all cores used by other programs from which times are not to be trusted


def write(results: Results, folder: Path) -> list[str]:
    """Save everything in `folder`; return the same tables and the verdict as text."""
    rows, others = results.rows(), results.neighbours.share()
    if not rows:
        return ["Nothing was timed beside the operator."]
    lines = [dataclasses.asdict(row) | {"others_share": others} for row in rows]
    write_csv(lines, machine.describe(), folder / "correspondence.csv")
    plot_times(rows, folder / "correspondence.png")
    tables = [
        *_machine_lines(rows, others),
        *_time_tables(rows),
        *_memory_tables(rows),
    ]
    (folder / "correspondence.md").write_text("\n".join(tables) + "\n")
    saved = ", ".join(f"{folder}/correspondence.{kind}" for kind in ("csv", "md", "png"))
    heading = (
        "Targets:" if others < BUSY else "Targets (the machine was busy: no verdict on times):"
    )
    return [
        *tables,
        "",
        heading,
        *verdict.lines(rows, is_busy=others >= BUSY),
        "",
        f"Saved {saved}",
    ]


def _machine_lines(rows: list[Row], others: float) -> list[str]:
    facts = ", ".join(f"{name} {value}" for name, value in machine.describe().items())
    peak = statistics.median(row.peak_gflops for row in rows)
    return [
        "",
        f"N = M = 4096, C = 256, D = 3, float32, temperature 0.01, centred. {facts}. "
        f"FMA peak, measured between the others: {peak:.0f} GF/s. "
        f"Other programs used {others:.0%} of the cores"
        + ("." if others < BUSY else ": THE NUMBERS ARE ROUGH."),
        "",
        "Median ms; in brackets the operator's 20 and 80 % quantiles, for the others how many "
        f"times {OPERATOR.name}'s time it is. SDPA and FlexAttention give no row maximum. "
        "`of peak` counts one product q.k per pair of a class, sum n_c m_c 2C, in both passes.",
    ]


def _sections(rows: list[Row]) -> Iterable[tuple[str, list[list[Row]]]]:
    """Yield (title, cases) of each layout and pass; a case is the rows of its ways."""

    def section(row: Row):
        return row.layout != TOKEN_MAJOR, row.backward

    for _, group in groupby(sorted(rows, key=section), section):
        members = sorted(group, key=lambda row: (row.batch, row.k))  # stable: ways keep their order
        cases = [list(case) for _, case in groupby(members, lambda row: (row.batch, row.k))]
        steps = "forward and backward" if members[0].backward else "forward"
        yield f"{steps}, {members[0].layout} inputs", cases


def _time_tables(rows: list[Row]) -> Iterable[str]:
    for title, cases in _sections(rows):
        names = _way_names(cases)
        header = ["B", "k", "density", names[0], "of peak", *names[1:]]
        yield from ["", f"**Time, {title}**", ""]
        yield from markdown(header, [_time_line(case, names) for case in cases])


def _time_line(case: list[Row], names: list[str]) -> list[str]:
    by_name = {row.way: row for row in case}
    own = by_name[OPERATOR.name]
    line = [str(own.batch), str(own.k), f"{own.density:.3f}"]
    line += [f"{own.median_ms:.1f} ({own.q20_ms:.1f}-{own.q80_ms:.1f})", f"{own.peak_fraction:.0%}"]
    peers = [by_name.get(name) for name in names[1:]]
    return line + [f"{row.median_ms:.1f} ({row.ratio:.1f}x)" if row else "" for row in peers]


def _memory_tables(rows: list[Row]) -> Iterable[str]:
    measured = [row for row in rows if row.peak_extra_mb is not None]
    for title, cases in _sections(measured):
        names = _way_names(cases)
        lines = []
        for case in cases:
            by_name = {row.way: f"{row.peak_extra_mb:.1f}" for row in case}
            lines.append(
                [str(case[0].batch), str(case[0].k), *(by_name.get(name, "") for name in names)]
            )
        yield from ["", f"**Peak extra memory in MB, {title}**", ""]
        yield from markdown(["B", "k", *names], lines)


def _way_names(cases: list[list[Row]]) -> list[str]:
    present = {row.way for case in cases for row in case}
    return [name for name in WAYS if name in present]
