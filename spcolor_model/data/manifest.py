"""Manifests: which photos are trained with which references, as a CSV or Parquet file.

    target,reference,licence
    photos/a.jpg,photos/b.jpg,CC0
    photos/c.jpg,,CC0

Columns `target` and `reference` are paths relative to the manifest's folder (or absolute); every
other column is for people. A row without a reference is a photo that has no partner: it is always
its own reference. A column `split` tells apart what is trained with and what is not. The encoding
is UTF-8. `spcolor prepare` writes the same columns as Parquet.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..images import read_image

COLUMNS = ("target", "reference")


class Pair(NamedTuple):
    """A photo to colour and the photo whose colours it takes.

    Attributes:
        target: path of a colour photo; its own colours are the truth.
        reference: path of another colour photo, or None: the target is its own reference.
    """

    target: Path
    reference: Path | None = None


def read_manifest(path: str | Path, split: str | None = None) -> Sequence[Pair]:
    """Return the pairs of a manifest, in its order, with paths that can be opened.

    Args:
        path: of a CSV file, or of a Parquet file with the suffix .parquet.
        split: of the rows to return, such as "train" or "held-out"; all unless given.

    Raises:
        FileNotFoundError: the manifest or a photo is not there.
        ValueError: no CSV in UTF-8 and no Parquet, a column is missing, a row has no target, its
            target as the reference, or too few or too many fields, a pair occurs twice, or there is
            no pair. The message names file and line.

    Example:
        >>> read_manifest("data/manifest.parquet", split="train")[0]
        Pair(target=PosixPath('photos/a.jpg'), reference=PosixPath('photos/b.jpg'))
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a manifest, got no file at that path")
    if path.suffix.lower() == ".parquet":
        # Whoever has no such file needs no pyarrow.
        from .prepare.pairs import ParquetPairs

        return ParquetPairs(path, split)
    columns = (*COLUMNS, "split") if split else COLUMNS
    photos: dict[str, Path] = {}
    lines: dict[Pair, int] = {}
    for line, row in _rows(path, columns):
        if split and row["split"].strip() != split:
            continue
        place = f"{path}, line {line}"
        names = [row[column].strip() for column in COLUMNS]
        if not names[0]:
            raise ValueError(f"{place}: expected a target, got an empty field")
        # A photo of many pairs is looked up once and shares one path.
        for name in filter(None, names):
            photos[name] = photos.get(name) or existing(path.parent / name, place)
        pair = Pair(photos[names[0]], photos.get(names[1]))
        if pair.target == pair.reference:
            raise ValueError(
                f"{place}: expected a reference other than the target, or an empty field, "
                f"got {names[1]} twice"
            )
        if pair in lines:
            raise ValueError(f"{place}: expected each pair once, got that of line {lines[pair]}")
        lines[pair] = line
    if not lines:
        of_split = f" of split {split!r}" if split else ""
        raise ValueError(f"{path}: expected at least one pair{of_split}, got none")
    return list(lines)


def write_manifest(
    path: str | Path, pairs: Iterable[Pair], columns: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Write pairs as a manifest, with paths relative to its folder, which is made.

    Args:
        path: of the manifest.
        pairs: may be in any folder.
        columns: further columns by name, one text for each pair.

    Raises:
        ValueError: a further column of another length, or named like one of the manifest's own.

    Example:
        >>> write_manifest("photos/train.csv", [Pair(Path("photos/a.jpg"))], {"licence": ["CC0"]})
    """
    path, pairs, columns = Path(path), list(pairs), dict(columns or {})
    for name, texts in columns.items():
        if name in COLUMNS:
            raise ValueError(f"columns: expected names other than {COLUMNS}, got {name!r}")
        if len(texts) != len(pairs):
            raise ValueError(
                f"columns[{name!r}]: expected {len(pairs)} texts, one for each pair, "
                f"got {len(texts)}"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *columns])
        for pair, *texts in zip(pairs, *columns.values(), strict=True):
            photos = ("" if photo is None else _relative(photo, path.parent) for photo in pair)
            writer.writerow([*photos, *texts])


def check_manifest(path: str | Path) -> list[str]:
    """Open every photo of a manifest once; return what is wrong, a sentence for each bad photo.

    Reported are photos that cannot be decoded, and gray ones: a gray target teaches to leave
    everything gray, and a gray reference has no colours to give.

    Raises:
        FileNotFoundError, ValueError: as `read_manifest`.

    Example:
        >>> check_manifest("photos/train.csv")
        ['photos/b.jpg: expected a photo in colour, got a gray one']
    """
    photos = dict.fromkeys(photo for pair in read_manifest(path) for photo in pair if photo)
    return [problem for photo in photos if (problem := _problem(photo))]


def existing(photo: Path, place: str) -> Path:
    """Return the path of a photo, if there is one; `place` is where the path was read.

    Raises:
        FileNotFoundError: there is no file.
    """
    if not photo.is_file():
        raise FileNotFoundError(f"{place}: expected a photo, got no file at {photo}")
    return photo


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and fields by column of every row."""
    # A spreadsheet may put a byte order mark in front.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            found = reader.fieldnames or []
            if not set(columns) <= set(found):
                raise ValueError(
                    f"{path}, line 1: expected columns {', '.join(columns)}, "
                    f"got {', '.join(found) or 'none'}"
                )
            for row in reader:
                # DictReader marks surplus fields by the key None, absent ones by the value None.
                if None in row or None in row.values():
                    raise ValueError(
                        f"{path}, line {reader.line_num}: expected {len(found)} fields, got "
                        f"{'more' if None in row else 'fewer'}"
                    )
                yield reader.line_num, row
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: expected text in UTF-8, got: {error}") from None
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {reader.reader.line_num}: expected comma-separated values, "
                f"got: {error}"
            ) from None


def _relative(photo: str | Path, folder: Path) -> str:
    """Return the path from a folder, with slashes on every system."""
    return Path(os.path.relpath(photo, folder)).as_posix()


def _problem(photo: Path) -> str | None:
    """Return what is wrong with a photo, if something is."""
    try:
        rgb = read_image(photo)
    except ValueError as error:
        return str(error)
    if (rgb == rgb[..., :1]).all():
        return f"{photo}: expected a photo in colour, got a gray one"
    return None
