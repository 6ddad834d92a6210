"""From gradients of unit vectors in class order to those of the features.

dx = (dx^ - x^ (x^ . dx^)) * scale,   then minus its class mean when centred
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .class_means import class_means
from .products import triton_dtype
from .segments import Side, class_of_rank, position_of, search_steps
from .tiles import channel_block
from .unit_vectors import PACKED_ROWS, Packed


@triton.jit
def _unit_gradient_kernel(
    unit,  # [B, N, C_PADDED]
    scale,  # [B, N]
    grad_unit,  # [B, N, C_PADDED], overwritten where TO_POSITIONS is False
    order,  # [B, N]
    grad,  # [B, N, C]
    N,
    C,
    C_PADDED,
    HAS_ORDER: tl.constexpr,
    NORMALIZE: tl.constexpr,
    RAW: tl.constexpr,
    TO_POSITIONS: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
    SUM: tl.constexpr,
):
    """Turn gradients of unit vectors into those of x - mean."""
    b = tl.program_id(1).to(tl.int64)
    rank = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rank < N
    factor = tl.load(scale + b * N + rank, mask=inside, other=0.0)
    position = position_of(order + b * N, rank, inside, N, HAS_ORDER)
    rows = (b * N + rank)[:, None] * C_PADDED

    along = tl.zeros((ROWS,), SUM)  # unit . gradient: the part that changes the length alone
    if NORMALIZE:
        for start in range(0, C, CHANNELS):
            channel = start + tl.arange(0, CHANNELS)
            mask = inside[:, None] & (channel < C)[None, :]
            g = tl.load(grad_unit + rows + channel[None, :], mask=mask, other=0.0)
            u = tl.load(unit + rows + channel[None, :], mask=mask, other=0.0).to(SUM)
            along += tl.sum(u * g, 1)
        along *= factor * factor if RAW else factor
    for start in range(0, C, CHANNELS):
        channel = start + tl.arange(0, CHANNELS)
        mask = inside[:, None] & (channel < C)[None, :]
        g = tl.load(grad_unit + rows + channel[None, :], mask=mask, other=0.0) * factor[:, None]
        if NORMALIZE:
            u = tl.load(unit + rows + channel[None, :], mask=mask, other=0.0).to(SUM)
            g -= u * (along * factor if RAW else along)[:, None]
        g = tl.where((factor == 0.0)[:, None], 0.0, g)
        if TO_POSITIONS:
            target = grad + (b * N + position)[:, None] * C + channel[None, :]
            tl.store(target, g.to(grad.dtype.element_ty), mask=mask)
        else:
            tl.store(grad_unit + rows + channel[None, :], g, mask=mask)


@triton.jit
def _centred_gradient_kernel(
    grad_centred,  # [B, N, C_PADDED]
    order,  # [B, N]
    offsets,  # [B, K + 1]
    mean,  # [B, K, C]
    grad,  # [B, N, C]
    N,
    K,
    C,
    C_PADDED,
    HAS_ORDER: tl.constexpr,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Subtract the class mean of gradients of x - mean, and write them to their positions."""
    b = tl.program_id(1).to(tl.int64)
    rank = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rank < N
    position = position_of(order + b * N, rank, inside, N, HAS_ORDER)
    c = class_of_rank(rank, offsets + b * (K + 1), N, K, STEPS)
    for start in range(0, C, CHANNELS):
        channel = start + tl.arange(0, CHANNELS)
        mask = inside[:, None] & (channel < C)[None, :]
        source = grad_centred + (b * N + rank)[:, None] * C_PADDED + channel[None, :]
        average = mean + (b * K + c)[:, None] * C + channel[None, :]
        g = tl.load(source, mask=mask, other=0.0)
        g -= tl.load(average, mask=mask & (c < K)[:, None], other=0.0)
        target = grad + (b * N + position)[:, None] * C + channel[None, :]
        tl.store(target, g.to(grad.dtype.element_ty), mask=mask)


def unit_vectors_backward(
    side: Side,
    packed: Packed,
    grad_unit: Tensor,  # [B, N, C_PADDED], used up
    *,
    center: bool,
    normalize: bool,
) -> Tensor:
    """Return the gradient of one side's features [B, N, C]."""
    batch, length, channels = side.features.shape
    num_segments = side.offsets.shape[1] - 1
    grad = torch.empty_like(side.features, memory_format=torch.contiguous_format)
    order = side.offsets if side.order is None else side.order
    grid = (triton.cdiv(length, PACKED_ROWS), batch)
    block = min(channel_block(channels, grad_unit.dtype), 256)
    shape = {"HAS_ORDER": side.order is not None, "ROWS": PACKED_ROWS, "CHANNELS": block}
    _unit_gradient_kernel[grid](
        packed.unit,
        packed.scale,
        grad_unit,
        order,
        grad,
        length,
        channels,
        packed.channels,
        NORMALIZE=normalize,
        RAW=packed.is_raw,
        TO_POSITIONS=not center,
        SUM=triton_dtype(grad_unit.dtype),
        **shape,
    )
    if center:
        (mean,) = class_means(Side(grad_unit[:, :, :channels], None, side.offsets))
        _centred_gradient_kernel[grid](
            grad_unit,
            order,
            side.offsets,
            mean,
            grad,
            length,
            num_segments,
            channels,
            packed.channels,
            STEPS=search_steps(num_segments),
            **shape,
        )
    return grad
