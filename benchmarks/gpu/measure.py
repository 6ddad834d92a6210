"""Verifies and times one job after another, and collects rows and failures."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import torch

from ..problem import CHANNELS, Inputs, forward, forward_backward
from ..results import QUANTILES, quantile
from . import plan
from .device import matrix_peak
from .entrants import FLEX_MASK, Entrant
from .plan import Job
from .problem import Problem, make_inputs
from .verify import Expected, verify

# Of triton, and of cuda's two paths.
FORWARD_KERNEL = re.compile(r"correspondence_kernel|forward_kernel|hopper")


class Clock(Protocol):
    """What `clock.Clock` measures on a GPU."""

    def call(self, call: Callable[[], object]) -> list[float]: ...

    def graph(self, call: Callable[[], object], *, cold: bool) -> list[float]: ...

    def kernel(
        self, call: Callable[[], object], pattern: re.Pattern[str]
    ) -> tuple[str, list[float]]: ...

    def extra_memory(self, call: Callable[[], object]) -> int: ...


@dataclass(frozen=True)
class Row:
    """One entrant, problem and mode."""

    batch: int
    length: int
    k: int
    features: str
    density: float  # sum_c n_c m_c / (N M)
    entrant: str
    backend: str
    precision: str
    mode: str
    median_us: float
    q20_us: float
    q80_us: float
    samples: int
    tflops: float | None  # sum_c n_c m_c 2 C / time; of the forward alone
    peak_fraction: float | None  # of the measured matrix product in that precision
    extra_mb: float | None  # peak of the call beyond its inputs
    kernel: str = ""  # name of the kernel that was timed alone


@dataclass(frozen=True)
class Failure:
    """What could not be measured, and why."""

    problem: str
    entrant: str
    mode: str
    reason: str
    is_ours: bool


@dataclass
class Results:
    """Everything that a run found."""

    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left_out: list[Job] = field(default_factory=list)


class _Prepared:
    """A problem's inputs and expected results; jobs of one problem follow one another."""

    def __init__(self, problem: Problem, device: torch.device) -> None:
        self.problem = problem
        self.inputs = make_inputs(problem, device)
        self.expected = Expected(self.inputs)
        self.pairs, self.density = self.inputs.pairs, self.inputs.density


def run(
    jobs: Iterable[Job],
    clock: Clock,
    device: torch.device,
    peaks: dict[str, float],
    *,
    deadline: float,
    now: Callable[[], float] = time.monotonic,
    progress: Callable[[str], None] = print,
) -> Results:
    """Do the jobs that the time until `deadline` suffices for."""
    results = Results()
    prepared: _Prepared | None = None
    for job in jobs:
        if deadline - now() < job.seconds:
            results.left_out.append(job)
            continue
        if prepared is None or prepared.problem != job.problem:
            progress(f"{deadline - now():4.0f} s left: {job.problem.name}")
            prepared = None  # free its memory first
            prepared = _Prepared(job.problem, device)
        _do(job, prepared, clock, peaks, results)
    return results


def _do(
    job: Job, prepared: _Prepared, clock: Clock, peaks: dict[str, float], results: Results
) -> None:
    entrant, features = job.entrant, job.problem.features

    def failed(mode: str, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        results.failures.append(
            Failure(job.problem.name, entrant.name, mode, reason, bool(entrant.backend))
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    if entrant is not FLEX_MASK:  # a mask is no result
        try:
            backward = plan.TRAIN in job.modes
            verify(entrant, prepared.inputs, features, prepared.expected, backward=backward)
        except Exception as error:
            failed("verify", error)
            return
    for mode in job.modes:
        try:
            results.rows.append(_measure(mode, job, prepared, clock, peaks))
        except Exception as error:
            failed(mode, error)


def _measure(
    mode: str, job: Job, prepared: _Prepared, clock: Clock, peaks: dict[str, float]
) -> Row:
    entrant, problem = job.entrant, job.problem
    call = _call(mode, entrant, prepared.inputs)
    kernel = ""
    match mode:
        case plan.KERNEL:
            kernel, times = clock.kernel(call, FORWARD_KERNEL)
        case plan.GRAPH | plan.COLD:
            times = clock.graph(call, cold=mode == plan.COLD)
        case _:
            times = clock.call(call)
    low, median, high = (quantile(times, fraction) for fraction in QUANTILES)
    has_product = mode != plan.TRAIN and entrant is not FLEX_MASK
    rate = prepared.pairs * 2 * CHANNELS / median if has_product else None
    whole = mode in (plan.CALL, plan.TRAIN)
    return Row(
        batch=problem.batch,
        length=problem.length,
        k=problem.num_segments,
        features=problem.features,
        density=prepared.density,
        entrant=entrant.name,
        backend=entrant.backend,
        precision=entrant.precision,
        mode=mode,
        median_us=1e6 * median,
        q20_us=1e6 * low,
        q80_us=1e6 * high,
        samples=len(times),
        tflops=rate / 1e12 if rate else None,
        peak_fraction=rate / matrix_peak(peaks, entrant, problem.features) if rate else None,
        extra_mb=clock.extra_memory(call) / 1e6 if whole else None,
        kernel=kernel,
    )


def _call(mode: str, entrant: Entrant, inputs: Inputs) -> Callable[[], object]:
    if entrant is FLEX_MASK:
        return lambda: entrant.way.run(inputs)
    run = forward_backward if mode == plan.TRAIN else forward
    return lambda: run(entrant.way, inputs)
