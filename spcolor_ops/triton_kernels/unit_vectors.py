"""Features in class order, as unit vectors in the type of the products.

A feature vector x becomes x^ = (x - mean) * scale, with mean that of x's class in its image (0 if
not centred) and scale = 1 / ||x - mean|| (1 if not normalised, 0 by the zero rule, NaN where x is
not finite). Features of a 16-bit type that is also the type of the products are packed as they are,
with `scale` beside them: their products are exact, and scaled afterwards.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..reference.segments import ABSOLUTE_ZERO, RELATIVE_ZERO, accumulation_dtype
from .class_means import class_means
from .products import is_raw, product_dtype, triton_dtype
from .segments import Side, class_of_rank, position_of, search_steps
from .tiles import channel_block

PACKED_ROWS = 16  # of one program


class Packed(NamedTuple):
    """One side in class order."""

    unit: Tensor  # [B, N, C_PADDED]; x itself where `is_raw`
    scale: Tensor  # [B, N]
    is_raw: bool

    @property
    def channels(self) -> int:
        """C rounded up to whole blocks; the channels beyond C are 0."""
        return self.unit.shape[2]


@triton.jit
def _centred(
    x, rows, columns, mean, mean_rows, channel, mask, CENTER: tl.constexpr, SUM: tl.constexpr
):
    """Return (x, x - mean) of some rows and channels."""
    row = tl.load(x + rows[:, None] + columns[None, :], mask=mask, other=0.0).to(SUM)
    if CENTER:
        average = tl.load(mean + mean_rows[:, None] + channel[None, :], mask=mask, other=0.0)
        return row, row - average
    else:
        return row, row


@triton.jit
def _pack_rows(
    x,  # [B, N, C]
    stride_b,
    stride_n,
    stride_c,
    order,  # [B, N]
    offsets,  # [B, K + 1]
    mean,  # [B, K, C]
    unit,  # [B, N, C_PADDED]
    scale,  # [B, N]
    block,
    b,
    N,
    K,
    C,
    C_PADDED,
    relative_zero,
    absolute_zero,
    HAS_ORDER: tl.constexpr,
    CENTER: tl.constexpr,
    NORMALIZE: tl.constexpr,
    RAW: tl.constexpr,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
    SUM: tl.constexpr,
):
    x += b * stride_b
    unit += b * N * C_PADDED
    rank = block * ROWS + tl.arange(0, ROWS)
    inside = rank < N
    rows = position_of(order + b * N, rank, inside, N, HAS_ORDER).to(tl.int64) * stride_n
    mean_rows = rank.to(tl.int64)
    has_mean = inside
    if CENTER:
        c = class_of_rank(rank, offsets + b * (K + 1), N, K, STEPS)
        has_mean = inside & (c < K)
        mean_rows = (b * K + c) * C

    square = tl.zeros((ROWS,), SUM)
    centred_square = tl.zeros((ROWS,), SUM)
    for start in range(0, C, CHANNELS):
        channel = start + tl.arange(0, CHANNELS)
        mask = has_mean[:, None] & (channel < C)[None, :]
        columns = channel.to(tl.int64) * stride_c
        row, centred = _centred(x, rows, columns, mean, mean_rows, channel, mask, CENTER, SUM)
        square += tl.sum(row * row, 1)
        centred_square += tl.sum(centred * centred, 1)

    norm = tl.sqrt(centred_square)
    factor = tl.full((ROWS,), 1.0, SUM)
    if NORMALIZE:
        is_zero = norm < absolute_zero
        if CENTER:
            is_zero = is_zero | (norm <= relative_zero * tl.sqrt(square))
        factor = tl.where(is_zero, 0.0, 1.0 / tl.where(is_zero, 1.0, norm))
    factor = tl.where(norm < float("inf"), factor, float("nan"))
    tl.store(scale + b * N + rank, factor, mask=inside)

    for start in range(0, C_PADDED, CHANNELS):
        channel = start + tl.arange(0, CHANNELS)
        mask = has_mean[:, None] & (channel < C)[None, :]
        columns = channel.to(tl.int64) * stride_c
        row, centred = _centred(x, rows, columns, mean, mean_rows, channel, mask, CENTER, SUM)
        if not RAW:
            centred = centred * factor[:, None]
        centred = tl.where((factor == 0.0)[:, None], 0.0, centred)
        target = unit + rank.to(tl.int64)[:, None] * C_PADDED + channel[None, :]
        tl.store(target, centred.to(unit.dtype.element_ty), mask=inside[:, None])


@triton.jit
def _pack_values(
    value,  # [B, M, D]
    stride_b,
    stride_m,
    stride_d,
    order,  # [B, M]
    packed,  # [B, D, M]
    block,
    b,
    M,
    D,
    HAS_ORDER: tl.constexpr,
    ROWS: tl.constexpr,
):
    rank = block * ROWS + tl.arange(0, ROWS)
    inside = rank < M
    rows = position_of(order + b * M, rank, inside, M, HAS_ORDER).to(tl.int64) * stride_m
    for d in range(D):
        column = b * stride_b + tl.cast(d, tl.int64) * stride_d
        v = tl.load(value + column + rows, mask=inside, other=0.0)
        tl.store(packed + (b * D + d) * M + rank, v.to(packed.dtype.element_ty), mask=inside)


@triton.jit
def _unit_vectors_kernel(
    query,
    query_stride_b,
    query_stride_n,
    query_stride_c,
    query_order,
    query_offsets,
    key,
    key_stride_b,
    key_stride_n,
    key_stride_c,
    key_order,
    key_offsets,
    value,
    value_stride_b,
    value_stride_m,
    value_stride_d,
    query_mean,
    key_mean,
    query_unit,
    query_scale,
    key_unit,
    key_scale,
    packed_value,
    counters,  # [count], set to 0 for the kernel that follows
    count,
    N,
    M,
    K,
    C,
    D,
    C_PADDED,
    relative_zero,
    absolute_zero,
    QUERY_ORDER: tl.constexpr,
    KEY_ORDER: tl.constexpr,
    CENTER: tl.constexpr,
    NORMALIZE: tl.constexpr,
    RAW: tl.constexpr,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
    SUM: tl.constexpr,
):
    block = tl.program_id(0)
    b = tl.program_id(1).to(tl.int64)
    query_blocks = tl.cdiv(N, ROWS)
    if block < query_blocks:
        _pack_rows(
            query, query_stride_b, query_stride_n, query_stride_c, query_order, query_offsets,
            query_mean, query_unit, query_scale, block, b, N, K, C, C_PADDED,
            relative_zero, absolute_zero,
            QUERY_ORDER, CENTER, NORMALIZE, RAW, STEPS, ROWS, CHANNELS, SUM,
        )  # fmt: skip
    else:
        block = block - query_blocks
        _pack_rows(
            key, key_stride_b, key_stride_n, key_stride_c, key_order, key_offsets,
            key_mean, key_unit, key_scale, block, b, M, K, C, C_PADDED,
            relative_zero, absolute_zero,
            KEY_ORDER, CENTER, NORMALIZE, RAW, STEPS, ROWS, CHANNELS, SUM,
        )  # fmt: skip
        _pack_values(
            value, value_stride_b, value_stride_m, value_stride_d, key_order,
            packed_value, block, b, M, D, KEY_ORDER, ROWS,
        )  # fmt: skip
    programs = tl.num_programs(0) * tl.num_programs(1)
    program = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    for start in range(program * ROWS, count, programs * ROWS):
        i = start + tl.arange(0, ROWS)
        tl.store(counters + i, tl.zeros((ROWS,), tl.int32), mask=i < count)


def unit_vectors(
    query: Side,
    key: Side,
    value: Tensor | None,  # [B, M, D]
    *,
    center: bool,
    normalize: bool,
    precision: str,
    counters: Tensor | None = None,  # [count] int32
) -> tuple[Packed, Packed, Tensor]:
    """Pack both sides and the values [B, D, M], in one launch (two if centred)."""
    batch, length, channels = query.features.shape
    key_length, num_segments = key.features.shape[1], query.offsets.shape[1] - 1
    raw = is_raw(query.features, precision, center)
    dtype = product_dtype(query.features, precision, center)
    sums = accumulation_dtype(query.features.dtype)
    new = query.features.new_empty
    block = channel_block(channels, dtype)
    padded = triton.cdiv(channels, block) * block
    packed = [
        Packed(new((batch, n, padded), dtype=dtype), new((batch, n), dtype=sums), raw)
        for n in (length, key_length)
    ]
    values = 0 if value is None else value.shape[2]
    packed_value = new((batch, values, key_length), dtype=sums)
    means = class_means(query, key) if center else (packed_value, packed_value)
    blocks = triton.cdiv(length, PACKED_ROWS) + triton.cdiv(key_length, PACKED_ROWS)
    eps = torch.finfo(query.features.dtype).eps / torch.finfo(torch.float32).eps
    _unit_vectors_kernel[(blocks, batch)](
        *query.arguments,
        *key.arguments,
        *((packed_value, 0, 0, 0) if value is None else (value, *value.stride())),
        *means,
        *packed[0][:2],
        *packed[1][:2],
        packed_value,
        query.offsets if counters is None else counters,
        0 if counters is None else counters.numel(),
        length,
        key_length,
        num_segments,
        channels,
        values,
        padded,
        RELATIVE_ZERO * eps,
        ABSOLUTE_ZERO,
        QUERY_ORDER=query.order is not None,
        KEY_ORDER=key.order is not None,
        CENTER=center,
        NORMALIZE=normalize,
        RAW=raw,
        STEPS=search_steps(num_segments),
        ROWS=PACKED_ROWS,
        CHANNELS=min(block, 256),
        SUM=triton_dtype(sums),
    )
    return *packed, packed_value
