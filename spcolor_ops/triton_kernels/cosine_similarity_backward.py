"""Gradients of the ragged blocks: dq^ = G k^ and dk^ = G^T q^, block by block."""

import triton
import triton.language as tl
from torch import Tensor

from ..reference.segments import accumulation_dtype
from .correspondence import load_rows
from .cosine_similarity import block_of
from .products import product_dtype, product_precision, triton_dtype, weighted_product
from .segments import Side, class_range, query_tile, query_tiles, search_steps
from .tiles import backward_tile, channel_block
from .unit_vectors import Packed, unit_vectors
from .unit_vectors_backward import unit_vectors_backward


@triton.jit
def _block_product_kernel(
    grad,  # [total_size]
    block_offsets,  # [B * K + 1]
    row_offsets,  # [B, K + 1]
    other_unit,  # [B, M, C_PADDED]
    other_scale,  # [B, M]
    other_offsets,  # [B, K + 1]
    grad_unit,  # [B, N, C_PADDED]
    total_size,
    N,
    M,
    K,
    TRANSPOSED: tl.constexpr,  # the rows that stay are the blocks' columns
    RAW: tl.constexpr,
    C_PADDED: tl.constexpr,
    CHANNELS: tl.constexpr,
    PRECISION: tl.constexpr,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SUM: tl.constexpr,
):
    b = tl.program_id(1).to(tl.int64)
    first_channel = tl.program_id(2) * CHANNELS
    c, first, end = query_tile(tl.program_id(0), row_offsets + b * (K + 1), N, K, ROWS, STEPS)
    if first >= end:
        return
    begin, _ = class_range(row_offsets + b * (K + 1), c, N, K)
    other_begin, other_end = class_range(other_offsets + b * (K + 1), c, M, K)
    count = tl.where(c < K, other_end - other_begin, 0)
    block, fits = block_of(
        block_offsets, b, tl.minimum(c, K - 1), K, end - begin, count, total_size
    )
    row = tl.arange(0, ROWS)
    row_step, column_step = (1, end - begin) if TRANSPOSED else (count, 1)
    grad += block + (first - begin + row).to(tl.int64)[:, None] * row_step
    other_unit += (b * M + other_begin) * C_PADDED
    total = tl.zeros((ROWS, CHANNELS), SUM)
    for start in range(0, tl.where(fits, count, 0), COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        mask = (row < end - first)[:, None] & (column < count)[None, :]
        g = tl.load(grad + column.to(tl.int64)[None, :] * column_step, mask=mask, other=0.0)
        if RAW:
            scale = tl.load(other_scale + b * M + other_begin + column, mask=column < count)
            g = tl.where(mask, g * scale[None, :], 0.0)
        others = load_rows(
            other_unit, start, tl.arange(0, COLUMNS), count, first_channel, CHANNELS, C_PADDED
        )
        total += weighted_product(g, others, PRECISION)
    channel = first_channel + tl.arange(0, CHANNELS)
    target = grad_unit + (b * N + first) * C_PADDED + row[:, None] * C_PADDED + channel[None, :]
    tl.store(target, total, mask=(row < end - first)[:, None])


def cosine_similarity_backward(
    grad: Tensor,  # [total_size]
    query: Tensor,  # [B, N, C]
    key: Tensor,  # [B, M, C]
    query_order: Tensor,  # [B, N]
    query_offsets: Tensor,  # [B, K + 1]
    key_order: Tensor,  # [B, M]
    key_offsets: Tensor,  # [B, K + 1]
    block_offsets: Tensor,  # [B * K + 1]
    center: bool,
    normalize: bool,
    precision: str,
    deterministic: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of query [B, N, C] and key [B, M, C]."""
    sides = (Side.of(query, query_order, query_offsets), Side.of(key, key_order, key_offsets))
    if not (query.shape[0] and query.shape[1] and key.shape[1]):
        return tuple(x.new_zeros(x.shape) for x in (query, key))
    *packed, _ = unit_vectors(*sides, None, center=center, normalize=normalize, precision=precision)
    grad = grad.contiguous()
    grads = []
    for own, other in ((0, 1), (1, 0)):
        grad_unit = _block_product(
            grad,
            block_offsets,
            sides[own],
            sides[other],
            packed[other],
            precision,
            center,
            own == 1,
        )
        grads.append(
            unit_vectors_backward(
                sides[own], packed[own], grad_unit, center=center, normalize=normalize
            )
        )
    return tuple(grads)


def _block_product(
    grad: Tensor,  # [total_size]
    block_offsets: Tensor,  # [B * K + 1]
    side: Side,  # whose gradient is wanted
    other_side: Side,
    other: Packed,
    precision: str,
    center: bool,
    transposed: bool,
) -> Tensor:
    """Return the gradient of one side's unit vectors [B, N, C_PADDED], in class order."""
    batch, length, channels = side.features.shape
    num_segments = side.offsets.shape[1] - 1
    dtype = product_dtype(side.features, precision, center)
    sums = accumulation_dtype(side.features.dtype)
    products = product_precision(precision, other.is_raw)
    tile = backward_tile(grad.device, dtype, products, length / num_segments)
    block = min(tile.gradient_channels, channel_block(channels, dtype))
    grad_unit = grad.new_empty((batch, length, other.channels), dtype=sums)
    tiles = query_tiles(length, num_segments, tile.rows)
    _block_product_kernel[(tiles, batch, other.channels // block)](
        grad,
        block_offsets,
        side.offsets,
        other.unit,
        other.scale,
        other_side.offsets,
        grad_unit,
        grad.shape[0],
        length,
        other_side.features.shape[1],
        num_segments,
        TRANSPOSED=transposed,
        RAW=other.is_raw,
        C_PADDED=other.channels,
        CHANNELS=block,
        PRECISION=products,
        STEPS=search_steps(num_segments),
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        SUM=triton_dtype(sums),
        num_warps=tile.num_warps,
    )
    return grad_unit
