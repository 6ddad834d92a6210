"""Which cases are measured, with which ways and how often."""

from __future__ import annotations

from .peers import DENSE, LOOP, OPERATOR, PEERS, SDPA
from .problem import CHANNEL_FIRST, TOKEN_MAJOR, Case, Way

SEGMENTS = (1, 2, 5, 10, 15, 22, 27)
FEW_SEGMENTS = (1, 22)


def cases(*, quick: bool) -> list[Case]:
    """Return all cases, in the order they are measured."""
    if quick:
        grid = [(1, k, TOKEN_MAJOR) for k in FEW_SEGMENTS]
    else:
        grid = [(1, k, layout) for layout in (TOKEN_MAJOR, CHANNEL_FIRST) for k in SEGMENTS]
        grid += [(8, k, TOKEN_MAJOR) for k in SEGMENTS]
        grid += [(8, k, CHANNEL_FIRST) for k in FEW_SEGMENTS]
    return [Case(*line, backward) for line in grid for backward in (False, True)]


def ways(case: Case) -> list[Way]:
    """Return the ways that take part in a case, the operator first.

    With eight images a round takes seconds. Dense ways cost the same for every k, so two k are
    enough there, and channel-first inputs are left to the operator and the loop that is made for
    them.
    """
    chosen = [OPERATOR, *(way for way in PEERS if way.has_backward or not case.backward)]
    if case.batch > 1 and case.layout == CHANNEL_FIRST:
        chosen = [OPERATOR, LOOP]
    elif case.batch > 1 and case.num_segments not in FEW_SEGMENTS:
        chosen = [way for way in chosen if way not in (DENSE, SDPA)]
    return chosen


def rounds(case: Case, *, quick: bool) -> int:
    """Return how many times the ways take turns."""
    if quick:
        return 3
    if case.batch > 1:
        return 2 if case.backward else 3
    return 5 if case.backward else 7
