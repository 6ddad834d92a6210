"""Positions in class order, and where a program finds its class.

Searches go through offsets [K + 1], clamped into 0..N.
"""

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor


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


@triton.jit
def offset_of(offsets, c, N):
    """Return the first rank of class c."""
    return tl.minimum(tl.maximum(tl.load(offsets + c), 0), N)


@triton.jit
def class_range(offsets, c, N, K):
    """Return (begin, end) of class c; class K stands for the positions of no class."""
    begin = offset_of(offsets, c, N)
    end = tl.where(c < K, offset_of(offsets, tl.minimum(c + 1, K), N), N)
    return begin, tl.maximum(begin, end)


@triton.jit
def class_of_rank(rank, offsets, N, K, STEPS: tl.constexpr):
    """Return the class of each rank, K for those of no class: the last c with offsets[c] <= rank.

    STEPS halvings leave one of the K + 1 classes.
    """
    low = tl.zeros_like(rank)
    high = low + K
    for _ in range(STEPS):
        middle = (low + high + 1) // 2
        below = offset_of(offsets, middle, N) <= rank
        low = tl.where(below, middle, low)
        high = tl.where(below, high, middle - 1)
    return low


@triton.jit
def query_tile(tile, offsets, N, K, BLOCK: tl.constexpr, STEPS: tl.constexpr):
    """Return (class, first rank, end of the class) of a tile of BLOCK ranks that share a class.

    Class c owns the tiles from offsets[c] // BLOCK + c on. That is at least as many as it needs,
    without a prefix sum over the classes before it; a tile with first rank >= end is not needed.
    """
    low, high = tile * 0, tile * 0 + K
    for _ in range(STEPS):
        middle = (low + high + 1) // 2
        before = offset_of(offsets, middle, N) // BLOCK + middle <= tile
        low = tl.where(before, middle, low)
        high = tl.where(before, high, middle - 1)
    begin, end = class_range(offsets, low, N, K)
    return low, begin + (tile - begin // BLOCK - low) * BLOCK, end


def query_tiles(length: int, num_segments: int, block: int) -> int:
    """Return how many tiles `query_tile` numbers."""
    return length // block + num_segments + 1


def search_steps(num_segments: int) -> int:
    """Return the STEPS of the searches."""
    return num_segments.bit_length()


@triton.jit
def position_of(order, rank, mask, N, HAS_ORDER: tl.constexpr):
    """Return the position in its image of each rank."""
    if HAS_ORDER:
        position = tl.load(order + rank, mask=mask, other=0)
        return tl.minimum(tl.maximum(position, 0), N - 1)
    else:
        return rank
