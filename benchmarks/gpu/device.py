"""What the numbers were measured on, and what it can do at best."""

from __future__ import annotations

import importlib.metadata
import platform
import statistics
from collections.abc import Callable

import torch

from .. import machine
from .entrants import Entrant

SIDE = 8192  # of the matrices that measure the peak
COPIED_BYTES = 2**30


def describe() -> dict[str, str | int]:
    """Return what goes beside every number."""
    properties = torch.cuda.get_device_properties(0)
    query = ("--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader")
    driver, clock, power = (
        *machine.output("nvidia-smi", "--id=0", *query).split(", "),
        "unknown",
        "unknown",
    )[:3]
    return {
        "gpu": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gib": round(properties.total_memory / 2**30),
        "l2_mib": round(properties.L2_cache_size / 2**20),
        "driver": driver,
        "highest_clock": clock,
        "power_limit": power,
        "torch": torch.__version__,
        "cuda": torch.version.cuda or torch.version.hip or "unknown",
        "triton": _version("triton"),
        "python": platform.python_version(),
        "cpu": machine.cpu_model(),
        "commit": machine.commit(),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def measured_peaks(times: Callable[[Callable[[], object]], list[float]]) -> dict[str, float]:
    """Return the rate of large matrix products by type (flop/s) and of a copy (bytes/s).

    `times(call)` returns seconds of single calls. Bytes read and written both count.
    """
    peaks = {}
    for name, dtype, tf32 in (
        ("fp16", torch.float16, False),
        ("bf16", torch.bfloat16, False),
        ("tf32", torch.float32, True),
        ("fp32", torch.float32, False),
    ):
        a, b = (torch.randn(SIDE, SIDE, device="cuda").to(dtype) for _ in range(2))
        out = torch.empty_like(a)
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        try:
            seconds = statistics.median(times(lambda a=a, b=b, out=out: torch.mm(a, b, out=out)))
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
        peaks[name] = 2 * SIDE**3 / seconds
    source = torch.empty(COPIED_BYTES, dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)
    seconds = statistics.median(times(lambda: target.copy_(source)))
    peaks["copy"] = 2 * COPIED_BYTES / seconds
    return peaks


def matrix_peak(peaks: dict[str, float], entrant: Entrant, features: str) -> float:
    """Return the peak that bounds the products of an entrant on features of a type."""
    match entrant.precision:
        case "tf32x3":  # three products for one
            return peaks["tf32"] / 3
        case "ieee" if entrant.center:
            return peaks["fp32"]
        case "ieee" | "":  # products of 16-bit features are exact as they are
            return peaks[features]
        case precision:
            return peaks[precision]
