"""A run that is asked to stop does so between two steps."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def calling(request: Callable[[], None]) -> Iterator[None]:
    """Call `request` upon SIGTERM and SIGINT, in place of what was called before and will be."""
    before = [signal.signal(number, lambda *_: request()) for number in _NUMBERS]
    try:
        yield
    finally:
        for number, handler in zip(_NUMBERS, before, strict=True):
            signal.signal(number, handler)


def ignore(worker: int) -> None:
    """Let a data worker live on: a signal to all processes of a run is for the main one."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)
