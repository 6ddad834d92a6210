"""Class order of positions: a counting sort in which every class finds its own ranks."""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 2048


@triton.jit
def _buckets(labels, i, N, K, stride):
    """Return the class of the positions i, K for "no class"; compared in the labels' own type."""
    label = tl.load(labels + i.to(tl.int64) * stride, mask=i < N, other=0)
    return tl.where((label >= 0) & (label < K), label, K).to(tl.int32)


@triton.jit
def _sort_class(
    labels,  # [B, N]
    order,  # [B, N]
    inverse,  # [B, N]
    offsets,  # [B, K + 1]
    N,
    stride_b,
    stride_n,
    K,
    BLOCK: tl.constexpr,
):
    c = tl.program_id(0)
    b = tl.program_id(1).to(tl.int64)
    labels += b * stride_b
    order += b * N
    inverse += b * N

    rank = 0
    for start in range(0, N, BLOCK):
        i = start + tl.arange(0, BLOCK)
        lower = (_buckets(labels, i, N, K, stride_n) < c) & (i < N)
        rank += tl.sum(lower.to(tl.int32), 0)
    tl.store(offsets + b * (K + 1) + c, rank)

    for start in range(0, N, BLOCK):
        i = start + tl.arange(0, BLOCK)
        own = (_buckets(labels, i, N, K, stride_n) == c) & (i < N)
        count = tl.cumsum(own.to(tl.int32), 0)
        tl.store(order + rank + count - 1, i, mask=own)
        tl.store(inverse + i, rank + count - 1, mask=own)
        rank += tl.sum(own.to(tl.int32), 0)


@triton.jit
def _layout_kernel(
    labels, order, inverse, offsets, N, stride_b, stride_n,
    other_labels, other_order, other_inverse, other_offsets, M, other_stride_b, other_stride_n,
    K, BLOCK: tl.constexpr,
):  # fmt: skip
    if tl.program_id(2) == 0:
        _sort_class(labels, order, inverse, offsets, N, stride_b, stride_n, K, BLOCK)
    else:
        _sort_class(
            other_labels, other_order, other_inverse, other_offsets, M, other_stride_b,
            other_stride_n, K, BLOCK,
        )  # fmt: skip


def layout(labels: list[Tensor], num_segments: int) -> list[Tensor]:
    """Return order [B, N], inverse [B, N] and offsets [B, K + 1] of one or two labels [B, N]."""
    found, arguments = [], []
    for one in labels:
        batch, length = one.shape
        order = one.new_empty((batch, length), dtype=torch.int32)
        outputs = (
            order,
            torch.empty_like(order),
            one.new_empty((batch, num_segments + 1), dtype=torch.int32),
        )
        found += outputs
        arguments.append((one, *outputs, length, *one.stride()))
    if batch:
        longest = max(one.shape[1] for one in labels)
        block = min(_BLOCK, max(16, triton.next_power_of_2(longest)))
        _layout_kernel[(num_segments + 1, batch, len(labels))](
            *arguments[0], *arguments[-1], num_segments, BLOCK=block
        )
    return found
