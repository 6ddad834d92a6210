"""Training data: geometry, manifests, samples and the order of batches."""

import csv
import math
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from model_photos import chelsea, coffee
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from skimage.color import rgb2lab
from skimage.transform import resize
from torch.utils.data import DataLoader

from spcolor_model.data import (
    ColorizationPairs,
    Pair,
    ResumableBatchSampler,
    check_manifest,
    crop_resize,
    read_manifest,
    self_reference,
    write_manifest,
)

SIZE = 24


def save(path: Path, rgb: np.ndarray) -> Path:
    Image.fromarray(rgb).save(path)
    return path


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    """Six different small photos."""
    pictures = [coffee(), chelsea(), coffee((60, 80)), chelsea((50, 50))]
    pictures += [pictures[0][::-1].copy(), pictures[1][::-1].copy()]
    return [save(tmp_path / f"{number}.png", rgb) for number, rgb in enumerate(pictures)]


@pytest.fixture
def pairs(photos) -> list[Pair]:
    """Six pairs, of which the last has no reference."""
    return [*(Pair(*two) for two in pairwise(photos)), Pair(photos[-1])]


def linear(photo: np.ndarray, axis: int, length: int) -> np.ndarray:
    """Bilinear resampling along one axis after a Gaussian of (factor - 1) / 2, from its formula."""
    count = photo.shape[axis]
    factor = count / length
    if factor > 1:
        photo = gaussian_filter1d(photo, (factor - 1) / 2, axis=axis, mode="mirror")
    at = np.abs((np.arange(length) + 0.5) * factor - 0.5)
    at = np.where(at > count - 1, 2 * (count - 1) - at, at)
    return np.apply_along_axis(lambda row: np.interp(at, np.arange(count), row), axis, photo)


# Landscape, portrait, a margin of odd width, square, scaled up, a short side that fits already.
SHAPES = [(40, 97), (97, 40), (40, 53), (51, 51), (10, 13), (24, 40)]


@pytest.mark.parametrize("shape", SHAPES)
def test_geometry_is_short_side_then_centre(shape):
    photo = chelsea((shape[1], shape[0]))
    got = crop_resize(photo, SIZE)
    scaled = [math.floor(side * SIZE / min(shape)) for side in shape]
    window = tuple(slice((n - SIZE) // 2, (n - SIZE) // 2 + SIZE) for n in scaled)
    library = resize(
        photo, scaled, 1, mode="reflect", clip=False, preserve_range=True, anti_aliasing=True
    )
    np.testing.assert_array_equal(got, library[window].astype(np.uint8))
    formula = linear(linear(photo.astype(float), 0, scaled[0]), 1, scaled[1])[window]
    # Truncated, not rounded; a value next to an integer may fall on its other side.
    assert np.mean(got != np.floor(formula)) < 0.01
    assert got.shape == (SIZE, SIZE, 3)
    assert got.dtype == np.uint8


def test_a_square_that_fits_is_unchanged():
    photo = chelsea((SIZE, SIZE))
    np.testing.assert_array_equal(crop_resize(photo, SIZE), photo)


def ramp(height: int, width: int) -> np.ndarray:
    """Red is the column, green the row, both from 0 to 255."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return (255 * np.stack([columns, rows, rows * 0], axis=-1)).round().astype(np.uint8)


def drawn(photo: np.ndarray, seed: int) -> np.ndarray:
    return self_reference(photo, torch.Generator().manual_seed(seed)).astype(float)


def test_self_reference_is_a_mild_crop_mirrored_half_the_time():
    made = [drawn(ramp(200, 200), seed) for seed in range(40)]
    mirrored = [rgb[0, 0, 0] > rgb[0, -1, 0] for rgb in made]
    assert 10 <= sum(mirrored) <= 30
    for rgb, flipped in zip(made, mirrored, strict=True):
        assert rgb.shape == (480, 480, 3)
        red, green = rgb[0, :, 0], rgb[:, 0, 1]
        width, height = abs(np.ptp(red)) / 255, np.ptp(green) / 255
        assert 0.96 < width * height <= 1
        assert green[0] < green[-1]
        assert (red[0] > red[-1]) == flipped
    assert len({rgb.tobytes() for rgb in made}) > 10


def test_least_area_is_how_little_a_self_reference_shows():
    """The photo is a ramp of luminance, so that its span is the share of the width that is seen."""
    ramp = np.repeat(np.linspace(0, 255, 200).astype(np.uint8)[None], 200, axis=0)
    photo = np.repeat(ramp[..., None], 3, axis=2)
    spans = {
        area: [
            np.ptp(self_reference(photo, torch.Generator().manual_seed(i), area).astype(int)) / 255
            for i in range(40)
        ]
        for area in (0.98, 0.25)
    }
    assert min(spans[0.98]) > 0.85
    assert 0.4 < min(spans[0.25]) < 0.65
    assert max(spans[0.25]) > 0.9


def test_self_reference_of_a_wide_photo_is_its_middle():
    red = np.sort(drawn(ramp(100, 300), 0)[0, :, 0])
    # 120 of 300 columns: width / height is 1.2 at most.
    np.testing.assert_allclose(red[[0, -1]] / 255, [90 / 299, 209 / 299], atol=0.01)


def test_self_reference_depends_on_its_generator_alone():
    photo = coffee()
    torch.manual_seed(1)
    first = drawn(photo, 5)
    unused = torch.rand(3)
    torch.manual_seed(1)
    torch.testing.assert_close(torch.rand(3), unused, rtol=0, atol=0)
    np.testing.assert_array_equal(drawn(photo, 5), first)
    generator = torch.Generator().manual_seed(5)
    several = {self_reference(photo, generator).tobytes() for _ in range(4)}
    assert len(several) > 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: crop_resize(np.zeros((2, 2)), 4), TypeError, "rgb: expected an array of uint8"),
        (lambda: crop_resize(coffee(), 0), ValueError, "size: expected at least 1, got 0"),
        (lambda: crop_resize(coffee(), 1.5), TypeError, "size: expected an int, got float"),
        (
            lambda: self_reference(np.zeros((2, 2, 3), np.uint8), torch.Generator(), 0),
            ValueError,
            "least_area: expected a share above 0 and at most 1, got 0",
        ),
        (
            lambda: self_reference(np.zeros((2, 2, 4), np.uint8), torch.Generator()),
            ValueError,
            r"rgb: expected shape .* got \[2, 2, 4\]",
        ),
        (lambda: ColorizationPairs([]), ValueError, "pairs: expected at least one, got none"),
        (
            lambda: ColorizationPairs([Pair("a")], self_reference_probability=1.5),
            ValueError,
            "self_reference_probability: expected a number in 0..1, got 1.5",
        ),
        (lambda: ColorizationPairs([Pair("a")], seed=-1), ValueError, "seed: .* least 0, got -1"),
        (lambda: ColorizationPairs([Pair("a")])[1], IndexError, r"index: expected 0\.\.0, got 1"),
        (
            lambda: ResumableBatchSampler(7, 4, 9, world_size=2),
            ValueError,
            r"num_samples: expected at least 8 \(batch_size \* world_size\), got 7",
        ),
        (
            lambda: ResumableBatchSampler(8, 4, 9, rank=2, world_size=2),
            ValueError,
            r"rank: expected 0\.\.1 \(world_size - 1\), got 2",
        ),
        (lambda: ResumableBatchSampler(8, 0, 9), ValueError, "batch_size: expected at least 1"),
        (
            lambda: ResumableBatchSampler(8, 4, 9, start_step=-1),
            ValueError,
            "start_step: expected at least 0, got -1",
        ),
    ],
)
def test_errors_name_argument_expected_and_actual(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_manifest_round_trip(tmp_path, photos, pairs):
    path = tmp_path / "lists" / "train.csv"
    write_manifest(path, pairs, {"licence": ["CC0, or so"] * len(pairs)})
    assert read_manifest(path) == [
        Pair(*(photo and path.parent / ".." / photo.name for photo in pair)) for pair in pairs
    ]
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["target", "reference", "licence"]
    assert rows[1] == ["../0.png", "../1.png", "CC0, or so"]
    assert rows[-1] == ["../5.png", "", "CC0, or so"]
    # As spreadsheets save it: a byte order mark, other line ends, columns in another order.
    path.write_bytes(b"\xef\xbb\xbfreference,licence,target\r\n../1.png,CC0,../0.png\r\n")
    assert [photo.name for photo in read_manifest(path)[0]] == ["0.png", "1.png"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ValueError, r"m\.csv, line 1: expected columns target, reference, got none"),
        ("target,licence\n0.png,x\n", ValueError, "line 1: .* got target, licence"),
        ("target,reference\n", ValueError, r"m\.csv: expected at least one pair, got none"),
        ("target,reference\n0.png,\n,1.png\n", ValueError, "line 3: expected a target, got an em"),
        (
            "target,reference\n0.png,1.png\n0.png,gone.png\n",
            FileNotFoundError,
            r"m\.csv, line 3: expected a photo, got no file at .*gone\.png",
        ),
        (
            "target,reference\n0.png,1.png\n1.png,0.png\n0.png,1.png\n",
            ValueError,
            "line 4: expected each pair once, got that of line 2",
        ),
        ("target,reference\n0.png,0.png\n", ValueError, r"line 2: .* other than the target"),
        ("target,reference\n0.png\n", ValueError, "line 2: expected 2 fields, got fewer"),
        ("target,reference\n0.png,1.png,x\n", ValueError, "line 2: expected 2 fields, got more"),
        ('target,reference\n"0.png"x,1.png\n', ValueError, "line 2: expected comma-separated"),
        (b"target,reference\n\xff,1.png\n", ValueError, r"m\.csv: expected text in UTF-8"),
    ],
)
def test_manifest_errors_name_file_and_line(tmp_path, photos, text, error, message):
    path = tmp_path / "m.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(error, match=message):
        read_manifest(path)


def test_other_manifest_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv: expected a manifest, got no file"):
        read_manifest(tmp_path / "none.csv")
    two = [Pair(tmp_path / "a.png"), Pair(tmp_path / "b.png")]
    with pytest.raises(ValueError, match=r"columns\['licence'\]: expected 2 texts, .* got 1"):
        write_manifest(tmp_path / "m.csv", two, {"licence": ["CC0"]})
    with pytest.raises(ValueError, match=r"columns: expected names other than .* got 'target'"):
        write_manifest(tmp_path / "m.csv", two, {"target": ["x", "y"]})


def test_check_manifest_opens_each_photo_and_reports_bad_ones(tmp_path, photos):
    gray = save(tmp_path / "gray.png", np.repeat(chelsea()[..., :1], 3, axis=2))
    broken = tmp_path / "broken.png"
    broken.write_bytes(photos[0].read_bytes()[:900])
    bad = [Pair(photos[0], gray), Pair(broken, photos[1]), Pair(gray)]
    write_manifest(tmp_path / "bad.csv", bad)
    problems = check_manifest(tmp_path / "bad.csv")
    assert len(problems) == 2
    assert problems[0] == f"{gray}: expected a photo in colour, got a gray one"
    assert problems[1].startswith(f"{broken}: expected a readable image")
    write_manifest(tmp_path / "good.csv", [Pair(photos[0], photos[1])])
    assert check_manifest(tmp_path / "good.csv") == []


def test_a_sample_is_lab_of_both_photos(photos):
    pairs = ColorizationPairs([Pair(*photos[:2])], SIZE, self_reference_probability=0)
    sample = pairs[0]
    for rgb, luminance, ab in ((coffee(), *sample[1:3]), (chelsea(), *sample[3:5])):
        assert luminance.dtype == ab.dtype == torch.float32
        truth = torch.from_numpy(rgb2lab(crop_resize(rgb, SIZE))).permute(2, 0, 1).float()
        torch.testing.assert_close(torch.cat([luminance, ab]), truth, rtol=0, atol=1e-5)
        assert luminance.shape == (1, SIZE, SIZE)
        assert ab.is_contiguous()
    assert sample.is_self.dtype == torch.bool
    assert not sample.is_self
    assert torch.equal(sample.seen_luminance, sample.luminance)


def test_lab_has_its_own_units(tmp_path):
    primaries = np.array([[[255, 255, 255], [0, 0, 0]], [[255, 0, 0], [0, 0, 255]]], np.uint8)
    path = save(tmp_path / "primaries.png", primaries)
    sample = ColorizationPairs([Pair(path, path)], 2, self_reference_probability=0)[0]
    # CIE Lab of white, black, red and blue in sRGB, from tables.
    torch.testing.assert_close(
        sample.luminance[0], torch.tensor([[100, 0], [53.24, 32.30]]), rtol=0, atol=0.02
    )
    torch.testing.assert_close(
        sample.ab[:, 1],
        torch.tensor([[80.09, 79.19], [67.20, -107.86]]),
        rtol=0,
        atol=0.02,
    )


def test_a_self_reference_shows_the_target(photos):
    pairs = [Pair(*photos[:2]), Pair(photos[0])]
    always = ColorizationPairs(pairs, SIZE, self_reference_probability=1)
    never = ColorizationPairs(pairs, SIZE, self_reference_probability=0)
    for sample in (always[3, 0], never[0, 1]):
        assert sample.is_self
        distance = (sample.reference_ab.mean((1, 2)) - sample.ab.mean((1, 2))).norm()
        assert distance < 2
        assert not torch.equal(sample.reference_ab, sample.ab)
    # The photo beside it, chelsea, is another one.
    beside = never[0, 0]
    assert (beside.reference_ab.mean((1, 2)) - beside.ab.mean((1, 2))).norm() > 10


def test_the_share_of_self_references(tmp_path, monkeypatch):
    small = [save(tmp_path / f"{i}.png", np.full((2, 2, 3), i, np.uint8)) for i in range(2)]
    monkeypatch.setattr("spcolor_model.data.pairs.self_reference", lambda rgb, *_: rgb)
    pairs = ColorizationPairs([Pair(*small)] * 40, 2)
    flags = torch.tensor([[pairs[e, i].is_self for i in range(40)] for e in range(25)])
    # 0.2 within four standard deviations of 1000 draws.
    assert abs(flags.float().mean() - 0.2) < 0.05
    # No two epochs and no two indices share their draws.
    assert len(flags.unique(dim=0)) == 25
    assert len(flags.unique(dim=1).T) == 40
    other = ColorizationPairs(pairs.pairs, 2, seed=1)
    assert [other[0, i].is_self.item() for i in range(40)] != flags[0].tolist()


def batches(pairs, workers: int, start_step: int = 0, **ranks):
    """Batches of steps start_step..4, with a share of self-references that shows their draws."""
    data = ColorizationPairs(pairs, SIZE, self_reference_probability=0.5, seed=3)
    size = 4 // ranks.get("world_size", 1)
    order = ResumableBatchSampler(len(data), size, 5, start_step=start_step, seed=3, **ranks)
    return list(DataLoader(data, batch_sampler=order, num_workers=workers))


def assert_same(got, expected):
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        for name, a, b in zip(one._fields, one, other, strict=True):
            assert torch.equal(a, b), name


def test_workers_ranks_and_interruptions_change_nothing(pairs):
    whole = batches(pairs, workers=0)
    assert whole[0].ab.shape == (4, 2, SIZE, SIZE)
    assert whole[0].is_self.shape == (4,)
    assert torch.cat([batch.is_self for batch in whole]).float().mean() not in (0, 1)
    assert_same(batches(pairs, workers=2), whole)
    assert_same(batches(pairs, workers=1, start_step=3), whole[3:])
    ranks = [batches(pairs, workers=0, rank=rank, world_size=2) for rank in (0, 1)]
    union = [type(a)(*map(torch.cat, zip(a, b, strict=True))) for a, b in zip(*ranks, strict=True)]
    assert_same(union, whole)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_an_epoch_is_a_shuffle_without_its_remainder(world_size):
    samplers = [
        ResumableBatchSampler(26, 4, 100, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    per_epoch = 26 // (4 * world_size)
    assert samplers[0].steps_per_epoch == per_epoch
    steps = [list(chain(*batch)) for batch in zip(*samplers, strict=True)]
    assert len(steps) == len(samplers[0]) == 100
    assert steps == list(ResumableBatchSampler(26, 4 * world_size, 100))
    orders = []
    for epoch in range(100 // per_epoch):
        drawn = list(chain(*steps[epoch * per_epoch : (epoch + 1) * per_epoch]))
        assert {e for e, _ in drawn} == {epoch}
        orders.append([index for _, index in drawn])
        assert len(set(orders[-1])) == per_epoch * 4 * world_size
    assert len(set(map(tuple, orders))) == len(orders)
    # What one epoch leaves out, another has.
    assert set().union(*orders) == set(range(26))


def test_every_step_can_be_resumed():
    whole = list(ResumableBatchSampler(11, 2, 30, seed=9))
    for step in range(31):
        left = ResumableBatchSampler(11, 2, 30, seed=9, start_step=step)
        assert list(left) == whole[step:]
        assert len(left) == 30 - step
    assert list(ResumableBatchSampler(11, 2, 30, seed=8)) != whole
    assert list(ResumableBatchSampler(11, 2, 30, start_step=31)) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photo_that_cannot_be_decoded_is_named(tmp_path, photos, workers):
    broken = tmp_path / "broken.png"
    broken.write_bytes(photos[0].read_bytes()[:900])
    pairs = ColorizationPairs([Pair(photos[0], broken)], SIZE, self_reference_probability=0)
    with pytest.raises(ValueError, match=r"broken\.png: expected a readable image"):
        list(DataLoader(pairs, num_workers=workers))
