"""Records on disk: a file for each chunk of images, which is complete or absent.

    DATA/records/0a1b2c....arrow, ..., index.json

A chunk is named by a hash of all that its records depend on, so one that is there is the right one.
`index.json` lists the chunks of the last run that came to its end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from ...files import write_whole
from ...networks import BackboneName
from .records import Record, Settings, Task, layouts

_FOLDER = "records"
_INDEX = "index.json"
# Another one makes every record anew.
_VERSION = 1

FACTS = pa.schema(
    [
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("pixels", pa.binary(32)),
        ("phash", pa.uint64()),
    ]
)


def chunk_name(tasks: Sequence[Task]) -> str:
    """Return the name of a chunk, which changes with its files' names, sizes and times.

    Example:
        >>> chunk_name([Task(Found(Path("a.jpg"), 900, 17), "a.jpg", Settings())])
        'f9a0d3ab0c3e0e0b5f2fd8b1'
    """
    files = [(task.path, *task.found[1:]) for task in tasks]
    text = json.dumps([_VERSION, tasks[0].settings, files])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def has_chunk(data: Path, name: str) -> bool:
    """Tell whether the chunk is there."""
    return _path(data, name).is_file()


def write_chunk(data: Path, name: str, records: Sequence[Record], settings: Settings) -> None:
    """Write a chunk.

    Raises:
        OSError: no room, or no permission.
    """
    arrays = [(name, pa.binary(x.size)) for name, x in layouts(settings.features).items()]
    schema = pa.schema([*FACTS, *arrays])
    table = pa.Table.from_pylist([record._asdict() for record in records], schema)

    def write(file: BinaryIO) -> None:
        with pa.ipc.new_file(file, schema) as writer:
            writer.write_table(table)

    write_whole(_path(data, name), write)


def read_chunk(data: Path, name: str) -> pa.Table:
    """Return a chunk, of which only those columns are read from the disk that are used.

    Raises:
        FileNotFoundError, ValueError: it is not there, or damaged.
    """
    path = _path(data, name)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected records, got no file at that path")
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: expected records, got: {error}") from None


def write_index(data: Path, names: Iterable[str], settings: Settings) -> None:
    """Say which chunks a run has made, and remove those of earlier runs."""
    names = list(names)
    index = {"version": _VERSION, "settings": settings._asdict(), "chunks": names}
    write_whole(data / _FOLDER / _INDEX, lambda file: file.write(json.dumps(index).encode()))
    kept = {_path(data, name) for name in names}
    for path in (data / _FOLDER).glob("*.arrow*"):
        if path not in kept:
            path.unlink()


def read_index(data: Path) -> tuple[list[str], Settings]:
    """Return the chunks of a folder, and the settings that they were made with.

    Raises:
        FileNotFoundError: no run came to its end.
        ValueError: records of another version, or a damaged index.
    """
    path = data / _FOLDER / _INDEX
    if not path.is_file():
        raise FileNotFoundError(
            f"{data}: expected the folder of a finished `spcolor prepare`, got one without {path}"
        )
    try:
        index = json.loads(path.read_text())
        found, names, settings = index["version"], index["chunks"], index["settings"]
        features = BackboneName(settings["features"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected an index of records, got: {error!r}") from None
    if found != _VERSION:
        raise ValueError(f"{path}: expected records of version {_VERSION}, got {found}")
    return names, Settings(settings["min_size"], features)


def _path(data: Path, name: str) -> Path:
    return data / _FOLDER / f"{name}.arrow"
