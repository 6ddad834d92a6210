"""What is measured, the most important first: what the time does not suffice for is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..peers import DENSE, LOOP, SDPA, SORTED
from .entrants import COMPILED, PEERS, Entrant, operator
from .problem import Problem

SEGMENTS = (1, 2, 5, 10, 15, 22, 27)
LENGTHS = (1024, 4096, 16384)
BATCHES = (1, 8, 32)

KERNEL = "forward kernel"  # alone
CALL = "forward"
GRAPH = "forward in a graph"
COLD = "forward in a graph, cold"
TRAIN = "forward+backward"
MODES = (KERNEL, CALL, GRAPH, COLD, TRAIN)

MODE_NOTES = {
    KERNEL: "the correspondence kernel by itself, L2 warm",
    CALL: "one whole call on an idle GPU, launches included, L2 warm",
    GRAPH: "the whole call replayed as a CUDA graph, one replay after another, L2 warm",
    COLD: "one replay after the L2 cache was overwritten",
    TRAIN: "forward and the gradients of query and key on an idle GPU, L2 warm",
}

HEADLINE = "fp16"
PRECISIONS = {  # of the operator -> type of the features
    "bf16": "bf16",
    "tf32": "fp32",
    "tf32x3": "fp32",
    "ieee": "fp32",
}

_LOOPS = (LOOP.name, SORTED.name)
_DENSE = (DENSE.name, SDPA.name)
_DENSE_ELEMENTS = 2**29  # of a [B, N, M] tensor: what dense peers get room for
_SECONDS = 8.0  # kept free for one job
_COMPILE_SECONDS = 120.0


class Job(NamedTuple):
    """One entrant and one problem."""

    problem: Problem
    entrant: Entrant
    modes: tuple[str, ...] = MODES
    seconds: float = _SECONDS  # begun only while so much time is left


def jobs(backends: Sequence[str], *, quick: bool = False) -> list[Job]:
    """Return all jobs in the order they are measured, each once; `quick`: the targets alone."""
    wanted = list(_targets(backends))
    if not quick:
        wanted += [*_curves(backends), *_precisions(backends), *_sizes(backends), *_last()]
    unique: dict[tuple[Problem, str], Job] = {}
    for job in wanted:
        unique.setdefault((job.problem, job.entrant.name), job)
    return list(unique.values())


def _of_operator(problem: Problem, backends: Sequence[str], precision: str) -> Iterator[Job]:
    for backend in backends:
        yield Job(problem, operator(backend, precision))


def _of_peers(problem: Problem, names: Sequence[str] | None = None) -> Iterator[Job]:
    """Yield the named peers, or all, but for dense ones that would fill the memory."""
    is_huge = problem.batch * problem.length**2 > _DENSE_ELEMENTS
    for peer in PEERS:
        if (names is None or peer.name in names) and not (is_huge and peer.name in _DENSE):
            yield Job(problem, peer, (CALL, TRAIN) if peer.way.has_backward else (CALL,))


def _targets(backends: Sequence[str]) -> Iterator[Job]:
    for batch, k in ((8, 1), (8, 22), (8, 27), (32, 1), (32, 27)):
        problem = Problem(batch, 4096, k)
        yield from _of_operator(problem, backends, HEADLINE)
        if batch == 8:
            yield from _of_peers(problem, None if k != 27 else _LOOPS)


def _curves(backends: Sequence[str]) -> Iterator[Job]:
    """Time against k."""
    for batch in (8, 1, 32):
        for k in SEGMENTS:
            problem = Problem(batch, 4096, k)
            yield from _of_operator(problem, backends, HEADLINE)
            if batch < 32:
                yield from _of_peers(problem, None if k in (1, 22) else _LOOPS)


def _precisions(backends: Sequence[str]) -> Iterator[Job]:
    for k in (1, 22):
        for precision, features in PRECISIONS.items():
            yield from _of_operator(Problem(8, 4096, k, features), backends, precision)
        for backend in backends:  # 16-bit features as they are have exact products
            yield Job(Problem(8, 4096, k), operator(backend, "ieee", center=False))


def _sizes(backends: Sequence[str]) -> Iterator[Job]:
    for length in LENGTHS:
        for batch in BATCHES:
            for k in (1, 5, 22):
                problem = Problem(batch, length, k)
                yield from _of_operator(problem, backends, HEADLINE)
                if batch == 1 and k == 22:
                    yield from _of_peers(problem, _LOOPS)


def _last() -> Iterator[Job]:
    """What takes minutes to compile, and the same time for every k."""
    yield Job(Problem(8, 4096, 22), COMPILED, (CALL,), _COMPILE_SECONDS)
