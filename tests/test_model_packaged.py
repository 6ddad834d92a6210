"""Photos fetched by package name: what is read of packages. Nothing is downloaded."""

import csv
import shutil
import struct
from pathlib import Path

import pytest

from spcolor_model.data.packaged import archives, download
from spcolor_model.data.packaged.archives import DebianLicences, package_files, rcc_files
from spcolor_model.data.packaged.sources import DEBIAN_PHOTOS, SOURCES, Photo

COPYRIGHT = """Format: 1.0

Files: *
Copyright: somebody
License: GPL-3+

Files: nature/Aqua.png
 nature/Lady*.png
Copyright: somebody else
License: CC-BY-4.0
 Text of it.
"""


def resource_file() -> bytes:
    """A Qt resource file of version 1: /a/b.webp, and c.txt, which is compressed."""
    names, places = b"", []
    for name in ("a", "b.webp", "c.txt"):
        places.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    data = struct.pack(">I", 5) + b"photo" + struct.pack(">I", 3) + b"zip"
    tree = b"".join(
        (
            struct.pack(">IHII", 0, 2, 2, 1),
            struct.pack(">IHII", places[0], 2, 1, 3),
            struct.pack(">IHHHI", places[2], 1, 0, 0, 9),
            struct.pack(">IHHHI", places[1], 0, 0, 0, 0),
        )
    )
    start = 20
    ends = start + len(tree), start + len(tree) + len(data)
    return struct.pack(">4sIIII", b"qres", 1, start, *ends) + tree + data + names


def test_a_resource_file_gives_its_uncompressed_files():
    assert list(rcc_files(resource_file())) == [("/a/b.webp", b"photo")]
    with pytest.raises(OSError, match="expected a Qt resource file, got one that begins"):
        list(rcc_files(b"zip!" + bytes(16)))


@pytest.mark.parametrize(
    ("path", "licence"),
    [
        ("nature/Aqua.webp", "CC-BY-4.0"),
        ("nature/LadyBird.png", "CC-BY-4.0"),
        ("nature/Dune.jpg", "not listed by file; photos as a whole: GPL-3+"),
    ],
)
def test_licences_are_by_file_whatever_the_format(tmp_path, path, licence):
    folder = tmp_path / "usr/share/doc/photos"
    folder.mkdir(parents=True)
    (folder / "copyright").write_text(COPYRIGHT)
    assert DebianLicences(tmp_path, "photos").of(path) == licence


def test_what_cannot_be_had_is_named_and_the_rest_go_on(tmp_path, monkeypatch):
    def absent(folder):
        raise OSError("no such package")
        yield

    present = [Photo("a.jpg", "somewhere", "CC0")]
    sources = {"lost": absent, "found": lambda folder: iter(present)}
    monkeypatch.setattr(download, "SOURCES", sources)
    assert download.fetch(tmp_path / "photos") == ["lost: no such package"]
    with (tmp_path / "photos" / "manifest.csv").open(newline="") as file:
        assert [Photo(**row) for row in csv.DictReader(file)] == present


def test_every_listed_package_is_a_source_and_file_names_differ():
    with DEBIAN_PHOTOS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {f"{row['package']} (Debian)" for row in rows} <= set(SOURCES)
    names = [(row["package"], row["licensed_as"]) for row in rows]
    assert len(set(names)) == len(names) > 60


@pytest.mark.parametrize("name", ["photos-1-py3-none-any.whl", "photos-1.tar.gz"])
def test_files_of_wheels_and_of_sources(tmp_path, monkeypatch, name):
    data = tmp_path / "photos-1" / "data"
    data.mkdir(parents=True)
    for number in "ba":
        (data / f"{number}.jpg").write_bytes(number.encode())
    (data / "c.txt").touch()

    def pip(*command, folder):
        kind = "zip" if name.endswith(".whl") else "gztar"
        made = shutil.make_archive(tmp_path / "made", kind, tmp_path, "photos-1")
        Path(made).rename(folder / name)

    monkeypatch.setattr(archives, "_run", pip)
    found = list(package_files("photos==1", "photos-1/data/*.jpg"))
    assert found == [("a.jpg", b"a"), ("b.jpg", b"b")]
