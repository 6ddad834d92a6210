"""Colorization without training: size, luminance, matching by class, filling, and the sheet."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from model_photos import chelsea, coffee, small_area  # noqa: F401
from PIL import Image

import spcolor_model
from spcolor_model import save_sheet
from spcolor_model.color import gray_rgb, rgb_to_lab
from spcolor_model.features import WorkingImage
from spcolor_model.filling import EdgeAwareFiller
from spcolor_model.match_engine import MatchEngine
from spcolor_model.matching import Match, match
from spcolor_model.prior import MaskPrior, NoPrior

pytestmark = pytest.mark.usefixtures("small_area")
colorize = partial(spcolor_model.colorize, engine="match")


def seen(rgb: np.ndarray) -> WorkingImage:
    return WorkingImage(gray_rgb(rgb_to_lab(rgb)[0]))


def halves(height: int, width: int) -> np.ndarray:
    """Class 0 on the left, 1 on the right."""
    return np.arange(width)[None].repeat(height, 0) * 2 // width


@pytest.mark.parametrize("size", [(121, 77), (40, 300), (1, 1)])
def test_exact_size_and_luminance(size):
    target = coffee(size)
    result = colorize(target, chelsea(), num_segments=4).rgb
    assert result.shape == target.shape
    luminance, got = rgb_to_lab(target)[0], rgb_to_lab(result)[0]
    np.testing.assert_allclose(got, luminance, atol=0.6)  # half a step of 8 bits


def test_the_colour_of_the_target_does_not_matter():
    target = coffee()
    gray = gray_rgb(rgb_to_lab(target)[0])
    results = [colorize(x, chelsea(), num_segments=4).rgb for x in (target, gray)]
    assert abs(results[0].astype(int) - results[1]).max() <= 12
    assert abs(results[0].astype(int) - results[1]).mean() < 1


def test_a_photo_takes_back_its_own_colours():
    photo = coffee((240, 160))
    result = colorize(photo, photo)
    error = np.linalg.norm(rgb_to_lab(result.rgb)[1] - rgb_to_lab(photo)[1], axis=-1).mean()
    assert error < 0.35 * np.linalg.norm(rgb_to_lab(photo)[1], axis=-1).mean()
    assert not result.match.unrelated.any()


def test_the_same_input_gives_the_same_picture():
    first, second = (colorize(coffee(), chelsea()).rgb for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_each_class_takes_colours_of_its_own_class_only():
    target, reference = seen(coffee((96, 96))), seen(chelsea((96, 96)))
    ab = np.zeros((96, 96, 2), np.float32)
    ab[:, :48], ab[:, 48:] = (40, 0), (0, -40)
    mask = halves(96, 96)
    found = match(target, reference, ab, MaskPrior([mask, mask])([target, reference]))
    left, right = found.ab[:, :, :11], found.ab[:, :, 13:]
    assert left[0].median() > 38
    assert right[1].median() < -38
    assert left[1].abs().median() < 2


def test_confidence_is_the_product_of_eq_14():
    target, reference = seen(coffee()), seen(chelsea())
    ab = rgb_to_lab(chelsea())[1]
    plain = NoPrior()([target, reference])
    weaker = plain._replace(confidence=plain.confidence * torch.tensor([0.5, 0.25])[:, None, None])
    found, scaled = (match(target, reference, ab, maps) for maps in (plain, weaker))
    torch.testing.assert_close(scaled.confidence, found.confidence * 0.125)
    torch.testing.assert_close(scaled.ab, found.ab)


def test_a_class_that_the_reference_lacks_is_unrelated_and_fades():
    photo = coffee((128, 128))
    missing = np.zeros((128, 128), np.uint8)
    missing[:, 80:] = 1
    result = colorize(
        photo,
        photo,
        prior="masks",
        target_mask=missing,
        reference_mask=np.zeros((128, 128), np.uint8),
    )
    assert result.match.unrelated.float().mean() == pytest.approx(48 / 128, abs=0.05)
    chroma = np.linalg.norm(rgb_to_lab(result.rgb)[1], axis=-1)
    truth = np.linalg.norm(rgb_to_lab(photo)[1], axis=-1)
    assert chroma[:, 104:].mean() < 0.4 * truth[:, 104:].mean()
    assert chroma[:, :64].mean() > 0.6 * truth[:, :64].mean()


def flat_match(confidence: torch.Tensor, unrelated: torch.Tensor) -> Match:
    """Red where related, on an 8 x 8 grid."""
    ab = torch.zeros(2, 8, 8)
    ab[0] = torch.where(unrelated, 0.0, 50.0)
    return Match(ab, confidence, unrelated)


def test_filling_stops_at_an_edge_of_the_luminance():
    unrelated = torch.zeros(8, 8, dtype=torch.bool)
    unrelated[:, 4:] = True
    found = flat_match((~unrelated).float(), unrelated)
    edge = np.full((64, 64), 20.0, np.float32)
    edge[:, 32:] = 80
    ab = EdgeAwareFiller(tint=0)(found, edge)
    assert ab[:, 8:24, 0].min() > 45
    assert ab[:, 36:, 0].max() < 25
    assert ab[:, 56:, 0].max() < 5
    tinted = EdgeAwareFiller(tint=0.4)(found, edge)
    assert tinted[:, 56:, 0] == pytest.approx(20, abs=4)  # 0.4 of the confident 50


def test_an_uncertain_position_takes_the_confident_colour_around_it():
    confidence = torch.ones(8, 8)
    confidence[3:5, 3:5] = 0.01
    found = flat_match(confidence, torch.zeros(8, 8, dtype=torch.bool))
    found.ab[:, 3:5, 3:5] = -50
    ab = EdgeAwareFiller()(found, np.full((64, 64), 50.0, np.float32))
    assert ab[28:36, 28:36, 0].mean() > 30


def test_everything_unrelated_is_gray():
    found = flat_match(torch.zeros(8, 8), torch.ones(8, 8, dtype=torch.bool))
    assert (EdgeAwareFiller()(found, np.full((16, 16), 50.0, np.float32)) == 0).all()


def test_another_filler_takes_the_place_of_the_filter():
    def green(found: Match, luminance: np.ndarray) -> np.ndarray:
        assert found.ab.shape[1:] == found.confidence.shape
        return np.broadcast_to(np.float32([-20, 0]), (*luminance.shape, 2))

    result = colorize(coffee(), chelsea(), prior="none", engine=MatchEngine(green)).rgb
    assert rgb_to_lab(result)[1][..., 0].mean() == pytest.approx(-20, abs=3)


def test_sheet_shows_seven_pictures_and_the_mask(tmp_path):
    result = colorize(coffee(), chelsea(), num_segments=4)
    save_sheet(tmp_path / "sheet.png", result)
    sheet = np.array(Image.open(tmp_path / "sheet.png"))
    rows, columns = np.split(sheet, 2, axis=0), 4
    panels = [panel for row in rows for panel in np.split(row, columns, axis=1)]
    assert len(panels) == 8
    assert all((panel[:24] < 128).any() for panel in panels)  # captions
    assert all((panel[24:] < 250).any() for panel in panels)
    assert np.ptp(panels[0][24:].astype(int), axis=-1).max() == 0  # the target is gray
    assert np.ptp(panels[6][24:].astype(int), axis=-1).max() > 20  # the result is not


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "steam"}, "engine: expected one of 'trained', 'match' or a callable"),
        ({"prior": "stars"}, "prior: expected one of 'clusters', 'none', 'masks' or a callable"),
        ({"prior": "none", "num_segments": 3}, 'num_segments: expected with prior="clusters"'),
        ({"num_segments": 0}, "num_segments: expected at least 1, got 0"),
        ({"prior": "masks"}, "target_mask: expected a mask, got none"),
        ({"target_mask": np.zeros((2, 2), int)}, 'target_mask: expected none unless prior="masks"'),
    ],
)
def test_errors_name_the_argument(options, message):
    with pytest.raises(ValueError, match=message):
        colorize(coffee(), chelsea(), **options)


def test_filler_arguments_are_checked():
    with pytest.raises(ValueError, match="neutral: expected a number above 0, got 0"):
        EdgeAwareFiller(neutral=0)
    with pytest.raises(ValueError, match=r"tint: expected a number in 0\.\.1, got 2"):
        EdgeAwareFiller(tint=2)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, spcolor_model; print(sorted({'torch', 'cv2', 'timm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
