"""References for each photo: alike as a whole, then alike part by part.

Dimensions: P photos, Q targets, N candidates of one target, 49 cells, 64 channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from .collection import Collection
from .groups import is_duplicate
from .neighbours import Neighbours, in_blocks
from .parts import HISTOGRAM_WEIGHT, Parts

# Targets of one thread at a time: the maps of the arrays live as long.
_BLOCK = 32


class Sides(NamedTuple):
    """Which photos are trained with, and which are held out; a duplicate is neither.

    Attributes:
        train, held_out: [P] bool.
    """

    train: np.ndarray
    held_out: np.ndarray


class References(NamedTuple):
    """What was found for some targets, the best of each first.

    Attributes:
        target: the photo.
        references: photos; none where the target has no like.
        scores: of each reference.
    """

    target: int
    references: np.ndarray
    scores: np.ndarray


def retrieve(
    photos: Collection,
    index: Neighbours,
    sides: Sides,
    *,
    references: int,
    candidates: int,
    threads: int,
) -> Iterator[References]:
    """Find the references of every photo that is on a side, in order.

    Targets of training have references of training alone; held-out ones may have any. Candidates
    are the nearest as a whole, at most half of the photos there are. A score is, averaged over the
    target's cells, the best cosine among the candidate's cells plus 0.25 times the correlation of
    the two cells' luminance histograms.

    Args:
        photos: with their arrays.
        index: of `whole`.
        sides: of the photos.
        references: how many to keep of each target.
        candidates: how many to compare part by part.
        threads: how many.

    Source: paper section IV, after He et al. 2018.
    """
    phash = photos.column("phash").to_numpy()
    # Who are asked for targets of training, and for held-out ones.
    pools = (sides.train, sides.train | sides.held_out)
    counts = [min(candidates, int(pool.sum()) // 2) for pool in pools]

    def search(targets: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        whole = photos.load("whole")
        for side, (pool, count) in enumerate(zip(pools, counts, strict=True)):
            own = targets[sides.held_out[targets] == side]
            # One more, because most targets find themselves.
            for target, *found in zip(own, *index.search(whole[own], count + 1, pool), strict=True):
                cosines, near = found
                usable = (near >= 0) & (near != target)
                usable &= ~is_duplicate(phash[target], phash[near], cosines)
                yield int(target), near[usable][:count]

    def rank(targets: np.ndarray) -> list[References]:
        parts, found = Parts(photos), []
        for target, near in search(targets):
            cosines, correlations = parts.compare(target, near)
            scores = cosines + HISTOGRAM_WEIGHT * correlations
            best = np.lexsort((near, -scores))[:references]
            found.append(References(target, near[best], scores[best]))
        return sorted(found, key=attrgetter("target"))

    for block in in_blocks(rank, np.flatnonzero(pools[1]), threads, _BLOCK):
        yield from block
