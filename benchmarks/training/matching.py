"""Another way in the operator's place inside of WarpNet, and a clock around it.

Dimensions: B images, N target and M reference positions, C channels, D values, K classes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from unittest import mock

import torch
from torch import Tensor

from spcolor_model.networks import warp_net
from spcolor_ops import Correspondence, segment_correspondence

from ..peers import OPERATOR
from ..problem import TEMPERATURE, Inputs, Way


class Clock:
    """Seconds between `start` and `stop`, added up."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def start(self) -> None:
        self._start = time.perf_counter()

    def stop(self) -> None:
        self.seconds += time.perf_counter() - self._start


class MatchingClock:
    """Clocks of what a way does inside of a network, layouts and label masks included.

    Attributes:
        forward, backward: seconds so far.
    """

    def __init__(self) -> None:
        self.forward, self.backward = Clock(), Clock()

    @property
    def seconds(self) -> float:
        return self.forward.seconds + self.backward.seconds


@contextlib.contextmanager
def matching_by(way: Way) -> Iterator[MatchingClock]:
    """Let every WarpNet match by a way, and yield the clock of it.

    Every way is timed alike: the forward around the call, the backward from the moment when the
    gradients of all outputs are there to that when those of query and key are. On a CPU autograd
    runs one node after another, the latest first, so nothing else falls in between.
    """
    clock = MatchingClock()
    call = segment_correspondence if way is OPERATOR else _published_call(way)

    def clocked(query: Tensor, key: Tensor, *others: object, **options: object) -> Correspondence:
        query, key = _WhenGradientsCome.apply(clock.backward.stop, query, key)
        clock.forward.start()
        out = call(query, key, *others, **options)
        clock.forward.stop()
        outputs = (out.warped, out.similarity)
        warped, similarity = _WhenGradientsCome.apply(clock.backward.start, *outputs)
        return out._replace(warped=warped, similarity=similarity)

    with mock.patch.object(warp_net, "segment_correspondence", clocked):
        yield clock


def _published_call(way: Way):
    """Return `segment_correspondence` as a way computes it: centred, at the paper's temperature."""

    def call(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        query_labels: Tensor,
        key_labels: Tensor,
        *,
        num_segments: int,
        temperature: float,
        center: bool,
        precision: None,
        backend: None,
    ) -> Correspondence:
        given = {"temperature": temperature, "center": center}
        if given != {"temperature": TEMPERATURE, "center": True}:
            raise ValueError(f"{way.name}: expected {TEMPERATURE=} and centring, got {given}")
        labels = (query_labels, key_labels, num_segments)
        # Autograd gives the gradients here, so none are prescribed.
        none = value.new_empty(0)
        out = way.run(Inputs(query, key, value, *labels, none, none))
        return Correspondence(out.warped, out.similarity, None, None)

    return call


class _WhenGradientsCome(torch.autograd.Function):
    """The identity; its backward calls a function when the gradients of all tensors are there."""

    @staticmethod
    def forward(ctx, function: Callable[[], None], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.function = function
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        ctx.function()
        return None, *grads
