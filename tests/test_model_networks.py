"""WarpNet, ColorVidNet and the discriminator: parity in float64, and what each refuses."""

import network_oracles as oracles
import numpy as np
import pytest
import torch
from network_parity import (
    TOLERANCE,
    copied_state,
    errors,
    float64,  # noqa: F401
    parameters,
    randomised,
    twin_leaves,
)
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from spcolor_model.networks import ColorVidNet, Discriminator, WarpNet
from spcolor_model.networks.discriminator import SelfAttention, SpectralNormConv2d

# WarpNet

CHANNELS = (4, 6, 8, 10)
SEGMENTS = 5


def warp_case(target_size=(32, 64), reference_size=(48, 32), batch=2):
    """Leaves twice over, and labels with a class that only one side has and some of none."""
    features = [
        [
            twin_leaves(batch, c, h // s, w // s)
            for c, s in zip(CHANNELS, (2, 4, 8, 16), strict=True)
        ]
        for h, w in (target_size, reference_size)
    ]
    ab = twin_leaves(batch, 2, *reference_size, scale=40)
    target_labels = torch.randint(-1, SEGMENTS - 1, (batch, 4, 8))
    reference_labels = torch.randint(1, SEGMENTS, (batch, 7, 3))  # a grid that divides nothing
    confidences = [twin_leaves(batch, 4, 8), twin_leaves(batch, 7, 3)]
    return features, ab, (target_labels, reference_labels), confidences


def sides(pairs, side):
    return [pair[side] for pair in pairs]


@pytest.mark.usefixtures("float64")
def test_warp_net_equals_the_oracle():
    net = randomised(WarpNet(CHANNELS, channels=16))
    features, ab, labels, confidences = warp_case()
    state = copied_state(net)
    actual = net(
        *(sides(maps, 0) for maps in features),
        ab[0],
        *labels,
        *sides(confidences, 0),
        num_segments=SEGMENTS,
    )
    expected = oracles.warp_net(
        state,
        *(sides(maps, 1) for maps in features),
        ab[1],
        labels,
        sides(confidences, 1),
        SEGMENTS,
    )
    # Some targets are unrelated, some are not.
    unrelated = (actual == 0).all(1)
    assert unrelated.any()
    assert not unrelated.all()
    leaves = [*features[0], *features[1], ab, *confidences, *parameters(net, state)]
    assert max(errors(actual, expected, *leaves)) < TOLERANCE


@pytest.mark.usefixtures("float64")
def test_warp_net_options_reach_the_matching():
    net = WarpNet(CHANNELS, channels=16)
    features, ab, labels, confidences = warp_case()

    def out(**options):
        return net(
            *(sides(maps, 0) for maps in features),
            ab[0],
            *labels,
            *sides(confidences, 0),
            num_segments=SEGMENTS,
            **options,
        )

    usual = out()
    assert torch.equal(usual, out(temperature=0.01, center=True, precision="ieee"))
    torch.testing.assert_close(out(backend="reference"), usual)
    for options in ({"temperature": 1.0}, {"center": False}):
        assert (out(**options) - usual).abs().max() > 1e-3
    for name, option in (("precision", "tf32"), ("backend", "unknown")):
        with pytest.raises(ValueError, match=name):
            out(**{name: option})


def test_warp_net_without_shared_classes_has_zero_gradients():
    """Every parameter gets a gradient, or distributed training would wait for it."""
    net = WarpNet(CHANNELS, channels=16)
    maps = [
        torch.randn(1, c, 64 // s, 64 // s) for c, s in zip(CHANNELS, (2, 4, 8, 16), strict=True)
    ]
    zeros, ones = torch.zeros(1, 8, 8).long(), torch.ones(1, 8, 8).long()
    out = net(
        maps, maps, torch.randn(1, 2, 64, 64), zeros, ones, ones / 2, ones / 2, num_segments=2
    )
    assert out.eq(0).all()
    out.sum().backward()
    assert all(parameter.grad.eq(0).all() for parameter in net.parameters())


# ColorVidNet


@pytest.mark.usefixtures("float64")
def test_color_vid_net_equals_the_oracle():
    net = randomised(ColorVidNet(width=4))
    state = copied_state(net)
    x, same = twin_leaves(2, 4, 16, 40)
    actual, expected = net(x), oracles.color_vid_net(state, same)
    assert 1 < expected.abs().median() < 100  # tanh is neither tiny nor saturated
    assert max(errors(actual, expected, (x, same), *parameters(net, state))) < TOLERANCE


def test_color_vid_net_starts_with_plain_subsampling():
    x = torch.randn(1, 64, 6, 6)
    assert torch.equal(ColorVidNet().conv1_2norm_ss(x), x[:, :, ::2, ::2])


# Discriminator


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("image_size", "layers"), [(16, 2), (64, 4), (100, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_discriminator_equals_the_oracle(image_size, layers, training):
    net = randomised(Discriminator(width=4, image_size=image_size)).train(training)
    state = copied_state(net)
    x, same = twin_leaves(2, 3, image_size, image_size + 8, scale=30)
    # Two forwards before one backward, as in the discriminator's step.
    actual = torch.cat([net(x), net(x.flip(0) + 1)])
    expected = torch.cat(
        [
            oracles.discriminator(state, y, layers, iterate=training)
            for y in (same, same.flip(0) + 1)
        ]
    )
    assert actual.shape == (4, 1)
    assert max(errors(actual, expected, (x, same), *parameters(net, state))) < TOLERANCE
    for name, buffer in net.named_buffers():
        torch.testing.assert_close(buffer, state[name], rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_spectral_norm_equals_that_of_torch_in_evaluation():
    ours = randomised(SpectralNormConv2d(3, 5, 4, stride=2, padding=1)).eval()
    theirs = nn.Conv2d(3, 5, 4, stride=2, padding=1)
    theirs = nn.utils.parametrizations.spectral_norm(theirs).eval()
    held = ours.module
    original = theirs.parametrizations.weight
    with torch.no_grad():
        original.original.copy_(held.weight_bar)
        theirs.bias.copy_(held.bias)
    original[0]._u, original[0]._v = held.weight_u, held.weight_v
    x, same = twin_leaves(2, 3, 8, 8)
    leaves = ((x, same), (held.weight_bar, original.original), (held.bias, theirs.bias))
    assert max(errors(ours(x), theirs(same), *leaves)) < TOLERANCE


@pytest.mark.usefixtures("float64")
def test_power_iteration_finds_the_largest_singular_value():
    conv = SpectralNormConv2d(3, 5, 2)
    x = torch.randn(1, 3, 4, 4)
    for _ in range(200):
        conv(x)
    weight = conv.module.weight_bar.detach()
    largest = np.linalg.svd(weight.flatten(1).numpy(), compute_uv=False)[0]
    expected = torch.nn.functional.conv2d(x, weight / largest, conv.module.bias)
    torch.testing.assert_close(conv(x), expected)


def test_fresh_discriminator_is_nearly_normalised_and_repeatable_in_evaluation():
    conv = SpectralNormConv2d(8, 16, 4).eval()
    weight, u, v = (getattr(conv.module, f"weight_{x}") for x in ("bar", "u", "v"))
    sigma = u @ (weight.flatten(1) @ v)
    torch.testing.assert_close(
        sigma, torch.linalg.matrix_norm(weight.flatten(1), 2), rtol=0.1, atol=0
    )
    net, lab = Discriminator(4, 32).eval(), torch.randn(1, 3, 32, 32)
    assert torch.equal(net(lab), net(lab))
    assert not torch.equal(net.train()(lab), net(lab))


def test_self_attention_keeps_no_matrix():
    """Without the fallback that materialises the energies."""
    attention = SelfAttention(8)
    x = torch.randn(2, 8, 6, 6, requires_grad=True)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        attention(x).sum().backward()
    assert torch.equal(attention(x), x)  # gamma starts at 0


# Bad input


def maps_of(size, channels=CHANNELS):
    return [
        torch.zeros(1, c, size // s, size // s)
        for c, s in zip(channels, (2, 4, 8, 16), strict=True)
    ]


def warp(**changes):
    """WarpNet on a correct 32 x 32 case with some arguments changed."""
    labels, confidence = torch.zeros(1, 4, 4).long(), torch.zeros(1, 4, 4)
    arguments = {
        "target_features": maps_of(32),
        "reference_features": maps_of(32),
        "reference_ab": torch.zeros(1, 2, 32, 32),
        "target_labels": labels,
        "reference_labels": labels,
        "target_confidence": confidence,
        "reference_confidence": confidence,
        "num_segments": 1,
    }
    return WarpNet(CHANNELS, 8)(**{**arguments, **changes})


def test_warp_net_accepts_the_smallest_image():
    assert warp().shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: WarpNet((1, 2, 3)), ValueError, r"feature_channels: expected 4, got \[1, 2, 3\]"),
        (
            lambda: WarpNet(channels=6),
            ValueError,
            "channels: expected a positive multiple of 4, go",
        ),
        (lambda: warp(target_features=maps_of(32)[:3]), ValueError, "target_features: .* got 3"),
        (
            lambda: warp(reference_features=maps_of(40)),
            ValueError,
            r"reference_features\[0\]: expected shape \[1, 4, 16, 16\] .* 16, got \[1, 4, 20, 20\]",
        ),
        (
            lambda: warp(target_features=maps_of(32, (4, 6, 8, 9))),
            ValueError,
            r"target_features\[3\]: expected shape \[1, 10, 2, 2\]",
        ),
        (
            lambda: warp(target_features=maps_of(16)),
            ValueError,
            r"target_features\[3\]: expected at least 2 rows",
        ),
        (
            lambda: warp(reference_ab=torch.zeros(1, 2, 8, 8)),
            ValueError,
            r"reference_ab: expected shape \[1, 2, 32, 32\] .* got \[1, 2, 8, 8\]",
        ),
        (
            lambda: warp(target_labels=torch.zeros(2, 4, 4).long()),
            ValueError,
            "target_labels: expected size 1",
        ),
        (
            lambda: warp(reference_labels=torch.zeros(1, 4, 4)),
            TypeError,
            "reference_labels: expected an integer dtype",
        ),
        (
            lambda: warp(target_confidence=torch.zeros(1, 4, 4).long()),
            TypeError,
            "target_confidence: expected one of float",
        ),
        (
            lambda: warp(reference_features=[x.expand(2, -1, -1, -1) for x in maps_of(32)]),
            ValueError,
            r"reference_ab: expected shape|reference_features\[0\]: expected size 1",
        ),
        (lambda: ColorVidNet(0), ValueError, "in_channels: expected at least 1, got 0"),
        (lambda: ColorVidNet(width=3), ValueError, "width: expected a positive even number, got 3"),
        (
            lambda: ColorVidNet(width=2)(torch.zeros(1, 3, 16, 16)),
            ValueError,
            "x: expected size 4",
        ),
        (
            lambda: ColorVidNet(width=2)(torch.zeros(1, 4, 16, 20)),
            ValueError,
            r"x: expected H and W multiples of 8, at least 16, got shape \[1, 4, 16, 20\]",
        ),
        (lambda: Discriminator(0), ValueError, "width: expected at least 1, got 0"),
        (lambda: Discriminator(4, 15), ValueError, "image_size: expected at least 16, got 15"),
        (
            lambda: Discriminator(4, 32)(torch.zeros(1, 3, 23, 32)),
            ValueError,
            "lab: expected H and W of at least 24 for 3 layers",
        ),
        (lambda: Discriminator(4, 32)(torch.zeros(1, 4, 32, 32)), ValueError, "lab: expected size"),
    ],
)
def test_errors_name_argument_expected_and_actual(make, error, message):
    with pytest.raises(error, match=message):
        make()
