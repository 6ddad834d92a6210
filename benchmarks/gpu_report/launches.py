"""The launches of one call: bytes, flops and predicted time of each.

Bytes are those that must cross device memory, each once; flops those of the formulas in
docs/operators.md, the scores of both backward passes among them. With classes of even size,

    time = max(bytes / bandwidth, flops / (peak * predicted fraction)),

without the start of a launch, some microseconds outside a CUDA graph.
"""

from typing import NamedTuple

from .architectures import SUBPARTITIONS, Architecture
from .compiled import CHANNELS, LENGTH, VALUES


class Launch(NamedTuple):
    """One kernel launch."""

    name: str
    bytes: float
    flops: float
    fraction: float | None  # of the matrix peak, predicted; None: bound by memory

    def microseconds(self, card: Architecture, product_bytes: int) -> float:
        by_memory = self.bytes / (card.bandwidth * 1e9)
        if not self.fraction:
            return 1e6 * by_memory
        rate = card.half / (1 if product_bytes == 2 else 2)
        per_second = 2 * rate * SUBPARTITIONS * card.multiprocessors * card.clock * 1e9
        return 1e6 * max(by_memory, self.flops / (per_second * self.fraction))


def forward_launches(
    batch: int, classes: int, product_bytes: int, fraction: float, passes: int = 1
) -> list[Launch]:
    """Return the launches of a centred forward of float32 features, N = M.

    `passes` is the number of matrix products that one product takes, 3 for "tf32x3".
    """
    rows = 2 * batch * LENGTH  # of both sides
    features, packed = 4 * rows * CHANNELS, product_bytes * rows * CHANNELS
    means = 2 * 4 * batch * classes * CHANNELS
    values = 4 * batch * LENGTH * VALUES
    pairs = batch * LENGTH * LENGTH / classes
    results = batch * LENGTH * (4 * VALUES + 4 + 8 + 4 + 4)
    return [
        Launch("layout", rows * (8 + 4 + 4), 0, None),
        Launch("class_means", features + means, rows * CHANNELS, None),
        Launch("unit_vectors", features + means + packed + 2 * values, 6 * rows * CHANNELS, None),
        Launch(
            "correspondence",
            packed + values + results,
            pairs * 2 * (CHANNELS * passes + VALUES),
            fraction,
        ),
    ]


def backward_launches(
    batch: int, classes: int, product_bytes: int, fraction: float, passes: int = 1
) -> list[Launch]:
    """Return the launches of the backward of the same call, all gradients but temperature's."""
    *_, means, vectors, forward = forward_launches(batch, classes, product_bytes, fraction, passes)
    rows = batch * LENGTH
    packed = 2 * product_bytes * rows * CHANNELS
    terms, gradient = 4 * rows * (VALUES + 5), 4 * rows * CHANNELS
    # The scores again and their gradient's product, for each side.
    flops = 2 * forward.flops
    return [
        means,
        vectors,
        Launch("row_terms", 2 * terms, 0, None),
        *(
            launch
            for name in ("query", "key")
            for launch in (
                Launch(f"{name}_gradient", packed + terms + gradient, flops, fraction),
                Launch(f"unit_gradient of {name}", 3 * gradient, 0, None),
                Launch(f"class_means of {name}", gradient, 0, None),
                Launch(f"centred_gradient of {name}", 2 * gradient, 0, None),
            )
        ),
    ]
