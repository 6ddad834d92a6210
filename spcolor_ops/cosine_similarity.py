"""`segment_cosine_similarity`: the ragged blocks of paper eq. 6, written out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import _checks, _library
from .correspondence import autocast_features
from .layout import SegmentLayout, layouts_of
from .reference import cosine_similarity as reference
from .reference.segments import accumulation_dtype


class CosineBlocks(NamedTuple):
    """The cosine of every query and key position that share a class, class by class.

    Attributes:
        values: [total], float32 (float64 for float64 features): all blocks, row by row.
        block_offsets: [B * K + 1] int64. Block (b, c) begins at `block_offsets[b * K + c]`.
        query_offsets: [B, K + 1] int32. Rows of block (b, c): the layout's ranks of class c.
        key_offsets: [B, K + 1] int32. Columns, likewise.
    """

    values: Tensor
    block_offsets: Tensor
    query_offsets: Tensor
    key_offsets: Tensor

    def block(self, b: int, c: int) -> Tensor:
        """Return block (b, c) [n, m], a view; its shape is read from the device."""
        batch, num_segments = self.query_offsets.shape[0], self.query_offsets.shape[1] - 1
        for name, index, size in (("b", b, batch), ("c", c, num_segments)):
            if not 0 <= index < size:
                raise IndexError(f"{name}: expected 0..{size - 1}, got {index}")
        n = int(self.query_offsets[b, c + 1] - self.query_offsets[b, c])
        m = int(self.key_offsets[b, c + 1] - self.key_offsets[b, c])
        begin = int(self.block_offsets[b * num_segments + c])
        return self.values[begin : begin + n * m].view(n, m)


def segment_cosine_similarity(
    query: Tensor,
    key: Tensor,
    query_labels: Tensor | SegmentLayout,
    key_labels: Tensor | SegmentLayout,
    *,
    num_segments: int,
    total_size: int | None = None,
    center: bool = False,
    normalize: bool = True,
    precision: str | None = None,
    deterministic: bool | None = None,
    backend: str | None = None,
) -> CosineBlocks:
    """Return s_ij = q^_i . k^_j for every pair of one class (paper eq. 6), as ragged blocks.

    The one operator whose output size depends on the labels: it is read back from the device unless
    `total_size` is given. Memory is sum_c n_c m_c; where only the maximum or the softmax matters,
    use `segment_correspondence`, which stores none of it. Gradients reach query and key.

    Args:
        query: [B, N, C] float32, float64, bfloat16 or float16; any strides.
        key: [B, M, C], query's dtype.
        query_labels: [B, N] integers, or a `SegmentLayout`.
        key_labels: [B, M], likewise.
        num_segments: number of classes K.
        total_size: length of `values`, at least sum_bc n_c m_c; what is beyond that sum is 0. A
            block that does not fit is an error on the CPU and is left 0 on other devices.
        center, normalize, precision, deterministic, backend: as in `segment_correspondence`.

    Returns:
        `CosineBlocks`. Rows and columns of a block rise with the position. A class that either side
        lacks has an empty block.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.

    Example:
        >>> blocks = segment_cosine_similarity(q, k, q_labels, k_labels, num_segments=22)
        >>> blocks.block(0, 3).max(1)
    """
    _checks.check_query_key_value(query, key, None, "B N C")
    query_order, query_offsets, key_order, key_offsets = layouts_of(
        query, key, query_labels, key_labels, num_segments, backend
    )
    backend = _library.resolve_backend(backend, query.device)
    query, key = autocast_features(query, key)
    options = _checks.check_options(
        center, normalize, precision, deterministic, backend, query.dtype
    )

    sizes = query_offsets.diff(dim=1).long() * key_offsets.diff(dim=1)
    block_offsets = torch.nn.functional.pad(sizes.flatten().cumsum(0), (1, 0))
    if total_size is None:
        total_size = int(block_offsets[-1])
    elif isinstance(total_size, bool) or not isinstance(total_size, (int, torch.SymInt)):
        raise TypeError(f"total_size: expected an int or None, got {type(total_size).__name__}")
    elif total_size < 0:
        raise ValueError(f"total_size: expected at least 0, got {total_size}")
    elif _checks.is_readable(block_offsets) and total_size < int(block_offsets[-1]):
        raise ValueError(
            f"total_size: expected at least {int(block_offsets[-1])} "
            f"(the sum of n_c * m_c over classes), got {total_size}"
        )
    values = _library.operator("cosine_similarity", backend)(
        query,
        key,
        query_order,
        query_offsets,
        key_order,
        key_offsets,
        block_offsets,
        total_size,
        *options,
    )
    return CosineBlocks(values, block_offsets, query_offsets, key_offsets)


def _fake(
    query, key, query_order, query_offsets, key_order, key_offsets, block_offsets, total_size, *_
):
    return query.new_empty((total_size,), dtype=accumulation_dtype(query.dtype))


def _fake_backward(grad, query, key, *_):
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (query, key))


def _autograd(backend):
    def setup_context(ctx, inputs, output):
        *tensors, _total_size, center, normalize, precision, deterministic = inputs
        ctx.save_for_backward(*tensors)
        ctx.options = (center, normalize, precision, deterministic)

    def backward(ctx, grad):
        grad_query, grad_key = _library.operator("cosine_similarity_backward", backend)(
            grad, *ctx.saved_tensors, *ctx.options
        )
        return grad_query, grad_key, *[None] * 10

    return backward, setup_context


_INPUTS = (
    "Tensor query, Tensor key, Tensor query_order, Tensor query_offsets, "
    "Tensor key_order, Tensor key_offsets, Tensor block_offsets"
)
_OPTIONS = "bool center, bool normalize, str precision, bool deterministic"

_library.define(
    "cosine_similarity",
    f"({_INPUTS}, SymInt total_size, {_OPTIONS}) -> Tensor",
    fake=_fake,
    reference=reference.cosine_similarity,
    autograd=_autograd,
)
_library.define(
    "cosine_similarity_backward",
    f"(Tensor grad, {_INPUTS}, {_OPTIONS}) -> (Tensor, Tensor)",
    fake=_fake_backward,
    reference=reference.cosine_similarity_backward,
    autograd=_library.refuse_second_derivative,
)
