"""The operator namespace: the compiled libraries it loads and the backend that answers a call."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from pathlib import Path

import torch

NAMESPACE = "spcolor_ops"

BACKENDS = ("reference", "cpu", "triton", "cuda")

# The compiled backends of each device type, the preferred one first; a device without any is
# served by "reference". PyTorch calls AMD's GPUs "cuda" too.
_DEVICE_BACKENDS = {"cpu": ["cpu"], "cuda": ["cuda", "triton"]}

_CPU_REMEDY = (
    "install a C++ compiler (g++ 9 or later) and reinstall spcolor without "
    "SPCOLOR_NO_EXTENSION, or pass backend='reference'"
)
_CUDA_REMEDY = (
    "install the CUDA toolkit and a PyTorch built with CUDA and reinstall spcolor, "
    "or pass backend='triton'"
)


def _load_library(backend: str, remedy: str) -> str | None:
    """Load the compiled library of one backend; return None, or why it cannot be used."""
    path = Path(__file__).parent / f"_C_{backend}.abi3.so"
    if not path.exists():
        return f"its compiled library is not installed; {remedy}"
    try:
        torch.ops.load_library(path)
    except OSError as error:
        return f"its compiled library does not load ({error}); {remedy}"
    return None


def _find_triton() -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed; pip install triton"
    return None


def _find_unavailable() -> dict[str, str]:
    reasons = {
        "cpu": _load_library("cpu", _CPU_REMEDY),
        "triton": _find_triton(),
        "cuda": _load_library("cuda", _CUDA_REMEDY),
    }
    return {backend: reason for backend, reason in reasons.items() if reason is not None}


# backend -> why it cannot be used, for the compiled backends that cannot be.
unavailable = _find_unavailable()


def accept_cpu_tensors(backend: str) -> None:
    """Let a GPU backend take CPU tensors, for tests that interpret or emulate its kernels."""
    if backend not in _DEVICE_BACKENDS["cpu"]:
        _DEVICE_BACKENDS["cpu"].append(backend)
    unavailable.pop(backend, None)


@functools.cache
def _warn_once(device_type: str, reason: str) -> None:
    warnings.warn(
        f"spcolor_ops: plain PyTorch (backend='reference') serves {device_type} tensors: {reason}",
        stacklevel=5,
    )


def _warn_reference(device_type: str, reason: str) -> None:
    if not torch.compiler.is_compiling():
        _warn_once(device_type, reason)


def resolve_backend(backend: str | None, device: torch.device, fastest: str | None = None) -> str:
    """Return the backend that serves `device`: the one asked for, or the fastest that there is.

    An explicit request is met or refused. Only `None` may choose "reference", and says so once.

    Args:
        fastest: the backend that `None` tries first, where the work at hand makes another order
            than the usual one faster.
    """
    served_by = _DEVICE_BACKENDS.get(device.type, [])
    if backend is None:
        for candidate in sorted(served_by, key=lambda name: name != fastest):
            if candidate not in unavailable:
                return candidate
        reasons = "; ".join(f"backend '{name}': {unavailable[name]}" for name in served_by)
        _warn_reference(device.type, reasons or "no compiled backend for this device")
        return "reference"
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected None or one of {BACKENDS}, got {backend!r}")
    if backend == "reference":
        return backend
    if backend not in served_by:
        raise ValueError(f"backend: {backend!r} does not serve tensors on {device}")
    if backend in unavailable:
        raise RuntimeError(f"backend: {backend!r} is not available: {unavailable[backend]}")
    return backend


def operator(stem: str, backend: str):
    """Return the callable `torch.ops.spcolor_ops.<stem>_<backend>`."""
    return getattr(getattr(torch.ops, NAMESPACE), f"{stem}_{backend}")


def define(stem: str, schema: str, *, fake, reference, autograd=None) -> None:
    """Define one operator for every backend, with one schema, one fake and one autograd formula.

    `autograd(backend)` returns the arguments of `torch.library.register_autograd`.
    """
    for backend in BACKENDS:
        name = f"{NAMESPACE}::{stem}_{backend}"
        torch.library.define(name, schema)
        torch.library.register_fake(name, fake)
        if autograd is not None:
            backward, setup_context = autograd(backend)
            torch.library.register_autograd(name, backward, setup_context=setup_context)
    torch.library.impl(
        f"{NAMESPACE}::{stem}_reference", "CompositeExplicitAutograd", _without_autocast(reference)
    )
    # The CPU key serves Triton's interpreter; `resolve_backend` keeps other calls away from it.
    torch.library.impl(f"{NAMESPACE}::{stem}_triton", ("CUDA", "CPU"), _triton_launcher(stem))


def _triton_launcher(stem: str):
    """Return the launcher of `triton_kernels/<stem>.py`; its first call imports it and Triton."""

    def launch(*tensors_and_options):
        module = importlib.import_module(f"{__package__}.triton_kernels.{stem}")
        # Triton compiles for the current device and launches on its stream.
        with torch.cuda.device_of(_first_tensor(tensors_and_options)):
            return getattr(module, stem)(*tensors_and_options)

    return launch


def _without_autocast(reference):
    """Run a reference operator in the types it was given: its own products are not to be cast."""

    def run(*tensors_and_options):
        device = _first_tensor(tensors_and_options).device
        with torch.autocast(device.type, enabled=False):
            return reference(*tensors_and_options)

    return run


def _first_tensor(tensors_and_options) -> torch.Tensor:
    """Return the first tensor of an operator's arguments; a list stands for its tensors."""
    firsts = (x[0] if isinstance(x, list) else x for x in tensors_and_options)
    return next(x for x in firsts if isinstance(x, torch.Tensor))


def refuse_second_derivative(backend: str):
    """Autograd formula of a backward operator: there is none, and it says so."""

    def backward(ctx, *grads):
        raise NotImplementedError(
            "spcolor_ops: second derivatives are not implemented; "
            "call backward() without create_graph=True"
        )

    return backward, None
