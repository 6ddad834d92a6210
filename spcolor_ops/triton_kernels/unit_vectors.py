"""Features in class order, as unit vectors in the type of the products, and the way back.

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
from .segments import class_of_rank, class_range, position_of, search_steps
from .tiles import channel_block

_ROWS = 16  # that one program packs
_MEAN_ROWS = 64  # that one program adds at a time
_MEAN_CHANNELS = 32  # that one program averages


class Side(NamedTuple):
    """The features of one image set and their class order."""

    features: Tensor  # [B, N, C]
    order: Tensor | None  # [B, N]
    offsets: Tensor  # [B, K + 1]

    @property
    def arguments(self) -> tuple:
        """What a kernel reads of one side; it follows the strides of the features alone."""
        order = self.offsets if self.order is None else self.order
        return (self.features, *self.features.stride(), order, self.offsets)

    @classmethod
    def of(cls, features: Tensor, order: Tensor | None, offsets: Tensor) -> "Side":
        """Return a side whose order and offsets are contiguous."""
        return cls(features, None if order is None else order.contiguous(), offsets.contiguous())


class Packed(NamedTuple):
    """One side in class order."""

    unit: Tensor  # [B, N, C_PADDED]; x itself where `is_raw`
    scale: Tensor  # [B, N]
    is_raw: bool

    @property
    def channels(self) -> int:
        """C rounded up to whole blocks; the channels beyond C are 0."""
        return self.unit.shape[2]


def is_raw(features: Tensor, precision: str, center: bool) -> bool:
    """Whether features are packed as they are."""
    own = {torch.bfloat16: ("ieee", "bf16"), torch.float16: ("ieee", "fp16")}
    return not center and precision in own.get(features.dtype, ())


def product_dtype(features: Tensor, precision: str, center: bool) -> torch.dtype:
    """Return the type in which the products' operands are packed."""
    if features.dtype == torch.float64 or is_raw(features, precision, center):
        return features.dtype
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)


# --- class means


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
    slices = triton.cdiv(channels, _MEAN_CHANNELS)
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
        ROWS=_MEAN_ROWS,
        CHANNELS=_MEAN_CHANNELS,
        SUM=triton_dtype(dtype),
    )
    return means


# --- packing


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
        v = tl.load(value + b * stride_b + rows + d * stride_d, mask=inside, other=0.0)
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
    blocks = triton.cdiv(length, _ROWS) + triton.cdiv(key_length, _ROWS)
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
        ROWS=_ROWS,
        CHANNELS=min(block, 256),
        SUM=triton_dtype(sums),
    )
    return *packed, packed_value


def triton_dtype(dtype: torch.dtype):
    """Return Triton's name of a type of sums."""
    return tl.float64 if dtype == torch.float64 else tl.float32


# --- gradients


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
    grid = (triton.cdiv(length, _ROWS), batch)
    block = min(channel_block(channels, grad_unit.dtype), 256)
    shape = {"HAS_ORDER": side.order is not None, "ROWS": _ROWS, "CHANNELS": block}
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
