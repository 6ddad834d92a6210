"""What the numbers were measured on: CPU, versions, commit, and the peak rate of FMAs."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import torch

import spcolor_ops

ROOT = Path(__file__).parent.parent
PEAK_SECONDS = 0.02  # one measurement


def compiler() -> str:
    """Return the path of the C++ compiler."""
    path = shutil.which(os.environ.get("CXX", "g++"))
    if path is None:
        raise RuntimeError("machine: no C++ compiler; install g++ or set CXX")
    return path


@functools.cache
def _peak_library() -> ctypes.CDLL:
    source = Path(__file__).with_name("fma_peak.cpp")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "fma_peak.so"
        flags = ["-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-pthread"]
        subprocess.run([compiler(), *flags, source, "-o", library], check=True)
        loaded = ctypes.CDLL(str(library))
    loaded.flops_per_step.restype = ctypes.c_long
    loaded.run_threads.argtypes = [ctypes.c_int, ctypes.c_long]
    loaded.run_threads.restype = ctypes.c_float
    return loaded


@functools.cache
def _peak_steps() -> int:
    """Return how many steps take about PEAK_SECONDS on a free core."""
    library, steps = _peak_library(), 100_000
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        library.run_threads(1, steps)
        rates.append(steps / (time.perf_counter() - start))
    return int(PEAK_SECONDS * max(rates))


def peak_flops() -> int:
    """Return the floating-point operations of one `run_peak()`."""
    return _peak_library().flops_per_step() * _peak_steps() * torch.get_num_threads()


def run_peak() -> None:
    """Keep the FMA units of all torch threads busy for about PEAK_SECONDS."""
    _peak_library().run_threads(torch.get_num_threads(), _peak_steps())


def _all_cpu_seconds() -> float:
    """Return the CPU time that all programs have used, and other virtual machines took away."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _idle, _iowait, *rest = map(int, stat.read_text().split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


class Neighbours:
    """Watches, inside `with`, how much of the machine others take: timings want it free."""

    def __init__(self) -> None:
        self._wall = self._others = 0.0

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), _all_cpu_seconds() - time.process_time()

    def __enter__(self) -> None:
        self._start = self._now()

    def __exit__(self, *_exception: object) -> None:
        wall, others = (now - then for now, then in zip(self._now(), self._start, strict=True))
        self._wall += wall
        self._others += others

    def share(self) -> float:
        """Return the part of all cores that others used."""
        if not self._wall:
            return 0.0
        return max(0.0, self._others / (self._wall * (os.cpu_count() or 1)))


def output(*command: str) -> str:
    """Return what a command prints, "unknown" where it cannot run."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def cpu_model() -> str:
    """Return the name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _backend() -> str:
    """Return the backend that answers when none is asked for."""
    return spcolor_ops._library.resolve_backend(None, torch.device("cpu"))


def commit() -> str:
    """Return the commit, marked where tracked files differ from it."""
    name = output("git", "rev-parse", "--short", "HEAD")
    if name == "unknown":
        return name
    is_changed = bool(output("git", "status", "--porcelain", "--untracked-files=no"))
    return name + ("-changed" if is_changed else "")


@functools.cache
def describe() -> dict[str, str | int]:
    """Return what goes beside every number."""
    return {
        "backend": _backend(),
        "cpu": cpu_model(),
        "isa": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "compiler": output(compiler(), "--version").partition("\n")[0],
        "commit": commit(),
    }


if __name__ == "__main__":
    for name, value in describe().items():
        print(f"{name:10}{value}")
    rates = []
    for _ in range(20):
        start = time.perf_counter()
        run_peak()
        rates.append(peak_flops() / (time.perf_counter() - start) / 1e9)
    print(f"{'FMA peak':10}{max(rates):.0f} GF/s")
