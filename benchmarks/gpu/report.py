"""Writes CSV, JSON, Markdown and a plot, and returns the lines for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from ..tables import markdown, write_csv
from . import plan, verdict
from .measure import Results, Row
from .plot import plot_times

STEM = "correspondence_gpu"


def write(
    results: Results, described: Mapping[str, object], peaks: Mapping[str, float], folder: Path
) -> list[str]:
    """Save everything in `folder`; return the same tables and the verdict as text."""
    if not results.rows:
        return ["Nothing was timed.", *_failure_lines(results)]
    folder.mkdir(parents=True, exist_ok=True)
    targets = list(verdict.lines(results.rows))
    write_csv([asdict(row) for row in results.rows], described, folder / f"{STEM}.csv")
    whole = {
        "machine": dict(described),
        "peaks": dict(peaks),
        "rows": [asdict(row) for row in results.rows],
        "failures": [asdict(failure) for failure in results.failures],
        "left_out": [f"{job.problem.name}: {job.entrant.name}" for job in results.left_out],
        "targets": [line.strip() for line in targets],
    }
    (folder / f"{STEM}.json").write_text(json.dumps(whole, indent=1) + "\n")
    tables = [*_machine_lines(described, peaks), *_tables(results.rows)]
    (folder / f"{STEM}.md").write_text("\n".join(tables) + "\n")
    return [
        *tables,
        *_failure_lines(results),
        "",
        "Targets:",
        *targets,
        "",
        plot_times(results.rows, folder / f"{STEM}.png"),
        "Saved " + ", ".join(f"{folder}/{STEM}.{kind}" for kind in ("csv", "json", "md")),
    ]


def _machine_lines(described: Mapping[str, object], peaks: Mapping[str, float]) -> list[str]:
    facts = ", ".join(f"{name} {value}" for name, value in described.items())
    rates = ", ".join(f"{name} {rate / 1e12:.1f}" for name, rate in peaks.items())
    return [
        "",
        f"N = M, C = 256, D = 3, temperature 0.01, centred unless it says otherwise. {facts}.",
        "",
        f"Measured here: matrix products in Tflop/s and a copy in TB/s: {rates}.",
        "",
        "Median microseconds; in brackets the 20 and 80 % quantiles and, where it is a forward, "
        "the part of the measured matrix product's rate (2 C flops for each pair of a class).",
    ]


def _tables(rows: list[Row]) -> Iterator[str]:
    for mode in plan.MODES:
        for features in dict.fromkeys(row.features for row in rows):
            chosen = [row for row in rows if (row.mode, row.features) == (mode, features)]
            if chosen:
                note = plan.MODE_NOTES[mode]
                yield from ["", f"**{mode}, {features} features**: {note}", ""]
                yield from _table(chosen, _time_cell)
    for mode in (plan.CALL, plan.TRAIN):
        chosen = [r for r in rows if (r.mode, r.features) == (mode, plan.HEADLINE)]
        if chosen:
            yield from ["", f"**Peak extra memory in MB, {mode}, {plan.HEADLINE} features**", ""]
            yield from _table(chosen, lambda row: f"{row.extra_mb:.1f}")


def _time_cell(row: Row) -> str:
    part = "" if row.peak_fraction is None else f", {row.peak_fraction:.0%}"
    return f"{row.median_us:.1f} ({row.q20_us:.1f}-{row.q80_us:.1f}{part})"


def _table(rows: list[Row], cell) -> list[str]:
    """Return a table of problems against entrants."""
    names = list(dict.fromkeys(row.entrant for row in rows))
    problems: dict[tuple[int, int, int], dict[str, Row]] = {}
    for row in rows:
        problems.setdefault((row.batch, row.length, row.k), {})[row.entrant] = row
    lines = []
    for (batch, length, k), by_name in sorted(problems.items()):
        density = next(iter(by_name.values())).density
        cells = (cell(by_name[name]) if name in by_name else "" for name in names)
        lines.append([str(batch), str(length), str(k), f"{density:.3f}", *cells])
    return markdown(["B", "N", "k", "density", *names], lines)


def _failure_lines(results: Results) -> Iterator[str]:
    if results.failures:
        yield from ["", "Not measured:"]
    for failure in results.failures:
        yield f"  {failure.problem}, {failure.entrant}, {failure.mode}: {failure.reason}"
    if results.left_out:
        yield f"  {len(results.left_out)} combinations were left out for lack of time."
