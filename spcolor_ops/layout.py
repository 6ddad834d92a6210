"""`segment_layout`: the order that puts positions of one class side by side (paper eq. 5)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import _checks, _library
from .reference import layout as reference


class SegmentLayout(NamedTuple):
    """Positions of each image in class order; every operator takes one in place of labels.

    Attributes:
        order: [B, N] int32. `order[b, offsets[b, c] : offsets[b, c + 1]]` are the positions of
            class c in image b, rising. Positions of no class stand after `offsets[b, K]`.
        inverse: [B, N] int32. `order[b, inverse[b, i]] == i`.
        offsets: [B, K + 1] int32. First rank of each class; `offsets[b, 0] == 0`.
    """

    order: Tensor
    inverse: Tensor
    offsets: Tensor

    @property
    def num_segments(self) -> int:
        """Number of classes K."""
        return self.offsets.shape[1] - 1


def segment_layout(
    labels: Tensor, num_segments: int, *, backend: str | None = None
) -> SegmentLayout:
    """Sort the positions of each image by class, keeping their order inside a class.

    F_c = {F(i) | C(i) = c} for every class c (paper eq. 5), as one stable counting sort.

    Args:
        labels: [B, N], any integer type. Values outside 0..num_segments-1 mean "no class".
        num_segments: number of classes K, at least 1.
        backend: "reference", "cpu", "triton", "cuda", or None for that of the labels' device.

    Returns:
        A `SegmentLayout`. An empty class c has `offsets[b, c] == offsets[b, c + 1]`.

    Raises:
        TypeError: labels are not an integer tensor; num_segments is not an int.
        ValueError: wrong number of dimensions; num_segments below 1; unknown backend.

    Example:
        >>> segment_layout(torch.tensor([[1, 0, 1, -1]]), 2).order
        tensor([[1, 0, 2, 3]], dtype=torch.int32)
    """
    _checks.check_tensor("labels", labels, "B N")
    return layout_of("labels", labels, num_segments, backend)


def layout_of(
    name: str, labels: Tensor | SegmentLayout, num_segments: int, backend: str | None
) -> SegmentLayout:
    """Return the layout of labels, or check the one that was given."""
    _checks.check_num_segments(num_segments)
    if isinstance(labels, SegmentLayout):
        _check_layout(name, labels)
        if labels.num_segments != num_segments:
            raise ValueError(
                f"{name}: expected a layout of num_segments={num_segments} classes, "
                f"got one of {labels.num_segments}"
            )
        return labels
    _checks.check_tensor(name, labels, "B N")
    _checks.check_integer(name, labels)
    if labels.dtype != torch.int32:
        labels = labels.to(torch.int64)
    backend = _library.resolve_backend(backend, labels.device)
    return SegmentLayout(*_library.operator("layout", backend)(labels, num_segments))


def _check_layout(name: str, layout: SegmentLayout) -> None:
    for field, dims in (("order", "B N"), ("inverse", "B N"), ("offsets", "B K+1")):
        tensor = getattr(layout, field)
        _checks.check_tensor(f"{name}.{field}", tensor, dims)
        if tensor.dtype != torch.int32:
            raise TypeError(f"{name}.{field}: expected int32, got {tensor.dtype}")
        _checks.check_size(f"{name}.{field}", tensor, 0, layout.order.shape[0], f"{name}.order")
        if tensor.device != layout.order.device:
            raise ValueError(
                f"{name}.{field}: expected a tensor on {layout.order.device} like {name}.order, "
                f"got {tensor.device}"
            )
    _checks.check_size(f"{name}.inverse", layout.inverse, 1, layout.order.shape[1], f"{name}.order")


def layouts_of(query, key, query_labels, key_labels, num_segments, backend):
    """Return (query order, query offsets, key order, key offsets) of checked labels or layouts."""
    layouts = []
    for name, labels, features_name, features in (
        ("query_labels", query_labels, "query", query),
        ("key_labels", key_labels, "key", key),
    ):
        layout = layout_of(name, labels, num_segments, backend)
        _checks.check_device(name, layout.order, query.device)
        for dim in (0, 1):
            _checks.check_size(name, layout.order, dim, features.shape[dim], features_name)
        layouts += [layout.order, layout.offsets]
    return layouts


def _fake(labels, num_segments):
    batch, length = labels.shape
    torch._check(num_segments >= 1)
    return (
        labels.new_empty((batch, length), dtype=torch.int32),
        labels.new_empty((batch, length), dtype=torch.int32),
        labels.new_empty((batch, num_segments + 1), dtype=torch.int32),
    )


_library.define(
    "layout",
    "(Tensor labels, SymInt num_segments) -> (Tensor order, Tensor inverse, Tensor offsets)",
    fake=_fake,
    reference=reference.layout,
)
