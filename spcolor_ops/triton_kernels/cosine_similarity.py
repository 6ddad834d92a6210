"""The scores of every class, written out as ragged blocks."""

import triton
import triton.language as tl
from torch import Tensor

from ..reference.segments import accumulation_dtype
from .correspondence import load_rows, scores_of
from .products import product_dtype, product_precision
from .segments import Side, class_range, query_tile, query_tiles, search_steps
from .tiles import channel_slices, forward_tile
from .unit_vectors import unit_vectors


@triton.jit
def block_of(block_offsets, b, c, K, rows, columns, total_size):
    """Return (where block (b, c) begins, whether all of it lies inside the values)."""
    begin = tl.load(block_offsets + b * K + c)
    end = begin + rows.to(tl.int64) * columns
    return begin, (begin >= 0) & (end <= total_size)


@triton.jit
def _cosine_similarity_kernel(
    query_unit,  # [B, N, C_PADDED]
    query_scale,  # [B, N]
    query_offsets,  # [B, K + 1]
    key_unit,  # [B, M, C_PADDED]
    key_scale,  # [B, M]
    key_offsets,  # [B, K + 1]
    block_offsets,  # [B * K + 1]
    values,  # [total_size]
    total_size,
    steps,  # tiles of keys
    N,
    M,
    K,
    RAW: tl.constexpr,
    C_PADDED: tl.constexpr,
    CHANNELS: tl.constexpr,
    UNROLLED: tl.constexpr,
    PRECISION: tl.constexpr,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    b = tl.program_id(1).to(tl.int64)
    tile = tl.program_id(0) // steps
    c, first, end = query_tile(tile, query_offsets + b * (K + 1), N, K, ROWS, STEPS)
    if (first >= end) | (c >= K):
        return
    begin, _ = class_range(query_offsets + b * (K + 1), c, N, K)
    key_begin, key_end = class_range(key_offsets + b * (K + 1), c, M, K)
    columns = key_end - key_begin
    start = (tl.program_id(0) % steps) * COLUMNS
    block, fits = block_of(block_offsets, b, c, K, end - begin, columns, total_size)
    if (start >= columns) | (not fits):
        return

    row, column = tl.arange(0, ROWS), start + tl.arange(0, COLUMNS)
    query_unit += (b * N + first) * C_PADDED
    key_unit += (b * M + key_begin) * C_PADDED
    rows = load_rows(query_unit, 0, row, end - first, 0, CHANNELS, C_PADDED)
    s = scores_of(
        rows, query_unit, end - first, key_unit, start, columns,
        C_PADDED, CHANNELS, COLUMNS, UNROLLED, PRECISION,
    )  # fmt: skip
    if RAW:
        row_scale = tl.load(query_scale + b * N + first + row, mask=row < end - first, other=0.0)
        scale = tl.load(key_scale + b * M + key_begin + column, mask=column < columns, other=0.0)
        s *= row_scale[:, None] * scale[None, :]
    target = block + (first - begin + row).to(tl.int64)[:, None] * columns + column[None, :]
    tl.store(values + target, s, mask=(row < end - first)[:, None] & (column < columns)[None, :])


def cosine_similarity(
    query: Tensor,  # [B, N, C]
    key: Tensor,  # [B, M, C]
    query_order: Tensor,  # [B, N]
    query_offsets: Tensor,  # [B, K + 1]
    key_order: Tensor,  # [B, M]
    key_offsets: Tensor,  # [B, K + 1]
    block_offsets: Tensor,  # [B * K + 1]
    total_size: int,
    center: bool,
    normalize: bool,
    precision: str,
    deterministic: bool,
) -> Tensor:
    """Return the blocks, row by row, [total_size]; 0 beyond the last block that fits."""
    batch, length, channels = query.shape
    key_length, num_segments = key.shape[1], query_offsets.shape[1] - 1
    values = query.new_zeros(total_size, dtype=accumulation_dtype(query.dtype))
    if not (batch and length and key_length and total_size):
        return values
    query_side = Side.of(query, query_order, query_offsets)
    key_side = Side.of(key, key_order, key_offsets)
    packed_query, packed_key, _ = unit_vectors(
        query_side,
        key_side,
        None,
        center=center,
        normalize=normalize,
        precision=precision,
    )
    dtype = product_dtype(query, precision, center)
    products = product_precision(precision, packed_query.is_raw)
    tile = forward_tile(query.device, dtype, products, length / num_segments)
    tiles = query_tiles(length, num_segments, tile.rows)
    steps = triton.cdiv(key_length, tile.columns)
    _cosine_similarity_kernel[(tiles * steps, batch)](
        packed_query.unit,
        packed_query.scale,
        query_side.offsets,
        packed_key.unit,
        packed_key.scale,
        key_side.offsets,
        block_offsets,
        values,
        total_size,
        steps,
        length,
        key_length,
        num_segments,
        RAW=packed_query.is_raw,
        C_PADDED=packed_query.channels,
        **channel_slices(query.device, tile, channels, dtype),
        PRECISION=products,
        STEPS=search_steps(num_segments),
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        num_warps=tile.num_warps,
    )
    return values
