"""Files that are complete or absent, and what is in them as a checksum."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_PARTIAL = ".partial"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal, a megabyte at a time.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name, force it to the disk, and rename it.

    Raises:
        OSError: no room, or no permission; a file of that name is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + _PARTIAL)
    try:
        with partial.open("wb") as file:
            write(file)
        force(partial)
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    force(path.parent)


def force(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
