"""`python -m benchmarks [--quick] [--out FOLDER]`: benchmarks of the correspondence operator."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from . import backward_cutoff, real_maps

# --benchmark-quiet: thousands of single turns are reported joined, not one by one.
PYTEST_OPTIONS = ("-q", "--no-header", "--benchmark-quiet", "--benchmark-disable-gc")
PYTEST_OPTIONS += ("-p", "no:cacheprovider", "-W", "ignore")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test of under a minute")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="default: %(default)s")
    parser.epilog = "Other options go to pytest: -k 'token-major and B1 and k22' measures a part."
    options, others = parser.parse_known_args()

    module = Path(__file__).with_name("bench_correspondence.py")
    chosen = ["--out", str(options.out), *(["--quick"] if options.quick else [])]
    status = pytest.main([str(module), *PYTEST_OPTIONS, *chosen, *others])
    if status == pytest.ExitCode.OK and not (options.quick or others):
        print("\nBackward with and without dropping of small softmax weights, k=1:")
        backward_cutoff.run(options.out)
        print("\nClass maps of real pairs:")
        real_maps.run(options.out)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
