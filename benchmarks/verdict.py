"""The targets of the CPU operator, each beside what was measured (one image, token-major)."""

from __future__ import annotations

from typing import NamedTuple

from .peers import FLEX, LOOP, OPERATOR
from .problem import TOKEN_MAJOR
from .results import Row


class Target(NamedTuple):
    """A limit for one number of one line of the table."""

    text: str
    limit: float
    is_minimum: bool
    unit: str
    backward: bool
    way: str
    k: int
    kind: str  # "ratio", "peak_fraction", "peak_extra_mb" or "of k=1"


def _ratio(way: str, k: int, limit: float, backward: bool = False) -> Target:
    steps = "forward+backward" if backward else "forward"
    return Target(f"{steps}, k={k}: {way}", limit, True, "x", backward, way, k, "ratio")


NAME = OPERATOR.name
TARGETS = (
    Target("forward, k=1: part of FMA peak", 0.75, True, "", False, NAME, 1, "peak_fraction"),
    _ratio(LOOP.name, 1, 5.5),
    _ratio(FLEX.name, 1, 4),
    _ratio(LOOP.name, 22, 20),
    _ratio(FLEX.name, 22, 5),
    Target("forward: time(k=27) / time(k=1)", 0.12, False, "", False, NAME, 27, "of k=1"),
    _ratio(LOOP.name, 1, 4, backward=True),
    _ratio(LOOP.name, 22, 20, backward=True),
    Target("forward, k=1: extra memory", 48, False, " MB", False, NAME, 1, "peak_extra_mb"),
    Target("forward+backward, k=1: extra memory", 48, False, " MB", True, NAME, 1, "peak_extra_mb"),
)


def _find(rows: list[Row], way: str, k: int, backward: bool) -> Row | None:
    for row in rows:
        if (row.layout, row.batch, row.way) == (TOKEN_MAJOR, 1, way) and (
            (row.k, row.backward) == (k, backward)
        ):
            return row
    return None


def _measured(target: Target, rows: list[Row]) -> float | None:
    row = _find(rows, target.way, target.k, target.backward)
    if row is None:
        return None
    if target.kind == "of k=1":
        first = _find(rows, target.way, 1, target.backward)
        return row.median_ms / first.median_ms if first else None
    return getattr(row, target.kind)


def lines(rows: list[Row], *, is_busy: bool) -> list[str]:
    """Return the verdict, one line for each target; none on times where the machine was busy."""
    result = []
    for target in TARGETS:
        value = _measured(target, rows)
        sign = ">=" if target.is_minimum else "<="
        wanted = f"{sign} {target.limit:g}{target.unit}"
        if value is None:
            result.append(f"  --   {target.text}: {wanted}, not measured in this run")
            continue
        met = value >= target.limit if target.is_minimum else value <= target.limit
        shown = f"{value:.3g}{target.unit}"
        mark = "busy" if is_busy and target.kind != "peak_extra_mb" else "met " if met else "MISS"
        result.append(f"  {mark} {target.text}: {wanted}, measured {shown}")
    return result
