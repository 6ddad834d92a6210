"""`python -m benchmarks.gpu [--quick] [--out FOLDER] [--seconds S]`: on the GPU of this machine."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from spcolor_ops import _library

from . import device, measure, plan, report
from .clock import Clock
from .entrants import BACKENDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="what the targets need, alone")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="default: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=450, help="begin nothing that needs longer (%(default)s)"
    )
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds

    if not torch.cuda.is_available():
        print("benchmarks.gpu: PyTorch sees no GPU on this machine: nothing was measured.")
        return 1
    backends = [backend for backend in BACKENDS if backend not in _library.unavailable]
    missing = [backend for backend in BACKENDS if backend not in backends]
    for backend in missing:
        print(f"Backend {backend!r} is unavailable: {_library.unavailable[backend]}")

    clock = Clock()
    described = device.describe()
    print(", ".join(f"{name} {value}" for name, value in described.items()))
    peaks = device.measured_peaks(clock.call)
    results = measure.run(
        plan.jobs(backends, quick=options.quick),
        clock,
        torch.device("cuda"),
        peaks,
        deadline=deadline,
    )
    for line in report.write(results, described, peaks, options.out):
        print(line)
    failed = [failure for failure in results.failures if failure.is_ours]
    for backend in missing:
        print(f"FAILED: backend {backend!r} was unavailable.")
    if failed:
        print(f"FAILED: {len(failed)} measurements of the operator; see above.")
    return int(bool(missing or failed))


if __name__ == "__main__":
    sys.exit(main())
