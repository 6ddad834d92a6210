"""VGG-19 and its stand-in: parity, gradients, one interface, and what they refuse."""

import numpy as np
import pytest
import torch
import torchvision
from network_parity import TOLERANCE, errors, float64, relative_error, twin_leaves  # noqa: F401
from torch import Tensor

from spcolor_model.features import WorkingImage, network
from spcolor_model.networks import VGG19, EfficientNetLite0
from spcolor_model.networks.vgg import torchvision_state_dict

# Index in torchvision's vgg19().features of each convolution, and of the five ReLUs.
TORCHVISION_CONVS = {
    **{"conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7},
    **{"conv3_1": 10, "conv3_2": 12, "conv3_3": 14, "conv3_4": 16},
    **{"conv4_1": 19, "conv4_2": 21, "conv4_3": 23, "conv4_4": 25},
    **{"conv5_1": 28, "conv5_2": 30, "conv5_3": 32, "conv5_4": 34},
}
TORCHVISION_RELUS = (3, 8, 13, 22, 31)
BACKBONES = [VGG19, EfficientNetLite0]


def caffe(rgb: Tensor) -> Tensor:
    r, g, b = rgb.unbind(1)
    return 255 * torch.stack([b - 0.40760392, g - 0.45795686, r - 0.48501961], 1)


def imagenet(rgb: Tensor) -> Tensor:
    return torchvision.transforms.functional.normalize(
        rgb, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("preprocessing", "prepare"), [("caffe", caffe), ("torchvision", imagenet)]
)
def test_vgg_equals_torchvision(preprocessing, prepare):
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["E"])
    vgg = VGG19(preprocessing)
    if preprocessing == "caffe":
        for name, index in TORCHVISION_CONVS.items():
            vgg.get_submodule(name).load_state_dict(layers[index].state_dict())
    else:
        state = {f"features.{key}": x for key, x in layers.state_dict().items()}
        state["classifier.0.bias"] = torch.zeros(4096)
        vgg.load_state_dict(torchvision_state_dict(state))
    rgb, same = twin_leaves(2, 3, 32, 48)
    expected, x = [], prepare(same)
    for index in range(TORCHVISION_RELUS[-1] + 1):
        # Its ReLUs work in place: on a copy, so that every map stays.
        x = layers[index](x.clone())
        if index in TORCHVISION_RELUS:
            expected.append(x)
    actual = vgg(rgb)
    assert len(actual) == 5
    for one, other in zip(actual[:-1], expected[:-1], strict=True):
        assert relative_error(one, other) < TOLERANCE
    assert max(errors(actual[-1], expected[-1], (rgb, same))) < TOLERANCE


def test_vgg_leaves_out_what_nothing_reads():
    vgg = VGG19()
    for conv in (vgg.conv5_3, vgg.conv5_4):
        conv.weight.fill_(torch.nan)
    assert all(x.isfinite().all() for x in vgg(torch.rand(1, 3, 32, 32)))


def test_efficientnet_equals_the_features_of_a_photo():
    image = WorkingImage(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))
    maps = EfficientNetLite0()(image.pixels[None] / 255)
    for found, wanted in zip(maps, image.pyramid, strict=True):
        torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-4)


def test_efficientnet_gradient_equals_a_difference():
    backbone = EfficientNetLite0().double()
    rgb = torch.rand(1, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    direction = torch.randn_like(rgb)
    (grad,) = torch.autograd.grad(backbone(rgb)[-1].square().sum(), rgb)
    step = 1e-6
    with torch.no_grad():
        above, below = (backbone(rgb + s * direction)[-1].square().sum() for s in (step, -step))
    torch.testing.assert_close(
        (grad * direction).sum(), (above - below) / (2 * step), rtol=1e-5, atol=0
    )
    assert next(network().parameters()).dtype == torch.float32  # the shared network is untouched


@pytest.mark.parametrize("make", BACKBONES)
def test_backbones_are_one_interface(make):
    backbone = make().train()
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    rgb = torch.rand(2, 3, 64, 96, requires_grad=True)
    maps = backbone(rgb)
    assert len(maps) == 5
    four = backbone.correspondence_maps(maps)
    sizes = [
        (2, c, 64 // s, 96 // s)
        for c, s in zip(backbone.correspondence_channels, (2, 4, 8, 16), strict=True)
    ]
    assert [tuple(x.shape) for x in four] == sizes
    (grad,) = torch.autograd.grad(maps[-1].sum(), rgb)
    assert grad.abs().max() > 0
    assert isinstance(backbone.name, str)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: VGG19("bgr"), ValueError, "preprocessing: expected one of 'caffe', .* got 'bgr'"),
        (
            lambda: VGG19()(torch.zeros(3, 32, 32)),
            ValueError,
            r"rgb: expected shape \[B, 3, H, W\]",
        ),
        (lambda: VGG19()(torch.zeros(1, 1, 32, 32)), ValueError, "rgb: expected size 3"),
        (lambda: VGG19()(torch.zeros(1, 3, 8, 32)), ValueError, "rgb: expected at least 32 rows"),
        (
            lambda: VGG19()(torch.zeros(1, 3, 32, 32).byte()),
            TypeError,
            "rgb: expected one of float",
        ),
        (lambda: torchvision_state_dict({}), ValueError, "state: .* 16 convolutions .* got 0"),
    ],
)
def test_errors_name_argument_expected_and_actual(make, error, message):
    with pytest.raises(error, match=message):
        make()
