"""Verify, then time: the operator beside the ways people use today.

One test item is one turn of one way in one round, so that the ways of a case alternate and noise
of the machine hits all alike. conftest.py joins the rounds and reports. Run by
`python -m benchmarks`.
"""

from __future__ import annotations

import functools
import time

import pytest
import torch
from torch import Tensor

from . import machine, memory, plan
from .peers import LOOP, OPERATOR, WAYS
from .problem import Case, Inputs, Way, forward, forward_backward, make_inputs, step
from .results import PEAK

TURN_SECONDS = 0.15  # a fast way is timed several times in its turn
MAX_TIMES = 5

WARPED_TOLERANCE = 2e-3  # float32 logits of up to 100 leave 1e-4 of the weights
SIMILARITY_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 2e-3  # of the largest row


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    quick = metafunc.config.getoption("quick")
    all_cases = plan.cases(quick=quick)
    if "way_name" in metafunc.fixturenames:
        turns = [
            (case, turn, name)
            for case in all_cases
            for turn in range(plan.rounds(case, quick=quick))
            for name in (PEAK, *(way.name for way in plan.ways(case)))
        ]
        ids = [f"{case.short_name}-{name}-{turn}" for case, turn, name in turns]
        metafunc.parametrize("case,turn,way_name", turns, ids=ids)
    else:
        memory_ways = (OPERATOR, LOOP) if quick else WAYS.values()
        metafunc.parametrize("memory_run", memory.runs(all_cases, memory_ways))


@functools.lru_cache(maxsize=1)
def inputs_of(case: Case) -> Inputs:
    return make_inputs(case)


@functools.lru_cache(maxsize=1)
def expected_gradients(case: Case, use_maximum: bool) -> tuple[Tensor, Tensor]:
    return forward_backward(OPERATOR, inputs_of(case), use_maximum=use_maximum)


def verify(case: Case, way: Way) -> None:
    """Compare a way with the operator on the very inputs that are timed."""
    inputs = inputs_of(case)
    if case.backward:
        expected = expected_gradients(case, way.has_maximum)
        for actual, wanted in zip(forward_backward(way, inputs), expected, strict=True):
            error = (actual - wanted).norm(dim=2) / wanted.norm(dim=2).max()
            # Where two keys are equal up to rounding, the maximum may belong to either.
            assert (error > GRADIENT_TOLERANCE).float().mean() < 1e-3, (way.name, error.max())
        return
    actual, wanted = forward(way, inputs), forward(OPERATOR, inputs)
    torch.testing.assert_close(actual.warped, wanted.warped, rtol=0, atol=WARPED_TOLERANCE)
    assert way.has_maximum == (actual.similarity is not None)
    if way.has_maximum:
        torch.testing.assert_close(
            actual.similarity, wanted.similarity, rtol=0, atol=SIMILARITY_TOLERANCE
        )


@functools.lru_cache(maxsize=16)
def verified_step(case: Case, way_name: str):
    """Return the call to time and how many times a turn holds it; verify first, once."""
    if way_name == PEAK:
        return machine.run_peak, MAX_TIMES
    way = WAYS[way_name]
    if way is not OPERATOR:
        verify(case, way)
    call = step(case, way, inputs_of(case))
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    return call, max(1, min(MAX_TIMES, int(TURN_SECONDS / seconds)))


def test_time(benchmark, results, case: Case, turn: int, way_name: str) -> None:
    call, times = verified_step(case, way_name)
    benchmark.group = case.name
    # A first call after another way's turn finds cold caches; a slow way fills them by itself.
    with results.neighbours:
        benchmark.pedantic(call, rounds=times, warmup_rounds=int(times > 1))
    results.add_case(case, inputs_of(case))
    results.add_times(case, way_name, benchmark.stats.stats.data)


def test_memory(results, memory_run: memory.Run) -> None:
    for case, megabytes in memory.measure(memory_run):
        results.add_memory(case, memory_run.way_name, megabytes)
