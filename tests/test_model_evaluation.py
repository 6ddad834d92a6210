"""Evaluation: every measure and input of a network against a formula of its own."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from model_photos import chelsea, coffee, one_thread  # noqa: F401
from PIL import Image

pytest.importorskip("torchmetrics")

import scipy.linalg
import skimage.metrics
from skimage.color import rgb2lab
from torchmetrics.image.kid import KernelInceptionDistance
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from torchvision import models

from spcolor_model.data import crop_resize
from spcolor_model.evaluation import (
    PUBLISHED,
    STANDARD,
    distribution,
    find_networks,
)
from spcolor_model.evaluation.distribution import frechet_distance, kernel_distance
from spcolor_model.evaluation.measures import ab_error, colorfulness, psnr, ssim, unit_range
from spcolor_model.evaluation.networks import STAND_IN, inception_features
from spcolor_model.features import network

RANDOM = np.random.default_rng(0)
ONE, OTHER = coffee((70, 50)), chelsea((70, 50))
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def networks():
    return find_networks(STAND_IN, "cpu")


def features(count, channels=6, shift=0.0):
    return torch.from_numpy(RANDOM.normal(shift, 1, (count, channels)))


# Distances of sets


def test_frechet_distance_is_the_formula():
    one, other = features(80), features(60, shift=0.5) ** 2
    covariances = [np.cov(x.numpy(), rowvar=False) for x in (one, other)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    means = (one.mean(0) - other.mean(0)).numpy()
    expected = means @ means + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)


def test_a_set_has_no_distance_to_itself():
    one = features(80)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert kernel_distance(one[:2], one[:2]).mean < 0  # unbiased: pairs of equals are in it


@pytest.mark.parametrize(("count", "other"), [(5, 60), (60, 5)])
def test_fewer_pictures_than_channels_have_no_frechet_distance(count, other):
    assert frechet_distance(features(count), features(other)) is None
    assert frechet_distance(features(6), features(6)) is not None


def kernel_formula(one, other):
    """The unbiased estimate over all pictures."""

    def kernel(x, y):
        return (x.numpy() @ y.numpy().T / x.shape[1] + 1) ** 3

    def within(x):
        k = kernel(x, x)
        return (k.sum() - np.trace(k)) / (len(x) * (len(x) - 1))

    return within(one) + within(other) - 2 * kernel(one, other).mean()


def test_kernel_distance_is_the_formula():
    one, other = features(2), features(2, shift=0.5)
    # Each subset is the set.
    found = kernel_distance(one, other)
    assert found.mean == pytest.approx(kernel_formula(one, other), rel=1e-9)
    assert found.std == pytest.approx(0, abs=1e-9)
    one, other = features(80), features(60, shift=0.5)
    found = kernel_distance(one, other)
    error = 4 * found.std / math.sqrt(100)
    assert found.std > 0
    assert found.mean == pytest.approx(kernel_formula(one, other), abs=error)


def test_kernel_distance_is_the_same_in_every_call_and_draws_no_numbers():
    one, other = features(40), features(40)
    found = kernel_distance(one, other)
    before = torch.random.get_rng_state()
    assert kernel_distance(one, other) == found
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(1)
    assert kernel_distance(one, other) == found


@pytest.mark.parametrize(("count", "expected"), [(3, 2), (61, 30), (1999, 999), (5000, 1000)])
def test_subsets_are_of_1000_pictures_or_half(monkeypatch, count, expected):
    sizes = []

    def metric(*_arguments, subsets, subset_size):
        sizes.append((subsets, subset_size))
        return KernelInceptionDistance(distribution._Given(1), subsets=1, subset_size=2)

    monkeypatch.setattr(distribution, "KernelInceptionDistance", metric)
    kernel_distance(features(count, 1), features(9000, 1))
    assert sizes == [(100, expected)]


def test_one_picture_has_no_kernel_distance():
    with pytest.raises(ValueError, match=r"pictures: expected at least 2 for a kernel .*, got 1"):
        kernel_distance(features(1), features(5))


# Measures of a picture


def test_colorfulness_is_the_formula():
    red, green, blue = ONE.astype(np.float64).reshape(-1, 3).T
    rg, yb = red - green, 0.5 * (red + green) - blue
    spread = math.sqrt(np.var(rg) + np.var(yb))
    expected = spread + 0.3 * math.sqrt(np.mean(rg) ** 2 + np.mean(yb) ** 2)
    assert colorfulness(ONE) == pytest.approx(expected, rel=1e-12)
    assert colorfulness(np.full((3, 3, 3), 77, np.uint8)) == 0


def test_psnr_and_ssim_are_those_of_scikit_image():
    expected = skimage.metrics.peak_signal_noise_ratio(ONE, OTHER, data_range=255)
    assert psnr(ONE, OTHER) == pytest.approx(expected, rel=1e-6)
    # scikit-image leaves the border of 5 pixels out, which torchmetrics reflects.
    expected = skimage.metrics.structural_similarity(
        *(np.pad(rgb, ((5, 5), (5, 5), (0, 0)), mode="reflect") for rgb in (ONE, OTHER)),
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(ONE, OTHER) == pytest.approx(expected, abs=1e-4)
    assert psnr(ONE, ONE) == math.inf


def test_ab_error_is_the_mean_distance():
    difference = (rgb2lab(ONE / 255) - rgb2lab(OTHER / 255))[..., 1:]
    expected = np.sqrt((difference**2).sum(-1)).mean()
    assert ab_error(ONE, OTHER) == pytest.approx(expected, rel=1e-5)


def test_the_stand_in_of_lpips_is_the_formula(networks):
    maps = [
        [
            level.double().numpy()[0]
            for level in network().forward_intermediates(
                (255 * unit_range(rgb) - 127) / 128, intermediates_only=True
            )
        ]
        for rgb in (ONE, OTHER)
    ]
    expected = 0.0
    for pair in zip(*maps, strict=True):
        x, y = (level / np.linalg.norm(level, axis=0) for level in pair)
        expected += ((x - y) ** 2).sum(0).mean()
    found = networks.perceptual.distance(unit_range(ONE), unit_range(OTHER))
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_the_stand_in_sees_what_it_was_trained_to_see(networks):
    image = torch.from_numpy(RANDOM.random((1, 3, 224, 224), np.float32))
    packaged = network()
    maps = packaged.forward_features((255 * image - 127) / 128)
    for protocol in (STANDARD, PUBLISHED):
        found = networks.features.extract(image, protocol)
        torch.testing.assert_close(found, maps.mean(dim=(2, 3)))
    torch.testing.assert_close(
        networks.classifier.classify(image), packaged.classifier(maps.mean(dim=(2, 3)))
    )
    assert networks.features.channels == found.shape[1]


# Protocols


def test_pictures_of_a_protocol():
    large = np.array(Image.fromarray(ONE).resize((300, 270)))
    assert STANDARD.picture(large) is large
    found = PUBLISHED.picture(large)
    lab = np.stack([rgb2lab(crop_resize(large, 256))[..., i] for i in range(3)], -1)
    expected = (np.clip(skimage.color.lab2rgb(lab), 0, 1) * 255).astype(np.uint8)
    # Lab in float32 may fall below the integer that it came from.
    assert abs(found.astype(int) - expected).max() <= 1
    assert (found != crop_resize(large, 256)).any()
    assert PUBLISHED.picture(found) is found


def test_stretching_is_antialiased_in_one_protocol_alone():
    large = RANDOM.integers(0, 256, (400, 500, 3), dtype=np.uint8)
    for protocol, antialias in ((STANDARD, True), (PUBLISHED, False)):
        found = protocol.stretch(large, 64)
        exact = F.interpolate(
            255 * unit_range(large), (64, 64), mode="bilinear", antialias=antialias
        )
        difference = abs(found.astype(float) - exact[0].permute(1, 2, 0).numpy())
        assert difference.max() <= 1.5


@pytest.mark.parametrize(
    ("protocol", "short", "top", "left"),
    [
        (STANDARD, 256, 16, 58),
        (PUBLISHED, 224, 0, 37),
    ],
)
def test_the_centre_that_is_classified(protocol, short, top, left):
    picture = RANDOM.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    width = int(short * 400 / 300)
    scaled = np.array(Image.fromarray(picture).resize((width, short), Image.BILINEAR))
    left = round((width - 224) / 2)
    assert (protocol.center(picture) == scaled[top : top + 224, left : left + 224]).all()


@pytest.fixture
def inception():
    """Random weights that keep the size of activations: of PyTorch's own, features are all 0."""
    torch.manual_seed(0)
    module = models.inception_v3(transform_input=True, init_weights=False).eval()
    for conv in (x for x in module.modules() if isinstance(x, torch.nn.Conv2d)):
        torch.nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return module


@pytest.mark.parametrize("protocol", [STANDARD, PUBLISHED])
def test_features_are_mixed_7c_of_inputs_that_are_normalised_once_or_twice(inception, protocol):
    image = torch.from_numpy(RANDOM.random((1, 3, 80, 80), np.float32))
    seen = 2 * image.double().numpy() - 1
    if protocol is PUBLISHED:
        mean, std = MEAN[:, None, None], STD[:, None, None]
        seen = 2 * (seen * std + mean) - 1
        assert seen.std() < 0.5 * (2 * image - 1).std()
    maps = []
    hook = inception.Mixed_7c.register_forward_hook(lambda *given: maps.append(given[2]))
    entered = []
    first = inception.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, x: entered.append(x[0]))
    found = inception_features(inception).extract(image, protocol)
    hook.remove()
    first.remove()
    np.testing.assert_allclose(entered[0].numpy(), seen, atol=1e-5)
    np.testing.assert_allclose(found, maps[0].mean(dim=(2, 3)), rtol=1e-4, atol=1e-6)


# Networks


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torch.hub's cache, empty and without a network."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def keep(cache, module, weights):
    """Put the weights of a network into the cache; return what auto finds, and its names."""
    torch.save(module.state_dict(), cache / weights.url.rpartition("/")[2])
    found = find_networks("auto", "cpu")
    return found, [one.name for one in found[:3]]


def test_auto_takes_an_inception_of_the_cache(cache, inception):
    found, names = keep(cache, inception, models.Inception_V3_Weights.IMAGENET1K_V1)
    assert names == ["inception_v3", STAND_IN, STAND_IN]
    image = torch.from_numpy(RANDOM.random((1, 3, 80, 80), np.float32))
    for protocol in (STANDARD, PUBLISHED):
        expected = inception_features(copy.deepcopy(inception)).extract(image, protocol)
        torch.testing.assert_close(found.features.extract(image, protocol), expected)


def test_auto_takes_a_resnet_of_the_cache(cache):
    resnet = models.resnet101().eval()
    found, names = keep(cache, resnet, models.ResNet101_Weights.IMAGENET1K_V1)
    assert names == [STAND_IN, "resnet101", STAND_IN]
    image = RANDOM.random((1, 3, 224, 224))
    normalised = torch.from_numpy((image - MEAN[:, None, None]) / STD[:, None, None])
    with torch.inference_mode():
        expected = resnet(normalised.float())
        logits = found.classifier.classify(torch.from_numpy(image).float())
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=0.1)


def test_auto_takes_an_alexnet_of_the_cache(cache):
    found, names = keep(cache, models.alexnet(), models.AlexNet_Weights.IMAGENET1K_V1)
    assert names == [STAND_IN, STAND_IN, "alexnet"]
    image = torch.from_numpy(RANDOM.random((1, 3, 80, 80), np.float32))
    expected = LearnedPerceptualImagePatchSimilarity("alex")(2 * image - 1, 1 - 2 * image)
    torch.testing.assert_close(found.perceptual.distance(image, 1 - image), expected)


def test_auto_without_a_cache_downloads_nothing(cache):
    found = find_networks("auto", "cpu")
    assert {one.name for one in found[:3]} == {STAND_IN}


def no_network(*_arguments, **_options):
    raise OSError("no network")


def test_asked_for_by_name_a_network_is_never_replaced(cache):
    with pytest.raises(FileNotFoundError, match=r"inception_v3.*pth: no such file, and https://"):
        find_networks("inception", "cpu")
    with pytest.raises(ValueError, match=r"features: expected one of 'auto', .*, got 'vgg'"):
        find_networks("vgg", "cpu")
