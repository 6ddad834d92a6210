"""The mean feature of every class of every image."""

import triton
import triton.language as tl
from torch import Tensor

from ..reference.segments import accumulation_dtype
from .products import triton_dtype
from .segments import Side, class_range, position_of

_ROWS = 64  # that one program adds at a time
_CHANNELS = 32  # that one program averages


@triton.jit
def _class_mean(
    x,  # [B, N, C]
    stride_b,
    stride_n,
    stride_c,
    order,  # [B, N]
    offsets,  # [B, K + 1]
    mean,  # [B, K, C]
    channel,
    b,
    c,
    N,
    K,
    C,
    HAS_ORDER: tl.constexpr,
    ROWS: tl.constexpr,
    SUM: tl.constexpr,
):
    x += b * stride_b
    begin, end = class_range(offsets + b * (K + 1), c, N, K)
    has_channel = channel < C
    columns = channel.to(tl.int64) * stride_c
    # Deviations from the first row: equal rows then have exactly their own value as mean.
    first = position_of(order + b * N, begin, begin < end, N, HAS_ORDER).to(tl.int64) * stride_n
    origin = tl.load(x + first + columns, mask=has_channel & (begin < end), other=0.0).to(SUM)
    total = tl.zeros((ROWS, channel.shape[0]), SUM)
    for start in range(begin, end, ROWS):
        rank = start + tl.arange(0, ROWS)
        rows = position_of(order + b * N, rank, rank < end, N, HAS_ORDER).to(tl.int64) * stride_n
        mask = (rank < end)[:, None] & has_channel[None, :]
        row = tl.load(x + rows[:, None] + columns[None, :], mask=mask, other=0.0).to(SUM)
        total += tl.where(mask, row - origin[None, :], 0.0)
    average = origin + tl.sum(total, 0) / tl.maximum(end - begin, 1).to(SUM)
    tl.store(mean + (b * K + c) * C + channel, average, mask=has_channel)


@triton.jit
def _class_means_kernel(
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
    query_mean,  # [B, K, C]
    key_mean,  # [B, K, C]
    slices,  # of channels
    N,
    M,
    K,
    C,
    QUERY_ORDER: tl.constexpr,
    KEY_ORDER: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
    SUM: tl.constexpr,
):
    c = tl.program_id(0)
    b = tl.program_id(1).to(tl.int64)
    channel = (tl.program_id(2) % slices) * CHANNELS + tl.arange(0, CHANNELS)
    if tl.program_id(2) < slices:
        _class_mean(
            query, query_stride_b, query_stride_n, query_stride_c, query_order, query_offsets,
            query_mean, channel, b, c, N, K, C, QUERY_ORDER, ROWS, SUM,
        )  # fmt: skip
    else:
        _class_mean(
            key, key_stride_b, key_stride_n, key_stride_c, key_order, key_offsets,
            key_mean, channel, b, c, M, K, C, KEY_ORDER, ROWS, SUM,
        )  # fmt: skip


def class_means(*sides: Side) -> list[Tensor]:
    """Return the mean feature of every class of every image, [B, K, C] for each side."""
    query, key = sides[0], sides[-1]
    batch, length, channels = query.features.shape
    num_segments = query.offsets.shape[1] - 1
    dtype = accumulation_dtype(query.features.dtype)
    means = [
        side.features.new_empty((batch, num_segments, channels), dtype=dtype) for side in sides
    ]
    slices = triton.cdiv(channels, _CHANNELS)
    _class_means_kernel[(num_segments, batch, len(sides) * slices)](
        *query.arguments,
        *key.arguments,
        means[0],
        means[-1],
        slices,
        length,
        key.features.shape[1],
        num_segments,
        channels,
        QUERY_ORDER=query.order is not None,
        KEY_ORDER=key.order is not None,
        ROWS=_ROWS,
        CHANNELS=_CHANNELS,
        SUM=triton_dtype(dtype),
    )
    return means
