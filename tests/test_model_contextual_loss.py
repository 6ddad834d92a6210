"""The contextual loss against loops over single numbers, its gradient, and its edges."""

import math

import numpy as np
import pytest
import torch
from loss_oracles import assert_value, contextual_oracle, random
from torch.autograd import gradcheck

from spcolor_model import losses


@pytest.mark.parametrize("bandwidth", [0.1, 0.5])
def test_contextual_compares_each_feature_with_its_nearest(bandwidth):
    features, reference = random(2, 4, 3, 4), random(2, 4, 2, 3)
    actual = losses.contextual(features, reference, bandwidth)
    assert_value(actual, contextual_oracle(features.numpy(), reference.numpy(), bandwidth), 1e-11)
    assert gradcheck(
        lambda x: losses.contextual(x, reference, bandwidth), features.clone().requires_grad_()
    )


def test_contextual_pyramid_weights_three_layers():
    features = [random(1, 4, size, size) for size in (7, 4, 2)]
    reference = [random(1, 4, size, size) for size in (8, 4, 2)]

    def halved(maps):
        """Average over 2 x 2, over fewer at an odd border."""
        rows, columns = ((size + 1) // 2 for size in maps.shape[2:])
        blocks = [
            maps[0, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean(axis=(1, 2))
            for y, x in np.ndindex(rows, columns)
        ]
        return np.stack(blocks, axis=1).reshape(1, -1, rows, columns)

    fine, middle, coarse = (
        contextual_oracle(x, y, 0.1)
        for x, y in [
            (halved(features[0].numpy()), halved(reference[0].numpy())),
            *((x.numpy(), y.numpy()) for x, y in zip(features[1:], reference[1:], strict=True)),
        ]
    )
    actual = losses.contextual_pyramid(features, reference)
    assert_value(actual, 2 * fine + 4 * middle + 8 * coarse, 1e-11)


def test_contextual_of_identical_features_is_zero_with_finite_gradient():
    features = random(1, 8, 4, 4)
    x = features.clone().requires_grad_()
    loss = losses.contextual(x, features.requires_grad_())
    loss.backward()
    assert abs(loss.item()) < 1e-12
    assert x.grad.isfinite().all()
    assert features.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_contextual_of_constant_maps_knows_nothing_and_has_no_gradient(dtype):
    # Means of 9 equal numbers are not exact.
    constant = (torch.linspace(0.1, 9, 8, dtype=dtype)).view(1, 8, 1, 1).expand(1, 8, 3, 3)
    for x in (constant.clone(), random(1, 8, 3, 3).to(dtype)):
        x.requires_grad_()
        loss = losses.contextual(x, constant)
        loss.backward()
        assert_value(loss, math.log(9), 1e-6)
        assert (x.grad == 0).all()


def test_a_feature_at_the_reference_mean_has_no_gradient():
    reference = random(1, 4, 2, 2)
    features = random(1, 4, 2, 2)
    features[:, :, 0, 0] = reference.mean(dim=(2, 3))
    features.requires_grad_()
    losses.contextual(features, reference).backward()
    assert (features.grad[:, :, 0, 0] == 0).all()
    assert features.grad[:, :, 1, 1].abs().sum() > 0
    assert features.grad.isfinite().all()


def test_contextual_is_exact_under_autocast():
    features, reference = torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        actual = losses.contextual(features, reference)
    assert torch.equal(actual, losses.contextual(features, reference))
