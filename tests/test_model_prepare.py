"""`spcolor prepare`: files become records, whatever is in them and whatever interrupts it."""

import hashlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from model_photos import chelsea, coffee
from PIL import Image
from subprocesses import run_python
from typer.testing import CliRunner

pytest.importorskip("faiss")
pytest.importorskip("imagehash")
pytest.importorskip("pyarrow")

import pyarrow.parquet as pq
import skimage.data
from sklearn.datasets import load_sample_image

from spcolor_model.cli import app
from spcolor_model.data.prepare import run
from spcolor_model.data.prepare.pairing import Pairing
from spcolor_model.data.prepare.records import Settings
from spcolor_model.data.prepare.run import merge, prepare
from spcolor_model.data.prepare.scan import walk
from spcolor_model.data.prepare.workers import Workers
from spcolor_model.files import write_whole

SETTINGS = Settings(min_size=64)


def shrunk(rgb: np.ndarray) -> Image.Image:
    return Image.fromarray(rgb).resize((160, 120), Image.Resampling.BOX)


def photos() -> dict[str, Image.Image]:
    """Six photos that have nothing to do with each other."""
    return {
        "astronaut": shrunk(skimage.data.astronaut()),
        "chelsea": Image.fromarray(chelsea((160, 120))),
        "china": shrunk(load_sample_image("china.jpg")),
        "coffee": Image.fromarray(coffee((160, 120))),
        "flower": shrunk(load_sample_image("flower.jpg")),
        "rocket": shrunk(skimage.data.rocket()),
    }


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG file of RGB with a header of that size, and what chunks are given."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks)


def bmp(width: int, height: int) -> bytes:
    """The header of a BMP file of RGB."""
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, width, height, 1, 24, *[0] * 6)


def write_hostile(folder: Path) -> dict[str, str]:
    """Write files of every kind; return the reason that each must have."""
    folder.mkdir()
    reasons = {}

    def put(name: str, reason: str, content: bytes | Image.Image, **options) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.save(path, **options)
        reasons[name] = reason
        return path

    photo = photos()
    # Good photos in odd clothes.
    put("cmyk.jpg", "kept", photo["astronaut"].convert("CMYK"))
    put("palette.png", "kept", photo["chelsea"].quantize(64))
    put("alpha.png", "kept", photo["china"].convert("RGBA"))
    frames = [photo["coffee"], photo["coffee"].rotate(90)]
    put("animated.gif", "kept", frames[0], save_all=True, append_images=frames[1:])
    exif = photo["flower"].getexif()
    exif[0x0112] = 6
    turned = put("turned.jpg", "kept", photo["flower"], exif=exif, quality=95)
    original = put("deep/er/no suffix", "kept", photo["rocket"], format="PNG")
    # The same again.
    put("z copy.png", "duplicate", original.read_bytes())
    put("z line\nbreak.bmp", "duplicate", photo["rocket"])
    put("z pages.tif", "duplicate", photo["rocket"], save_all=True, append_images=frames)
    put("z lossy.jpg", "duplicate", photo["rocket"], quality=60)
    put("z smaller.webp", "duplicate", photo["chelsea"].resize((120, 90)))
    # Broken.
    whole = turned.read_bytes()
    put("truncated.jpg", "unreadable", whole[: len(whole) // 2])
    put("truncated.png", "unreadable", original.read_bytes()[:9000])
    put("header only.png", "no image", png(90, 90))
    put("no chunk.png", "unreadable", png(90, 90, chunk(b"IDAT", b"")))
    put("not deflated.png", "unreadable", png(90, 90, chunk(b"IDAT", b"x" * 999)))
    bomb = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**8), 9))
    put("text bomb.png", "unreadable", png(90, 90, bomb))
    put("floating.tif", "unreadable", Image.fromarray(np.ones((90, 90), np.float32)))
    flipped = bytearray(original.read_bytes())
    flipped[9000] ^= 255
    put("flipped bit.png", "unreadable", bytes(flipped))
    # No images.
    put("text.jpg", "no image", b"I am no picture.")
    put("page.png", "no image", b"<html><img src='a.png'></html>")
    put("drawing.svg", "no image", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n(x) run\n"
    put("program.eps", "no image", script)
    put("start.jpg", "no image", b"\xff\xd8\xff")
    put("signature.png", "no image", b"\x89PNG\r\n\x1a\n")
    put("noise.gif", "no image", np.random.default_rng(0).bytes(5000))
    put("empty.jpg", "empty", b"")
    # Too large and too small.
    put("huge.png", "too many pixels", png(60_000, 60_000, chunk(b"IDAT", b"")))
    put("huge.bmp", "too many pixels", bmp(60_000, 60_000))
    put("large.png", "too many pixels", png(10_000, 10_000, chunk(b"IDAT", b"")))
    put("dot.png", "small", Image.new("RGB", (1, 1), "red"))
    put("strip.png", "small", photo["china"].crop((0, 0, 160, 63)))
    # Without colours.
    gray = photo["coffee"].convert("L")
    put("gray.jpg", "gray", gray)
    put("gray as rgb.jpg", "gray", gray.convert("RGB"), quality=50)
    put("gray alpha.png", "gray", gray.convert("LA"))
    put("bilevel.png", "gray", gray.convert("1"))
    deep = np.arange(90 * 90, dtype=np.uint16).reshape(90, 90) * 8
    put("sixteen bits.png", "gray", Image.fromarray(deep))
    put("white.png", "gray", Image.new("RGB", (90, 90), "white"))
    card = Image.new("RGB", (160, 120), "white")
    card.paste(photo["chelsea"].resize((60, 60)))
    put("mono.png", "mono", card)
    # No files.
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(folder / "socket.jpg"))
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    os.close(os.open(os.fsencode(folder) + b"/\xff.jpg", os.O_CREAT))
    reasons |= dict.fromkeys(["pipe.jpg", "socket.jpg", "loop.jpg", "gone.jpg"], "unreadable")
    reasons["\\udcff.jpg"] = "unreadable"
    (folder / "deep" / "up").symlink_to("..")
    (folder / "folder.jpg").mkdir()
    return reasons


def rows(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def digest(*paths: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def tables(data: Path) -> list[Path]:
    return [data / "manifest.parquet", data / "images.parquet"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A folder with files of every kind, and their reasons."""
    folder = tmp_path_factory.mktemp("hostile") / "photos"
    return folder, write_hostile(folder)


@pytest.fixture(scope="module")
def data(hostile) -> Path:
    """What `prepare` makes of them."""
    output = hostile[0].parent / "data"
    summary = prepare([hostile[0]], output, settings=SETTINGS, workers=2)
    assert summary.counts == dict(sorted(Counter(hostile[1].values()).items(), key=order))
    return output


def order(count: tuple[str, int]) -> int:
    """The place of a reason in a summary."""
    return list(run.Reason).index(count[0])


def test_every_file_has_its_reason(hostile, data):
    folder, reasons = hostile
    found = {row["path"].removeprefix("../photos/"): row for row in rows(data / "images.parquet")}
    assert {name: row["reason"] for name, row in found.items()} == reasons
    assert list(found) == sorted(found)
    for name, row in found.items():
        assert (row["split"] is None) == (row["reason"] != "kept"), name
        if (folder / name).is_file():
            assert row["sha256"] == digest(folder / name)[0]
    assert (found["turned.jpg"]["width"], found["turned.jpg"]["height"]) == (120, 160)
    assert (found["huge.bmp"]["width"], found["large.png"]["width"]) == (None, 10_000)
    assert found["strip.png"]["detail"] == "short side 63"
    assert found["z lossy.jpg"]["detail"] == "of ../photos/deep/er/no suffix"
    assert found["z smaller.webp"]["detail"] == "of ../photos/palette.png"
    assert found["pipe.jpg"]["detail"] == "no regular file"
    assert "Unrecognized" not in found["text.jpg"]["detail"]


def test_a_manifest_has_the_documented_columns(data):
    images = {row["path"]: row for row in rows(data / "images.parquet")}
    manifest = rows(data / "manifest.parquet")
    assert list(manifest[0]) == [
        "target", "reference", "rank", "score", "split", "target_sha256", "reference_sha256"
    ]  # fmt: skip
    kept = [path for path, row in images.items() if row["reason"] == "kept"]
    assert list(dict.fromkeys(row["target"] for row in manifest)) == kept
    for row in manifest:
        assert row["split"] == images[row["target"]]["split"]
        for end in ("target", "reference"):
            assert row[f"{end}_sha256"] == images[row[end]]["sha256"]
    for target in kept:
        own = [row for row in manifest if row["target"] == target]
        assert [row["rank"] for row in own] == list(range(1, len(own) + 1))
        assert [row["score"] for row in own] == sorted((row["score"] for row in own), reverse=True)


def test_two_shards_merged_are_the_single_run(hostile, data):
    folder = hostile[0].parent
    # Deeper than what they are merged into: their paths are others.
    shards = [folder / "shards" / "first", folder / "shards" / "second"]
    for number, shard in enumerate(shards, 1):
        summary = prepare([hostile[0]], shard, settings=SETTINGS, shard=(number, 2))
        assert summary.paired is None
        assert abs(summary.read - len(hostile[1]) / 2) < 1
    merged = merge(shards[::-1], folder / "merged")
    assert digest(*tables(folder / "merged")) == digest(*tables(data))
    assert merged.paired.pairs == len(rows(data / "manifest.parquet"))
    assert sorted(path.name for path in (folder / "merged").iterdir()) == [
        "images.parquet", "manifest.parquet"
    ]  # fmt: skip


KILLED = """
import sys
from spcolor_model.data.prepare import run
from spcolor_model.data.prepare.records import Settings

run._CHUNK = 4
run.prepare([sys.argv[1]], sys.argv[2], settings=Settings(min_size=64), workers=2)
"""


def descendants(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(x) for x in children] + [y for x in children for y in descendants(int(x))]


def test_a_killed_run_goes_on_where_it_was(hostile, data, monkeypatch):
    output = hostile[0].parent / "killed"
    command = [sys.executable, "-c", KILLED, str(hostile[0]), str(output)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while len(list(output.glob("records/*.arrow"))) < 3:
        assert process.poll() is None
        time.sleep(0.005)
    below = descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    chunks = {path: path.stat().st_mtime_ns for path in output.glob("records/*.arrow")}
    assert 3 <= len(chunks) < len(hostile[1]) // 4
    assert not any(path.exists() for path in tables(output))
    # What a run leaves that is killed while it writes, or later, while it pairs.
    (output / "records" / "0123.arrow.partial").touch()
    (output / "arrays.partial").mkdir()
    monkeypatch.setattr(run, "_CHUNK", 4)
    summary = prepare([hostile[0]], output, settings=SETTINGS)
    assert summary.read == len(hostile[1]) - 4 * len(chunks)
    assert all(path.stat().st_mtime_ns == then for path, then in chunks.items())
    assert digest(*tables(output)) == digest(*tables(data))
    assert not list(output.rglob("*.partial"))
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{one}").exists() for one in below) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [one for one in below if Path(f"/proc/{one}").exists()]


def test_what_changed_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_CHUNK", 2)
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, photo in photos().items():
        photo.save(folder / f"{name}.png")

    def read(settings: Settings = SETTINGS) -> int:
        return prepare([folder], tmp_path / "data", settings=settings).read

    assert (read(), read()) == (6, 0)
    os.utime(folder / "china.png", (1, 1))
    assert read() == 2
    (folder / "rocket.png").write_bytes((folder / "flower.png").read_bytes())
    assert read() == 2
    assert read(Settings(min_size=65)) == 6
    # Records of what is no more are gone.
    assert len(list((tmp_path / "data" / "records").iterdir())) == 3 + 1


def test_a_file_is_complete_or_absent(tmp_path):
    path = tmp_path / "table"
    path.write_text("before")

    def broken(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, broken)
    assert [one.read_text() for one in tmp_path.iterdir()] == ["before"]


def fragile(item: str) -> str:
    """Die of an item, always or the first time."""
    if item == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    if item.startswith("/") and not Path(item).exists():
        Path(item).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item.upper()


def test_workers_that_die_are_replaced(tmp_path):
    once = str(tmp_path / "once")
    items = ["a", once, "b", "deadly", "c"]
    with Workers(2) as workers:
        results = workers.map(fragile, items, lost=lambda item: f"lost {item}")
        assert results == ["A", once.upper(), "B", "lost deadly", "C"]
        assert workers.map(fragile, ["e"], lost=str) == ["E"]


def test_a_walk_enters_each_folder_once(tmp_path, monkeypatch):
    for name in ("b/x.jpg", "a/y.jpg", "a/thumbs/t.jpg", "a.gif", "data/z.jpg", "shut/s.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "a" / "again").symlink_to("../b")
    listed = Path.iterdir

    def iterdir(path):
        if path.name == "shut":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    inputs = [tmp_path, tmp_path / "b", tmp_path / "b" / "x.jpg"]
    found = list(walk(inputs, ["thumbs", "*/a.gi?"], output=tmp_path / "data"))
    names = [str(one.path.relative_to(tmp_path)) for one in found]
    assert names == ["a/again/x.jpg", "a/y.jpg", "shut"]
    assert [one.problem for one in found] == ["", "", "Permission denied"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"images": ["none"]}, FileNotFoundError, "none: expected a file or folder, got nothing"),
        ({"output": "photos"}, ValueError, "output: expected a folder that is no input"),
        ({"workers": 0}, ValueError, "workers: expected at least 1, got 0"),
        ({"settings": Settings(0)}, ValueError, "min_size: expected at least 1, got 0"),
        ({"shard": (3, 2)}, ValueError, r"shard: expected I/N with I in 1..N, got 3/2"),
        ({"shard": (0, 2)}, ValueError, "shard: expected at least 1, got 0"),
        ({"pairing": Pairing(1.5)}, ValueError, r"held_out: expected a number in 0..1, got 1.5"),
        ({"pairing": Pairing(0.2, 0)}, ValueError, "references: expected at least 1, got 0"),
        ({"pairing": Pairing(0.2, 1, 0)}, ValueError, "candidates: expected at least 1, got 0"),
    ],
)
def test_errors_name_argument_expected_and_actual(tmp_path, monkeypatch, options, error, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(error, match=message):
        prepare(**{"images": ["photos"], "output": "data", **options})


def test_what_cannot_be_merged_is_refused(tmp_path, hostile, data):
    with pytest.raises(FileNotFoundError, match=r"expected the folder of a finished `spcolor prep"):
        merge([tmp_path], tmp_path / "merged")
    photos()["china"].save(tmp_path / "china.png")
    prepare([tmp_path / "china.png"], tmp_path / "other", settings=Settings(min_size=65))
    with pytest.raises(ValueError, match=r"other: expected records made with .*64.* got .*65"):
        merge([data, tmp_path / "other"], tmp_path / "merged")
    chunk = next((tmp_path / "other" / "records").glob("*.arrow"))
    chunk.write_bytes(chunk.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"arrow: expected records, got"):
        merge([tmp_path / "other"], tmp_path / "merged")
    (tmp_path / "other" / "records" / "index.json").write_text("{}")
    with pytest.raises(ValueError, match=r"index\.json: expected an index of records, got"):
        merge([tmp_path / "other"], tmp_path / "merged")


def command(*arguments) -> tuple[int, str]:
    """Run `spcolor prepare`; return exit code, and output with its line breaks taken out."""
    result = CliRunner().invoke(app, ["prepare", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_the_command(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, photo in photos().items():
        photo.save(folder / f"{name}.png")
    (folder / "empty.png").touch()
    (folder / "skipped.txt").write_text("no photo")
    given = [folder, "-o", tmp_path / "data", "--min-size", 64, "--exclude", "*.txt"]
    code, output = command(*given, "--references", 2, "--held-out", 0)
    assert code == 0, output
    assert "kept 6" in output
    assert "empty 1" in output
    assert "all 7" in output
    assert "7 files read" in output
    assert "12 pairs" in output
    code, output = command(*given, "--shard", "1/2")
    assert code == 0, output
    assert "records, for --merge" in output
    code, output = command(tmp_path / "data", "-o", tmp_path / "merged", "--merge")
    assert code == 0, output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none: expected a file or folder"),
        ([".", "--shard", "2"], "--shard: expected I/N, got '2'"),
        ([".", "--shard", "3/2"], "expected I/N with I in 1..N, got 3/2"),
        ([".", "--merge", "--shard", "1/2"], "--shard: expected none with --merge, got 1/2"),
        ([".", "--merge", "--min-size", "9"], "--min-size: expected none with --merge, got 9"),
        ([".", "--merge"], "expected the folder of a finished"),
        ([".", "--held-out", "2"], "--held-out"),
        ([".", "--features", "resnet"], "efficientnet_lite0"),
        ([".", "--features", "vgg19"], "SPCOLOR_WEIGHTS"),
    ],
)
def test_wrong_arguments_end_before_any_work(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPCOLOR_WEIGHTS", str(tmp_path))
    code, output = command(*arguments, "-o", "data")
    assert code == 2
    assert message in output
    assert not (tmp_path / "data").exists()


def test_nothing_else_imports_what_it_needs():
    names = "faiss imagehash pyarrow"
    code = f"""
import spcolor_model.cli, spcolor_model.data, sys
print(*(name for name in "{names}".split() if name in sys.modules))"""
    assert run_python("-c", code).stdout.split() == []
