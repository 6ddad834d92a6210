"""Uploads that a page must refuse, and words that say why."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

MEGAPIXELS = 12
MEGABYTES = 2


class Hostile(NamedTuple):
    """A file as it is sent, and a part of the answer."""

    name: str
    content: bytes
    why: str


def photo(format: str = "PNG", size: tuple[int, int] = (64, 48), **options) -> bytes:  # noqa: A002
    """A small photo of noise, which no format makes much smaller."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return _saved(Image.fromarray(noise), format, **options)


@cache
def hostile_files() -> list[Hostile]:
    """All of them, each once."""
    return [*_kinds(), *_bombs(), *_broken(), *_names()]


def _kinds() -> list[Hostile]:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    page = b"\n  <!DOCTYPE html><html><script>alert(1)</script></html>"
    return [
        Hostile("drawing.png", svg, "got SVG drawing code"),
        Hostile("declared.jpg", b'<?xml version="1.0"?>' + svg, "got SVG drawing code"),
        Hostile("page.png", page, "got HTML or XML text"),
        Hostile("marked.webp", b"\xef\xbb\xbf<HTML>", "got HTML or XML text"),
        Hostile("paper.jpg", b"%PDF-1.7\n", "got a PDF document"),
        Hostile("print.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        Hostile("packed.png", b"PK\x03\x04" + bytes(99), "got a ZIP archive"),
        Hostile("packed.gif", b"\x1f\x8b\x08" + bytes(99), "got a gzip archive"),
        Hostile("linux.png", b"\x7fELF" + bytes(99), "got a program"),
        Hostile("windows.bmp", b"MZ" + bytes(99), "got a program"),
        Hostile("script.tif", b"#!/bin/sh\nrm -rf /\n", "got a script"),
        Hostile("phone.jpg", bytes(4) + b"ftypheic" + bytes(99), "got HEIC, AVIF or video"),
        Hostile("noise.png", bytes(range(200, 256)) * 9, "got data of no format that is taken"),
        Hostile("text.png", b"P6 64 48 255\n" + bytes(64 * 48 * 3), "no format that is taken"),
        Hostile("icon.png", photo("ICO"), "no format that is taken"),
        Hostile("float.tif", _float_tiff(), "got floating values"),
        Hostile("empty.png", b"", "got an empty file"),
    ]


def _bombs() -> list[Hostile]:
    gif = b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0\0\0\0\xff\xff\xff"
    gif += b"\x2c" + struct.pack("<HHHH", 0, 0, 65535, 65535) + b"\0\x02\x02\x44\x01\0\x3b"
    bitmap = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54)
    bitmap += struct.pack("<IiiHHIIiiII", 40, 30000, 30000, 1, 24, 0, 0, 0, 0, 0, 0)
    long_text = b"Comment\0\0" + zlib.compress(bytes(100_000_000))
    too_many = "expected at most 12 megapixels"
    return [
        Hostile("bomb.png", _png(60_000, 60_000), too_many),
        Hostile("grey.png", _saved(Image.new("1", (20_000, 20_000)), "PNG"), too_many),
        Hostile("barely.png", _saved(Image.new("1", (4000, 3001)), "PNG"),
                f"{too_many}, got 4000 x 3001, which is 12.0"),
        Hostile("bomb.jpg", _edited(photo("JPEG"), b"\xff\xc0", 5, b"\xff\xdc\xff\xdc"), too_many),
        Hostile("bomb.gif", gif, too_many),
        Hostile("bomb.bmp", bitmap, too_many),
        Hostile("bomb.tif", _saved(Image.new("1", (9000, 9000)), "TIFF", compression="group4"),
                too_many),
        Hostile("bomb.webp", _saved(Image.new("RGB", (8000, 4000)), "WEBP"), too_many),
        Hostile("text.png", _png(64, 48, (b"zTXt", long_text)), "got a damaged header"),
        Hostile("dot.png", photo(size=(1, 1)), "expected at least 16 pixels each way"),
        Hostile("line.png", photo(size=(2000, 16)), "expected one side at most 20 times"),
        Hostile("large.bmp", photo("BMP", (1000, 700)), "expected at most 2 MB, got 2 MB"),
    ]  # fmt: skip


def _broken() -> list[Hostile]:
    whole = photo()
    return [
        Hostile("cut.png", whole[: len(whole) // 2], "got a truncated or damaged one"),
        Hostile("cut.jpg", photo("JPEG")[:-900], "got a truncated or damaged one"),
        Hostile("cut.tif", photo("TIFF")[:-4000], "expected a"),
        Hostile("cut.webp", photo("WEBP")[:-900], "expected a"),
        Hostile("cut.bmp", photo("BMP")[:-900], "got a truncated or damaged one"),
        Hostile("header.png", whole[:33], "damaged or missing header"),
        Hostile("start.png", whole[:12], "damaged or missing header"),
        Hostile("bits.png", _edited(whole, b"IDAT", 40, b"\0\xff\0\xff"), "truncated or damaged"),
    ]


def _names() -> list[Hostile]:
    whole = photo()
    names = {
        "../../../etc/passwd.png": "got a path or a hidden file",
        "/etc/cron.d/job.png": "got a path or a hidden file",
        "..\\..\\windows\\win.png": "got a path or a hidden file",
        "C:photo.png": "got a path or a hidden file",
        ".bashrc.png": "got a path or a hidden file",
        "~root.png": "got a path or a hidden file",
        "-rf.png": "got a path or a hidden file",
        "a\0b.png": "got characters that do not print",
        "gnp.\u202egpj.exe.png": "got characters that do not print",
        "x" * 200 + ".png": "expected a name of at most 150 bytes",
        "photo.svg": "got .svg",
        "photo.html": "got .html",
        "photo.png.exe": "got .exe",
        "photo": "got none",
        "...": "expected a file name, got none",
    }
    return [Hostile(name, whole, why) for name, why in names.items()]


def _saved(image: Image.Image, format: str, **options) -> bytes:  # noqa: A002
    opened = io.BytesIO()
    image.save(opened, format, **options)
    return opened.getvalue()


def _png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of a header and chunks, without pixels."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (header, *chunks, (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _float_tiff() -> bytes:
    return _saved(Image.fromarray(np.zeros((48, 64), np.float32)), "TIFF")


def _edited(content: bytes, mark: bytes, offset: int, replacement: bytes) -> bytes:
    """Replace bytes that far behind a mark."""
    start = content.index(mark) + offset
    return content[:start] + replacement + content[start + len(replacement) :]
