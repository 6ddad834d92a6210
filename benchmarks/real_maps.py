"""`python -m benchmarks.real_maps`: density and time on the class maps of real pairs.

Real maps are less even than random blocks: one large class, a sky, dominates sum_c n_c m_c.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from . import machine
from .label_maps import class_counts, density
from .peers import OPERATOR, ROW_LOOP
from .problem import Inputs, Way, forward
from .real_pairs import RealPair, real_pairs
from .results import quantile
from .tables import write_csv

PAIRS = 10
ROUNDS = 9


def inputs_of(pair: RealPair) -> Inputs:
    """Return a pair as the inputs of every way; there is no backward, hence no gradient."""
    none = pair.value.new_empty(0)
    return Inputs(*pair[1:], none, none)


def times(ways: tuple[Way, ...], inputs: Inputs) -> list[list[float]]:
    """Return the seconds of each way, which take turns."""
    seconds = [[] for _ in ways]
    for turn in range(ROUNDS + 1):
        for own, way in zip(seconds, ways, strict=True):
            start = time.perf_counter()
            forward(way, inputs)
            if turn > 0:  # the first is a warm-up
                own.append(time.perf_counter() - start)
    return seconds


def measure(pair: RealPair) -> dict[str, str | int | float]:
    inputs = inputs_of(pair)
    labels = (pair.query_labels, pair.key_labels, pair.num_segments)
    counts = class_counts(pair.query_labels, pair.num_segments)  # [B, K]
    own, loop = times((OPERATOR, ROW_LOOP), inputs)
    whole = inputs._replace(
        query_labels=pair.query_labels.clone().zero_(),
        key_labels=pair.key_labels.clone().zero_(),
        num_segments=1,
    )
    (global_matching,) = times((OPERATOR,), whole)
    return {
        "pair": pair.name,
        "positions": pair.query.shape[1],
        "channels": pair.query.shape[2],
        "classes": pair.num_segments,
        "largest_class": float(counts.max() / counts.sum()),
        "density": density(*labels),
        "median_ms": 1e3 * statistics.median(own),
        "q20_ms": 1e3 * quantile(own, 0.2),
        "q80_ms": 1e3 * quantile(own, 0.8),
        "k1_ms": 1e3 * statistics.median(global_matching),
        "row_loop_ms": 1e3 * statistics.median(loop),
    }


def run(folder: Path) -> None:
    """Print the table and save it in `folder`."""
    lines = [measure(pair) for pair in real_pairs(PAIRS)]
    if not lines:
        return
    for line in lines:
        print(
            "{pair:32} N={positions} C={channels} k={classes:2} largest {largest_class:.0%} "
            "density {density:.3f}  {median_ms:.2f} ms ({q20_ms:.2f}-{q80_ms:.2f}), "
            "k=1 {k1_ms:.1f} ms, loop over rows {row_loop_ms:.1f} ms".format(**line)
        )
    middle = {name: statistics.median(line[name] for line in lines) for name in list(lines[0])[4:]}
    print("median: density {density:.3f}, {median_ms:.2f} ms, k=1 {k1_ms:.1f} ms".format(**middle))
    write_csv(lines, machine.describe(), folder / "real_maps.csv")


if __name__ == "__main__":
    run(Path("out/bench"))
