"""pytest plugin of tests/gpu: fixtures, GPU kernels for CPU tensors, and a share of the tests.

Loaded with `-p gpu.plugin --noconftest`, in place of the conftest.py that serves the CPU.
"""

from __future__ import annotations

import pytest
import torch
from checking import on_device
from torch import Tensor

from spcolor_ops import _library

BACKENDS = ("triton", "cuda")
STEMS = (
    "layout",
    "correspondence",
    "correspondence_backward",
    "cosine_similarity",
    "cosine_similarity_backward",
)
UNAVAILABLE = {name: why for name, why in _library.unavailable.items() if name in BACKENDS}


def bridge(backend: str, device: str) -> torch.library.Library:
    """Let the operators of a backend take CPU tensors: run them on `device`, copy the results.

    Lasts as long as what it returns.
    """
    library = torch.library.Library(_library.NAMESPACE, "IMPL")
    for stem in STEMS:
        run = _on_device(_library.operator(stem, backend), device)
        library.impl(f"{stem}_{backend}", run, "CPU", allow_override=True)
    _library.accept_cpu_tensors(backend)
    return library


def _on_device(operator, device: str):
    def moved(x):
        if isinstance(x, list):
            return [moved(y) for y in x]
        return on_device(x, device) if isinstance(x, Tensor) else x

    def run(*arguments):
        results = operator(*(moved(x) for x in arguments))
        if isinstance(results, Tensor):
            return results.cpu()
        return tuple(x.cpu() for x in results)

    return run


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shard", default="0/1", help="run part I of N: I/N")


def pytest_configure(config: pytest.Config) -> None:
    config.bridges = [bridge(name, "cuda") for name in BACKENDS if name not in UNAVAILABLE]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep this process's share; tests of one case share kernels, so they stay together."""
    index, count = map(int, config.getoption("shard").split("/"))
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(_group(item), []).append(item)
    parts: list[list[pytest.Item]] = [[] for _ in range(count)]
    for group in sorted(groups.values(), key=len, reverse=True):
        min(parts, key=len).extend(group)
    items[:] = parts.pop(index)
    config.hook.pytest_deselected(items=[item for part in parts for item in part])


def _group(item: pytest.Item) -> str:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return str(parameters.get("case", item.path.name))


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request):
    """Each GPU backend in turn."""
    if request.param in UNAVAILABLE:  # `test_backend_is_available` fails
        pytest.skip(f"backend {request.param!r} is unavailable: {UNAVAILABLE[request.param]}")
    return request.param


@pytest.fixture(scope="session")
def gpu_backend(backend):
    return backend


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
