"""Duplicates, and photos of one scene, which stay on one side of the split.

Dimensions: P photos, E edges between photos that look alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .neighbours import Neighbours, in_blocks

# Two files of one photo: other sizes, other compression.
DUPLICATE_BITS = 6
DUPLICATE_COSINE = 0.97
# Two photos of one scene: other frames of a shot, other views.
VIEW_COSINE = 0.9
# So many neighbours of each photo are looked at; groups grow from one to the next.
_NEIGHBOURS = 32


class Edges(NamedTuple):
    """Pairs of photos of one scene.

    Attributes:
        one, other: [E] int64, photos, one < other.
        cosine: [E] float32.
    """

    one: np.ndarray
    other: np.ndarray
    cosine: np.ndarray


def find_edges(index: Neighbours, whole: np.ndarray, threads: int) -> Edges:
    """Return the pairs of photos whose features have a cosine of at least `VIEW_COSINE`.

    Args:
        index: of the photos.
        whole: [P, C] float16, unit rows.
        threads: how many.
    """

    def near(photos: np.ndarray) -> np.ndarray:
        cosines, found = index.search(whole[photos], _NEIGHBOURS + 1)
        row, column = np.nonzero((cosines >= VIEW_COSINE) & (found >= 0))
        return np.rec.fromarrays(
            [photos[row], found[row, column], cosines[row, column]], names="one,other,cosine"
        )

    edges = np.concatenate([near(np.arange(0)), *in_blocks(near, np.arange(len(whole)), threads)])
    edges = edges[edges["one"] != edges["other"]]
    one = np.minimum(edges["one"], edges["other"])
    other = np.maximum(edges["one"], edges["other"])
    # A pair is found from both ends, or from one.
    _, first = np.unique(one * len(whole) + other, return_index=True)
    return Edges(one[first], other[first], edges["cosine"][first])


def is_duplicate(one: np.ndarray, other: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Tell which pairs are one photo, by their perceptual hashes (uint64) and their cosine."""
    bits = np.unpackbits((one ^ other)[..., None].view(np.uint8), axis=-1).sum(axis=-1)
    return (bits <= DUPLICATE_BITS) & (cosine >= DUPLICATE_COSINE)


def find_duplicates(edges: Edges, phash: np.ndarray, pixels: np.ndarray) -> dict[int, int]:
    """Return the photos to drop, each with the one that is kept in its place.

    Of duplicates the largest is kept, of equal ones that of the first path.

    Args:
        edges: of the photos.
        phash: [P] uint64.
        pixels: [P] width times height.
    """
    same = is_duplicate(phash[edges.one], phash[edges.other], edges.cosine)
    rank = np.empty(len(pixels), np.int64)
    rank[np.argsort(-pixels, kind="stable")] = np.arange(len(pixels))
    ends = np.stack([edges.one[same], edges.other[same]], axis=1)
    ends = np.take_along_axis(ends, np.argsort(rank[ends], axis=1), axis=1)
    dropped: dict[int, int] = {}
    # By the rank of the worse: what becomes of the better is known before.
    for better, worse in ends[np.lexsort(rank[ends].T)].tolist():
        if worse not in dropped and better not in dropped:
            dropped[worse] = better
    return dropped


def group(edges: Edges, count: int) -> np.ndarray:
    """Return the group [P] int of each photo: all that edges lead to are in one."""
    graph = coo_array((np.ones(len(edges.one)), (edges.one, edges.other)), (count, count))
    return connected_components(graph, directed=False)[1]


def held_out(groups: np.ndarray, names: Sequence[str], share: float) -> np.ndarray:
    """Return which items are held out: whole groups, whatever other groups there are.

    Args:
        groups: the group of each item.
        names: the SHA-256 of each item; a group's side follows from its smallest.
        share: of the groups, 0..1.

    Returns:
        A bool for each item.
    """
    smallest: dict[int, str] = {}
    for number, name in zip(groups.tolist(), names, strict=True):
        smallest[number] = min(name, smallest.get(number, name))
    out = {number: _fraction(name) < share for number, name in smallest.items()}
    return np.array([out[number] for number in groups.tolist()], bool)


def _fraction(name: str) -> float:
    """Return a number in 0..1 that depends on a name alone."""
    # Of several hashes the smallest is small; a hash of it is as good as any.
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
