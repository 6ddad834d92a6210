"""`python -m benchmarks.backward_cutoff`: what the backward gains by dropping tiny softmax weights.

At temperature 0.01 few weights matter, though nearly every tile holds one. The backward may leave
out elements whose softmax weight is below `weight_cutoff`. Printed for k = 1: its time, the error
of its gradients against float64, and how many weights are above the cutoff.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from spcolor_ops import _library, segment_layout
from spcolor_ops.correspondence import weight_cutoff

from . import machine
from .problem import TEMPERATURE, TOKEN_MAJOR, Case, Inputs, make_inputs
from .real_pairs import real_pairs
from .tables import write_csv

ROUNDS = 9
OPTIONS = (True, True, "ieee", True)  # centred, normalised, precision, deterministic
CUTOFFS = (0.0, weight_cutoff(torch.float32), 1e-6, 1e-5, 1e-4)


class Backward:
    """The backward operator at k = 1, on the outputs of its forward."""

    def __init__(self, inputs: Inputs, backend: str, dtype: torch.dtype) -> None:
        layout = segment_layout(torch.zeros(inputs.query.shape[:2], dtype=torch.int64), 1)
        key_layout = segment_layout(torch.zeros(inputs.key.shape[:2], dtype=torch.int64), 1)
        layouts = (layout.order, layout.offsets, key_layout.order, key_layout.offsets)
        features = (x.detach().to(dtype) for x in inputs[:3])
        self.saved = (*features, *layouts, torch.tensor(TEMPERATURE, dtype=dtype))
        out = _library.operator("correspondence", backend)(*self.saved, *OPTIONS)
        warped, similarity, index, _, log_mass = out
        self.saved += (warped, similarity, index, log_mass)
        self.grads = (inputs.grad_warped.to(dtype), inputs.grad_similarity.to(dtype), None)
        self.operator = _library.operator("correspondence_backward", backend)

    def __call__(self, cutoff: float) -> tuple[Tensor, Tensor]:
        """Return the gradients of query and key."""
        wanted = (True, True, False, False)
        return self.operator(*self.grads, *self.saved, *OPTIONS, cutoff, *wanted)[:2]


def softmax_weights(inputs: Inputs) -> Tensor:
    """Return all weights [B, N, M] of k = 1."""
    query, key = (
        torch.nn.functional.normalize(x.detach() - x.detach().mean(1, keepdim=True), dim=2)
        for x in inputs[:2]
    )
    return (query @ key.transpose(1, 2) / TEMPERATURE).softmax(2)


def relative_error(actual: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> float:
    """Return the largest ||actual - exact|| / ||exact||."""
    return max(
        float((a.double() - e).norm() / e.norm()) for a, e in zip(actual, exact, strict=True)
    )


def measure(inputs: Inputs) -> Iterator[dict[str, float]]:
    exact = Backward(inputs, "reference", torch.float64)(0.0)
    backward = Backward(inputs, "cpu", torch.float32)
    weights = softmax_weights(inputs)
    seconds = {cutoff: [] for cutoff in CUTOFFS}
    for turn in range(ROUNDS + 1):
        for cutoff, own in seconds.items():
            start = time.perf_counter()
            backward(cutoff)
            if turn > 0:  # the first is a warm-up
                own.append(time.perf_counter() - start)
    for cutoff, own in seconds.items():
        yield {
            "cutoff": cutoff,
            "weights_above": float((weights >= cutoff).double().mean()),
            "median_ms": 1e3 * statistics.median(own),
            "times_faster": statistics.median(seconds[0.0]) / statistics.median(own),
            "gradient_error": relative_error(backward(cutoff), exact),
        }


def problems() -> Iterator[tuple[str, Inputs]]:
    """Yield random features and those of one real pair."""
    random = make_inputs(Case(1, 1, TOKEN_MAJOR, backward=False))
    yield "random", random
    for pair in real_pairs(1):
        generator = torch.Generator().manual_seed(0)
        size = pair.query.shape[:2]
        grad_warped = torch.randn(*size, pair.value.shape[2], generator=generator)
        grad_similarity = torch.randn(size, generator=generator)
        yield f"real: {pair.name}", Inputs(*pair[1:-1], 1, grad_warped, grad_similarity)


def run(folder: Path) -> None:
    """Print the table and save it in `folder`."""
    lines = [{"features": name} | line for name, inputs in problems() for line in measure(inputs)]
    for line in lines:
        print(
            "{features:32} cutoff {cutoff:7.1e}  weights above {weights_above:8.4%}  "
            "{median_ms:7.1f} ms ({times_faster:.2f}x)  gradient error {gradient_error:.1e}".format(
                **line
            )
        )
    write_csv(lines, machine.describe(), folder / "backward_cutoff.csv")


if __name__ == "__main__":
    run(Path("out/bench"))
