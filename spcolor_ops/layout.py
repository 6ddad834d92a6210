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
    _checks.check_num_segments(num_segments)
    _check_labels("labels", labels)
    (layout,) = _sort([labels], num_segments, backend)
    return layout


def layouts_of(query, key, query_labels, key_labels, num_segments, backend):
    """Return (query order, query offsets, key order, key offsets) of checked labels or layouts."""
    _checks.check_num_segments(num_segments)
    sides = []
    for name, given, features_name, features in (
        ("query_labels", query_labels, "query", query),
        ("key_labels", key_labels, "key", key),
    ):
        is_layout = isinstance(given, SegmentLayout)
        if is_layout:
            _check_layout(name, given, num_segments)
        else:
            _check_labels(name, given)
        positions = given.order if is_layout else given
        _checks.check_device(name, positions, query.device)
        for dim in (0, 1):
            _checks.check_size(name, positions, dim, features.shape[dim], features_name)
        sides.append(given)
    # Both sides in one call: on a GPU it is one launch.
    unsorted = [side for side in sides if not isinstance(side, SegmentLayout)]
    found = iter(_sort(unsorted, num_segments, backend) if unsorted else ())
    layouts = [side if isinstance(side, SegmentLayout) else next(found) for side in sides]
    return [tensor for layout in layouts for tensor in (layout.order, layout.offsets)]


def _sort(labels: list[Tensor], num_segments: int, backend: str | None) -> list[SegmentLayout]:
    """Return the layouts of one or two checked labels [B, N]."""
    backend = _library.resolve_backend(backend, labels[0].device)
    if any(x.dtype != torch.int32 for x in labels):
        labels = [x.to(torch.int64) for x in labels]
    found = iter(_library.operator("layout", backend)(labels, num_segments))
    return [SegmentLayout(*fields) for fields in zip(found, found, found, strict=True)]


def _check_labels(name: str, labels: Tensor) -> None:
    _checks.check_tensor(name, labels, "B N")
    _checks.check_integer(name, labels)


def _check_layout(name: str, layout: SegmentLayout, num_segments: int) -> None:
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
    if layout.num_segments != num_segments:
        raise ValueError(
            f"{name}: expected a layout of num_segments={num_segments} classes, "
            f"got one of {layout.num_segments}"
        )


def _fake(labels, num_segments):
    torch._check(num_segments >= 1)
    found = []
    for one in labels:
        batch, length = one.shape
        for size in (length, length, num_segments + 1):
            found.append(one.new_empty((batch, size), dtype=torch.int32))
    return found


_library.define(
    "layout",
    "(Tensor[] labels, SymInt num_segments) -> Tensor[]",
    fake=_fake,
    reference=reference.layout,
)
