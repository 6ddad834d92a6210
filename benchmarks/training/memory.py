"""`python -m benchmarks.training.memory WAY MANIFEST`: peak memory of a full-size training step.

A process for each way, because its peak is that of all it did. VmHWM begins anew with each program;
`ru_maxrss` does not, and would be the parent's wherever that was larger.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from ..machine import ROOT
from ..memory import peak_bytes
from ..peers import WAYS
from ..problem import Way
from .matching import matching_by
from .problems import full

STEPS = 2  # Adam's state is made in the first


def peak_megabytes(way: Way, manifest: Path) -> float:
    """Return the highest resident size, in MB (10^6 bytes), of a process that makes the step."""
    command = [sys.executable, "-m", __name__, way.name, str(manifest.resolve())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"memory: {way.name} failed:\n{done.stderr}")
    return float(done.stdout.splitlines()[-1])


def _measure_here(way: Way, manifest: Path) -> float:
    problem = full(manifest)
    with matching_by(way):
        for _ in range(STEPS):
            problem.step(0)
    return peak_bytes() / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("manifest", type=Path)
    options = parser.parse_args()
    print(_measure_here(WAYS[options.way], options.manifest))
