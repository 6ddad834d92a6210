"""Features and class maps of real pairs, for the questions that random inputs cannot answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from spcolor_model.color import gray_rgb, rgb_to_lab
from spcolor_model.data.packaged import fetch
from spcolor_model.features import WorkingImage
from spcolor_model.matching import match_inputs
from spcolor_model.prior import ClusterPrior

from .pairs import Pair, all_pairs


class RealPair(NamedTuple):
    """What the default prior and features make of one pair of photos."""

    name: str
    query: Tensor  # [1, N, C]
    key: Tensor  # [1, M, C]
    value: Tensor  # [1, M, D]
    query_labels: Tensor  # [1, N]
    key_labels: Tensor  # [1, M]
    num_segments: int


def real_pairs(count: int) -> Iterator[RealPair]:
    """Yield `count` pairs as features and class maps."""
    yield from map(real_pair, photo_pairs(count))


def photo_pairs(count: int) -> Iterator[Pair]:
    """Yield `count` pairs, spread over all kinds; without photos none, and a line says so."""
    try:
        pairs = _fetched_pairs()
    except FileNotFoundError as error:
        print(f"no real pairs: {error}")
        return
    for place in range(min(count, len(pairs))):
        yield pairs[place * len(pairs) // count]


def _fetched_pairs() -> list[Pair]:
    try:
        return list(all_pairs())
    except FileNotFoundError:
        fetch()
        return list(all_pairs())


def real_pair(pair: Pair) -> RealPair:
    """Return the arguments with which colorizing calls the operator."""
    luminance, _ = rgb_to_lab(pair.target)
    reference_luminance, reference_ab = rgb_to_lab(pair.reference)
    images = [WorkingImage(gray_rgb(x)) for x in (luminance, reference_luminance)]
    maps = ClusterPrior()(images)
    inputs = match_inputs(*images, reference_ab, maps)
    return RealPair(pair.name, *inputs, maps.num_segments)
