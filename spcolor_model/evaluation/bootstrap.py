"""Whether one system is better than another on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, bootstrap

_CONFIDENCE = 0.95
# Samples at once: those of 10 000 pictures are 8 MB then.
_BATCH = 100


class Comparison(NamedTuple):
    """How often a system wins.

    Attributes:
        win_rate: share of pictures on which it is better; a tie counts half.
        low, high: interval of 95 % of the win rate, over other pictures of the same kind.
        p: probability of wins and losses at least so uneven, if both were as good.
        pictures: number of them.
    """

    win_rate: float
    low: float
    high: float
    p: float
    pictures: int


def compare(
    one: Sequence[float], other: Sequence[float], *, higher_is_better: bool = False
) -> Comparison:
    """Compare two systems picture by picture.

    The interval is the percentile bootstrap's, over 9999 samples of the pictures, the same in every
    call. p is the exact sign test's, without ties: a bootstrap of few pictures that all agree has
    no doubt of them.

    Args:
        one: its measure of each picture.
        other: likewise, in the same order.
        higher_is_better: as of PSNR; lower is, as of errors, unless given.

    Raises:
        ValueError: other lengths, fewer than two pictures, or a value that is no number.

    Example:
        >>> compare([1, 1, 1, 5], [2, 2, 2, 2]).win_rate
        0.75

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (interval).
    """
    one, other = (np.asarray(x, dtype=np.float64) for x in (one, other))
    if one.shape != other.shape or one.ndim != 1 or len(one) < 2:
        raise ValueError(
            "one, other: expected values of the same pictures, at least two, "
            f"got shapes {list(one.shape)} and {list(other.shape)}"
        )
    if np.isnan(one).any() or np.isnan(other).any():
        raise ValueError("one, other: expected numbers, got NaN")
    wins, losses = (one > other, one < other) if higher_is_better else (one < other, one > other)
    points = (1 + wins.astype(np.float64) - losses) / 2
    interval = bootstrap(
        (points,),
        np.mean,
        confidence_level=_CONFIDENCE,
        method="percentile",
        batch=_BATCH,
        random_state=np.random.default_rng(0),
    ).confidence_interval
    decided = int(wins.sum() + losses.sum())
    p = binomtest(int(wins.sum()), decided).pvalue if decided else 1.0
    return Comparison(
        float(points.mean()), float(interval.low), float(interval.high), float(p), len(points)
    )
