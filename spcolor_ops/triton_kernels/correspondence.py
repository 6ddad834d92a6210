"""The fused forward: tensor-core scores, online softmax, maximum and values in one pass."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..reference.segments import accumulation_dtype
from .products import (
    is_raw,
    product,
    product_dtype,
    product_precision,
    triton_dtype,
    weighted_product,
)
from .segments import Side, class_range, position_of, query_tile, query_tiles, search_steps
from .tiles import channel_slices, forward_tile, key_splits
from .unit_vectors import unit_vectors

LOG2_E = tl.constexpr(1.4426950408889634)
_SEPARATE_VALUES = 4  # up to so many values are summed by multiply-adds, more by a matrix product
MOST_VALUES = 128  # of one launch


@triton.jit
def read_temperature(temperature, number, ON_DEVICE: tl.constexpr, SUM: tl.constexpr):
    """Return the temperature: that in memory, or the number; NaN unless above 0."""
    if ON_DEVICE:
        number = tl.load(temperature)
    number = tl.cast(number, SUM)
    return tl.where(number > 0, number, float("nan"))


@triton.jit
def load_rows(
    unit, first, row, end, first_channel, CHANNELS: tl.constexpr, C_PADDED: tl.constexpr
):  # fmt: skip
    """Return [rows, CHANNELS] of the packed unit vectors first + row, 0 from `end` on."""
    unit += tl.cast(first, tl.int64) * C_PADDED
    channel = first_channel + tl.arange(0, CHANNELS)
    mask = (first + row < end)[:, None]
    return tl.load(unit + row[:, None] * C_PADDED + channel[None, :], mask=mask, other=0.0)


@triton.jit
def scores_of(
    rows,  # [BLOCK, CHANNELS], the first slice of the rows that stay
    row_unit,  # [., C_PADDED]
    row_end,
    column_unit,  # [., C_PADDED]
    first_column,
    column_end,
    C_PADDED: tl.constexpr,
    CHANNELS: tl.constexpr,
    COLUMNS: tl.constexpr,
    UNROLLED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Return rows @ columns^T [BLOCK, COLUMNS], one slice of channels after another."""
    columns = load_rows(
        column_unit, first_column, tl.arange(0, COLUMNS), column_end, 0, CHANNELS, C_PADDED
    )
    s = product(rows, tl.trans(columns), PRECISION)
    if UNROLLED:
        for channel in tl.static_range(CHANNELS, C_PADDED, CHANNELS):
            s += _slice_of_scores(
                row_unit, row_end, column_unit, first_column, column_end, channel,
                C_PADDED, CHANNELS, rows.shape[0], COLUMNS, PRECISION,
            )  # fmt: skip
    else:
        for channel in range(CHANNELS, C_PADDED, CHANNELS):
            s += _slice_of_scores(
                row_unit, row_end, column_unit, first_column, column_end, channel,
                C_PADDED, CHANNELS, rows.shape[0], COLUMNS, PRECISION,
            )  # fmt: skip
    return s


@triton.jit
def _slice_of_scores(
    row_unit,  # [., C_PADDED]
    row_end,
    column_unit,  # [., C_PADDED]
    first_column,
    column_end,
    channel,  # the first of the slice
    C_PADDED: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    rows = load_rows(row_unit, 0, tl.arange(0, ROWS), row_end, channel, CHANNELS, C_PADDED)
    columns = load_rows(
        column_unit, first_column, tl.arange(0, COLUMNS), column_end, channel, CHANNELS, C_PADDED
    )
    return product(rows, tl.trans(columns), PRECISION)


@triton.jit
def _add_values(
    sums,  # a tuple of D sums [ROWS], or one of a matrix [ROWS, D_PADDED]
    keep,  # [ROWS], factor of what is already there
    p,  # [ROWS, COLUMNS]
    value,  # [D, M]
    rank,
    end,
    M,
    D: tl.constexpr,
    D_PADDED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    added = ()
    if D_PADDED == 0:
        for d in tl.static_range(D):
            v = tl.load(value + tl.cast(d, tl.int64) * M + rank, mask=rank < end, other=0.0)
            added = added + (sums[d] * keep + tl.sum(p * v[None, :], 1),)
    else:
        d = tl.arange(0, D_PADDED).to(tl.int64)
        mask = (rank < end)[:, None] & (d < D)[None, :]
        v = tl.load(value + d[None, :] * M + rank[:, None], mask=mask, other=0.0)
        added = (sums[0] * keep[:, None] + weighted_product(p, v, PRECISION),)
    return added


@triton.jit
def _no_values(ROWS: tl.constexpr, D: tl.constexpr, D_PADDED: tl.constexpr, SUM: tl.constexpr):
    sums = ()
    if D_PADDED == 0:
        for _ in tl.static_range(D):
            sums = sums + (tl.zeros((ROWS,), SUM),)
    else:
        sums = (tl.zeros((ROWS, D_PADDED), SUM),)
    return sums


@triton.jit
def _store_values(
    target,
    row,  # [ROWS], where a row's values begin
    mask,
    sums,
    factor,  # [ROWS]
    D: tl.constexpr,
    D_PADDED: tl.constexpr,
):
    if D_PADDED == 0:
        for d in tl.static_range(D):
            tl.store(target + row + d, sums[d] * factor, mask=mask)
    else:
        d = tl.arange(0, D_PADDED)
        mask = mask[:, None] & (d < D)[None, :]
        tl.store(target + row[:, None] + d[None, :], sums[0] * factor[:, None], mask=mask)


@triton.jit
def _part_line(split, b, rank, N):
    """Return where a part's results of some rows are, in units of rows."""
    return (tl.cast(split, tl.int64) * tl.num_programs(1) + b) * N + rank


@triton.jit
def _merge_parts(
    partial,  # [splits, B, N, 2]
    partial_index,  # [splits, B, N]
    partial_warped,  # [splits, B, N, D]
    parts,
    factor,  # [ROWS]
    rank,
    inside,
    b,
    N,
    SOFTMAX: tl.constexpr,
    D: tl.constexpr,
    D_PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    SUM: tl.constexpr,
):
    """Add all parts up, in their order and not in that of arrival."""
    best = tl.full((ROWS,), float("-inf"), SUM)
    where = tl.zeros((ROWS,), tl.int32)
    mass = tl.zeros((ROWS,), SUM)
    sums = _no_values(ROWS, D, D_PADDED, SUM)
    for split in range(parts):
        line = _part_line(split, b, rank, N)
        part_best = tl.load(partial + 2 * line, mask=inside, other=0.0, cache_modifier=".cg")
        part_mass = tl.load(partial + 2 * line + 1, mask=inside, other=0.0, cache_modifier=".cg")
        part_where = tl.load(partial_index + line, mask=inside, other=0, cache_modifier=".cg")
        where = tl.where(part_best > best, part_where, where)
        highest = tl.maximum(best, part_best)
        if SOFTMAX:
            keep = tl.exp2((best - highest) * factor)
            part_keep = tl.exp2((part_best - highest) * factor)
            mass = mass * keep + part_mass * part_keep
            sums = _merge_values(
                sums, keep, partial_warped, line * D, inside, part_keep, D, D_PADDED
            )
        else:
            mass += part_mass
        best = highest
    return best, where, mass, sums


@triton.jit
def _merge_values(
    sums, keep, part, row, mask, part_keep, D: tl.constexpr, D_PADDED: tl.constexpr
):  # fmt: skip
    """Return sums * keep + part * part_keep, where row is the first value of each row."""
    merged = ()
    if D_PADDED == 0:
        for d in tl.static_range(D):
            v = tl.load(part + row + d, mask=mask, other=0.0, cache_modifier=".cg")
            merged = merged + (sums[d] * keep + v * part_keep,)
    else:
        d = tl.arange(0, D_PADDED)
        mask = mask[:, None] & (d < D)[None, :]
        v = tl.load(part + row[:, None] + d[None, :], mask=mask, other=0.0, cache_modifier=".cg")
        merged = (sums[0] * keep[:, None] + v * part_keep[:, None],)
    return merged


@triton.jit
def _finish(
    best,  # [ROWS]
    where,  # [ROWS], rank of the maximum among all keys of the image
    mass,  # [ROWS], sum of exp((s - best) / tau)
    sums,
    row_scale,
    tau,
    rank,
    inside,
    related,
    query_order,
    key_order,
    warped,
    similarity,
    index,
    lse,
    log_mass,
    b,
    N,
    M,
    first_value,
    ALL_VALUES: tl.constexpr,
    QUERY_ORDER: tl.constexpr,
    KEY_ORDER: tl.constexpr,
    SOFTMAX: tl.constexpr,
    D: tl.constexpr,
    D_PADDED: tl.constexpr,
):
    """Write the results of some rows to their positions."""
    row = b * N + position_of(query_order + b * N, rank, inside, N, QUERY_ORDER)
    best = tl.where(mass == mass, best * row_scale, float("nan"))
    tl.store(similarity + row, tl.where(related, best, 0.0), mask=inside)
    matched = position_of(key_order + b * M, where, inside & related, M, KEY_ORDER)
    tl.store(index + row, tl.where(related, matched, -1).to(tl.int64), mask=inside)
    if SOFTMAX:
        mass = tl.where(tau > 0, mass, float("nan"))
        logarithm = tl.log(mass)
        alone = float("-inf")
        tl.store(log_mass + row, tl.where(related, logarithm, alone), mask=inside)
        tl.store(lse + row, tl.where(related, best / tau + logarithm, alone), mask=inside)
        share = tl.where(related, 1.0 / mass, 0.0)
        _store_values(warped, row * ALL_VALUES + first_value, inside, sums, share, D, D_PADDED)


# Specialised on these, every number of splits would wait for a compilation of its own.
@triton.jit(do_not_specialize=["splits", "first_value"])
def _correspondence_kernel(
    query_unit,  # [B, N, C_PADDED]
    query_scale,  # [B, N]
    query_order,  # [B, N]
    query_offsets,  # [B, K + 1]
    key_unit,  # [B, M, C_PADDED]
    key_scale,  # [B, M]
    key_order,  # [B, M]
    key_offsets,  # [B, K + 1]
    value,  # [B, ALL_VALUES, M]
    temperature,  # []
    temperature_number,
    warped,  # [B, N, ALL_VALUES]
    similarity,  # [B, N]
    index,  # [B, N]
    lse,  # [B, N]
    log_mass,  # [B, N]
    partial,  # [splits, B, N, 2], maximum and mass of a part of the keys
    partial_index,  # [splits, B, N]
    partial_warped,  # [splits, B, N, D]
    arrived,  # [B, tiles]
    splits,  # of the keys of each tile
    N,
    M,
    K,
    first_value,  # of the D that this launch sums
    ALL_VALUES: tl.constexpr,
    QUERY_ORDER: tl.constexpr,
    KEY_ORDER: tl.constexpr,
    ON_DEVICE: tl.constexpr,
    SOFTMAX: tl.constexpr,
    RAW: tl.constexpr,
    D: tl.constexpr,
    D_PADDED: tl.constexpr,
    C_PADDED: tl.constexpr,
    CHANNELS: tl.constexpr,
    UNROLLED: tl.constexpr,
    PRECISION: tl.constexpr,
    IS_SPLIT: tl.constexpr,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STAGES: tl.constexpr,
    SUM: tl.constexpr,
):
    tile, split = tl.program_id(0) // splits, tl.program_id(0) % splits
    b = tl.program_id(1).to(tl.int64)
    c, first, end = query_tile(tile, query_offsets + b * (K + 1), N, K, ROWS, STEPS)
    if first >= end:
        return
    key_begin, key_end = class_range(key_offsets + b * (K + 1), c, M, K)
    key_end = tl.where(c < K, key_end, key_begin)
    part = tl.cdiv(tl.cdiv(key_end - key_begin, splits), COLUMNS) * COLUMNS
    parts = tl.cdiv(key_end - key_begin, tl.maximum(part, 1))
    if split >= tl.maximum(parts, 1):  # rows without keys have a program too
        return
    begin = key_begin + split * part
    stop = tl.minimum(begin + part, key_end)

    query_unit += (b * N + first) * C_PADDED
    key_unit += (b * M + begin) * C_PADDED
    key_scale += b * M + begin
    value += (b * ALL_VALUES + first_value) * M + begin
    row = tl.arange(0, ROWS)
    inside = row < end - first
    rank = first + row
    tau = read_temperature(temperature, temperature_number, ON_DEVICE, SUM)
    # A bad temperature makes the softmax NaN at the end, and leaves the maximum alone.
    factor = tl.where(tau > 0, LOG2_E / tau, 1.0)
    row_scale = tl.full((ROWS,), 1.0, SUM)
    if RAW:  # a row's own scale leaves its order alone, so it waits for the end
        row_scale = tl.load(query_scale + b * N + rank, mask=inside, other=1.0)
        row_scale = tl.where(row_scale == 0, 1.0, row_scale)  # its vector is packed as 0

    best = tl.full((ROWS,), float("-inf"), SUM)
    where = tl.zeros((ROWS,), tl.int32)
    mass = tl.zeros((ROWS,), SUM)
    sums = _no_values(ROWS, D, D_PADDED, SUM)
    rows = load_rows(query_unit, 0, row, end - first, 0, CHANNELS, C_PADDED)
    for start in tl.range(0, stop - begin, COLUMNS, num_stages=STAGES):
        column = start + tl.arange(0, COLUMNS)
        s = scores_of(
            rows, query_unit, end - first, key_unit, start, stop - begin,
            C_PADDED, CHANNELS, COLUMNS, UNROLLED, PRECISION,
        )  # fmt: skip
        if RAW:
            s *= tl.load(key_scale + column, mask=column < stop - begin, other=1.0)[None, :]
        s = tl.where((column < stop - begin)[None, :], s, float("-inf"))
        highest = tl.max(s, 1)
        lowest = tl.min(tl.where(s == highest[:, None], column[None, :], 2147483647), 1)
        where = tl.where(highest > best, lowest, where)
        highest = tl.maximum(best, highest)
        if SOFTMAX:
            p = tl.exp2((s - highest[:, None]) * (factor * row_scale)[:, None])
            keep = tl.exp2((best - highest) * (factor * row_scale))
            mass = mass * keep + tl.sum(p, 1)
            sums = _add_values(
                sums, keep, p, value, column, stop - begin, M, D, D_PADDED, PRECISION
            )
        else:  # the sum of scores is NaN where one of them is
            mass += tl.sum(tl.where((column < stop - begin)[None, :], s, 0.0), 1)
        best = highest
    where += begin

    if not IS_SPLIT:
        _finish(
            best, where, mass, sums, row_scale, tau, rank, inside, key_end > key_begin,
            query_order, key_order, warped, similarity, index, lse, log_mass, b, N, M, first_value,
            ALL_VALUES, QUERY_ORDER, KEY_ORDER, SOFTMAX, D, D_PADDED,
        )  # fmt: skip
    else:
        line = _part_line(split, b, rank, N)
        tl.store(partial + 2 * line, best, mask=inside)
        tl.store(partial + 2 * line + 1, mass, mask=inside)
        tl.store(partial_index + line, where, mask=inside)
        one = tl.full((ROWS,), 1.0, SUM)
        _store_values(partial_warped, line * D, inside, sums, one, D, D_PADDED)
        # Every thread's stores must be out before one of them says so.
        tl.debug_barrier()
        tiles = tl.num_programs(0) // splits
        if tl.atomic_add(arrived + b * tiles + tile, 1, sem="acq_rel") >= parts - 1:
            best, where, mass, sums = _merge_parts(
                partial, partial_index, partial_warped, parts, factor * row_scale,
                rank, inside, b, N, SOFTMAX, D, D_PADDED, ROWS, SUM,
            )  # fmt: skip
            _finish(
                best, where, mass, sums, row_scale, tau, rank, inside, key_end > key_begin,
                query_order, key_order, warped, similarity, index, lse, log_mass, b, N, M,
                first_value, ALL_VALUES, QUERY_ORDER, KEY_ORDER, SOFTMAX, D, D_PADDED,
            )  # fmt: skip


def value_shape(count: int) -> int:
    """Return the D_PADDED of `count` values: 0 where they are summed one by one."""
    return 0 if count <= _SEPARATE_VALUES else max(16, triton.next_power_of_2(count))


def read_arguments(temperature: Tensor, device: torch.device) -> tuple:
    """Return (pointer, number, on device): a float32 on the CPU is a number and costs no launch."""
    if temperature.device.type == "cpu" and temperature.dtype == torch.float32:
        return None, float(temperature), False
    if temperature.device != device:  # a number; a copy from the CPU would wait for the device
        temperature = torch.full((), float(temperature), dtype=temperature.dtype, device=device)
    return temperature, 1.0, True


def correspondence(
    query: Tensor,  # [B, N, C]
    key: Tensor,  # [B, M, C]
    value: Tensor | None,  # [B, M, D]
    query_order: Tensor | None,  # [B, N]
    query_offsets: Tensor,  # [B, K + 1]
    key_order: Tensor | None,  # [B, M]
    key_offsets: Tensor,  # [B, K + 1]
    temperature: Tensor,  # []
    center: bool,
    normalize: bool,
    precision: str,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return (warped [B, N, D], similarity, index, lse, log_mass [B, N] each)."""
    batch, length, channels = query.shape
    key_length, num_segments = key.shape[1], query_offsets.shape[1] - 1
    values = 0 if value is None else value.shape[2]
    sums = accumulation_dtype(query.dtype)
    softmax_length = 0 if value is None else length
    warped = query.new_empty((batch, length, values), dtype=sums)
    similarity = query.new_empty((batch, length), dtype=sums)
    index = query.new_empty((batch, length), dtype=torch.int64)
    lse = query.new_empty((batch, softmax_length), dtype=sums)
    log_mass = torch.empty_like(lse)
    if batch == 0 or length == 0:
        return warped, similarity, index, lse, log_mass

    query_side = Side.of(query, query_order, query_offsets)
    key_side = Side.of(key, key_order, key_offsets)
    dtype = product_dtype(query, precision, center)
    products = product_precision(precision, is_raw(query, precision, center))
    tile = forward_tile(query.device, dtype, products, length / num_segments)
    tiles = query_tiles(length, num_segments, tile.rows)
    splits = (
        1
        if values > MOST_VALUES
        else key_splits(
            query.device,
            batch * triton.cdiv(length, tile.rows),
            triton.cdiv(key_length, tile.columns),
        )
    )
    arrived = query.new_empty((batch, tiles if splits > 1 else 0), dtype=torch.int32)
    packed_query, packed_key, packed_value = unit_vectors(
        query_side,
        key_side,
        value,
        center=center,
        normalize=normalize,
        precision=precision,
        counters=arrived,
    )
    partial_rows = (splits, batch, length if splits > 1 else 0)
    partial = query.new_empty((*partial_rows, 2), dtype=sums)
    partial_index = query.new_empty(partial_rows, dtype=torch.int32)
    temperature_arguments = read_arguments(temperature, query.device)
    for first in range(0, max(values, 1), MOST_VALUES):
        count = min(values - first, MOST_VALUES)
        _correspondence_kernel[(tiles * splits, batch)](
            packed_query.unit,
            packed_query.scale,
            *query_side.arguments[-2:],
            packed_key.unit,
            packed_key.scale,
            *key_side.arguments[-2:],
            packed_value,
            *temperature_arguments[:2],
            warped,
            similarity,
            index,
            lse,
            log_mass,
            partial,
            partial_index,
            query.new_empty((*partial_rows, count), dtype=sums),
            arrived,
            splits,
            length,
            key_length,
            num_segments,
            first,
            ALL_VALUES=values,
            QUERY_ORDER=query_order is not None,
            KEY_ORDER=key_order is not None,
            ON_DEVICE=temperature_arguments[2],
            SOFTMAX=value is not None,
            RAW=packed_query.is_raw,
            D=count,
            D_PADDED=value_shape(count),
            C_PADDED=packed_query.channels,
            **channel_slices(query.device, tile, channels, dtype),
            PRECISION=products,
            IS_SPLIT=splits > 1,
            STEPS=search_steps(num_segments),
            ROWS=tile.rows,
            COLUMNS=tile.columns,
            STAGES=tile.num_stages,
            SUM=triton_dtype(sums),
            num_warps=tile.num_warps,
        )
    return warped, similarity, index, lse, log_mass
