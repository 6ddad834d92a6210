"""Lists that come with a set of pictures: their checksums, and their classes.

A list is text (two fields a line), or CSV or Parquet with a column `file` and one of the values:

| list | text, one line a picture | column |
|---|---|---|
| pinned pictures | `SHA256  file`, as `sha256sum` writes it | `sha256` |
| classes | `file index`, as ImageNet's `val.txt` | `class` |
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pyarrow import ArrowException, csv, parquet

from ..files import sha256

NUM_CLASSES = 1000


def read_pins(path: str | Path) -> dict[str, str]:
    """Return the SHA-256 of every picture of a pinned list, by its name in the truth's folder.

    Raises:
        FileNotFoundError, ValueError: no such list, or one that names no pictures with 64
            hexadecimal digits each.

    Example:
        >>> read_pins("held_out.sha256")
        {'a.png': '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'}
    """
    pins = {file: digest.lower() for file, digest in _read(Path(path), "sha256", is_first=True)}
    for file, digest in pins.items():
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise ValueError(f"{path}, {file}: expected the SHA-256 in 64 digits, got {digest!r}")
    return pins


def read_classes(path: str | Path) -> dict[str, int]:
    """Return the ImageNet class of every picture, by the stem of its file's name.

    Raises:
        FileNotFoundError, ValueError: no such list, or one with a class that is not in 0..999.

    Example:
        >>> read_classes("val.txt")["ILSVRC2012_val_00000001"]
        65
    """
    classes = {}
    for file, text in _read(Path(path), "class", is_first=False):
        if not text.isdecimal() or int(text) >= NUM_CLASSES:
            raise ValueError(f"{path}, {file}: expected a class in 0..999, got {text!r}")
        classes[Path(file).stem] = int(text)
    return classes


def check_pins(folder: Path, pins: dict[str, str]) -> None:
    """Compare the pictures of a folder with a pinned list.

    Raises:
        FileNotFoundError, ValueError: a picture that is not there or is another; names every one.
    """
    absent = [file for file in pins if not (folder / file).is_file()]
    if absent:
        raise FileNotFoundError(f"{folder}: expected the pinned pictures, lacks {listed(absent)}")
    changed = [file for file, digest in pins.items() if sha256(folder / file) != digest]
    if changed:
        raise ValueError(f"{folder}: expected the pinned SHA-256, got another: {listed(changed)}")


def listed(names: list[str]) -> str:
    """Return how many names there are, and all of them.

    Example:
        >>> listed(["a.png", "b.png"])
        '2 (a.png, b.png)'
    """
    return f"{len(names)} ({', '.join(names)})"


def _read(path: Path, column: str, *, is_first: bool) -> list[tuple[str, str]]:
    """Return file and value of every line; `is_first` tells whether text has the value first."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a list of pictures, got no file at that path")
    is_table = path.suffix in {".csv", ".parquet"}
    try:
        rows = _table(path, column) if is_table else _text(path, is_first)
    except (ArrowException, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected a list of pictures, got: {error}") from None
    twice = [file for file, count in Counter(file for file, _ in rows).items() if count > 1]
    if twice or not rows:
        got = f"{listed(twice)} more than once" if twice else "none"
        raise ValueError(f"{path}: expected every picture once, got {got}")
    return rows


def _table(path: Path, column: str) -> list[tuple[str, str]]:
    table = csv.read_csv(path) if path.suffix == ".csv" else parquet.read_table(path)
    if not {"file", column} <= set(table.column_names):
        found = ", ".join(table.column_names)
        raise ValueError(f"{path}: expected columns file, {column}, got {found}")
    columns = (map(str, table[name].to_pylist()) for name in ("file", column))
    return list(zip(*columns, strict=True))


def _text(path: Path, is_first: bool) -> list[tuple[str, str]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        # A file's name may have spaces, a value has none.
        fields = line.split(maxsplit=1) if is_first else line.rsplit(maxsplit=1)[::-1]
        if len(fields) != 2:
            raise ValueError(f"{path}, line {number}: expected two fields, got {len(fields)}")
        value, file = fields
        # sha256sum marks a file that was read as binary.
        rows.append((file.strip().removeprefix("*"), value))
    return rows
