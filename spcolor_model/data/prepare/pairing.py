"""From records to tables: duplicates, sides and references."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import Progress

from ..geometry import check_count
from .collection import Collection, collect, read_sources
from .examine import Reason
from .groups import BLOCK, find_duplicates, find_edges, group, held_out, join_edges
from .neighbours import Neighbours
from .retrieval import Sides, retrieve
from .tables import write_images, write_pairs

# Of the arrays of all photos, for as long as they are paired.
_WORK = "arrays.partial"


class Pairing(NamedTuple):
    """How photos become pairs.

    Attributes:
        held_out: share of the groups of photos that is held out, 0..1.
        references: at most so many of each target.
        candidates: so many are compared part by part, at most half of the photos.
    """

    held_out: float = 0.2
    references: int = 5
    candidates: int = 200


class Paired(NamedTuple):
    """What came of it.

    Attributes:
        counts: files by reason.
        pairs: rows of the manifest.
        largest_group: photos in the largest group, which is on one side as a whole.
    """

    counts: dict[Reason, int]
    pairs: int
    largest_group: int


def check_pairing(pairing: Pairing) -> None:
    """Check that a pairing is possible.

    Raises:
        TypeError, ValueError: a number out of range.
    """
    check_count("references", pairing.references)
    check_count("candidates", pairing.candidates)
    if not 0 <= pairing.held_out <= 1:
        raise ValueError(f"held_out: expected a number in 0..1, got {pairing.held_out}")


def pair(folders: Sequence[Path], output: Path, pairing: Pairing, threads: int) -> Paired:
    """Write the manifest and the table of images.

    Args:
        folders: whose records are joined.
        output: folder of the tables.
        pairing: how.
        threads: how many; they change no result.

    Raises:
        FileNotFoundError, ValueError: a folder without records, or folders of different settings.
        OSError: no room, or no permission.
    """
    sources, settings = read_sources(folders)
    work = output / _WORK
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        photos = collect(sources, settings, output, work)
        count = len(photos.photos)
        index = Neighbours(photos.load("whole"))
        with progress_bar() as progress:
            found = find_edges(photos, index, threads)
            blocks = -(-count // BLOCK)
            edges = join_edges(progress.track(found, blocks, description="scenes"))
            groups = group(edges, count)
            width, height = (photos.column(x).to_numpy().astype(int) for x in ("width", "height"))
            alike = find_duplicates(edges, width * height)
            sides, duplicates = _sides(photos, groups, alike, pairing.held_out)
            counts = write_images(output, photos, sides, duplicates)
            found = retrieve(
                photos,
                index,
                sides,
                references=pairing.references,
                candidates=pairing.candidates,
                threads=threads,
            )
            kept = counts.get(Reason.kept, 0)
            pairs = write_pairs(
                output, photos, sides, progress.track(found, kept, description="references")
            )
            return Paired(counts, pairs, int(np.bincount(groups).max(initial=0)))
    finally:
        shutil.rmtree(work)


def progress_bar() -> Progress:
    """Return a progress bar that leaves standard output alone."""
    return Progress(console=Console(stderr=True))


def _sides(
    photos: Collection, groups: np.ndarray, alike: dict[int, int], share: float
) -> tuple[Sides, dict[int, int]]:
    """Return the side of each photo, and the row of each duplicate with that of the kept file."""
    rows = photos.photos
    duplicates = {int(rows[dropped]): int(rows[kept]) for dropped, kept in alike.items()}
    # Of the files with a photo's pixels, the first may have been dropped for a larger one.
    same = {row: duplicates.get(first, first) for row, first in photos.same.items()}
    group_of = np.full(len(photos.facts), -1)
    group_of[rows] = groups
    group_of[list(same)] = group_of[list(photos.same.values())]
    members = np.flatnonzero(group_of >= 0)
    names = photos.facts["sha256"].take(pa.array(members)).to_pylist()
    is_out = np.zeros(len(group_of), bool)
    is_out[members] = held_out(group_of[members], names, share)
    kept = np.ones(len(rows), bool)
    kept[list(alike)] = False
    return Sides(kept & ~is_out[rows], kept & is_out[rows]), duplicates | same
