"""Which files there are: every one of the given files and folders, always in the same order."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple


class Found(NamedTuple):
    """A path that is no folder.

    Attributes:
        path: absolute.
        size: in bytes.
        modified: in nanoseconds since 1970.
        problem: why it cannot be opened, or "" for a regular file.
    """

    path: Path
    size: int = 0
    modified: int = 0
    problem: str = ""


def walk(
    inputs: Iterable[str | Path], exclude: Sequence[str] = (), *, output: str | Path
) -> Iterator[Found]:
    """Yield every file of files and folders, each folder's in the order of their names.

    Links are followed, and a folder is entered once, whichever ways lead to it. Nothing is opened:
    pipes, sockets, devices and folders that cannot be listed are yielded with their problem.

    Args:
        inputs: files and folders.
        exclude: globs; what has a name or an absolute path like one of them is left out.
        output: a folder that is not entered.

    Raises:
        FileNotFoundError: an input is not there.

    Example:
        >>> [found.path.name for found in walk(["photos"], ["*.gif"], output="data")]
        ['a.jpg', 'b.jpg']
    """
    waiting = _roots(inputs)[::-1]
    output = Path(output)
    entered = {_identity(output.stat())} if output.exists() else set()
    while waiting:
        path = waiting.pop()
        try:
            status = path.stat()
            if not stat.S_ISDIR(status.st_mode):
                yield Found(path, status.st_size, status.st_mtime_ns, _problem(path, status))
            elif _identity(status) not in entered:
                entered.add(_identity(status))
                below = sorted(path.iterdir(), key=attrgetter("name"), reverse=True)
                waiting += [one for one in below if not _is_like(one, exclude)]
        except OSError as error:
            yield Found(path, problem=error.strerror)


def _roots(inputs: Iterable[str | Path]) -> list[Path]:
    """Return the inputs as sorted absolute paths, without those that are below another."""
    paths = sorted({Path(path).resolve() for path in inputs})
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: expected a file or folder, got nothing at that path")
    return [path for path in paths if not set(path.parents) & set(paths)]


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _problem(path: Path, status: os.stat_result) -> str:
    if not stat.S_ISREG(status.st_mode):
        return "no regular file"
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name is not in UTF-8"
    return ""


def _is_like(path: Path, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(text, glob) for glob in globs for text in (path.name, str(path)))
