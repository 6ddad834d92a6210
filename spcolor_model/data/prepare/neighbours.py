"""Photos that look alike as a whole: nearest neighbours by the cosine, through faiss.

Dimensions: P photos, Q queries, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import faiss
import numpy as np
import torch

# Up to so many photos each is compared with each; from there on, with those of near cells.
MOST_FLAT = 50_000
_CELLS = 1024
_PROBES = 32
_PHOTOS_PER_CELL = 64
# Photos that are added, or asked for, at a time.
_BLOCK = 256
_SEED = 0

Result = TypeVar("Result")


class Neighbours:
    """An index of photos; half precision, because that is what features have.

    Args:
        whole: [P, C] float16, unit rows; read block by block, so it may be a map of a file.
        most_flat: up to so many photos the search is exact.

    Example:
        >>> index = Neighbours(whole)
        >>> cosines, photos = index.search(whole[:2], 5)
        >>> photos[:, 0]
        array([0, 1])
    """

    def __init__(self, whole: np.ndarray, *, most_flat: int = MOST_FLAT) -> None:
        faiss.omp_set_num_threads(1)
        channels = whole.shape[1]
        half = faiss.ScalarQuantizer.QT_fp16
        if len(whole) <= most_flat:
            self._index = faiss.IndexScalarQuantizer(channels, half, faiss.METRIC_INNER_PRODUCT)
            self._search = faiss.SearchParameters
        else:
            cells = faiss.IndexFlatIP(channels)
            self._index = faiss.IndexIVFScalarQuantizer(
                cells, channels, _CELLS, half, faiss.METRIC_INNER_PRODUCT, False
            )
            self._index.cp.seed = _SEED
            self._search = lambda **sel: faiss.SearchParametersIVF(nprobe=_PROBES, **sel)
            count = min(len(whole), _CELLS * _PHOTOS_PER_CELL)
            some = np.random.default_rng(_SEED).choice(len(whole), count, replace=False)
            self._index.train(whole[np.sort(some)].astype(np.float32))
        for start in range(0, len(whole), _BLOCK):
            self._index.add(whole[start : start + _BLOCK].astype(np.float32))

    def search(
        self, queries: np.ndarray, count: int, among: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest photos of each query, the nearest first.

        Args:
            queries: [Q, C] float16, unit rows.
            count: how many.
            among: [P] bool: which photos may be found; all unless given.

        Returns:
            Cosines [Q, count] float32 and photos [Q, count] int64, -1 where there are no more.
        """
        selected = {}
        if among is not None:
            bits = np.packbits(among, bitorder="little")
            selected["sel"] = faiss.IDSelectorBitmap(bits)
        return self._index.search(
            queries.astype(np.float32), count, params=self._search(**selected)
        )


def in_blocks(
    function: Callable[[np.ndarray], Result], items: np.ndarray, threads: int, block: int = _BLOCK
) -> Iterator[Result]:
    """Call a function with blocks of items, in several threads; yield its results in order.

    Each block is the work of one thread alone, so the number of threads changes no result.

    Args:
        function: called with [block] items.
        items: [P].
        threads: how many blocks at a time.
        block: length of a block.
    """
    blocks = [items[start : start + block] for start in range(0, len(items), block)]
    with ThreadPoolExecutor(threads, initializer=_use_one_thread) as pool:
        # A few at a time, so that results do not pile up.
        for start in range(0, len(blocks), 4 * threads):
            yield from pool.map(function, blocks[start : start + 4 * threads])


def _use_one_thread() -> None:
    """Keep this thread's sums in it: faiss and torch have an OpenMP each, with a count each."""
    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
