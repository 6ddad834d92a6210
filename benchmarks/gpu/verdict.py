"""The targets of the GPU backends, each beside what was measured (N = M = 4096, fp16 features)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ..peers import LOOP
from . import plan
from .entrants import BACKENDS, operator
from .measure import Row

LENGTH = 4096
HOPPER = "hopper"  # part of the name of the kernel that uses wgmma


class _Table:
    """Rows by what the targets ask for."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = {
            (row.entrant, row.mode, row.batch, row.k): row
            for row in rows
            if row.length == LENGTH and row.features == plan.HEADLINE
        }

    def own(self, backend: str, mode: str, batch: int, k: int) -> Row | None:
        return self._rows.get((operator(backend, plan.HEADLINE).name, mode, batch, k))

    def loop(self, mode: str, batch: int, k: int) -> Row | None:
        return self._rows.get((LOOP.name, mode, batch, k))


Measure = Callable[[_Table, str], "float | None"]  # of the table and a backend


class Target(NamedTuple):
    """A limit for one number of each backend; `measure` finds it, if it is there."""

    text: str
    limit: float
    is_minimum: bool
    unit: str
    measure: Measure
    backends: tuple[str, ...]


def _ratio(above: Row | None, below: Row | None) -> float | None:
    return above.median_us / below.median_us if above and below else None


def _call_fraction(table: _Table, backend: str) -> float | None:
    row = table.own(backend, plan.CALL, 8, 1)
    return row.peak_fraction if row else None


def _kernel_fraction(*, wgmma: bool) -> Measure:
    def measure(table: _Table, backend: str) -> float | None:
        row = table.own(backend, plan.KERNEL, 8, 1)
        return row.peak_fraction if row and (HOPPER in row.kernel) == wgmma else None

    return measure


def _microseconds(table: _Table, backend: str) -> float | None:
    row = table.own(backend, plan.GRAPH, 8, 22)
    return row.median_us if row else None


def _against_loop(mode: str, loop_mode: str) -> Measure:
    return lambda table, backend: _ratio(
        table.loop(loop_mode, 8, 22), table.own(backend, mode, 8, 22)
    )


def _of_one_class(batch: int) -> Measure:
    return lambda table, backend: _ratio(
        *(table.own(backend, plan.GRAPH, batch, k) for k in (27, 1))
    )


def _at_least(limit: float, unit: str, text: str, measure: Measure, *backends: str) -> Target:
    return Target(text, limit, True, unit, measure, backends or BACKENDS)


def _at_most(limit: float, unit: str, text: str, measure: Measure) -> Target:
    return Target(text, limit, False, unit, measure, BACKENDS)


TARGETS = (
    _at_least(0.5, " of peak", "forward kernel, B=8, k=1", _kernel_fraction(wgmma=False)),
    _at_least(
        0.65,
        " of peak",
        "forward kernel with wgmma, B=8, k=1",
        _kernel_fraction(wgmma=True),
        "cuda",
    ),
    _at_least(0.45, " of peak", "whole call, B=8, k=1", _call_fraction),
    _at_most(60, " us", "whole call in a graph, B=8, k=22", _microseconds),
    _at_least(
        50, "x", "loop / whole call in a graph, B=8, k=22", _against_loop(plan.GRAPH, plan.CALL)
    ),
    _at_most(0.5, "", "time(k=27) / time(k=1) in a graph, B=8", _of_one_class(8)),
    _at_most(0.2, "", "time(k=27) / time(k=1) in a graph, B=32", _of_one_class(32)),
    _at_least(
        15,
        "x",
        "forward+backward: loop / operator, B=8, k=22",
        _against_loop(plan.TRAIN, plan.TRAIN),
    ),
)


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the verdict, one line for each target and backend."""
    table = _Table(rows)
    for target in TARGETS:
        for backend in target.backends:
            value = target.measure(table, backend)
            sign = ">=" if target.is_minimum else "<="
            wanted = f"{backend}: {target.text}: {sign} {target.limit:g}{target.unit}"
            if value is None:
                yield f"  --   {wanted}, not measured in this run"
                continue
            met = value >= target.limit if target.is_minimum else value <= target.limit
            yield f"  {'met ' if met else 'MISS'} {wanted}, measured {value:.3g}{target.unit}"
