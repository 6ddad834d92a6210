"""The backward: scores are computed again, twice, so that neither gradient needs atomics.

With ds_ij and p_ij of score_gradients.py:

    dq^_i = sum_j ds_ij k^_j,    dk^_j = sum_i ds_ij q^_i,    dv_j = sum_i p_ij g_warped_i

One kernel keeps a tile of queries and walks the keys of its class, the other keeps keys and walks
queries.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..reference.segments import accumulation_dtype
from .correspondence import (
    MOST_VALUES,
    load_rows,
    read_arguments,
    read_temperature,
    scores_of,
)
from .products import product_dtype, product_precision, triton_dtype, weighted_product
from .score_gradients import FIRST_VALUE, row_terms, score_gradients, value_products
from .segments import Side, class_range, position_of, query_tile, query_tiles, search_steps
from .tiles import backward_tile, channel_block, channel_slices
from .unit_vectors import unit_vectors
from .unit_vectors_backward import unit_vectors_backward


@triton.jit
def _query_gradient_kernel(
    query_unit,  # [B, N, C_PADDED]
    query_scale,  # [B, N]
    query_offsets,  # [B, K + 1]
    key_unit,  # [B, M, C_PADDED]
    key_scale,  # [B, M]
    key_order,  # [B, M]
    key_offsets,  # [B, K + 1]
    value,  # [B, D, M]
    terms,  # [B, FIRST_VALUE + D, N]
    matched,  # [B, N]
    temperature,  # []
    temperature_number,
    grad_unit,  # [B, N, C_PADDED]
    grad_temperature,  # [B, N], each row's share
    N,
    M,
    K,
    D,
    KEY_ORDER: tl.constexpr,
    ON_DEVICE: tl.constexpr,
    SOFTMAX: tl.constexpr,
    RAW: tl.constexpr,
    QUERY_GRADIENT: tl.constexpr,
    C_PADDED: tl.constexpr,
    CHANNELS: tl.constexpr,
    UNROLLED: tl.constexpr,
    GRADIENT_CHANNELS: tl.constexpr,
    PRECISION: tl.constexpr,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STAGES: tl.constexpr,
    SUM: tl.constexpr,
):
    b = tl.program_id(1).to(tl.int64)
    first_channel = tl.program_id(2) * GRADIENT_CHANNELS
    c, first, end = query_tile(tl.program_id(0), query_offsets + b * (K + 1), N, K, ROWS, STEPS)
    if first >= end:
        return
    begin, stop = class_range(key_offsets + b * (K + 1), c, M, K)
    stop = tl.where(c < K, stop, begin)

    query_unit += (b * N + first) * C_PADDED
    key_unit += (b * M + begin) * C_PADDED
    terms += b * (FIRST_VALUE + D) * N + first
    value += b * D * M + begin
    row = tl.arange(0, ROWS)
    inside = row < end - first
    rate = 1.0 / read_temperature(temperature, temperature_number, ON_DEVICE, SUM)
    match = tl.load(matched + b * N + first + row, mask=inside, other=-1)
    row_scale = tl.full((ROWS,), 1.0, SUM)
    if RAW:
        row_scale = tl.load(query_scale + b * N + first + row, mask=inside, other=1.0)

    total = tl.zeros((ROWS, GRADIENT_CHANNELS), SUM)
    share = tl.zeros((ROWS,), SUM)
    rows = load_rows(query_unit, 0, row, end - first, 0, CHANNELS, C_PADDED)
    for start in tl.range(0, stop - begin, COLUMNS, num_stages=STAGES):
        column = start + tl.arange(0, COLUMNS)
        has_column = column < stop - begin
        s = scores_of(
            rows, query_unit, end - first, key_unit, start, stop - begin,
            C_PADDED, CHANNELS, COLUMNS, UNROLLED, PRECISION,
        )  # fmt: skip
        column_scale = tl.full((COLUMNS,), 1.0, SUM)
        if RAW:
            column_scale = tl.load(key_scale + b * M + begin + column, mask=has_column, other=1.0)
            s *= row_scale[:, None] * column_scale[None, :]
        position = position_of(key_order + b * M, begin + column, has_column, M, KEY_ORDER)
        products = value_products(terms, row, inside, value, column, has_column, N, M, D, s, False)
        related = inside[:, None] & has_column[None, :]
        is_match = related & (position[None, :] == match[:, None])
        ds, softmax_part, _ = score_gradients(
            s, products, terms, row, inside, is_match, related, rate, N, SOFTMAX, False
        )
        share += tl.sum(softmax_part * s, 1)
        if QUERY_GRADIENT:
            if RAW:
                ds *= column_scale[None, :]
            keys = load_rows(
                key_unit, start, tl.arange(0, COLUMNS), stop - begin, first_channel,
                GRADIENT_CHANNELS, C_PADDED,
            )  # fmt: skip
            total += weighted_product(ds, keys, PRECISION)
    if first_channel == 0:
        tl.store(grad_temperature + b * N + first + row, -share * rate, mask=inside)
    if QUERY_GRADIENT:
        channel = first_channel + tl.arange(0, GRADIENT_CHANNELS)
        target = grad_unit + (b * N + first) * C_PADDED
        tl.store(target + row[:, None] * C_PADDED + channel[None, :], total, mask=inside[:, None])


@triton.jit(do_not_specialize=["first_value"])
def _key_gradient_kernel(
    query_unit,  # [B, N, C_PADDED]
    query_scale,  # [B, N]
    query_offsets,  # [B, K + 1]
    key_unit,  # [B, M, C_PADDED]
    key_scale,  # [B, M]
    key_order,  # [B, M]
    key_offsets,  # [B, K + 1]
    value,  # [B, D, M]
    terms,  # [B, FIRST_VALUE + D, N]
    matched,  # [B, N]
    temperature,  # []
    temperature_number,
    grad_unit,  # [B, M, C_PADDED]
    grad_value,  # [B, M, D]
    N,
    M,
    K,
    D,
    first_value,  # of the VALUES whose gradient is summed
    KEY_ORDER: tl.constexpr,
    ON_DEVICE: tl.constexpr,
    SOFTMAX: tl.constexpr,
    RAW: tl.constexpr,
    KEY_GRADIENT: tl.constexpr,
    VALUE_GRADIENT: tl.constexpr,
    VALUES: tl.constexpr,
    VALUES_PADDED: tl.constexpr,
    C_PADDED: tl.constexpr,
    CHANNELS: tl.constexpr,
    UNROLLED: tl.constexpr,
    GRADIENT_CHANNELS: tl.constexpr,
    PRECISION: tl.constexpr,
    STEPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STAGES: tl.constexpr,
    SUM: tl.constexpr,
):
    b = tl.program_id(1).to(tl.int64)
    first_channel = tl.program_id(2) * GRADIENT_CHANNELS
    c, first, end = query_tile(tl.program_id(0), key_offsets + b * (K + 1), M, K, ROWS, STEPS)
    if first >= end:
        return
    begin, stop = class_range(query_offsets + b * (K + 1), c, N, K)
    stop = tl.where(c < K, stop, begin)

    query_unit += (b * N + begin) * C_PADDED
    key_unit += (b * M + first) * C_PADDED
    terms += b * (FIRST_VALUE + D) * N + begin
    value += b * D * M + first
    row = tl.arange(0, ROWS)
    inside = row < end - first
    rate = 1.0 / read_temperature(temperature, temperature_number, ON_DEVICE, SUM)
    position = position_of(key_order + b * M, first + row, inside, M, KEY_ORDER)
    row_scale = tl.full((ROWS,), 1.0, SUM)
    if RAW:
        row_scale = tl.load(key_scale + b * M + first + row, mask=inside, other=1.0)

    total = tl.zeros((ROWS, GRADIENT_CHANNELS), SUM)
    d = tl.arange(0, VALUES_PADDED).to(tl.int64)
    value_total = tl.zeros((ROWS, VALUES_PADDED), SUM)
    rows = load_rows(key_unit, 0, row, end - first, 0, CHANNELS, C_PADDED)
    for start in tl.range(0, stop - begin, COLUMNS, num_stages=STAGES):
        column = start + tl.arange(0, COLUMNS)
        has_column = column < stop - begin
        s = scores_of(
            rows, key_unit, end - first, query_unit, start, stop - begin,
            C_PADDED, CHANNELS, COLUMNS, UNROLLED, PRECISION,
        )  # fmt: skip
        column_scale = tl.full((COLUMNS,), 1.0, SUM)
        if RAW:
            column_scale = tl.load(query_scale + b * N + begin + column, mask=has_column, other=1.0)
            s *= row_scale[:, None] * column_scale[None, :]
        match = tl.load(matched + b * N + begin + column, mask=has_column, other=-1)
        products = value_products(terms, column, has_column, value, row, inside, N, M, D, s, True)
        related = inside[:, None] & has_column[None, :]
        is_match = related & (position[:, None] == match[None, :])
        ds, _, p = score_gradients(
            s, products, terms, column, has_column, is_match, related, rate, N, SOFTMAX, True
        )
        if VALUE_GRADIENT:
            mask = has_column[:, None] & (d < VALUES)[None, :]
            grads = tl.load(
                terms + (d + first_value + FIRST_VALUE)[None, :] * N + column[:, None],
                mask=mask,
                other=0.0,
            )
            value_total += weighted_product(p, grads, PRECISION)
        if KEY_GRADIENT:
            if RAW:
                ds *= column_scale[None, :]
            queries = load_rows(
                query_unit, start, tl.arange(0, COLUMNS), stop - begin, first_channel,
                GRADIENT_CHANNELS, C_PADDED,
            )  # fmt: skip
            total += weighted_product(ds, queries, PRECISION)
    if VALUE_GRADIENT and first_channel == 0:
        target = grad_value + (b * M + position)[:, None] * D + first_value + d[None, :]
        mask = inside[:, None] & (d < VALUES)[None, :]
        tl.store(target, value_total.to(grad_value.dtype.element_ty), mask=mask)
    if KEY_GRADIENT:
        channel = first_channel + tl.arange(0, GRADIENT_CHANNELS)
        target = grad_unit + (b * M + first) * C_PADDED
        tl.store(target + row[:, None] * C_PADDED + channel[None, :], total, mask=inside[:, None])


def correspondence_backward(
    grad_warped: Tensor | None,  # [B, N, D]
    grad_similarity: Tensor | None,  # [B, N]
    grad_lse: Tensor | None,  # [B, N]
    query: Tensor,  # [B, N, C]
    key: Tensor,  # [B, M, C]
    value: Tensor | None,  # [B, M, D]
    query_order: Tensor | None,  # [B, N]
    query_offsets: Tensor,  # [B, K + 1]
    key_order: Tensor | None,  # [B, M]
    key_offsets: Tensor,  # [B, K + 1]
    temperature: Tensor,  # []
    warped: Tensor,  # [B, N, D]
    similarity: Tensor,  # [B, N]
    index: Tensor,  # [B, N]
    log_mass: Tensor,  # [B, N]
    center: bool,
    normalize: bool,
    precision: str,
    deterministic: bool,
    weight_cutoff: float,
    query_grad: bool,
    key_grad: bool,
    value_grad: bool,
    temperature_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of query, key, value and temperature; an unwanted one is empty.

    Nothing is dropped below `weight_cutoff`: a tensor core multiplies whole tiles.
    """
    batch, length, channels = query.shape
    key_length, num_segments = key.shape[1], query_offsets.shape[1] - 1
    values = 0 if value is None else value.shape[2]
    sums = accumulation_dtype(query.dtype)
    softmax = grad_warped is not None or grad_lse is not None
    if not (batch and length and key_length):
        return tuple(
            x.new_zeros(x.shape) if want else query.new_empty(0)
            for x, want in (
                (query, query_grad),
                (key, key_grad),
                (value, value_grad),
                (temperature, temperature_grad),
            )
        )

    dtype = product_dtype(query, precision, center)
    query_side = Side.of(query, query_order, query_offsets)
    key_side = Side.of(key, key_order, key_offsets)
    packed_query, packed_key, packed_value = unit_vectors(
        query_side, key_side, value, center=center, normalize=normalize, precision=precision
    )
    rows = row_terms(
        grad_warped,
        grad_similarity,
        grad_lse,
        warped,
        similarity,
        index,
        log_mass,
        query_side.order,
    )
    products = product_precision(precision, packed_query.is_raw)
    class_length = max(length, key_length) / num_segments
    tile = backward_tile(query.device, dtype, products, class_length)
    temperature_pointer, temperature_number, on_device = read_arguments(temperature, query.device)
    padded = packed_query.channels
    gradient_channels = min(tile.gradient_channels, channel_block(channels, dtype))
    inputs = (
        packed_query.unit,
        packed_query.scale,
        query_side.offsets,
        packed_key.unit,
        packed_key.scale,
        *key_side.arguments[-2:],
        packed_value,
        *rows,
        temperature_pointer,
        temperature_number,
    )
    sizes = (length, key_length, num_segments, values)
    options = {
        "KEY_ORDER": key_order is not None,
        "ON_DEVICE": on_device,
        "SOFTMAX": softmax,
        "RAW": packed_query.is_raw,
        "C_PADDED": padded,
        **channel_slices(query.device, tile, channels, dtype),
        "GRADIENT_CHANNELS": gradient_channels,
        "PRECISION": products,
        "STEPS": search_steps(num_segments),
        "ROWS": tile.rows,
        "COLUMNS": tile.columns,
        "STAGES": tile.num_stages,
        "SUM": triton_dtype(sums),
        "num_warps": tile.num_warps,
    }

    grad_query, grad_key, grad_value, grad_temperature = (query.new_empty(0) for _ in range(4))
    if query_grad or temperature_grad:
        grad_unit = query.new_empty((batch, length, padded), dtype=sums)
        shares = query.new_empty((batch, length), dtype=sums)
        slices = padded // gradient_channels if query_grad else 1
        tiles = query_tiles(length, num_segments, tile.rows)
        _query_gradient_kernel[(tiles, batch, slices)](
            *inputs, grad_unit, shares, *sizes, QUERY_GRADIENT=query_grad, **options
        )
        if temperature_grad:
            grad_temperature = shares.sum().to(temperature.dtype)
        if query_grad:
            grad_query = unit_vectors_backward(
                query_side, packed_query, grad_unit, center=center, normalize=normalize
            )
    if key_grad or value_grad:
        grad_unit = query.new_empty((batch, key_length, padded), dtype=sums)
        if value_grad:
            grad_value = torch.zeros_like(value, memory_format=torch.contiguous_format)
        sums_values = value_grad and grad_warped is not None
        tiles = query_tiles(key_length, num_segments, tile.rows)
        for first in range(0, max(values, 1), MOST_VALUES):
            count = min(values - first, MOST_VALUES)
            with_key = key_grad and first == 0
            if not with_key and not sums_values:
                break
            _key_gradient_kernel[(tiles, batch, padded // gradient_channels if with_key else 1)](
                *inputs,
                grad_unit,
                grad_value,
                *sizes,
                first,
                KEY_GRADIENT=with_key,
                VALUE_GRADIENT=sums_values and count > 0,
                VALUES=count,
                VALUES_PADDED=max(16, triton.next_power_of_2(count)),
                **options,
            )
        if key_grad:
            grad_key = unit_vectors_backward(
                key_side, packed_key, grad_unit, center=center, normalize=normalize
            )
    return grad_query, grad_key, grad_value, grad_temperature
