"""Fixtures and settings that every test file shares."""

import os

# Threads that spin while they wait slow tests this small fourfold. OpenMP reads it when it loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import cuda_emulation
import hypothesis
import pytest
import torch
import triton_interpreter

from spcolor_ops import _library

hypothesis.settings.register_profile("local", deadline=None, max_examples=150)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=150, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

# The backends that every operator test runs on. "triton" is interpreted, and takes hours in full.
BACKENDS = os.environ.get("SPCOLOR_TEST_BACKENDS", "reference,cpu").split(",")
if "triton" in BACKENDS:
    triton_interpreter.install()
if "cuda" in BACKENDS:
    cuda_emulation.install()

NO_EXTENSION = os.environ.get("SPCOLOR_NO_EXTENSION") == "1"


def _require(backend: str) -> str:
    """A backend that does not load is a failure, unless the install left it out."""
    reason = _library.unavailable.get(backend)
    if reason is not None:
        if NO_EXTENSION:
            pytest.skip("SPCOLOR_NO_EXTENSION=1")
        pytest.fail(f"backend {backend!r} is unavailable: {reason}")
    return backend


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request):
    """Each of BACKENDS in turn."""
    return _require(request.param)


@pytest.fixture(scope="session", params=[x for x in BACKENDS if x in ("triton", "cuda")])
def gpu_backend(request):
    """Each of BACKENDS that is made for GPUs; without one, its tests are skipped."""
    return _require(request.param)


@pytest.fixture(scope="session")
def compiled_backend():
    """The compiled backend of the CPU."""
    return _require("cpu")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _nothing_is_zero_by_chance(request):
    """Fill what an operator allocates with NaN, as a GPU may: what it leaves out is then seen."""
    if {"backend", "gpu_backend", "compiled_backend"}.isdisjoint(request.fixturenames):
        yield
        return
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
