"""The whole way, from files to manifest; killed at any time, it goes on where it was."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import Progress

from ..geometry import check_count
from .chunks import chunk_name, has_chunk, read_chunk, write_chunk, write_index
from .collection import Collection, collect, read_sources
from .describe import load_network
from .examine import Reason
from .groups import find_duplicates, find_edges, group, held_out
from .neighbours import Neighbours
from .records import Settings, Task, lost_record, make_record
from .retrieval import Sides, retrieve
from .scan import Found, walk
from .tables import write_images, write_pairs
from .workers import Workers

_CHUNK = 256


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


class Summary(NamedTuple):
    """What a run did.

    Attributes:
        counts: files by reason.
        pairs: rows of the manifest, or None where there is none yet.
        read: files that were read; the others' records were there.
        seconds: for which they were read.
    """

    counts: dict[Reason, int]
    pairs: int | None
    read: int
    seconds: float


def prepare(
    images: Sequence[str | Path],
    output: str | Path,
    *,
    exclude: Sequence[str] = (),
    settings: Settings | None = None,
    pairing: Pairing | None = None,
    shard: tuple[int, int] | None = None,
    workers: int = 1,
) -> Summary:
    """Make a manifest of photos, or, of a shard, the records that `merge` makes one of.

    Args:
        images: files and folders.
        output: folder of the result; its records are used again where files have not changed.
        exclude: globs of files and folders to leave out, as of `walk`.
        settings: of the records.
        pairing: of the manifest.
        shard: (i, n): of the files the i-th of n shares, from 1.
        workers: processes, and later threads; they change no result.

    Raises:
        TypeError, ValueError: a setting out of range, or an output that is among the images.
        FileNotFoundError: an input, or the weights of the features, are not there.
        RuntimeError: the workers cannot be started.
        OSError: no room, or no permission.

    Example:
        >>> prepare(["photos"], "data").counts[Reason.kept]
        1815
    """
    settings, pairing = settings or Settings(), pairing or Pairing()
    output = Path(output).resolve()
    first, shards = shard or (1, 1)
    check_count("workers", workers)
    check_count("min_size", settings.min_size)
    check_count("shard", first)
    if first > shards:
        raise ValueError(f"shard: expected I/N with I in 1..N, got {first}/{shards}")
    _check_pairing(pairing)
    if output in {Path(path).resolve() for path in images}:
        raise ValueError(f"output: expected a folder that is no input, got {output}")
    # A folder or weights that are not there are told of before any work.
    load_network(settings.features)
    files = sum(1 for _ in walk(images, exclude, output=output))
    mine = islice(walk(images, exclude, output=output), first - 1, None, shards)
    names, read, started = [], 0, time.monotonic()
    with _progress() as progress, Workers(workers) as pool:
        bar = progress.add_task("records", total=len(range(first - 1, files, shards)))
        for tasks in _chunks(mine, output, settings):
            names.append(chunk_name(tasks))
            if not has_chunk(output, names[-1]):
                records = pool.map(make_record, tasks, lost=lost_record)
                write_chunk(output, names[-1], records, settings)
                read += len(tasks)
            progress.advance(bar, len(tasks))
    write_index(output, names, settings)
    seconds = time.monotonic() - started
    if shards > 1:
        reasons = [reason for name in names for reason in read_chunk(output, name)["reason"]]
        counts = {x: n for x in Reason if (n := reasons.count(x.value))}
        return Summary(counts, None, read, seconds)
    counts, pairs = _pair([output], output, pairing, workers)
    return Summary(counts, pairs, read, seconds)


def merge(
    folders: Sequence[str | Path],
    output: str | Path,
    *,
    pairing: Pairing | None = None,
    workers: int = 1,
) -> Summary:
    """Make a manifest of the records of several folders.

    Args:
        folders: each the output of a finished `prepare`, a shard or not.
        output: folder of the result.
        pairing: of the manifest.
        workers: threads; they change no result.

    Raises:
        TypeError, ValueError: a setting out of range, or folders of different settings.
        FileNotFoundError: a folder without records.
        OSError: no room, or no permission.

    Example:
        >>> merge(["shard_1", "shard_2"], "data").pairs
        9075
    """
    pairing = pairing or Pairing()
    check_count("workers", workers)
    _check_pairing(pairing)
    output, *folders = (Path(folder).resolve() for folder in (output, *folders))
    return Summary(*_pair(folders, output, pairing, workers), 0, 0.0)


def _pair(
    folders: Sequence[Path], output: Path, pairing: Pairing, threads: int
) -> tuple[dict[Reason, int], int]:
    """Write both tables; return the number of files by reason and of pairs."""
    sources, settings = read_sources(folders)
    work = output / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        photos = collect(sources, settings, output, work)
        index = Neighbours(photos.load("whole"))
        edges = find_edges(photos, index, threads)
        width, height = (photos.column(x).to_numpy().astype(int) for x in ("width", "height"))
        alike = find_duplicates(edges, width * height)
        groups = group(edges, len(photos.photos))
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
        with _progress() as progress:
            total = counts.get(Reason.kept, 0)
            tracked = progress.track(found, total, description="references")
            return counts, write_pairs(output, photos, sides, tracked)
    finally:
        shutil.rmtree(work)


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


def _chunks(found: Iterator[Found], output: Path, settings: Settings) -> Iterator[list[Task]]:
    while some := list(islice(found, _CHUNK)):
        yield [Task(x, Path(os.path.relpath(x.path, output)).as_posix(), settings) for x in some]


def _check_pairing(pairing: Pairing) -> None:
    check_count("references", pairing.references)
    check_count("candidates", pairing.candidates)
    if not 0 <= pairing.held_out <= 1:
        raise ValueError(f"held_out: expected a number in 0..1, got {pairing.held_out}")


def _progress() -> Progress:
    return Progress(console=Console(stderr=True))
