"""State dicts: keys and shapes of the published networks, and conversions of the earlier work's."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spcolor_model.networks import VGG19, ColorVidNet, Discriminator, WarpNet
from spcolor_model.networks.conversion import (
    color_vid_net_from_earlier_work,
    discriminator_from_earlier_work,
    warp_net_from_earlier_work,
)

Shapes = dict[str, tuple[int, ...]]


def with_biases(weights: Shapes) -> Shapes:
    return {
        f"{name}.{kind}": shape
        for name, weight in weights.items()
        for kind, shape in (("weight", weight), ("bias", weight[:1]))
    }


def spectral(weights: Shapes) -> Shapes:
    """Four keys a layer; u has one number a row of the weight matrix, v one a column."""
    return {
        f"{name}.module.{kind}": shape
        for name, (o, i, *k) in weights.items()
        for kind, shape in {
            "bias": (o,),
            "weight_u": (o,),
            "weight_v": (i * k[0] * k[1],),
            "weight_bar": (o, i, *k),
        }.items()
    }


WARP_NET = with_biases(
    {
        "layer2_1.1": (128, 128, 3, 3),
        "layer2_1.5": (64, 128, 3, 3),
        "layer3_1.1": (128, 256, 3, 3),
        "layer3_1.5": (64, 128, 3, 3),
        "layer4_1.1": (256, 512, 3, 3),
        "layer4_1.5": (64, 256, 3, 3),
        "layer5_1.1": (256, 512, 3, 3),
        "layer5_1.6": (64, 256, 3, 3),
        "layer.0.conv1": (256, 256, 3, 3),
        "layer.0.conv2": (256, 256, 3, 3),
        "layer.1.conv1": (256, 256, 3, 3),
        "layer.1.conv2": (256, 256, 3, 3),
        "layer.2.conv1": (256, 256, 3, 3),
        "layer.2.conv2": (256, 256, 3, 3),
        "theta_class": (256, 256),
        "phi_class": (256, 256),
    }
) | {
    "layer2_1.3.weight": (1,),
    "layer2_1.7.weight": (1,),
    "layer3_1.3.weight": (1,),
    "layer3_1.7.weight": (1,),
    "layer4_1.3.weight": (1,),
    "layer4_1.7.weight": (1,),
    "layer5_1.3.weight": (1,),
    "layer5_1.8.weight": (1,),
    "layer.0.prelu.weight": (1,),
    "layer.1.prelu.weight": (1,),
    "layer.2.prelu.weight": (1,),
}

COLOR_VID_NET = with_biases(
    {
        "conv1_1_new.0": (32, 4, 3, 3),
        "conv1_1_new.2": (64, 32, 3, 3),
        "conv1_2": (64, 64, 3, 3),
        "conv2_1": (128, 64, 3, 3),
        "conv2_2": (128, 128, 3, 3),
        "conv3_1": (256, 128, 3, 3),
        "conv3_2": (256, 256, 3, 3),
        "conv3_3": (256, 256, 3, 3),
        "conv4_1": (512, 256, 3, 3),
        "conv4_2": (512, 512, 3, 3),
        "conv4_3": (512, 512, 3, 3),
        "conv5_1": (512, 512, 3, 3),
        "conv5_2": (512, 512, 3, 3),
        "conv5_3": (512, 512, 3, 3),
        "conv6_1": (512, 512, 3, 3),
        "conv6_2": (512, 512, 3, 3),
        "conv6_3": (512, 512, 3, 3),
        "conv7_1": (512, 512, 3, 3),
        "conv7_2": (512, 512, 3, 3),
        "conv7_3": (512, 512, 3, 3),
        "conv8_1.1": (256, 512, 3, 3),
        "conv3_3_short": (256, 256, 3, 3),
        "conv8_2": (256, 256, 3, 3),
        "conv8_3": (256, 256, 3, 3),
        "conv9_1.1": (128, 256, 3, 3),
        "conv2_2_short": (128, 128, 3, 3),
        "conv9_2": (128, 128, 3, 3),
        "conv10_1.1": (128, 128, 3, 3),
        "conv1_2_short": (128, 64, 3, 3),
        "conv10_2": (128, 128, 3, 3),
        "conv10_ab": (2, 128, 1, 1),
    }
) | {
    "conv1_2norm_ss.weight": (64, 1, 1, 1),
    "conv2_2norm_ss.weight": (128, 1, 1, 1),
    "conv3_3norm_ss.weight": (256, 1, 1, 1),
}

DISCRIMINATOR = spectral(
    {
        "layer1_new.0": (64, 3, 4, 4),
        "layer2.0": (64, 64, 4, 4),
        "attention.query_conv": (64, 64, 1, 1),
        "attention.key_conv": (64, 64, 1, 1),
        "attention.value_conv": (64, 64, 1, 1),
        "layer3.0": (128, 64, 4, 4),
        "layer4.0": (256, 128, 4, 4),
        "layer5.0": (512, 256, 4, 4),
        "layer6.0": (1024, 512, 4, 4),
        "last_new": (1, 1024, 3, 3),
    }
) | {"attention.gamma": (1,)}

VGG = with_biases(
    {
        "conv1_1": (64, 3, 3, 3),
        "conv1_2": (64, 64, 3, 3),
        "conv2_1": (128, 64, 3, 3),
        "conv2_2": (128, 128, 3, 3),
        "conv3_1": (256, 128, 3, 3),
        "conv3_2": (256, 256, 3, 3),
        "conv3_3": (256, 256, 3, 3),
        "conv3_4": (256, 256, 3, 3),
        "conv4_1": (512, 256, 3, 3),
        "conv4_2": (512, 512, 3, 3),
        "conv4_3": (512, 512, 3, 3),
        "conv4_4": (512, 512, 3, 3),
        "conv5_1": (512, 512, 3, 3),
        "conv5_2": (512, 512, 3, 3),
        "conv5_3": (512, 512, 3, 3),
        "conv5_4": (512, 512, 3, 3),
    }
)


@pytest.mark.parametrize(
    ("make", "expected", "keys", "numbers", "trained"),
    [
        (WarpNet, WARP_NET, 43, 6_917_131, 6_917_131),
        (ColorVidNet, COLOR_VID_NET, 65, 32_801_506, 32_801_506),
        (Discriminator, DISCRIMINATOR, 41, 11_261_555, 11_233_474),
        (VGG19, VGG, 32, 20_024_384, 0),
    ],
)
def test_state_dict_is_the_published_one(make, expected, keys, numbers, trained):
    with torch.device("meta"):
        module = make()
    state = module.state_dict()
    assert {name: tuple(x.shape) for name, x in state.items()} == expected
    assert len(state) == keys
    assert sum(x.numel() for x in state.values()) == numbers
    assert sum(x.numel() for x in module.parameters() if x.requires_grad) == trained


def test_narrow_discriminator_drops_the_last_layers():
    names = {name.split(".")[0] for name in Discriminator(4, 64).state_dict()}
    assert names == {"layer1_new", "layer2", "attention", "layer3", "layer4", "last_new"}


# The earlier work's checkpoints, synthetic and narrow.


def renamed(state: dict[str, Tensor], **names: str) -> dict[str, Tensor]:
    """Replace the first part of each key."""
    split = {key: key.partition(".") for key in state}
    return {names.get(head, head) + dot + rest: state[k] for k, (head, dot, rest) in split.items()}


def test_warp_net_of_the_earlier_work_projects_alike():
    net = WarpNet((4, 6, 8, 10), 16)
    saved = renamed(net.state_dict(), theta_class="theta", phi_class="phi")
    for name in ("theta", "phi"):
        saved[f"{name}.weight"] = torch.randn(16, 16, 1, 1)
    found = warp_net_from_earlier_work(saved)
    assert found.fresh == found.dropped == ()
    net.load_state_dict(found.state)
    x = torch.randn(2, 16, 3, 5)
    for name, linear in (("theta", net.theta_class), ("phi", net.phi_class)):
        expected = F.conv2d(x, saved[f"{name}.weight"], saved[f"{name}.bias"])
        actual = linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        torch.testing.assert_close(actual, expected)
    assert "theta.weight" in saved  # the argument is left as it was


def test_color_vid_net_of_the_earlier_work_reads_the_same_channels():
    net = ColorVidNet(width=4)
    saved = renamed(net.state_dict(), conv1_1_new="conv1_1")
    saved["conv1_1.0.weight"] = torch.randn(2, 7, 3, 3)
    found = color_vid_net_from_earlier_work(saved)
    assert found.fresh == ()
    assert found.dropped == ("conv1_1.0.weight[:, 4:7]",)
    net.load_state_dict(found.state)
    a, b, s, luminance = torch.randn(4, 1, 1, 8, 8)
    nothing = torch.zeros_like(a)
    before = torch.cat([luminance, a, b, s, nothing, nothing, nothing], 1)
    expected = F.conv2d(before, saved["conv1_1.0.weight"], saved["conv1_1.0.bias"], padding=1)
    torch.testing.assert_close(net.conv1_1_new[0](torch.cat([a, b, s, luminance], 1)), expected)


def test_discriminator_of_the_earlier_work_keeps_its_middle():
    net, other = Discriminator(4), Discriminator(4)
    saved = renamed(other.state_dict(), layer1_new="layer1", last_new="last")
    saved["layer1.0.module.weight_bar"] = torch.randn(4, 6, 4, 4)
    saved["layer1.0.module.weight_v"] = torch.randn(96)
    saved["last.module.weight_bar"] = torch.randn(1, 64, 3, 6)
    saved["last.module.weight_v"] = torch.randn(64 * 18)
    found = discriminator_from_earlier_work(saved)
    assert len(found.dropped) == len(found.fresh) == 8
    assert set(found.dropped) == {key for key in saved if key.startswith(("layer1.", "last."))}
    before = {key: x.clone() for key, x in net.state_dict().items()}
    assert set(found.fresh) == set(before) - set(found.state)
    net.load_state_dict({**before, **found.state})
    for key, x in net.state_dict().items():
        assert torch.equal(x, before[key] if key in found.fresh else saved[key])


@pytest.mark.parametrize(
    ("convert", "state", "message"),
    [
        (warp_net_from_earlier_work, {"a": torch.zeros(1)}, "expected .* 'theta.weight', got a"),
        (
            warp_net_from_earlier_work,
            {"theta.weight": torch.zeros(4, 4)},
            r"state\['theta.weight'\]: expected shape \[C, C, 1, 1\], got \[4, 4\]",
        ),
        (
            color_vid_net_from_earlier_work,
            {"conv1_1.0.weight": torch.zeros(32, 4, 3, 3)},
            r"expected shape \[O, 7, 3, 3\], got \[32, 4, 3, 3\]",
        ),
        (
            discriminator_from_earlier_work,
            {},
            "expected .* 'layer1.0.module.weight_bar', got nothi",
        ),
    ],
)
def test_what_is_not_of_the_earlier_work_is_refused(convert, state, message):
    with pytest.raises(ValueError, match=message):
        convert(state)
