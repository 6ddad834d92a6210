"""The generator's total: its terms, weights and switches."""

import math

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

from spcolor_model import losses
from spcolor_model.losses import GeneratorLoss, LossWeights


def generator_inputs(images: int = 3) -> dict:
    """One of everything, in float64."""

    def maps():
        return [random(images, 4, size, size) for size in (16, 8, 4, 2)]

    return {
        "ab": random(images, 2, 8, 8, scale=20),
        "truth_lab": random(images, 3, 8, 8, scale=20),
        "is_self": torch.arange(images) < 2,
        "features": maps(),
        "truth_features": maps(),
        "reference_features": maps(),
        "warped_ab": random(images, 2, 4, 4, scale=20),
        "similarity": torch.rand(images, 4, 4, dtype=torch.float64),
        "real": random(images, 1),
        "fake": random(images, 1),
    }


def test_the_paper_and_the_published_weights():
    assert LossWeights() == LossWeights(2.0, 0.01, 0.4, 2.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("l1_published_scale", [True, False])
def test_the_total_is_the_weighted_sum_of_every_term(masked, l1_published_scale):
    x = generator_inputs()
    weights = LossWeights(2.0, 0.01, 0.4, 3.0, 0.2, 0.7, 0.6)
    loss = GeneratorLoss(weights, masked=masked, l1_published_scale=l1_published_scale)
    total, terms = loss(**x)
    ab, lab = x["ab"].numpy(), x["truth_lab"].numpy()
    scale = 1 / 3 if l1_published_scale else 1
    similarity = x["similarity"].numpy() if masked else None
    last = (x["features"][-1].numpy(), x["truth_features"][-1].numpy())
    expected = {
        "l1": l1_oracle(ab, lab[:, 1:], x["is_self"]) * scale,
        "perceptual": perceptual_oracle(*last, similarity),
        "adversarial": adversarial_oracle(x["real"], x["fake"], -1),
        "smoothness": smoothness_oracle(ab, lab, 2.0),
        # The truth averaged over 2 x 2 pixels, the grid of the warped colours.
        "warp": l1_oracle(
            x["warped_ab"].numpy(),
            lab[:, 1:].reshape(3, 2, 4, 2, 4, 2).mean(axis=(3, 5)),
            x["is_self"],
        ),
        "masked_l1": masked_l1_oracle(ab, lab[:, 1:], x["similarity"].numpy()),
        "contextual": float(
            losses.contextual_pyramid(x["features"][1:], x["reference_features"][1:])
        ),
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert_value(terms[name], value)
    by_hand = {
        "l1": 2.0,
        "perceptual": 0.01,
        "adversarial": 0.4,
        "smoothness": 3.0,
        "contextual": 0.2,
        "warp": 0.7,
        "masked_l1": 0.6,
    }
    assert_value(total, sum(weight * expected[name] for name, weight in by_hand.items()))


def test_the_total_has_the_gradient_and_the_terms_have_none():
    x = generator_inputs()
    for name in ("ab", "fake", "similarity", "truth_lab"):
        x[name].requires_grad_()
    x["features"][-1].requires_grad_()
    total, terms = GeneratorLoss()(**x)
    total.backward()
    assert all(not term.requires_grad for term in terms.values())
    for tensor in (x["ab"], x["fake"], x["features"][-1]):
        assert tensor.grad.abs().sum() > 0
    assert x["similarity"].grad is None
    assert x["truth_lab"].grad is None


def test_a_term_of_weight_0_reads_nothing():
    x = generator_inputs()
    needs = {
        "l1": ("is_self",),
        "perceptual": ("features", "truth_features", "similarity"),
        "adversarial": ("real", "fake"),
        "smoothness": (),
        "warp": ("is_self", "warped_ab"),
        "masked_l1": ("similarity",),
    }
    zero = dict.fromkeys(needs, 0.0)
    for name, arguments in needs.items():
        given = {key: x[key] for key in ("ab", "truth_lab", *arguments)}
        _, terms = GeneratorLoss(LossWeights(**(zero | {name: 1.0})))(**given)
        assert list(terms) == [name]
        for missing in arguments:
            partial = {key: value for key, value in given.items() if key != missing}
            with pytest.raises((TypeError, ValueError), match=f"^{missing}: expected"):
                GeneratorLoss(LossWeights(**(zero | {name: 1.0})))(**partial)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: LossWeights(l1=-1), ValueError, "l1: expected a finite weight .*got -1"),
        (lambda: LossWeights(l1=math.nan), ValueError, "l1: expected a finite weight .*got nan"),
        (lambda: LossWeights(0, 0, 0, 0, 0), ValueError, "weights: expected at least one above 0"),
        (
            lambda: GeneratorLoss(LossWeights(0, 0, 0, 0, 1))(
                ab=torch.zeros(1, 2, 4, 4),
                truth_lab=torch.zeros(1, 3, 4, 4),
                features=[torch.zeros(1, 5, 4, 4)] * 3,
            ),
            ValueError,
            "reference_features: expected at least 3 maps, got 0",
        ),
    ],
)
def test_errors_name_argument_expected_and_actual(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()
