"""From files to records, and on to the tables; killed at any time, it goes on where it was."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ..geometry import check_count
from .chunks import chunk_name, has_chunk, read_chunk, write_chunk, write_index
from .describe import load_network
from .examine import Reason
from .pairing import Paired, Pairing, check_pairing, pair, progress_bar
from .records import Settings, Task, lost_record, make_record
from .scan import Found, walk
from .workers import Workers

_CHUNK = 256


class Summary(NamedTuple):
    """What a run did.

    Attributes:
        counts: files by reason; of a shard, before duplicates are looked for.
        read: files that were read; the others' records were there.
        seconds: for which they were read.
        paired: what came of the records, or None of a shard.
    """

    counts: dict[Reason, int]
    read: int
    seconds: float
    paired: Paired | None


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
    check_pairing(pairing)
    if output in {Path(path).resolve() for path in images}:
        raise ValueError(f"output: expected a folder that is no input, got {output}")
    # A folder or weights that are not there are told of before any work.
    load_network(settings.features)
    files = sum(1 for _ in walk(images, exclude, output=output))
    mine = islice(walk(images, exclude, output=output), first - 1, None, shards)
    names, read, started = [], 0, time.monotonic()
    with progress_bar() as progress, Workers(workers) as pool:
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
        return Summary(counts, read, seconds, None)
    paired = pair([output], output, pairing, workers)
    return Summary(paired.counts, read, seconds, paired)


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
        >>> merge(["shard_1", "shard_2"], "data").paired.pairs
        9075
    """
    pairing = pairing or Pairing()
    check_count("workers", workers)
    check_pairing(pairing)
    output, *folders = (Path(folder).resolve() for folder in (output, *folders))
    paired = pair(folders, output, pairing, workers)
    return Summary(paired.counts, 0, 0.0, paired)


def _chunks(found: Iterator[Found], output: Path, settings: Settings) -> Iterator[list[Task]]:
    while some := list(islice(found, _CHUNK)):
        yield [Task(x, Path(os.path.relpath(x.path, output)).as_posix(), settings) for x in some]
