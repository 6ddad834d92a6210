"""Losses against loops over single numbers in float64, their gradients, and their edges."""

import numpy as np
import pytest
import torch
from loss_oracles import (
    adversarial_oracle,
    assert_value,
    l1_oracle,
    masked_l1_oracle,
    perceptual_oracle,
    random,
    smoothness_oracle,
)
from skimage.color import lab2rgb
from torch.autograd import gradcheck

from spcolor_model import losses


@pytest.mark.parametrize(
    ("lab", "rgb"),
    [((50, 20, -30), (0.4964, 0.4293, 0.6668)), ((60, -40, 50), (0.3775, 0.6305, 0.1872))],
)
def test_lab_to_rgb_gives_the_published_values(lab, rgb):
    actual = losses.lab_to_rgb(torch.tensor(lab, dtype=torch.float64).view(1, 3, 1, 1))
    np.testing.assert_allclose(actual.flatten(), rgb, atol=5e-5)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")  # of colours with Z < 0
def test_lab_to_rgb_agrees_with_scikit_image_in_and_out_of_gamut():
    low, high = (torch.tensor(x).view(3, 1, 1) for x in ([0.0, -128, -128], [100.0, 127, 127]))
    lab = low + (high - low) * torch.rand(2, 3, 16, 16, dtype=torch.float64)
    actual = losses.lab_to_rgb(lab).movedim(1, -1)
    np.testing.assert_allclose(actual, lab2rgb(lab.movedim(1, -1).numpy()), atol=1e-7)
    assert (actual == 0).any()
    assert (actual == 1).any()


def test_lab_to_rgb_has_finite_gradients_that_vanish_where_clamped():
    colours = [(0, 0, 0), (0, 90, -90), (100, 0, 0), (100, 127, 127), (5, -127, 127), (50, 20, -30)]
    lab = torch.tensor(colours, dtype=torch.float64).view(-1, 3, 1, 1).requires_grad_()
    rgb = losses.lab_to_rgb(lab)
    for channel in range(3):
        (grad,) = torch.autograd.grad(rgb[:, channel].sum(), lab, retain_graph=True)
        assert grad.isfinite().all()
        clamped = (rgb[:, channel] == 0) | (rgb[:, channel] == 1)
        assert clamped.any()
        assert (grad[clamped.flatten()] == 0).all()
        assert (grad[~clamped.flatten()] != 0).any()
    inside = torch.tensor([(50.0, 20, -30), (3, 1, 1), (8.5, -2, 3)], dtype=torch.float64)
    assert gradcheck(losses.lab_to_rgb, inside.view(-1, 3, 1, 1).requires_grad_())


def test_lab_to_rgb_is_exact_under_autocast():
    lab = torch.rand(1, 3, 4, 4) * 50
    with torch.autocast("cpu", torch.bfloat16):
        actual = losses.lab_to_rgb(lab)
    assert torch.equal(actual, losses.lab_to_rgb(lab))


@pytest.mark.parametrize("is_self", [(True, False, True), (False, False, True), (True,)])
def test_l1_is_the_mean_error_of_the_self_references(is_self):
    flags = torch.tensor(is_self)
    ab, truth = random(len(flags), 2, 3, 4, scale=30), random(len(flags), 2, 3, 4, scale=30)
    actual = losses.self_reference_l1(ab, truth, flags)
    assert_value(actual, l1_oracle(ab.numpy(), truth.numpy(), is_self))
    assert gradcheck(
        lambda x: losses.self_reference_l1(x, truth, flags), ab.clone().requires_grad_()
    )


@pytest.mark.parametrize("images", [1, 3])
def test_l1_without_a_self_reference_is_zero_with_zero_gradient(images):
    ab = random(images, 2, 3, 4).requires_grad_()
    loss = losses.self_reference_l1(ab, random(images, 2, 3, 4), torch.zeros(images).bool())
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(ab.grad, torch.zeros_like(ab))


@pytest.mark.parametrize("grid", [(8, 12), (4, 6), (2, 3), (6, 9)])
def test_masked_perceptual_weights_errors_by_the_nearest_similarity(grid):
    features, truth = random(2, 3, 4, 6, scale=99), random(2, 3, 4, 6, scale=99)
    similarity = torch.rand(2, *grid, dtype=torch.float64) * 2 - 0.6  # also outside 0..1
    actual = losses.similarity_masked_perceptual(features, truth, similarity)
    assert_value(
        actual, perceptual_oracle(features.numpy(), truth.numpy(), similarity.numpy()), rtol=1e-11
    )
    assert gradcheck(
        lambda x: losses.similarity_masked_perceptual(x, truth, similarity),
        features.clone().requires_grad_(),
    )


def test_similarity_and_truth_get_no_gradient():
    tensors = [random(1, 2, 3, 3), random(1, 2, 3, 3), random(1, 6, 6)]
    features, truth, similarity = (x.requires_grad_() for x in tensors)
    losses.similarity_masked_perceptual(features, truth, similarity).backward()
    assert features.grad.abs().sum() > 0
    assert truth.grad is None
    assert similarity.grad is None


@pytest.mark.parametrize("grid", [(2, 3), (4, 5), (7, 9)])
def test_masked_l1_lets_go_where_the_match_is_sure(grid):
    ab, truth = random(2, 2, 4, 5, scale=20), random(2, 2, 4, 5, scale=20).requires_grad_()
    similarity = torch.rand(2, *grid, dtype=torch.float64, requires_grad=True)
    actual = losses.similarity_masked_l1(ab.requires_grad_(), truth, similarity)
    expected = masked_l1_oracle(*(x.detach().numpy() for x in (ab, truth, similarity)))
    assert_value(actual, expected)
    assert gradcheck(lambda x: losses.similarity_masked_l1(x, truth, similarity), ab)
    actual.backward()
    assert ab.grad.abs().sum() > 0
    assert truth.grad is None
    assert similarity.grad is None


def test_plain_perceptual_is_the_mean_squared_error():
    features, truth = random(2, 3, 4, 5, scale=99), random(2, 3, 4, 5, scale=99)
    actual = losses.perceptual(features, truth)
    assert_value(actual, perceptual_oracle(features.numpy(), truth.numpy()))
    assert float(losses.perceptual(features, features)) == 0
    assert gradcheck(lambda x: losses.perceptual(x, truth), features.clone().requires_grad_())


def test_unrelated_regions_are_punished_in_full_and_certain_ones_not():
    features, truth = random(1, 2, 2, 2), random(1, 2, 2, 2)
    unmasked = losses.similarity_masked_perceptual(features, truth, torch.zeros(1, 4, 4).double())
    assert_value(unmasked, float(losses.perceptual(features, truth)))
    certain = losses.similarity_masked_perceptual(features, truth, torch.ones(1, 4, 4).double())
    assert float(certain) == 0


def test_half_precision_features_are_squared_in_float32():
    features = torch.full((1, 2, 2, 2), 500.0, dtype=torch.float16)
    assert float(losses.perceptual(features, torch.zeros_like(features))) == 250_000


@pytest.mark.parametrize("images", [1, 5])
def test_adversarial_losses_are_relativistic_averages(images):
    real, fake = random(images, 1), random(images, 1)
    for loss, sign in (
        (losses.adversarial_discriminator, 1),
        (losses.adversarial_generator, -1),
    ):
        assert_value(loss(real, fake), adversarial_oracle(real, fake, sign))
        assert gradcheck(loss, (real.clone().requires_grad_(), fake.clone().requires_grad_()))


def test_the_batch_mean_is_the_callers():
    real, fake = random(4, 1), random(4, 1)
    actual = losses.adversarial_discriminator(real, fake, batch_mean=lambda x: x.new_tensor(0.0))
    assert_value(actual, float(((real - 1) ** 2).mean() + ((fake + 1) ** 2).mean()) / 2)


@pytest.mark.parametrize(
    ("shape", "alpha"), [((2, 4, 5), 2.0), ((1, 3, 3), 10.0), ((1, 1, 1), 2.0)]
)
def test_smoothness_compares_with_the_mean_of_like_neighbours(shape, alpha):
    images, rows, columns = shape
    ab = random(images, 2, rows, columns, scale=20)
    lab = random(images, 3, rows, columns)  # near black, so the padding takes part
    actual = losses.smoothness(ab, lab, alpha)
    assert_value(actual, smoothness_oracle(ab.numpy(), lab.numpy(), alpha))
    assert gradcheck(lambda x: losses.smoothness(x, lab, alpha), ab.clone().requires_grad_())


def test_smoothness_ignores_the_padding_of_a_bright_image_and_a_true_edge():
    lab = torch.full((1, 3, 6, 6), 50.0, dtype=torch.float64)
    lab[..., 3:] = 80
    ab = torch.where(lab[:, :2] > 60, 40.0, -40.0)
    assert float(losses.smoothness(ab, lab)) < 1e-20
    bleeding = torch.where(lab[:, :2].roll(1, dims=3) > 60, 40.0, -40.0)
    assert float(losses.smoothness(bleeding, lab)) > 100


AB, LAB, MAPS = torch.zeros(2, 2, 4, 4), torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 4, 4)
FLAGS, SCORES = torch.ones(2).bool(), torch.zeros(2, 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: losses.lab_to_rgb(AB), ValueError, r"lab: expected size 3 .*\[2, 2, 4, 4\]"),
        (lambda: losses.lab_to_rgb(LAB.int()), TypeError, "lab: expected one of float32.*int32"),
        (
            lambda: losses.self_reference_l1(AB, LAB, FLAGS),
            ValueError,
            r"truth_ab: expected shape \[2, 2, 4, 4\] \(that of ab\), got \[2, 3, 4, 4\]",
        ),
        (
            lambda: losses.self_reference_l1(AB, AB, FLAGS.float()),
            TypeError,
            r"is_self: expected torch.bool, got torch.float32",
        ),
        (
            lambda: losses.self_reference_l1(AB, AB, FLAGS[:1]),
            ValueError,
            r"is_self: expected size 2 \(that of ab\).*\[1\]",
        ),
        (
            lambda: losses.similarity_masked_l1(AB, LAB, torch.zeros(2, 4, 4)),
            ValueError,
            r"truth_ab: expected shape \[2, 2, 4, 4\]",
        ),
        (
            lambda: losses.similarity_masked_l1(AB, AB, torch.zeros(1, 4, 4)),
            ValueError,
            r"similarity: expected size 2 \(that of ab\)",
        ),
        (
            lambda: losses.perceptual(MAPS, MAPS[:1]),
            ValueError,
            r"truth_features: expected shape \[2, 5, 4, 4\]",
        ),
        (
            lambda: losses.similarity_masked_perceptual(MAPS, MAPS, torch.zeros(1, 4, 4)),
            ValueError,
            r"similarity: expected size 2 \(that of features\)",
        ),
        (
            lambda: losses.adversarial_generator(SCORES, torch.zeros(2, 2)),
            ValueError,
            r"fake: expected size 1 .*\[2, 2\]",
        ),
        (
            lambda: losses.adversarial_discriminator(torch.zeros(2), SCORES),
            ValueError,
            r"real: expected shape \[B, 1\], got \[2\]",
        ),
        (lambda: losses.smoothness(AB, LAB[..., 1:]), ValueError, "truth_lab: expected size 4"),
        (lambda: losses.smoothness(AB, AB), ValueError, "truth_lab: expected size 3"),
        (lambda: losses.smoothness(AB, LAB, 0), ValueError, "alpha: .*above 0, got 0"),
        (
            lambda: losses.contextual(MAPS, LAB),
            ValueError,
            "reference_features: expected size 5",
        ),
        (
            lambda: losses.contextual(MAPS, MAPS, -1),
            ValueError,
            "bandwidth: expected a number above 0, got -1",
        ),
        (
            lambda: losses.contextual_pyramid([MAPS] * 3, [MAPS] * 2),
            ValueError,
            "reference_features: expected 3 maps, got 2",
        ),
    ],
)
def test_errors_name_argument_expected_and_actual(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()
