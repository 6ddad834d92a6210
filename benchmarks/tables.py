"""Tables: Markdown for people, CSV for programs."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path


def markdown(header: list[str], lines: list[list[str]]) -> list[str]:
    """Return a Markdown table with aligned columns, numbers to the right."""
    widths = [max(2, *map(len, column)) for column in zip(header, *lines, strict=True)]
    rule = ["-" * (width - 1) + ":" for width in widths]
    return [
        "| " + " | ".join(c.rjust(w) for c, w in zip(cells, widths, strict=True)) + " |"
        for cells in (header, rule, *lines)
    ]


def write_csv(lines: list[dict[str, object]], described: Mapping[str, object], path: Path) -> None:
    """Write lines of the same columns, each with the machine it was measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*lines[0], *described])
        writer.writeheader()
        writer.writerows(line | dict(described) for line in lines)
