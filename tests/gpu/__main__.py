"""`python tests/gpu [--jobs N]`: all tests of the GPU backends, on the GPU of this machine.

The tests of every backend run with CPU tensors, which `gpu.plugin` takes to the GPU and back; the
modules of this folder hold what needs tensors on the GPU. Processes share the work, because most
of it is compiling. Afterwards compute-sanitizer, if there is one, watches a small set.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
ROOT = TESTS.parent

MODULES = ("correspondence.py", "execution.py")
# Those of every backend -> the package that they need beside torch and pytest.
SHARED = {
    "test_correspondence.py": None,
    "test_cosine_similarity.py": None,
    "test_varlen.py": None,
    "test_extremes.py": None,
    "test_precision.py": None,
    "test_determinism.py": None,
    "test_layout.py": "hypothesis",
    "test_fragments.py": "pybind11",  # the emulator's matrix instructions beside the GPU's
}
# This folder's correspondence.py runs the same cases with tensors on the GPU.
DESELECTED = ("test_correspondence.py::test_matches_oracle",)

NOTHING_CHOSEN = 5  # exit status of pytest

SANITIZERS = ("memcheck", "racecheck")
SANITIZER_SECONDS = 600
FOUND = 99  # exit status of compute-sanitizer where it finds an error


class Shard(NamedTuple):
    """One process of pytest and what it prints."""

    process: subprocess.Popen
    output: Path


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), str(TESTS), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path}


def test_files() -> list[Path]:
    """Return what can run here; print what cannot."""
    files = [HERE / name for name in MODULES]
    for name, package in SHARED.items():
        if package is None or importlib.util.find_spec(package):
            files.append(TESTS / name)
        else:
            print(f"{name} is left out: it needs {package}.")
    return files


def start_shard(
    index: int, count: int, files: list[Path], others: list[str], folder: Path
) -> Shard:
    """Start pytest on its part of the tests."""
    options = ["--noconftest", "-p", "gpu.plugin", "-p", "no:cacheprovider", "-W", "ignore"]
    options += [f"--deselect=tests/{name}" for name in DESELECTED]
    options += [f"--shard={index}/{count}", "--tb=short", *others]
    output = folder / f"{index}.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *map(str, files)],
            cwd=ROOT,
            env=environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return Shard(process, output)


def run_tests(jobs: int, others: list[str]) -> bool:
    """Return whether all tests passed; print what the processes print, one after another."""
    passed, files = True, test_files()
    with tempfile.TemporaryDirectory() as folder:
        shards = [start_shard(i, jobs, files, others, Path(folder)) for i in range(jobs)]
        for index, shard in enumerate(shards):
            status = shard.process.wait()
            print(f"--- part {index + 1} of {jobs}\n{shard.output.read_text()}", flush=True)
            passed &= status == 0 or (status == NOTHING_CHOSEN and bool(others))
    return passed


def run_sanitizers() -> bool:
    """Return whether compute-sanitizer found nothing, or is not there."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        print("compute-sanitizer is not in PATH: no check for bad accesses and races.")
        return True
    passed = True
    for name in SANITIZERS:
        # Without PyTorch's cache every tensor has borders of its own.
        variables = environment() | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        command = [tool, "--tool", name, f"--error-exitcode={FOUND}"]
        command += [sys.executable, str(HERE / "sanitized.py")]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=variables,
                capture_output=True,
                text=True,
                timeout=SANITIZER_SECONDS,
            )
        except subprocess.TimeoutExpired:
            print(f"compute-sanitizer {name}: not finished after {SANITIZER_SECONDS} s")
            passed = False
            continue
        print(f"--- compute-sanitizer {name}: exit status {done.returncode}")
        print((done.stdout + done.stderr)[-4000:], flush=True)
        passed &= done.returncode == 0
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/gpu", description=__doc__)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--jobs", type=int, default=max(1, min(8, cores // 2)), help="default: %(default)s"
    )
    parser.epilog = "Other options go to pytest."
    options, others = parser.parse_known_args()
    if not torch.cuda.is_available():
        print("tests/gpu: PyTorch sees no GPU on this machine: nothing was tested.")
        return 1
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {options.jobs} processes")
    passed = run_tests(options.jobs, others)
    passed &= run_sanitizers()
    print("passed" if passed else "FAILED")
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
