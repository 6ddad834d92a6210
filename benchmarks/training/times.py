"""Times of a call whose matching is done in several ways, which take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..machine import Neighbours
from ..peers import LOOP, OPERATOR, ROW_LOOP
from ..problem import Way
from ..results import quantile
from .matching import matching_by

# The published loop, and a gentler one that visits the k classes alone.
WAYS = (OPERATOR, LOOP, ROW_LOOP)


class Turn(NamedTuple):
    """Seconds of one call, and those of its matching."""

    whole: float
    forward: float
    backward: float

    @property
    def matching(self) -> float:
        return self.forward + self.backward


class Times(NamedTuple):
    """Turns of one way, and of the operator in the same rounds."""

    turns: list[Turn]
    own: list[Turn]

    def ms(self, part: str, fraction: float = 0.5) -> float:
        """Return a quantile of "whole", "forward", "backward" or "matching", in ms."""
        return 1e3 * quantile([getattr(turn, part) for turn in self.turns], fraction)

    @property
    def share(self) -> float:
        """Part of the whole that is matching, the median."""
        return statistics.median(turn.matching / turn.whole for turn in self.turns)

    def ratio(self, part: str) -> float:
        """Return how many times the operator's time it is, the median over the rounds."""
        return statistics.median(
            getattr(turn, part) / getattr(own, part)
            for turn, own in zip(self.turns, self.own, strict=True)
        )


def take_turns(
    call: Callable[[int], object], rounds: int, neighbours: Neighbours, ways: Sequence[Way] = WAYS
) -> dict[str, Times]:
    """Time `call(turn)` in every way, after one round of warm-up; the operator is the first way."""
    turns: dict[str, list[Turn]] = {way.name: [] for way in ways}
    for turn in range(rounds + 1):
        for way in ways:
            with matching_by(way) as clock, neighbours:
                start = time.perf_counter()
                call(turn)
                whole = time.perf_counter() - start
            if turn:
                turns[way.name].append(Turn(whole, clock.forward.seconds, clock.backward.seconds))
    own = turns[ways[0].name]
    return {name: Times(mine, own) for name, mine in turns.items()}
