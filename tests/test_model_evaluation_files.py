"""Evaluation over folders: files that do not match, lists, counts, comparisons, command line."""

import csv
import hashlib
import math

import numpy as np
import pytest
import torch
from model_photos import chelsea, coffee, one_thread  # noqa: F401
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("torchmetrics")
pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq

from spcolor_model.cli import app
from spcolor_model.color import gray_rgb, rgb_to_lab
from spcolor_model.evaluation import (
    PUBLISHED,
    STANDARD,
    compare,
    evaluate,
    find_networks,
    match_pictures,
    read_classes,
    true_pictures,
)
from spcolor_model.features import network

ONE, OTHER = coffee((70, 50)), chelsea((70, 50))


@pytest.fixture(scope="module")
def networks():
    return find_networks("efficientnet_lite0", "cpu")


@pytest.fixture
def truth(tmp_path):
    """A folder of four pictures, and beside it `gray` with their gray versions."""
    pictures = {"a": coffee((64, 48)), "b": chelsea((64, 48)), "c": coffee((50, 60)), "d": ONE}
    for name, rgb in pictures.items():
        save(tmp_path / "truth" / f"{name}.png", rgb)
        save(tmp_path / "gray" / f"{name}.png", gray_rgb(rgb_to_lab(rgb)[0]))
    return tmp_path / "truth"


def save(path, rgb):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(rgb).save(path)


def test_missing_extra_damaged_and_resized_results_are_all_named(truth):
    results = truth.with_name("gray")
    (results / "a.png").rename(results / "e.png")
    (results / "b.png").write_text("no picture")
    Image.fromarray(OTHER).save(results / "c.png")
    pictures = true_pictures(truth)
    with pytest.raises(ValueError, match="expected one result for each of 4") as caught:
        match_pictures(results, pictures)
    message = str(caught.value)
    for part in (
        "no result for 1 (a.png)",
        "no truth for 1 (e.png)",
        "b.png: expected an image",
        "c.png: expected 60 x 50 pixels as its truth, got 50 x 70",
    ):
        assert part in message
    with pytest.raises(ValueError, match="got no truth for 1") as caught:
        match_pictures(results, pictures, allow_missing=True)
    assert "no result" not in str(caught.value)


def test_matching_by_stem_whatever_the_format(truth):
    results = truth.with_name("gray")
    Image.open(results / "a.png").save(results / "a.bmp")
    (results / "a.png").unlink()
    matched = match_pictures(results, true_pictures(truth))
    assert matched[0].result.name == "a.bmp"
    assert [one.name for one in matched] == ["a", "b", "c", "d"]
    (results / "a.gif").write_bytes(b"")
    with pytest.raises(ValueError, match=r"different stems, got a\.bmp and a\.gif"):
        match_pictures(results, true_pictures(truth))


def test_pictures_too_small_to_be_judged(truth):
    for folder in (truth, truth.with_name("gray")):
        save(folder / "d.png", ONE[:31])
    with pytest.raises(ValueError, match=r"d\.png: expected at least 32 pixels a side, got 31 x"):
        match_pictures(truth.with_name("gray"), true_pictures(truth))


def test_folders_that_are_not_there_or_empty(tmp_path, truth):
    with pytest.raises(FileNotFoundError, match="none: expected a folder of pictures"):
        true_pictures(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty: expected a folder with pictures"):
        match_pictures(tmp_path / "empty", true_pictures(truth))


def pins(truth, names="abd"):
    files = [truth / f"{name}.png" for name in names]
    return {x.name: hashlib.sha256(x.read_bytes()).hexdigest() for x in files}


def test_a_pinned_list_chooses_the_pictures_and_finds_swapped_ones(truth, tmp_path):
    rows = pins(truth)
    (tmp_path / "pinned.txt").write_text("".join(f"{x} *{file}\n" for file, x in rows.items()))
    assert list(true_pictures(truth, tmp_path / "pinned.txt")) == ["a", "b", "d"]
    (truth / "a.png").rename(truth / "kept.png")
    (truth / "b.png").rename(truth / "a.png")
    (truth / "kept.png").rename(truth / "b.png")
    with pytest.raises(ValueError, match=r"SHA-256, got another: 2 \(a\.png, b\.png\)"):
        true_pictures(truth, tmp_path / "pinned.txt")
    (truth / "d.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 1 \(d\.png\)"):
        true_pictures(truth, tmp_path / "pinned.txt")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_pinned_list_as_a_table(truth, tmp_path, suffix):
    rows = pins(truth)
    path = tmp_path / f"pinned{suffix}"
    write_table(path, {"file": [*rows], "note": ["x"] * 3, "sha256": [*rows.values()]})
    assert list(true_pictures(truth, path)) == ["a", "b", "d"]
    write_table(path, {"file": [*rows]})
    with pytest.raises(ValueError, match="expected columns file, sha256, got file"):
        true_pictures(truth, path)


def write_table(path, columns):
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
        return
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *zip(*columns.values(), strict=True)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected every picture once, got none"),
        ("12ab a.png\n", r"a\.png: expected the SHA-256 in 64 digits, got '12ab'"),
        (f"{'g' * 64} a.png\n", r"a\.png: expected the SHA-256 in 64 digits"),
        ("a.png\n", "line 1: expected two fields, got 1"),
        (f"{'0' * 64} a.png\n" * 2, r"got 1 \(a\.png\) more than once"),
    ],
)
def test_a_pinned_list_that_is_none(truth, tmp_path, text, message):
    (tmp_path / "pinned.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        true_pictures(truth, tmp_path / "pinned.txt")


def test_classes_of_a_list(tmp_path):
    (tmp_path / "val.txt").write_text("my photo.JPEG 65\nb.JPEG 999\n")
    assert read_classes(tmp_path / "val.txt") == {"my photo": 65, "b": 999}
    write_table(tmp_path / "val.parquet", {"class": [3], "file": ["a.png"]})
    assert read_classes(tmp_path / "val.parquet") == {"a": 3}
    (tmp_path / "val.txt").write_text("a.png 1000\n")
    with pytest.raises(ValueError, match=r"a\.png: expected a class in 0\.\.999, got '1000'"):
        read_classes(tmp_path / "val.txt")
    (tmp_path / "val.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match=r"val\.parquet: expected a list of pictures, got: "):
        read_classes(tmp_path / "val.parquet")
    with pytest.raises(FileNotFoundError, match=r"none\.txt: expected a list of pictures"):
        read_classes(tmp_path / "none.txt")


# Evaluations


@pytest.mark.parametrize("protocol", [STANDARD, PUBLISHED])
def test_the_truth_is_perfect_and_gray_has_no_colour(truth, networks, protocol):
    pictures = true_pictures(truth)
    systems = {name: match_pictures(truth.with_name(name), pictures) for name in ("truth", "gray")}
    perfect, gray = evaluate(systems, protocol, networks)
    assert (perfect.mean("psnr"), perfect.mean("ab_error")) == (math.inf, 0)
    assert perfect.mean("ssim") == pytest.approx(1)
    assert perfect.mean("lpips") == pytest.approx(0, abs=1e-6)
    assert (perfect.top1, perfect.top5, perfect.expected) == (100, 100, 4)
    assert perfect.fid is None
    assert gray.kid.mean > perfect.kid.mean
    assert gray.mean("colorfulness") < 1.5 < gray.mean("truth_colorfulness")
    assert gray.mean("lpips") > 0.1
    assert [picture.name for picture in gray.pictures] == ["a", "b", "c", "d"]


def test_swapped_results_are_measured_against_the_others_truth(truth, networks):
    swapped = truth.with_name("swapped")
    save(swapped / "a.png", chelsea((64, 48)))
    save(swapped / "b.png", coffee((64, 48)))
    for name in "cd":
        save(swapped / f"{name}.png", np.array(Image.open(truth / f"{name}.png")))
    matched = match_pictures(swapped, true_pictures(truth))
    (found,) = evaluate({"swapped": matched}, STANDARD, networks)
    assert [picture.psnr == math.inf for picture in found.pictures] == [False, False, True, True]


def test_missing_results_count_as_wrong_in_the_published_protocol_alone(truth, networks):
    results = truth.with_name("truth2")
    for name in "abc":
        save(results / f"{name}.png", np.array(Image.open(truth / f"{name}.png")))
    matched = match_pictures(results, true_pictures(truth), allow_missing=True)
    for protocol, expected in ((STANDARD, 100), (PUBLISHED, 75)):
        (found,) = evaluate({"ours": matched}, protocol, networks)
        assert (found.top1, found.top5) == (expected, expected)
        assert (len(found.pictures), found.expected) == (3, 4)


def test_top_1_and_top_5_are_against_given_classes(truth, networks):
    picture = STANDARD.center(np.array(Image.open(truth / "a.png")))
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    order = network()((image - 127) / 128)[0].argsort(descending=True).tolist()
    matched = match_pictures(truth, true_pictures(truth))[:1] * 2
    for rank, hits in ((0, (100, 100)), (1, (0, 100)), (4, (0, 100)), (5, (0, 0))):
        (found,) = evaluate({"ours": matched}, STANDARD, networks, {"a": order[rank]})
        assert (found.top1, found.top5) == hits
    with pytest.raises(ValueError, match=r"classes: expected one of every picture, lacks 2 \(a, a"):
        next(evaluate({"ours": matched}, STANDARD, networks, {"b": 1}))


# Comparisons


def test_a_comparison_counts_wins_and_half_of_the_ties():
    found = compare([1, 1, 1, 5, 2], [2, 2, 2, 2, 2])
    assert (found.win_rate, found.pictures) == (0.7, 5)
    # One loss or fewer, or three or more, of four: 2 (1 + 4) / 2^4.
    assert found.p == pytest.approx(10 / 16)
    assert compare([1, 1, 1, 5, 2], [2, 2, 2, 2, 2], higher_is_better=True).win_rate == 0.3 + 0
    assert compare([1, 1], [1, 1]) == (0.5, 0.5, 0.5, 1, 2)
    assert compare([0] * 10, [1] * 10) == (1, 1, 1, pytest.approx(2 * 0.5**10), 10)


def test_the_interval_is_that_of_resampled_pictures():
    random = np.random.default_rng(1)
    one, other = random.normal(0, 1, 2000), random.normal(0.3, 1, 2000)
    found = compare(one, other)
    wins = (one < other).astype(float)
    means = [random.choice(wins, 2000).mean() for _ in range(4000)]
    np.testing.assert_allclose(
        (found.low, found.high), np.quantile(means, (0.025, 0.975)), atol=0.0015
    )
    assert found == compare(one, other)


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ([1, 2], [1, 2, 3], r"expected values of the same pictures.*got shapes \[2\] and \[3\]"),
        ([1], [2], "at least two"),
        ([1, math.nan], [1, 2], "expected numbers, got NaN"),
    ],
)
def test_values_that_cannot_be_compared(one, other, message):
    with pytest.raises(ValueError, match=message):
        compare(one, other)


# Command line


def run(*arguments):
    """Run `spcolor evaluate`; return exit code, and output with its line breaks taken out."""
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


@pytest.mark.filterwarnings("error::RuntimeWarning")  # of infinite values in a plot
def test_tables_csv_and_plots_of_two_folders(truth, tmp_path):
    folders = [truth.with_name("gray"), truth]
    options = ["--truth", truth, "--features", "efficientnet_lite0", "-o", tmp_path / "out"]
    code, output = run(*folders, *options)
    assert code == 0, output
    for part in (
        "Protocol: standard",
        "Protocol: published",
        "FID (efficientnet_lite0)",
        "fewer pictures than the 1280 channels of efficientnet_lite0; KID stands in its place",
        "efficientnet_lite0 stands in for Inception-v3, ResNet-101, LPIPS's AlexNet",
        "agreement with the likeliest class",
        "ab error (no true answer)",
    ):
        assert part in output
    with (tmp_path / "out" / "evaluation.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(x["protocol"], x["psnr"] == "inf") for x in lines] == [
        ("standard", False),
        ("standard", True),
        ("published", False),
        ("published", True),
    ]
    assert {x["fid"] for x in lines} == {""}
    with (tmp_path / "out" / "pictures.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 16
    for name in ("standard", "published"):
        assert Image.open(tmp_path / "out" / f"{name}.png").size[0] > 1000


def test_options_of_one_table(truth, tmp_path):
    (tmp_path / "val.txt").write_text("".join(f"{name}.png 1\n" for name in "abcd"))
    (truth.with_name("gray") / "a.png").unlink()
    options = ["--features", "efficientnet_lite0", "--protocol", "published", "--true-answer"]
    options += ["--allow-missing", "--classes", tmp_path / "val.txt", "-o", tmp_path / "out"]
    code, output = run(truth.with_name("gray"), "--truth", truth, *options)
    assert code == 0, output
    assert "standard" not in output
    assert "no true answer" not in output
    assert "3 of 4" in output
    assert "against the given classes" in output


def test_wrong_arguments_end_before_any_work(truth, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (truth / "e.png").write_bytes((truth / "a.png").read_bytes())
    out = tmp_path / "out"
    code, output = run(truth.with_name("gray"), "--truth", truth, "-o", out)
    assert code == 2
    assert "no result for 1 (e.png)" in output
    (tmp_path / "val.txt").write_text("a.png 1\n")
    code, output = run(truth, "--truth", truth, "--classes", tmp_path / "val.txt", "-o", out)
    assert code == 2
    assert "lacks 4 (b, c, d, e)" in output
    assert not out.exists()
