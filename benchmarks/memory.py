"""Peak extra memory of one call, measured in a process of its own.

Linux keeps the highest resident size of a process and lets it be reset. Inputs are made and a small
call is done before the reset, so that neither they nor one-off costs (libraries, thread pools,
compiled code) count. The outputs do count.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .machine import ROOT
from .peers import WAYS
from .plan import FEW_SEGMENTS, ways
from .problem import TOKEN_MAJOR, Case, Way, make_inputs, step

SMALL_SIDE = 16


class Run(NamedTuple):
    """One process: one way and pass, all its cases one after another."""

    way_name: str
    backward: bool
    cases: tuple[Case, ...]


def runs(cases: list[Case], chosen_ways: Iterable[Way]) -> list[Run]:
    """Return the processes that measure the least and the most classes of `FEW_SEGMENTS`.

    Token-major inputs alone: the others are copied, once, to the same size.
    """
    result = []
    for backward in (False, True):
        for way in chosen_ways:
            chosen = tuple(
                case
                for case in cases
                if case.layout == TOKEN_MAJOR
                and case.num_segments in FEW_SEGMENTS
                and case.backward == backward
                and way in ways(case)
            )
            if chosen:
                result.append(Run(way.name, backward, chosen))
    return result


def measure(run: Run) -> list[tuple[Case, float]]:
    """Return the peak extra memory of each case, in MB (10^6 bytes)."""
    cases = json.dumps([dataclasses.asdict(case) for case in run.cases])
    command = [sys.executable, "-m", "benchmarks.memory", run.way_name, cases]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"memory: {run.way_name} failed:\n{done.stderr}")
    return list(zip(run.cases, json.loads(done.stdout.splitlines()[-1]), strict=True))


def peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("memory: /proc/self/status has no VmHWM")


def _peak_extra(way: Way, case: Case) -> float:
    """Return by how many MB the resident size rises during one call."""
    small_case = case if way.is_compiled else dataclasses.replace(case, side=SMALL_SIDE)
    step(case, way, make_inputs(small_case))()
    call = step(case, way, make_inputs(case))
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak restarts from the present size
    before = peak_bytes()
    call()
    return (peak_bytes() - before) / 1e6


def _measure_here(way: Way, cases: list[dict]) -> Iterator[float]:
    for case in cases:
        yield _peak_extra(way, Case(**case))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("cases", type=json.loads)
    options = parser.parse_args()
    print(json.dumps(list(_measure_here(WAYS[options.way], options.cases))))
