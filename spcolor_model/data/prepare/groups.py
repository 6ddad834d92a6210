"""Duplicates, and photos of one scene, which stay on one side of the split.

Dimensions: P photos, E edges between photos that look alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .collection import Collection
from .neighbours import Neighbours, in_blocks
from .parts import Parts

# Two files of one photo: other sizes, other compression.
DUPLICATE_BITS = 4
DUPLICATE_COSINE = 0.75
# Two photos of one scene: frames of a shot, views. Unrelated photos whose features are as near have
# a correlation around 0.
_VIEW_COSINE = 0.6
_VIEW_CORRELATION = 0.3
# Among so many neighbours duplicates are looked for, and among so few other views: each chance
# likeness joins two groups, and at one of them a photo all would be joined.
_NEIGHBOURS = 32
_NEAREST = 8
# Photos of one thread at a time: the maps of the arrays live as long.
BLOCK = 64


class Edges(NamedTuple):
    """Pairs of photos of one scene.

    Attributes:
        one, other: [E] int64, photos, one < other.
        is_duplicate: [E] bool; they are one photo.
    """

    one: np.ndarray
    other: np.ndarray
    is_duplicate: np.ndarray


def is_duplicate(one: np.ndarray, other: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Tell which pairs are one photo, by their perceptual hashes (uint64) and their cosine.

    Example:
        >>> is_duplicate(np.uint64([7]), np.uint64([6]), np.array([0.99]))
        array([ True])
    """
    bits = np.unpackbits((one ^ other)[..., None].view(np.uint8), axis=-1).sum(axis=-1)
    return (bits <= DUPLICATE_BITS) & (cosine >= DUPLICATE_COSINE)


def find_edges(photos: Collection, index: Neighbours, threads: int) -> Iterator[np.ndarray]:
    """Find the photos that each photo is one with, or shows the scene of.

    Args:
        photos: with their arrays.
        index: of `whole`.
        threads: how many.

    Yields:
        [E, 3] int64 of every `BLOCK` photos: one, other and whether they are duplicates.
    """
    phash = photos.column("phash").to_numpy()

    def find(block: np.ndarray) -> np.ndarray:
        parts, edges = Parts(photos), [np.empty((0, 3), np.int64)]
        found = index.search(photos.load("whole")[block], _NEIGHBOURS + 1)
        for photo, cosines, near in zip(block, *found, strict=True):
            usable = (near >= 0) & (near != photo) & (cosines >= _VIEW_COSINE)
            cosines, near = cosines[usable], near[usable]
            same = is_duplicate(phash[photo], phash[near], cosines)
            views = same.copy()
            _, correlations = parts.compare(photo, near[:_NEAREST])
            views[:_NEAREST] |= correlations >= _VIEW_CORRELATION
            ends = np.sort(np.stack(np.broadcast_arrays(photo, near), axis=1), axis=1)
            edges.append(np.column_stack([ends, same])[views])
        return np.concatenate(edges)

    yield from in_blocks(find, np.arange(len(photos.photos)), threads, BLOCK)


def join_edges(found: Iterable[np.ndarray]) -> Edges:
    """Join what `find_edges` yields: a pair is found from both ends, or from one."""
    edges = np.unique(np.concatenate([np.empty((0, 3), np.int64), *found]), axis=0)
    return Edges(edges[:, 0], edges[:, 1], edges[:, 2].astype(bool))


def find_duplicates(edges: Edges, pixels: np.ndarray) -> dict[int, int]:
    """Return the photos to drop, each with the one that is kept in its place.

    Of duplicates the largest is kept, of equal ones that of the first path.

    Args:
        edges: of the photos.
        pixels: [P] width times height.
    """
    same = edges.is_duplicate
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
