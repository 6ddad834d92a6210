"""All records together: facts of every file as a table, arrays of the photos as files.

Dimensions: P photos that are unlike each other in their pixels, in the order of their paths.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .chunks import FACTS, read_chunk, read_index
from .examine import Reason
from .records import Layout, Settings, layouts


class Source(NamedTuple):
    """A chunk and the folder that it belongs to."""

    data: Path
    chunk: str


class Collection(NamedTuple):
    """Records of one or several folders.

    Attributes:
        facts: the columns of `FACTS`, a row for each file, in the order of the paths.
        same: rows of files whose pixels another has, each with the row of that one.
        photos: [P] rows of the photos.
        arrays: the files of `cells`, `histograms` and `whole`, [P, ...] each.
    """

    facts: pa.Table
    same: dict[int, int]
    photos: np.ndarray
    arrays: dict[str, Path]

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column of the facts, of the photos alone."""
        return self.facts[name].take(pa.array(self.photos))

    def load(self, name: str) -> np.ndarray:
        """Return an array of the photos, as a map of its file.

        What was read of a map counts as memory until the map is dropped.
        """
        return np.load(self.arrays[name], mmap_mode="r")


def read_sources(folders: Sequence[Path]) -> tuple[list[Source], Settings]:
    """Return the chunks of folders, and the settings that all were made with.

    Raises:
        FileNotFoundError, ValueError: as `read_index`, or folders of different settings.
    """
    sources, first = [], None
    for data in folders:
        names, settings = read_index(data)
        first = first or settings
        if settings != first:
            raise ValueError(f"{data}: expected records made with {first}, got {settings}")
        sources += [Source(data, name) for name in names]
    return sources, first


def collect(sources: Sequence[Source], settings: Settings, output: Path, work: Path) -> Collection:
    """Join chunks.

    Args:
        sources: the chunks.
        settings: that they were made with.
        output: the folder that the paths of the result are relative to.
        work: an existing folder, for the arrays.

    Raises:
        FileNotFoundError, ValueError: as `read_chunk`.
        OSError: no room for the arrays.
    """
    parts = [_facts(source, output) for source in sources]
    table = pa.concat_tables([FACTS.empty_table(), *parts]).combine_chunks()
    order = pc.sort_indices(table, [("path", "ascending")]).to_numpy()
    facts = table.take(pa.array(order)).combine_chunks()
    same, photos = _unlike(facts)
    place = np.full(len(order), -1)
    place[order[photos]] = np.arange(len(photos))
    arrays = {}
    for name, layout in layouts(settings.features).items():
        arrays[name] = work / f"{name}.npy"
        _gather(arrays[name], name, layout, sources, place)
    return Collection(facts, same, photos, arrays)


def _facts(source: Source, output: Path) -> pa.Table:
    """Return the facts of a chunk, with paths relative to the output folder."""
    table = read_chunk(*source).select(FACTS.names)
    if source.data != output:
        paths = [os.path.relpath(source.data / path, output) for path in table["path"].to_pylist()]
        table = table.set_column(0, "path", pa.array(paths, pa.string()))
    # A copy, which does not keep the file mapped.
    return pa.Table.from_pylist(table.to_pylist(), FACTS)


def _unlike(facts: pa.Table) -> tuple[dict[int, int], np.ndarray]:
    """Return rows of the same pixels as an earlier one, each with that one, and the other rows."""
    same, first = {}, {}
    kept = pc.equal(facts["reason"], Reason.kept.value).to_numpy()
    for row in np.flatnonzero(kept).tolist():
        earlier = first.setdefault(facts["pixels"][row].as_py(), row)
        if earlier != row:
            same[row] = earlier
    return same, np.array(list(first.values()), np.int64)


def _gather(
    path: Path, name: str, layout: Layout, sources: Iterable[Source], place: np.ndarray
) -> None:
    """Write an array of the photos; `place` has each record's row in it, or -1."""
    count = int(place.max(initial=-1)) + 1
    shape = (count, *layout.shape)
    np.lib.format.open_memmap(path, "w+", layout.dtype, shape)
    start = 0
    for source in sources:
        values = read_chunk(*source)[name].combine_chunks()
        places = place[start : start + len(values)]
        start += len(values)
        taken = values.take(pa.array(np.flatnonzero(places >= 0)))
        rows = np.frombuffer(b"".join(taken.to_pylist()), layout.dtype).reshape(-1, *layout.shape)
        # Mapped anew for each chunk: written pages count as memory until the map is dropped.
        if len(rows):
            np.load(path, mmap_mode="r+")[places[places >= 0]] = rows
