"""Processes that do the work, of which any may die."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Worker processes, replaced when one of them dies.

    Args:
        count: how many at a time.

    Raises:
        RuntimeError: they cannot be started.

    Example:
        >>> with Workers(2) as workers:
        ...     workers.map(abs, [-1, 2], lost=lambda item: None)
        [1, 2]
    """

    def __init__(self, count: int) -> None:
        self.count = count
        # The server forks without a thread or a lock of this process. It imports what workers need
        # once, for all of them.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["__main__", f"{__package__}.records"])
        self._start()

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        lost: Callable[[Item], Result],
    ) -> list[Result]:
        """Return the result of each item, or `lost(item)` where its process died of it.

        Args:
            function: of a module, so that a worker can import it.
            items: what it is called with.
            lost: called here.
        """
        results: list[Result | None] = []
        unknown = []
        futures = [self._submit(function, item) for item in items]
        for place, future in enumerate(futures):
            try:
                results.append(future.result())
            except BrokenProcessPool:
                results.append(None)
                unknown.append(place)
        if unknown:
            self._start()
        # Nobody knows which item it was: each that is left is tried with no other beside.
        for place in unknown:
            results[place] = self._alone(function, items[place], lost)
        return results

    def _submit(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        try:
            return self._pool.submit(function, item)
        except BrokenProcessPool as error:
            # As if it had been given to the process that died.
            future = Future()
            future.set_exception(error)
            return future

    def _alone(
        self, function: Callable[[Item], Result], item: Item, lost: Callable[[Item], Result]
    ) -> Result:
        # The first death may have come from outside.
        for _ in range(2):
            try:
                return self._submit(function, item).result()
            except BrokenProcessPool:
                self._start()
        return lost(item)

    def _start(self) -> None:
        self._pool = ProcessPoolExecutor(self.count, self._context, _prepare)
        try:
            self._pool.submit(abs, 0).result()
        except BrokenProcessPool:
            raise RuntimeError(
                "workers: expected processes that start, got one that ended at once"
            ) from None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    """Make a worker quiet, and end it with the main process, but not with an interruption."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Each works on one photo, and results must not depend on how many threads share a sum.
    torch.set_num_threads(1)
    # What is wrong with a photo is a reason in its record.
    warnings.simplefilter("ignore")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)


def _end_with_parent() -> None:
    """End with the main process, which tells its workers nothing when it is killed."""
    multiprocessing.parent_process().join()
    os._exit(1)
