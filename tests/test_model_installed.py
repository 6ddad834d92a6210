"""Photos of installed packages: pairs, what is held out, the same bytes every time."""

import csv
import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("av")

import av

from spcolor_model.data import ColorizationPairs, Pair, check_manifest, installed, read_manifest


def run_installed(folder: Path) -> installed.Manifests:
    """Run the command line of `spcolor_model.data.installed`."""
    app = typer.Typer()
    app.command()(installed.main)
    result = CliRunner().invoke(app, [str(folder)])
    assert result.exit_code == 0, result.output
    return installed.Manifests(*map(Path, result.output.split()))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> installed.Manifests:
    return run_installed(tmp_path_factory.mktemp("installed"))


def frame_numbers(pairs: list[Pair], clip: str) -> list[tuple[int, int]]:
    """Numbers of target and reference of the pairs from a clip."""
    stems = [(pair.target.stem, pair.reference.stem) for pair in pairs]
    return [
        tuple(int(stem.removeprefix(clip)) for stem in two)
        for two in stems
        if two[0].startswith(clip)
    ]


def test_photos_are_enough_coloured_and_licensed(written):
    train, validation = map(read_manifest, written)
    assert len(train) == 66
    assert len(validation) == 13
    assert len({photo for pair in train for photo in pair}) >= 36
    for manifest in written:
        assert check_manifest(manifest) == []
        with manifest.open(newline="") as file:
            assert all(row["licence"] and row["source"] for row in csv.DictReader(file))
    sample = ColorizationPairs(train, 32)[0]
    assert sample.ab.abs().max() > 10


def test_validation_was_never_trained(written):
    sources, contents = [], []
    for manifest in written:
        with manifest.open(newline="") as file:
            rows = list(csv.DictReader(file))
        sources.append({text for row in rows for text in row["source"].split("; ")})
        photos = {photo for pair in read_manifest(manifest) for photo in pair}
        contents.append({hashlib.sha256(photo.read_bytes()).digest() for photo in photos})
    assert not sources[0] & sources[1]
    assert not contents[0] & contents[1]
    assert not any("carphone" in source for source in sources[1])


def test_frames_of_a_pair_are_of_one_shot_and_no_shot_of_both_splits(written):
    clip = installed._path(installed.ORIGINS["bikes"])
    with av.open(str(clip)) as container:
        frames = [x.to_ndarray(format="gray").astype(float) for x in container.decode(video=0)]
    jumps = np.array([abs(a - b).mean() for a, b in pairwise(frames)])
    # Motion changes a pixel by 20 levels at most on average, a cut by more than 50.
    shots = np.cumsum([0, *(jumps > 35)])
    assert shots[-1] == 5
    used = []
    for manifest in written:
        numbers = frame_numbers(read_manifest(manifest), "bikes_")
        assert all(shots[a] == shots[b] and abs(a - b) >= 25 for a, b in numbers)
        used.append({shots[a] for two in numbers for a in two})
    assert used == [{0, 1, 2, 4}, {3}]


def test_frames_are_those_of_their_number(written):
    clip = installed._path(installed.ORIGINS["carphone"])
    with av.open(str(clip)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    for number in (0, 72, 119):
        got = Image.open(written.train.parent / f"carphone_{number:03}.png")
        np.testing.assert_array_equal(np.array(got), np.array(frames[number]))


def test_halves_overlap(written):
    folder = written.train.parent
    left, right, upper, lower = (
        np.array(Image.open(folder / f"china_{part}.png"))
        for part in ("left", "right", "upper", "lower")
    )
    np.testing.assert_array_equal(left[:, 640 // 3 :], right[:, : left.shape[1] - 640 // 3])
    np.testing.assert_array_equal(upper[427 // 3 :], lower[: len(upper) - 427 // 3])
    assert left.shape == right.shape == (427, 427, 3)
    assert upper.shape == lower.shape == (285, 640, 3)


def test_photos_are_the_same_bytes_every_time(written, tmp_path):
    again = run_installed(tmp_path / "again")
    first, second = (
        {path.name: path.read_bytes() for path in manifests.train.parent.iterdir()}
        for manifests in (written, again)
    )
    assert len(first) == 53
    assert first == second


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"skimage: expected an installed package"):
        installed.write_installed_photos(tmp_path)


def test_a_clip_that_is_too_short_is_named(monkeypatch, tmp_path):
    split = installed.Split(cut=(), whole=(), shots=(installed.Shot("carphone", (0, 500)),))
    monkeypatch.setattr(installed, "SPLITS", {"train": split, "validation": split})
    with pytest.raises(ValueError, match=r"pristine\.mp4: expected frame 500, got 120 frames"):
        installed.write_installed_photos(tmp_path)
