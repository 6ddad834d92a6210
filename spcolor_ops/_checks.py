"""Checks of the public functions' arguments: each message names argument, expected and actual."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FEATURE_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
PRECISIONS = ("ieee", "tf32x3", "tf32", "bf16", "fp16")


def _shape(tensor: Tensor) -> str:
    return "[" + ", ".join(str(size) for size in tensor.shape) + "]"


def check_tensor(name: str, tensor: object, dims: str) -> None:
    """Check that `tensor` is a tensor with the named dimensions, such as "B N C"."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(tensor).__name__}")
    names = dims.split()
    if tensor.ndim != len(names):
        raise ValueError(f"{name}: expected shape [{', '.join(names)}], got {_shape(tensor)}")


def check_features(name: str, tensor: object, dims: str) -> None:
    """Check a floating tensor that an operator can read."""
    check_tensor(name, tensor, dims)
    if tensor.dtype not in FEATURE_DTYPES:
        expected = ", ".join(str(dtype).removeprefix("torch.") for dtype in FEATURE_DTYPES)
        raise TypeError(f"{name}: expected one of {expected}, got {tensor.dtype}")


def check_size(name: str, tensor: Tensor, dim: int, expected: int, source: str) -> None:
    """Check that `tensor.shape[dim]` is `expected`, the size that `source` has."""
    if tensor.shape[dim] != expected:
        raise ValueError(
            f"{name}: expected size {expected} (that of {source}) in dimension {dim}, "
            f"got shape {_shape(tensor)}"
        )


def check_device(name: str, tensor: Tensor, device: torch.device) -> None:
    if tensor.device != device:
        raise ValueError(f"{name}: expected a tensor on {device} like query, got {tensor.device}")


def check_query_key_value(query: object, key: object, value: object | None, dims: str) -> None:
    """Check features (dims "B N C", or "T C" when packed) and the values that belong to them."""
    *leading, _, channels = dims.split()
    packed = not leading
    check_features("query", query, dims)
    check_features("key", key, "S C" if packed else "B M C")
    check_device("key", key, query.device)
    if not packed:
        check_size("key", key, 0, query.shape[0], "query")
    check_size("key", key, -1, query.shape[-1], "query")
    if query.shape[-1] == 0:
        raise ValueError(f"query: expected at least one channel {channels}, got {_shape(query)}")
    if value is not None:
        check_features("value", value, "S D" if packed else "B M D")
        check_device("value", value, query.device)
        for dim in range(value.ndim - 1):
            check_size("value", value, dim, key.shape[dim], "key")


def check_integer(name: str, tensor: Tensor) -> None:
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex or tensor.dtype == torch.bool:
        raise TypeError(f"{name}: expected an integer dtype, got {tensor.dtype}")


def check_num_segments(num_segments: object) -> None:
    if isinstance(num_segments, bool) or not isinstance(num_segments, (int, torch.SymInt)):
        raise TypeError(f"num_segments: expected an int, got {type(num_segments).__name__}")
    if num_segments < 1:
        raise ValueError(f"num_segments: expected at least 1, got {num_segments}")


def check_flag(name: str, flag: object) -> None:
    if not isinstance(flag, bool):
        raise TypeError(f"{name}: expected True or False, got {flag!r}")


def check_precision(precision: str | None, backend: str, dtype: torch.dtype, center: bool) -> str:
    """Return the precision of the products: the one asked for, or float32-grade and fast.

    Products of bfloat16 or float16 features are exact in a tensor core, so "ieee" is fast there,
    unless centring makes them float32.
    """
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(f"precision: expected None or one of {PRECISIONS}, got {precision!r}")
    on_gpu = backend in ("triton", "cuda")
    if precision is None:
        has_exact_products = dtype != torch.float32 and not (center and dtype != torch.float64)
        return "tf32x3" if on_gpu and not has_exact_products else "ieee"
    if precision != "ieee" and not on_gpu:
        raise ValueError(
            f"precision: backend {backend!r} computes in 'ieee' only, got {precision!r}"
        )
    if precision != "ieee" and dtype == torch.float64:
        raise ValueError(f"precision: expected None or 'ieee' for float64, got {precision!r}")
    return precision


def check_options(
    center: object,
    normalize: object,
    precision: str | None,
    deterministic: bool | None,
    backend: str,
    dtype: torch.dtype,
) -> tuple[bool, bool, str, bool]:
    """Return the options of a matching operator in the order of its schema."""
    if deterministic is None:
        deterministic = torch.are_deterministic_algorithms_enabled()
    flags = {"center": center, "normalize": normalize, "deterministic": deterministic}
    for name, flag in flags.items():
        check_flag(name, flag)
    return center, normalize, check_precision(precision, backend, dtype, center), deterministic


def is_readable(tensor: Tensor) -> bool:
    """Whether values can be checked at once: on the CPU, outside tracing."""
    return (
        tensor.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch._subclasses.fake_tensor.is_fake(tensor)
    )


def check_temperature(temperature: object, like: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the temperature as a 0-dimensional tensor: beside `like`, or a number on the CPU.

    A kernel takes a number on the CPU as an argument, where one on the GPU would cost a launch.
    Compiled code has it on the GPU, because CPU tensors keep it out of CUDA graphs.
    """
    if isinstance(temperature, Tensor):
        if temperature.numel() != 1 or not temperature.dtype.is_floating_point:
            raise ValueError(
                "temperature: expected a float or a floating tensor of one element, "
                f"got {temperature.dtype} of shape {_shape(temperature)}"
            )
        if is_readable(temperature):
            _check_temperature_value(float(temperature.detach()), dtype)
        temperature = temperature.reshape(()).to(dtype)
        # A copy to the GPU would wait for it; only a gradient needs one.
        is_number = temperature.device.type == "cpu" and not temperature.requires_grad
        if is_number and not torch.compiler.is_compiling():
            return temperature
        return temperature.to(like.device)
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float, torch.SymFloat)):
        raise TypeError(
            f"temperature: expected a float or a tensor, got {type(temperature).__name__}"
        )
    _check_temperature_value(temperature, dtype)
    device = like.device if torch.compiler.is_compiling() else "cpu"
    return torch.full((), temperature, dtype=dtype, device=device)


def _check_temperature_value(temperature: float, dtype: torch.dtype) -> None:
    least = torch.finfo(dtype).tiny
    if not least <= temperature < math.inf:
        raise ValueError(
            f"temperature: expected a finite number above 0 (at least {least:.1e} for {dtype}), "
            f"got {temperature}"
        )


def check_cu_seqlens(name: str, offsets: object, tokens: Tensor, tokens_name: str) -> None:
    """Check cumulative group lengths: 0 first, never falling, at most the number of tokens."""
    check_tensor(name, offsets, "G+1")
    if offsets.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{name}: expected int32 or int64, got {offsets.dtype}")
    if offsets.numel() < 2:
        raise ValueError(
            f"{name}: expected shape [G+1] with at least one group, got {_shape(offsets)}"
        )
    check_device(name, offsets, tokens.device)
    if not is_readable(offsets):
        return
    first, last = int(offsets[0]), int(offsets[-1])
    if first != 0:
        raise ValueError(f"{name}: expected 0 first, got {first}")
    if bool((offsets[1:] < offsets[:-1]).any()):
        raise ValueError(f"{name}: expected values that never fall, got {offsets.tolist()}")
    if last > tokens.shape[0]:
        raise ValueError(
            f"{name}: expected at most {tokens.shape[0]} (the rows of {tokens_name}), "
            f"got {last} last"
        )
