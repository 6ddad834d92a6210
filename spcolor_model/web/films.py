"""Which films the page takes: checked by their first bytes and their header, before any frame.

Dimensions: H rows and W columns of a frame.
"""

from __future__ import annotations

from pathlib import Path

import av

from .limits import Limits, RefusedError, shown

SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
# Where a container's mark stands, and FFmpeg's name of its reader. No other reader is asked: a
# playlist of another name would have FFmpeg open whatever it lists.
_MARKS = (
    (4, b"ftyp", "mov"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (8, b"AVI ", "avi"),
)
_BEGINNING = 16


def check_film(path: Path, name: str, limits: Limits) -> None:
    """Check what the header of a film says.

    Raises:
        RefusedError: no film, one of another container, of frames that are too large, too long, or
            of no length.

    Example:
        >>> check_film(Path("film.mp4"), "film.mp4", Limits())
    """
    called = shown(name)
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING)
    readers = [reader for at, mark, reader in _MARKS if beginning[at:].startswith(mark)]
    if not readers:
        raise RefusedError(
            f"{called}: expected a film in MP4, MOV, MKV, WebM or AVI, got other data"
        )
    try:
        with av.open(str(path), format=readers[0]) as container:
            if not container.streams.video:
                raise RefusedError(f"{called}: expected a film with pictures, got none")
            stream = container.streams.video[0]
            width, height = stream.width, stream.height
            seconds = (container.duration or 0) / av.time_base
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, RefusedError):
            raise
        raise RefusedError(f"{called}: expected a film, got a damaged header: {error}") from error
    if not 0 < width * height <= limits.pixels:
        raise RefusedError(
            f"{called}: expected frames of at most {limits.megapixels:g} megapixels, got "
            f"{width} x {height}"
        )
    if not 0 < seconds <= 60 * limits.minutes:
        got = f"{seconds / 60:.1f}" if seconds > 0 else "an unknown number"
        raise RefusedError(
            f"{called}: expected a film of at most {limits.minutes:g} minutes, got {got}"
        )
