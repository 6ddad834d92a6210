"""The two tables that are the result: pairs of photos, and every file that was seen.

Dimensions: P photos that are unlike each other in their pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...files import write_whole
from .collection import Collection
from .examine import Reason
from .retrieval import References, Sides

TRAIN, HELD_OUT = "train", "held-out"
MANIFEST = "manifest.parquet"
IMAGES = "images.parquet"

_PAIRS = pa.schema(
    [
        ("target", pa.string()),
        ("reference", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("split", pa.string()),
        ("target_sha256", pa.string()),
        ("reference_sha256", pa.string()),
    ]
)
# Targets whose rows are written at a time.
_TARGETS = 1 << 13


def write_pairs(data: Path, photos: Collection, sides: Sides, found: Iterable[References]) -> int:
    """Write the manifest as it comes; return the number of its rows.

    A target without a reference has one row, with null as reference, rank and score.

    Args:
        data: folder of the manifest.
        photos: that targets and references are numbers of.
        sides: of the photos.
        found: in the order of the rows.

    Raises:
        OSError: no room, or no permission.
    """
    columns = photos.column("path"), photos.column("sha256")
    found, rows = iter(found), 0

    def write(file: BinaryIO) -> None:
        nonlocal rows
        with pq.ParquetWriter(file, _PAIRS, compression="zstd") as writer:
            while some := list(islice(found, _TARGETS)):
                table = _pairs(some, columns, sides)
                writer.write_table(table)
                rows += len(table)

    write_whole(data / MANIFEST, write)
    return rows


def _pairs(
    found: list[References], columns: tuple[pa.ChunkedArray, pa.ChunkedArray], sides: Sides
) -> pa.Table:
    """Return the rows of some targets. columns: path and SHA-256 of the photos, [P] each."""
    targets, references, ranks, scores = [], [], [], []
    for one in found:
        rows = len(one.references) or 1
        targets += [one.target] * rows
        references += one.references.tolist() or [None]
        ranks += range(1, rows + 1) if len(one.references) else [None]
        scores += one.scores.tolist() or [None]
    splits = np.where(sides.held_out[targets], HELD_OUT, TRAIN)
    targets, references = pa.array(targets, pa.int64()), pa.array(references, pa.int64())
    path, sha256 = columns
    values = [path.take(targets), path.take(references), ranks, scores, splits]
    values += [sha256.take(targets), sha256.take(references)]
    return pa.table(dict(zip(_PAIRS.names, values, strict=True)), _PAIRS)


def write_images(
    data: Path, photos: Collection, sides: Sides, duplicates: Mapping[int, int]
) -> dict[Reason, int]:
    """Write what became of every file; return the number of files by reason.

    Args:
        data: folder of the table.
        photos: with the facts of all files.
        sides: of the photos.
        duplicates: rows of the facts, each with that of the file that is kept in its place.

    Raises:
        OSError: no room, or no permission.
    """
    facts = photos.facts
    reasons, details = facts["reason"].to_pylist(), facts["detail"].to_pylist()
    for row, kept in duplicates.items():
        reasons[row] = Reason.duplicate.value
        details[row] = f"of {facts['path'][kept]}"
    splits = np.full(len(facts), None, object)
    for split, side in ((TRAIN, sides.train), (HELD_OUT, sides.held_out)):
        splits[photos.photos[side]] = split
    table = facts.select(["path", "sha256", "width", "height"])
    for name, values in (("reason", reasons), ("detail", details), ("split", splits)):
        table = table.append_column(name, pa.array(values, pa.string()))
    write_whole(data / IMAGES, lambda file: pq.write_table(table, file, compression="zstd"))
    return {reason: count for reason in Reason if (count := reasons.count(reason.value))}
