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
def _layout_kernel(
    labels,  # [B, N]
    order,  # [B, N]
    inverse,  # [B, N]
    offsets,  # [B, K + 1]
    N,
    K,
    stride_b,
    stride_n,
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


def layout(labels: Tensor, num_segments: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return (order [B, N], inverse [B, N], offsets [B, K + 1]) of labels [B, N]."""
    batch, length = labels.shape
    order = labels.new_empty((batch, length), dtype=torch.int32)
    inverse = torch.empty_like(order)
    offsets = labels.new_empty((batch, num_segments + 1), dtype=torch.int32)
    if batch:
        block = min(_BLOCK, max(16, triton.next_power_of_2(length)))
        _layout_kernel[(num_segments + 1, batch)](
            labels, order, inverse, offsets, length, num_segments, *labels.stride(), BLOCK=block
        )
    return order, inverse, offsets
