"""What an old photograph keeps of a photo."""

import numpy as np
import pytest
import torch
from model_photos import chelsea, coffee
from PIL import Image

from spcolor_model.color import rgb_to_lab
from spcolor_model.data import ColorizationPairs, Pair
from spcolor_model.data.old_photos import _film, old_luminance


def draws(rgb: np.ndarray, count: int) -> np.ndarray:
    return np.stack([old_luminance(rgb, torch.Generator().manual_seed(i)) for i in range(count)])


def test_it_is_the_photo_seen_worse():
    photo = coffee()
    luminance = rgb_to_lab(photo)[0]
    seen = draws(photo, 40)
    assert seen.dtype == np.float32
    assert seen.min() >= 0
    assert seen.max() <= 100
    alike = [np.corrcoef(x.ravel(), luminance.ravel())[0, 1] for x in seen]
    assert min(alike) > 0.6
    assert np.mean([abs(x - luminance).mean() for x in seen]) > 2
    assert np.ptp(seen, axis=(1, 2)).min() < 0.8 * np.ptp(luminance)  # some are faded


def test_the_same_seed_gives_the_same_print_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    np.testing.assert_array_equal(draws(chelsea(), 2), draws(chelsea(), 2))
    assert torch.equal(torch.get_rng_state(), before)


def test_film_that_is_blind_to_red_makes_red_dark():
    class Blind:
        random = staticmethod(lambda: 1.0)

    class Seeing:
        random = staticmethod(lambda: 0.0)

    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    assert _film(red, Blind()).max() < 20
    assert _film(red, Seeing()).mean() == pytest.approx(53, abs=1.5)


def test_samples_show_old_prints_and_keep_the_truth(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(coffee()).save(path)
    always, never = (
        ColorizationPairs([Pair(path)] * 3, 64, old_photo_probability=q, in_memory=memory)
        for q, memory in ((1.0, True), (0.0, False))
    )
    for index in range(3):
        assert not torch.equal(always[0, index].seen_luminance, always[0, index].luminance)
        torch.testing.assert_close(always[0, index].luminance, never[0, index].luminance)
        assert torch.equal(never[0, index].seen_luminance, never[0, index].luminance)
    with pytest.raises(ValueError, match=r"old_photo_probability: expected a number in 0\.\.1"):
        ColorizationPairs([Pair(path)], 64, old_photo_probability=2)
