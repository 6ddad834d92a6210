"""Reading photos of every mode, and Lab."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("skimage")

from spcolor_model.color import gray_rgb, lab_to_rgb, rgb_to_lab
from spcolor_model.images import as_mask, as_rgb, list_images, read_image, write_image

RAMP = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".gif"])
def test_gray_of_every_lossless_format(tmp_path, suffix):
    path = tmp_path / f"gray{suffix}"
    Image.fromarray(RAMP).save(path, lossless=True)
    np.testing.assert_array_equal(read_image(path), np.repeat(RAMP[..., None], 3, axis=2))


def test_alpha_is_laid_on_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = 0, 128, 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    got = read_image(tmp_path / "a.png")
    assert got[0, 0].tolist() == [255, 255, 255]
    assert got[0, 2].tolist() == [200, 0, 0]
    assert abs(int(got[0, 1, 1]) - 127) <= 1


def test_gray_alpha_and_transparent_palette(tmp_path):
    Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8), "LA").save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png")[0].tolist() == [[10] * 3, [255] * 3]
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7, 1, 2, 3])
    palette.putdata([0, 1])
    palette.save(tmp_path / "p.png", transparency=1)
    assert read_image(tmp_path / "p.png")[0].tolist() == [[9, 8, 7], [255] * 3]


def test_16_bit_gray_is_scaled_not_clipped(tmp_path):
    Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert read_image(tmp_path / "deep.png")[0, :, 0].tolist() == [0, 100, 255]


def test_cmyk(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.tif")
    assert read_image(tmp_path / "c.tif")[4, 4].tolist() == [255, 0, 0]


def test_exif_orientation(tmp_path):
    image = Image.fromarray(np.repeat(RAMP[..., None], 3, axis=2))
    exif = image.getexif()
    exif[0x0112] = 6  # turn a quarter clockwise to view
    image.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png")[..., 0], np.rot90(RAMP, -1))


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("L", (3, 2), value) for value in (50, 200)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "moving.gif") == 50).all()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png: expected an image file"):
        read_image(tmp_path / "none.png")


def test_a_text_file_is_named(tmp_path):
    (tmp_path / "words.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"words\.png: expected an image, got a file of no known"):
        read_image(tmp_path / "words.png")


def test_a_cut_off_file_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cut\.png: expected a readable image"):
        read_image(tmp_path / "cut.png")


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (3, TypeError, "target: expected a path, a Pillow image or a uint8 array, got int"),
        (np.zeros((2, 2)), TypeError, "target: expected an array of uint8, got float64"),
        (np.zeros((2, 2, 4), np.uint8), ValueError, r"target: expected shape .* got \[2, 2, 4\]"),
        (np.zeros((0, 2), np.uint8), ValueError, r"target: .* got \[0, 2, 3\]"),
    ],
)
def test_wrong_arrays(image, error, message):
    with pytest.raises(error, match=message):
        as_rgb("target", image)


def test_writing_and_listing(tmp_path):
    write_image(tmp_path / "deep" / "b.png", np.full((2, 3, 3), 7, np.uint8))
    (tmp_path / "deep" / "notes.txt").write_text("")
    assert [path.name for path in list_images(tmp_path / "deep")] == ["b.png"]
    assert (read_image(tmp_path / "deep" / "b.png") == 7).all()
    with pytest.raises(ValueError, match=r"b\.xyz: expected a suffix of .*, got '\.xyz'"):
        write_image(tmp_path / "b.xyz", np.zeros((2, 3, 3), np.uint8))


def test_a_palette_mask_keeps_its_entries(tmp_path):
    mask = Image.new("P", (2, 1))
    mask.putpalette([200, 0, 0, 200, 0, 0])  # two entries of one colour
    mask.putdata([0, 1])
    mask.save(tmp_path / "mask.png")
    assert as_mask("target_mask", tmp_path / "mask.png").tolist() == [[0, 1]]


def test_lab_round_trip():
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    difference = lab_to_rgb(*rgb_to_lab(rgb)).astype(int) - rgb
    assert abs(difference).max() <= 1


def test_a_colour_outside_srgb_keeps_luminance_and_hue():
    luminance = np.array([[20.0, 50.0, 90.0]])
    ab = np.array([[[90.0, 40.0], [-100.0, 60.0], [30.0, -90.0]]])
    got_luminance, got_ab = rgb_to_lab(lab_to_rgb(luminance, ab))
    np.testing.assert_allclose(got_luminance, luminance, atol=0.5)
    cosine = (got_ab * ab).sum(-1) / np.linalg.norm(got_ab, axis=-1) / np.linalg.norm(ab, axis=-1)
    assert (cosine > 0.99).all()


def test_gray_has_no_colour():
    gray = gray_rgb(np.linspace(0, 100, 11)[None])
    assert (gray[..., 0] == gray[..., 1]).all()
    assert (gray[..., 0] == gray[..., 2]).all()
