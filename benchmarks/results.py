"""Collects times and memory, and turns them into rows of a table."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass

from . import machine
from .peers import OPERATOR
from .problem import CHANNELS, Case, Inputs

PEAK = "FMA peak"  # measured like a way, in every round
QUANTILES = (0.2, 0.5, 0.8)


def quantile(samples: list[float], fraction: float) -> float:
    """Return a quantile, interpolated between the samples."""
    ordered = sorted(samples)
    place = fraction * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@dataclass(frozen=True)
class Row:
    """One way in one case."""

    layout: str
    backward: bool
    batch: int
    k: int
    density: float  # sum_c n_c m_c / (N M)
    way: str
    median_ms: float
    q20_ms: float
    q80_ms: float
    samples: int
    ratio: float  # its median over the operator's
    peak_gflops: float  # median of the FMA peak in the rounds of this case
    peak_fraction: float  # sum_c n_c m_c 2 C / time, over that peak: one product per pair
    peak_extra_mb: float | None


class Results:
    """Times of all rounds and peak memory, by case and way."""

    def __init__(self) -> None:
        self.neighbours = machine.Neighbours()
        self._inputs: dict[Case, tuple[int, float]] = {}
        self._times: dict[Case, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._memory: dict[tuple[Case, str], float] = {}

    @property
    def is_empty(self) -> bool:
        return not self._times

    def add_case(self, case: Case, inputs: Inputs) -> None:
        if case not in self._inputs:
            self._inputs[case] = (inputs.pairs, inputs.density)

    def add_times(self, case: Case, way_name: str, seconds: list[float]) -> None:
        self._times[case][way_name] += seconds

    def add_memory(self, case: Case, way_name: str, megabytes: float) -> None:
        self._memory[case, way_name] = megabytes

    def rows(self) -> list[Row]:
        """Return a row for each case and way that has been timed beside the operator."""
        return [
            self._row(case, way_name, times)
            for case, times in self._times.items()
            if OPERATOR.name in times and PEAK in times
            for way_name in times
            if way_name != PEAK
        ]

    def _row(self, case: Case, way: str, times: dict[str, list[float]]) -> Row:
        pairs, density = self._inputs[case]
        low, median, high = (quantile(times[way], q) for q in QUANTILES)
        peak = machine.peak_flops() / statistics.median(times[PEAK])
        return Row(
            layout=case.layout,
            backward=case.backward,
            batch=case.batch,
            k=case.num_segments,
            density=density,
            way=way,
            median_ms=1e3 * median,
            q20_ms=1e3 * low,
            q80_ms=1e3 * high,
            samples=len(times[way]),
            ratio=median / statistics.median(times[OPERATOR.name]),
            peak_gflops=peak / 1e9,
            peak_fraction=pairs * 2 * CHANNELS / median / peak,
            peak_extra_mb=self._memory.get((case, way)),
        )
