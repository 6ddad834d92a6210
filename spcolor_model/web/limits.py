"""What the page takes from a visitor, checked before anything is decoded.

Dimensions: H rows and W columns of a photo, as its header says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple

from PIL import Image, UnidentifiedImageError

from ..images import EXTENSIONS

# Decoders that are asked, and no other: Pillow has some that start programs or read vector data.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_MEGA = 1_000_000
_LONGEST_NAME = 150
_LEAST_SIDE = 16
_LARGEST_RATIO = 20
# First bytes of those formats, in lower case.
_SIGNATURES = (b"\x89png", b"\xff\xd8", b"gif8", b"bm", b"ii*\0", b"mm\0*", b"riff")
# How much of a file tells that it is text.
_BEGINNING = 512


class RefusedError(ValueError):
    """A file that is not taken; the message names it and says why."""


@dataclass(frozen=True)
class Limits:
    """Bounds on what one visitor may send.

    Args:
        megapixels: of a photo.
        megabytes: of one file.
        files: of one batch.
        minutes: of a film.
        kept_megabytes: of all files of one visitor.
        waiting: jobs of all visitors in the queue.
        hours: that the files of an idle visitor are kept.

    Raises:
        ValueError: a bound that is not above 0.

    Example:
        >>> Limits(megapixels=24).bytes
        100000000
    """

    megapixels: float = 60
    megabytes: float = 100
    files: int = 50
    minutes: float = 15
    kept_megabytes: float = 2000
    waiting: int = 100
    hours: float = 12

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name}: expected a number above 0, got {value}")

    @property
    def bytes(self) -> int:
        """Bytes of one file."""
        return round(self.megabytes * _MEGA)

    @property
    def kept_bytes(self) -> int:
        """Bytes of all files of one visitor."""
        return round(self.kept_megabytes * _MEGA)

    @property
    def pixels(self) -> int:
        """Pixels of one photo."""
        return round(self.megapixels * _MEGA)


class Header(NamedTuple):
    """What an image file says of itself: W, H and Pillow's name of the format."""

    width: int
    height: int
    format: str


def check_name(name: str, suffixes: frozenset[str] = EXTENSIONS) -> str:
    """Return a plain file name as it is.

    Raises:
        RefusedError: a path, a name with characters that do not print, a long one, or a suffix
            that is not that of a photo.

    Example:
        >>> check_name("grandmother.jpg")
        'grandmother.jpg'
    """
    called = shown(name)
    if not name or name.strip(". ") == "":
        raise RefusedError(f"{called}: expected a file name, got none")
    if not name.isprintable():
        raise RefusedError(f"{called}: expected a plain name, got characters that do not print")
    if any(mark in name for mark in "/\\:") or name.startswith((".", "~", "-")):
        raise RefusedError(f"{called}: expected a plain file name, got a path or a hidden file")
    if len(name.encode()) > _LONGEST_NAME:
        raise RefusedError(
            f"{called}: expected a name of at most {_LONGEST_NAME} bytes, got {len(name.encode())}"
        )
    suffix = PurePath(name).suffix.lower()
    if suffix not in suffixes:
        known = ", ".join(sorted(suffixes))
        raise RefusedError(f"{called}: expected a suffix of {known}, got {suffix or 'none'}")
    return name


def check_image(file: Path | BinaryIO, name: str, limits: Limits) -> Header:
    """Return what the header of an image file says, if the page takes such an image.

    Nothing but the header is read, so that a small file cannot unfold into a large picture.

    Args:
        file: a path, or an open file, which is left at its beginning.
        name: what the message calls it.
        limits: on its pixels.

    Raises:
        RefusedError: no image, or one of another format, too large, too small, or too long.

    Example:
        >>> check_image(Path("photo.jpg"), "photo.jpg", Limits())
        Header(width=1024, height=768, format='JPEG')
    """
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return check_image(opened, name, limits)
    called = shown(name)
    beginning = file.read(_BEGINNING)
    file.seek(0)
    if not beginning:
        raise RefusedError(f"{called}: expected a photo, got an empty file")
    try:
        with Image.open(file, formats=_FORMATS) as image:
            header = Header(*image.size, image.format)
            mode = image.mode
    except Image.DecompressionBombError:
        raise RefusedError(f"{called}: expected at most {limits.megapixels:g} megapixels") from None
    except UnidentifiedImageError:
        raise RefusedError(f"{called}: expected a photo, got {_guess(beginning)}") from None
    except (OSError, SyntaxError, ValueError, OverflowError, EOFError) as error:
        # Pillow reports a damaged header through all of these types.
        raise RefusedError(f"{called}: expected a photo, got a damaged header: {error}") from error
    finally:
        file.seek(0)
    _check_size(called, header, limits)
    if mode == "F":
        raise RefusedError(f"{called}: expected 8 or 16 bits a channel, got floating values")
    return header


def check_readable(path: Path, name: str) -> None:
    """Decode a photo whose header was taken, to see that all of it is there.

    Raises:
        RefusedError: a truncated or damaged file.

    Example:
        >>> check_readable(Path("photo.jpg"), "photo.jpg")
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise RefusedError(
            f"{shown(name)}: expected a whole photo, got a truncated or damaged one: {error}"
        ) from error


def _check_size(called: str, header: Header, limits: Limits) -> None:
    width, height = header.width, header.height
    size = f"{width} x {height}"
    if width * height > limits.pixels:
        raise RefusedError(
            f"{called}: expected at most {limits.megapixels:g} megapixels, got {size}, "
            f"which is {width * height / _MEGA:,.1f}"
        )
    if min(width, height) < _LEAST_SIDE:
        raise RefusedError(f"{called}: expected at least {_LEAST_SIDE} pixels each way, got {size}")
    if max(width, height) > _LARGEST_RATIO * min(width, height):
        raise RefusedError(
            f"{called}: expected one side at most {_LARGEST_RATIO} times the other, got {size}"
        )


def _guess(beginning: bytes) -> str:
    """Name what a file that is no photo looks like, from its first bytes."""
    start = beginning.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<"):
        return "SVG drawing code" if b"<svg" in start else "HTML or XML text"
    kinds = {
        b"%pdf": "a PDF document",
        b"%!ps": "PostScript code",
        b"pk\x03\x04": "a ZIP archive",
        b"\x1f\x8b": "a gzip archive",
        b"\x7felf": "a program",
        b"mz": "a program",
        b"#!": "a script",
        **dict.fromkeys(_SIGNATURES, "the beginning of one, with a damaged or missing header"),
    }
    for mark, kind in kinds.items():
        if start.startswith(mark):
            return kind
    if beginning[4:8] == b"ftyp":
        return "HEIC, AVIF or video data, which is not taken; save it as JPEG or PNG"
    return "data of no format that is taken (JPEG, PNG, TIFF, WebP, BMP, GIF)"


def shown(name: str) -> str:
    """Return a name that can stand in a message, whatever a visitor put into it.

    Example:
        >>> shown("<b>old</b>.jpg")
        '?b?old?/b?.jpg'
    """
    plain = "".join(c if c.isprintable() and c not in "<>&" else "?" for c in name)
    return plain if len(plain) <= 60 else f"{plain[:40]}...{plain[-12:]}"
