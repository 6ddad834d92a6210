"""`tune`: the fastest tiles of the Triton kernels on the GPU that is here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import product

import torch

from . import _checks, _library
from .correspondence import segment_softmax_warp

_ROWS, _COLUMNS, _CHANNELS, _WARPS, _STAGES = (16, 32, 64, 128), (32, 64), (64, 256), (4, 8), (1, 2)
_GRADIENT_CHANNELS = (64, 128)


def tune(
    *,
    batch: int = 8,
    length: int = 4096,
    channels: int = 256,
    values: int = 3,
    num_segments: int = 22,
    dtype: torch.dtype = torch.float32,
    precision: str | None = None,
    device: str | torch.device = "cuda",
) -> dict[str, tuple]:
    """Time candidate tiles of forward and backward on a GPU, and use the fastest from then on.

    The choice lasts for this process, for all shapes of the tuned kind of product; the returned
    entries can be put into `triton_kernels/tiles.py`. Each candidate is compiled first, so this
    takes minutes. Without `tune` nothing is ever searched for.

    Args:
        batch, length, channels, values, num_segments: B, N = M, C, D and K of the timed call.
        dtype: of the features.
        precision: as in `segment_correspondence`.
        device: a GPU.

    Returns:
        {"forward": tile, "backward": tile}, fields as in `triton_kernels.tiles.Tile`.

    Raises:
        RuntimeError: there is no GPU, or no Triton.

    Example:
        >>> spcolor_ops.tune(num_segments=1, precision="fp16")["forward"].rows
        128
    """
    device = torch.device(device)
    if device.type != "cuda" or not torch.cuda.is_available():
        raise RuntimeError(f"device: expected a GPU to time kernels on, got {device}")
    _library.resolve_backend("triton", device)
    from .triton_kernels import products, tiles

    generator = torch.Generator(device).manual_seed(0)
    query, key = (
        torch.randn(batch, length, channels, device=device, generator=generator).to(dtype)
        for _ in range(2)
    )
    value = torch.randn(batch, length, values, device=device, generator=generator)
    labels = torch.arange(length, device=device) * num_segments // length
    labels = labels.expand(batch, -1)
    precision = _checks.check_precision(precision, "triton", dtype, False)

    def forward() -> torch.Tensor:
        return segment_softmax_warp(
            query,
            key,
            value,
            labels,
            labels,
            num_segments=num_segments,
            precision=precision,
            backend="triton",
        )

    def both() -> None:
        torch.autograd.grad(forward().sum(), (query, key))

    family = tiles.family(device)
    packed = (
        products.product_dtype(query, precision, False),
        products.product_precision(precision, products.is_raw(query, precision, False)),
    )
    found = {}
    shapes = product(_ROWS, _COLUMNS, _CHANNELS, _WARPS, _STAGES)
    found["forward"] = _use_fastest(
        tiles.FORWARD[family],
        tiles.forward_kind(*packed),
        [tiles.Tile(*shape) for shape in shapes],
        forward,
    )
    query.requires_grad_()
    key.requires_grad_()
    shapes = product(_ROWS, _COLUMNS, _CHANNELS, _WARPS, (1,), _GRADIENT_CHANNELS)
    found["backward"] = _use_fastest(
        tiles.BACKWARD[family],
        tiles.backward_kind(*packed),
        [tiles.Tile(*shape) for shape in shapes],
        both,
    )
    return found


def _use_fastest(
    table: dict[str, tuple], kind: str, candidates: list[tuple], call: Callable[[], object]
) -> tuple:
    """Leave the candidate in the table with which `call` takes least time, or what was there."""
    kept = table[kind]
    times = {kept: _milliseconds(call)}
    try:
        for table[kind] in candidates:
            # Compilers and drivers have many ways to refuse a tile.
            with contextlib.suppress(Exception):
                times[table[kind]] = _milliseconds(call)
        kept = min(times, key=times.__getitem__)
    finally:
        table[kind] = kept
    return kept


def _milliseconds(call: Callable[[], object]) -> float:
    import triton

    return triton.testing.do_bench(call, return_mode="median")
