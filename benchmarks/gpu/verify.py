"""Whether an entrant computes the right thing, on the very inputs that are timed.

Sums of squares over whole tensors: a smoke test. `make test-gpu` checks every number.
"""

from __future__ import annotations

from torch import Tensor

import spcolor_ops

from ..problem import TEMPERATURE, Inputs, Outputs, Way, forward, forward_backward
from .entrants import Entrant

# Root mean square of the error over that of the result. Temperature 0.01 makes a cosine's rounding
# a hundred times larger in the softmax.
TOLERANCES = {"ieee": 3e-3, "tf32x3": 3e-3, "tf32": 1e-2, "fp16": 1e-2, "bf16": 4e-2}
PEER_TOLERANCES = {"fp32": 3e-3, "fp16": 2e-2, "bf16": 0.1}  # scores in the features' type, too


class WrongResultError(AssertionError):
    """An entrant's result is beyond its tolerance."""


class Expected:
    """Results of plain PyTorch in float32, computed once for each kind."""

    def __init__(self, inputs: Inputs) -> None:
        query, key = (x.detach().float().requires_grad_() for x in inputs[:2])
        self._inputs = inputs._replace(
            query=query,
            key=key,
            value=inputs.value.float(),
            grad_warped=inputs.grad_warped.float(),
        )
        self._results: dict[object, tuple[Tensor, ...]] = {}

    @staticmethod
    def _way(center: bool) -> Way:
        def run(inputs: Inputs) -> Outputs:
            out = spcolor_ops.segment_correspondence(
                *inputs[:5],
                num_segments=inputs.num_segments,
                temperature=TEMPERATURE,
                center=center,
                backend="reference",
            )
            return Outputs(out.warped, out.similarity)

        return Way("reference", run)

    def outputs(self, center: bool) -> tuple[Tensor, ...]:
        if center not in self._results:
            self._results[center] = tuple(forward(self._way(center), self._inputs))
        return self._results[center]

    def gradients(self, center: bool, use_maximum: bool) -> tuple[Tensor, ...]:
        kind = (center, use_maximum)
        if kind not in self._results:
            self._results[kind] = forward_backward(
                self._way(center), self._inputs, use_maximum=use_maximum
            )
        return self._results[kind]


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return the root mean square of the error over that of what is expected."""
    return float((actual.float() - expected).norm() / expected.norm())


def verify(
    entrant: Entrant, inputs: Inputs, features: str, expected: Expected, *, backward: bool
) -> None:
    """Raise where the outputs, or gradients if `backward`, are not those expected."""
    way = entrant.way
    tolerance = TOLERANCES[entrant.precision] if entrant.precision else PEER_TOLERANCES[features]
    got = forward(way, inputs)._asdict()
    wanted = dict(zip(got, expected.outputs(entrant.center), strict=True))
    if backward:
        names = ("grad_query", "grad_key")
        got |= zip(names, forward_backward(way, inputs), strict=True)
        gradients = expected.gradients(entrant.center, way.has_maximum)
        wanted |= zip(names, gradients, strict=True)
    if not way.has_maximum:
        del got["similarity"]
    for name, actual in got.items():
        error = relative_error(actual, wanted[name])
        if not error <= tolerance:
            raise WrongResultError(f"{name} is off by {error:.2g}, more than {tolerance:g}")
