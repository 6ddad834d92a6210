"""Times of calls on one GPU, by events of its stream, and of one kernel, by the profiler."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

Call = Callable[[], object]

SECONDS = 0.08  # of measuring one thing
LEAST, MOST = 10, 200  # samples of it
REPLAYS_SECONDS = 0.002  # one sample of a graph that is replayed again and again
WARMUPS = 3
FLUSHED_BYTES = 256 * 2**20  # more than any L2 cache holds


class Clock:
    """All times in seconds, one for each sample."""

    def __init__(self) -> None:
        self._flushed = torch.empty(FLUSHED_BYTES, dtype=torch.int8, device="cuda")

    def call(self, call: Call) -> list[float]:
        """Time single calls on an idle GPU, launches included."""
        for _ in range(WARMUPS):
            call()
        return self._samples(call, idle=True)

    def graph(self, call: Call, *, cold: bool) -> list[float]:
        """Time replays of a call: one after another, or each after L2 was overwritten."""
        graph = capture(call)
        graph.replay()
        if cold:
            return self._samples(graph.replay, before=self._flushed.zero_)
        seconds = min(self._samples(graph.replay, least=LEAST, most=LEAST))
        times = max(1, int(REPLAYS_SECONDS / seconds))

        def replays() -> None:
            for _ in range(times):
                graph.replay()

        return [sample / times for sample in self._samples(replays)]

    def kernel(self, call: Call, pattern: re.Pattern[str]) -> tuple[str, list[float]]:
        """Return the name and times of the kernel of a call whose name matches `pattern`."""
        call()
        samples = self._count(min(self._samples(call, least=3, most=3)), LEAST, MOST)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for _ in range(samples):
                call()
            torch.cuda.synchronize()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            profile.export_chrome_trace(str(path))
            return matching_kernel(json.loads(path.read_text()), pattern)

    def extra_memory(self, call: Call) -> int:
        """Return by how many bytes the allocated memory rises during a call, outputs included."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    def _samples(
        self,
        call: Call,
        *,
        before: Call = lambda: None,
        idle: bool = False,
        least: int = LEAST,
        most: int = MOST,
    ) -> list[float]:
        """Time calls for about SECONDS, after `before`, which is not timed."""
        events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        count = least
        while len(events) < count:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before()
            if idle:
                torch.cuda.synchronize()
            start.record()
            call()
            end.record()
            events.append((start, end))
            if len(events) == min(3, least):
                end.synchronize()
                count = self._count(_seconds(*events[-1]), least, most)
        torch.cuda.synchronize()
        return [_seconds(*pair) for pair in events]

    @staticmethod
    def _count(seconds: float, least: int, most: int) -> int:
        return max(least, min(most, int(SECONDS / seconds)))


def _seconds(start: torch.cuda.Event, end: torch.cuda.Event) -> float:
    return start.elapsed_time(end) / 1e3


def capture(call: Call) -> torch.cuda.CUDAGraph:
    """Return the CUDA graph of a call, after calls on a stream of their own, as PyTorch asks."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMUPS):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph


def matching_kernel(trace: dict, pattern: re.Pattern[str]) -> tuple[str, list[float]]:
    """Return the kernel of a profiler's trace that matches and takes most of the time."""
    times: dict[str, list[float]] = {}
    for event in trace["traceEvents"]:
        if event.get("cat") == "kernel" and pattern.search(event["name"]):
            times.setdefault(event["name"], []).append(event["dur"] / 1e6)
    if not times:
        raise LookupError(f"the profiler saw no kernel of a name like {pattern.pattern!r}")
    return max(times.items(), key=lambda item: sum(item[1]))
