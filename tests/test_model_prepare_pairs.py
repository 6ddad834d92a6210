"""`spcolor prepare`: duplicates, sides, references, and the manifest as it is read."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from model_photos import chelsea, coffee
from PIL import Image

pytest.importorskip("faiss")
pytest.importorskip("imagehash")
pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq
import skimage.data
import torch
from sklearn.datasets import load_sample_image

from benchmarks import prepare as benchmark
from spcolor_model.data import ColorizationPairs, Pair, check_manifest, read_manifest
from spcolor_model.data.prepare import neighbours
from spcolor_model.data.prepare.describe import describe, load_network
from spcolor_model.data.prepare.examine import Reason
from spcolor_model.data.prepare.groups import (
    Edges,
    find_duplicates,
    group,
    held_out,
    is_duplicate,
)
from spcolor_model.data.prepare.neighbours import Neighbours, in_blocks
from spcolor_model.data.prepare.pairing import Pairing
from spcolor_model.data.prepare.parts import Parts
from spcolor_model.data.prepare.records import Settings, layouts
from spcolor_model.data.prepare.run import prepare
from spcolor_model.networks import VGG19, BackboneName

HELD_OUT = 0.4


def window(photo: Image.Image, left: float, width: float = 0.6) -> Image.Image:
    """A part of a photo, as wide as that share of it."""
    columns, rows = photo.size
    first = round(left * columns)
    return photo.crop((first, 0, first + round(width * columns), rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Eleven photos, five of them windows that move along one of the eleven."""
    folder = tmp_path_factory.mktemp("pairs") / "photos"
    folder.mkdir()
    view = Image.fromarray(load_sample_image("china.jpg")).resize((320, 214))
    pictures = {f"pan_{i}": window(view, left) for i, left in enumerate((0, 0.1, 0.2, 0.3, 0.4))}
    pictures["astronaut"] = Image.fromarray(skimage.data.astronaut()).resize((160, 160))
    pictures["chelsea"] = Image.fromarray(chelsea((200, 133)))
    pictures["coffee"] = Image.fromarray(coffee((200, 133)))
    pictures["coffee_part"] = window(pictures["coffee"], 0.1, 0.7)
    pictures["flower"] = Image.fromarray(load_sample_image("flower.jpg")).resize((200, 133))
    pictures["rocket"] = Image.fromarray(skimage.data.rocket()).resize((200, 133))
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def data(folder) -> Path:
    output = folder.parent / "data"
    summary = prepare([folder], output, settings=Settings(64), pairing=Pairing(HELD_OUT, 3, 200))
    assert summary.counts == {Reason.kept: 11}
    assert summary.paired.largest_group == 5
    return output


def table(path: Path) -> list[dict]:
    """Rows of a table, with the photos' stems as their paths."""
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        row |= {
            k: row[k] and Path(row[k]).stem for k in ("path", "target", "reference") if k in row
        }
    return rows


def test_a_part_of_a_photo_is_its_best_reference(data):
    best = {row["target"]: row["reference"] for row in table(data / "manifest.parquet")[::-1]}
    assert best["coffee_part"] == "coffee"
    assert best["coffee"] == "coffee_part"
    for number in range(5):
        assert best[f"pan_{number}"] in {f"pan_{number - 1}", f"pan_{number + 1}"}


def test_views_of_one_scene_are_on_one_side(data):
    splits = {row["path"]: row["split"] for row in table(data / "images.parquet")}
    assert len({splits[f"pan_{number}"] for number in range(5)}) == 1
    assert splits["coffee"] == splits["coffee_part"]
    assert set(splits.values()) == {"train", "held-out"}


def test_what_is_trained_with_never_sees_what_is_held_out(data):
    splits = {row["path"]: row["split"] for row in table(data / "images.parquet")}
    manifest = table(data / "manifest.parquet")
    references = {"train": set(), "held-out": set()}
    for row in manifest:
        assert row["reference"] != row["target"]
        references[row["split"]].add(splits[row["reference"]])
    assert references == {"train": {"train"}, "held-out": {"train", "held-out"}}


def test_a_side_does_not_depend_on_other_photos(folder, data, tmp_path):
    some = [folder / f"{name}.png" for name in ("coffee", "flower", "pan_0", "pan_1")]
    prepare(some, tmp_path, settings=Settings(64), pairing=Pairing(HELD_OUT))
    splits = {row["path"]: row["split"] for row in table(data / "images.parquet")}
    for row in table(tmp_path / "images.parquet"):
        # The smallest hash of a group is another's only where that photo is away.
        if row["path"] == "flower":
            assert row["split"] == splits[row["path"]]
    names = [f"{number:064x}" for number in range(3000)]
    groups = np.arange(3000) // 2
    out = held_out(groups, names, 0.2)
    assert abs(out.mean() - 0.2) < 0.04
    np.testing.assert_array_equal(out[::2], out[1::2])
    np.testing.assert_array_equal(held_out(groups[600:900], names[600:900], 0.2), out[600:900])
    assert held_out(groups, names, 0.3)[out].all()


def test_one_photo_has_no_reference(folder, tmp_path):
    summary = prepare([folder / "rocket.png"], tmp_path, settings=Settings(64))
    assert summary.paired.pairs == 1
    (row,) = table(tmp_path / "manifest.parquet")
    assert (row["reference"], row["rank"], row["score"]) == (None, None, None)
    assert [pair.reference for pair in read_manifest(tmp_path / "manifest.parquet")] == [None]


def test_no_photo_has_an_empty_manifest(tmp_path):
    summary = prepare([tmp_path], tmp_path.parent / f"{tmp_path.name}_data")
    assert (summary.counts, summary.paired.pairs) == ({}, 0)
    with pytest.raises(ValueError, match="expected at least one pair, got none"):
        read_manifest(tmp_path.parent / f"{tmp_path.name}_data" / "manifest.parquet")


def test_of_duplicates_the_largest_is_kept():
    # 0 is like 1, 1 like 2, and 3 like 4; 2 is the largest, 3 and 4 are equal.
    edges = Edges(np.array([0, 1, 3, 4]), np.array([1, 2, 4, 5]), np.array([1, 1, 1, 0], bool))
    assert find_duplicates(edges, np.array([50, 60, 70, 80, 80, 90])) == {1: 2, 4: 3}
    np.testing.assert_array_equal(group(edges, 7), [0, 0, 0, 1, 1, 1, 2])


def test_duplicates_have_like_hashes_and_like_features():
    one, other = np.array([0, 0, 0, 2**63], np.uint64), np.array([15, 31, 15, 0], np.uint64)
    cosine = np.array([0.9, 0.9, 0.5, 0.9])
    np.testing.assert_array_equal(is_duplicate(one, other, cosine), [True, False, False, True])


def test_a_description_is_of_the_gray_photo():
    rgb = coffee()
    seen = describe(rgb, BackboneName.efficientnet_lite0)
    np.testing.assert_allclose(np.linalg.norm(seen.whole.astype(float)), 1, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(seen.cells.astype(float), axis=1), 1, atol=1e-3)
    assert (seen.histograms.sum(axis=1) == 32 * 32).all()
    # Cells go row by row: the upper half turned black has its pixels in the first bin.
    rgb[:45] = 0
    half = describe(rgb, BackboneName.efficientnet_lite0)
    assert (half.histograms[:21, 0] == 1024).all()
    np.testing.assert_array_equal(half.histograms[35:], seen.histograms[35:])


def test_vgg19_describes_with_its_published_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("SPCOLOR_WEIGHTS", str(tmp_path))
    load_network.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"vgg19_conv\.pth: not in"):
        describe(coffee(), BackboneName.vgg19)
    torch.save(VGG19().state_dict(), tmp_path / "vgg19_conv.pth")
    seen = describe(coffee(), BackboneName.vgg19)
    for name, layout in layouts(BackboneName.vgg19).items():
        assert getattr(seen, name).shape == layout.shape
        assert getattr(seen, name).nbytes == layout.size
    load_network.cache_clear()


class Arrays:
    """Arrays of photos, as a collection has them."""

    def __init__(self, **arrays: np.ndarray) -> None:
        self.load = arrays.__getitem__


def test_parts_are_matched_as_the_formula_says():
    random = np.random.default_rng(0)
    cells = random.standard_normal((4, 49, 64))
    cells /= np.linalg.norm(cells, axis=2, keepdims=True)
    histograms = random.integers(0, 200, (4, 49, 10)).astype(np.uint16)
    parts = Parts(Arrays(cells=cells.astype(np.float16), histograms=histograms))
    cosines, correlations = parts.compare(2, np.array([0, 3]))
    for place, other in enumerate((0, 3)):
        similar = cells[2] @ cells[other].T
        match = similar.argmax(axis=1)
        np.testing.assert_allclose(cosines[place], similar.max(axis=1).mean(), atol=1e-3)
        own = [
            np.corrcoef(histograms[2, cell], histograms[other, match[cell]])[0, 1]
            for cell in range(49)
        ]
        np.testing.assert_allclose(correlations[place], np.mean(own), atol=1e-3)


def test_many_photos_are_searched_in_cells(monkeypatch):
    monkeypatch.setattr(neighbours, "_CELLS", 16)
    monkeypatch.setattr(neighbours, "_PROBES", 8)
    random = np.random.default_rng(0)
    whole = np.repeat(random.standard_normal((100, 32)), 20, axis=0)
    whole += 0.5 * random.standard_normal(whole.shape)
    whole = (whole / np.linalg.norm(whole, axis=1, keepdims=True)).astype(np.float16)
    among = random.random(len(whole)) < 0.5
    cosines, exact = Neighbours(whole).search(whole, 5, among)
    assert among[exact].all()
    truth = np.where(among, whole.astype(np.float32) @ whole.astype(np.float32).T, -2)
    np.testing.assert_allclose(cosines, -np.sort(-truth, axis=1)[:, :5], atol=2e-3)
    index = Neighbours(whole, most_flat=1000)
    found = index.search(whole, 5, among)[1]
    assert among[found].all()
    assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(exact, found, strict=True)]) > 0.9

    def search(rows: np.ndarray) -> np.ndarray:
        return index.search(whole[rows], 5, among)[1]

    for threads in (1, 3):
        again = np.concatenate(list(in_blocks(search, np.arange(len(whole)), threads, 100)))
        np.testing.assert_array_equal(again, found)
    few = Neighbours(whole[:3]).search(whole[:1], 5)
    assert (few[1][0, 3:] == -1).all()


def test_many_photos_are_measured(tmp_path):
    benchmark.write_records(tmp_path / "data", 300)
    (tmp_path / "work").mkdir()
    stages = benchmark.measure(tmp_path / "data", tmp_path / "work", 64, threads=1)
    assert [stage.share for stage in stages if stage.share < 1] == [64 / 300] * 2
    assert all(stage.peak > 0 for stage in stages)


def test_training_reads_the_manifest(folder, data):
    path = data / "manifest.parquet"
    manifest = table(path)
    for split in ("train", "held-out", None):
        pairs = read_manifest(path, split=split)
        expected = [row for row in manifest if split in (None, row["split"])]
        assert len(pairs) == len(expected)
        assert [(a.stem, b.stem) for a, b in pairs] == [
            (row["target"], row["reference"]) for row in expected
        ]
    assert isinstance(pairs[0], Pair)
    assert pairs[0].target.samefile(folder / pairs[0].target.name)
    assert pairs[-1] == pairs[len(pairs) - 1] == pairs[-1:][0]
    with pytest.raises(IndexError):
        pairs[len(pairs)]
    assert list(pickle.loads(pickle.dumps(pairs))) == list(pairs)
    assert check_manifest(path) == []
    assert ColorizationPairs(pairs, 16)[3].ab.shape == (2, 16, 16)


def write(path: Path, **columns: list) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def three(tmp_path) -> Path:
    """A folder with three files."""
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).touch()
    return tmp_path


def test_columns_of_other_text_types_are_read(three):
    columns = {"target": ["a.png", "b.png"], "reference": [None, "a.png"]}
    plain = list(read_manifest(write(three / "m.parquet", **columns)))
    assert plain == [Pair(three / "a.png", None), Pair(three / "b.png", three / "a.png")]
    for kind in (pa.large_string(), pa.dictionary(pa.int8(), pa.string())):
        typed = {name: pa.array(texts, pa.string()).cast(kind) for name, texts in columns.items()}
        assert list(read_manifest(write(three / "m.parquet", **typed))) == plain


@pytest.mark.parametrize(
    ("columns", "split", "error", "message"),
    [
        ({"target": ["a.png"]}, None, ValueError, "expected columns target, reference, got target"),
        (
            {"target": ["a.png"], "reference": ["b.png"]},
            "train",
            ValueError,
            "expected columns target, reference, split, got target, reference",
        ),
        ({"target": [1], "reference": [2]}, None, ValueError, "expected a Parquet file of texts"),
        (
            {"target": ["a.png"], "reference": ["b.png"], "split": ["train"]},
            "test",
            ValueError,
            "expected at least one pair of split 'test', got none",
        ),
        (
            {"target": ["a.png", None], "reference": ["b.png", "b.png"]},
            None,
            ValueError,
            r"m\.parquet, row 2: expected a target, got null",
        ),
        (
            {"target": ["a.png", "b.png"], "reference": ["b.png", "b.png"]},
            None,
            ValueError,
            "row 2: expected a reference other than the target",
        ),
        (
            {"target": ["a.png", "c.png", "a.png"], "reference": ["b.png", "b.png", "b.png"]},
            None,
            ValueError,
            "row 3: expected each pair once, got that of row 1",
        ),
        (
            {"target": ["a.png", "b.png"], "reference": ["b.png", "gone.png"]},
            None,
            FileNotFoundError,
            r"row 2: expected a photo, got no file at .*gone\.png",
        ),
    ],
)
def test_manifest_errors_name_file_and_row(three, columns, split, error, message):
    path = write(three / "m.parquet", **columns)
    with pytest.raises(error, match=message):
        read_manifest(path, split=split)


def test_other_manifest_errors(three):
    path = three / "m.parquet"
    with pytest.raises(FileNotFoundError, match="expected a manifest, got no file"):
        read_manifest(path)
    path.write_bytes(b"target,reference\n")
    with pytest.raises(ValueError, match=r"m\.parquet: expected a Parquet file"):
        read_manifest(path)


def test_a_split_of_a_csv_needs_its_column(three):
    path = three / "m.csv"
    path.write_text(
        "target,reference,split\na.png,b.png,train\nb.png,,held-out\na.png,c.png,train\n"
    )
    assert [pair.reference.name for pair in read_manifest(path, split="train")] == [
        "b.png", "c.png"
    ]  # fmt: skip
    assert len(read_manifest(path)) == 3
    with pytest.raises(ValueError, match="expected at least one pair of split 'test', got none"):
        read_manifest(path, split="test")
    path.write_text("target,reference\na.png,b.png\n")
    with pytest.raises(ValueError, match="expected columns target, reference, split, got target"):
        read_manifest(path, split="train")
