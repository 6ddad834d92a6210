"""Priors of image tensors: fixed classes, any size, and the same maps as for single photos."""

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from model_photos import chelsea, coffee, small_area  # noqa: F401

from spcolor_model.engine import colorize
from spcolor_model.features import SEMANTIC_LEVELS, WorkingImage, joint_features
from spcolor_model.networks.stego import Stego, dino_vit
from spcolor_model.prior import NoPrior
from spcolor_model.prior.centroids import CentroidPrior, semantic_features
from spcolor_model.prior.stego import StegoPrior
from spcolor_model.prior.tensor import GlobalPrior, PairPrior

pytestmark = pytest.mark.usefixtures("small_area")


def photos(size: tuple[int, int] = (128, 96)) -> torch.Tensor:
    """Two photos of width and height `size` as [2, 3, H, W]."""
    both = np.stack([coffee(size), chelsea(size)])
    return torch.from_numpy(both).permute(0, 3, 1, 2) / 255


def small_stego(num_segments: int = 7) -> Stego:
    stego = Stego(num_segments, backbone=dino_vit(depth=1, embed_dim=24, num_heads=2))
    for parameter in stego.parameters():
        parameter.normal_(std=0.4)
    return stego


PRIORS = {
    "StegoPrior": lambda: StegoPrior(small_stego()),
    "CentroidPrior": lambda: CentroidPrior.fit([photos()], 7),
    "GlobalPrior": GlobalPrior,
}


@pytest.mark.parametrize("make", PRIORS.values(), ids=PRIORS.keys())
def test_every_prior_returns_maps_of_one_form(make):
    prior = make()
    rgb = photos().requires_grad_()
    labels, confidence = prior(rgb)
    assert labels.dtype == torch.int64
    assert confidence.dtype == torch.float32
    assert labels.shape == confidence.shape
    assert labels.shape[0] == len(rgb)
    assert labels.min() >= 0
    assert labels.max() < prior.num_segments
    assert confidence.min() >= 1 / prior.num_segments
    assert confidence.max() <= 1
    assert not confidence.requires_grad
    assert not any(parameter.requires_grad for parameter in prior.parameters())


@pytest.mark.parametrize("make", PRIORS.values(), ids=PRIORS.keys())
def test_a_photo_has_the_same_classes_in_every_batch(make):
    prior = make()
    labels, confidence = prior(photos())
    for index, photo in enumerate(photos()):
        alone = prior(photo[None])
        assert (alone[0][0] == labels[index]).float().mean() > 0.999
        torch.testing.assert_close(alone[1][0], confidence[index], rtol=1e-4, atol=1e-5)


def test_features_are_those_of_single_photos():
    images = [WorkingImage(coffee((96, 96))), WorkingImage(chelsea((96, 96)))]
    expected = joint_features(images, SEMANTIC_LEVELS, own_statistics=True)
    found = semantic_features(torch.stack([image.pixels for image in images]) / 255)
    for own, rows, image in zip(found, expected, images, strict=True):
        assert own.shape[1:] == image.grid
        torch.testing.assert_close(own.flatten(1).T, rows, rtol=1e-3, atol=1e-4)


def test_classes_are_the_nearest_centroids():
    prior = CentroidPrior.fit([photos()], 7)
    labels, confidence = prior(photos())
    assert len(labels.unique()) == 7
    rows = semantic_features(photos()).permute(0, 2, 3, 1).double().numpy()
    centroids = prior.state_dict()["probe.clusters"].double().numpy()
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    cosine = rows @ centroids.T
    np.testing.assert_array_equal(labels, cosine.argmax(-1))
    odds = np.exp((cosine - cosine.max(-1, keepdims=True)) / 0.05)
    np.testing.assert_allclose(confidence, 1 / odds.sum(-1), rtol=1e-4)


def test_centroids_explain_the_features_better_than_chance():
    rows = semantic_features(photos()).permute(0, 2, 3, 1).flatten(0, 2)
    fitted = CentroidPrior.fit([photos()], 7).probe.clusters
    random = rows[torch.randperm(len(rows))[:7]]
    near, far = (torch.cdist(rows, x).amin(1).square().mean() for x in (fitted, random))
    assert near < 0.75 * far


def test_centroids_are_deterministic_and_their_whole_state():
    first, second = (CentroidPrior.fit([photos(), photos((64, 64))], 5, seed=3) for _ in range(2))
    other = CentroidPrior.fit([photos(), photos((64, 64))], 5, seed=4)
    assert list(first.state_dict()) == ["probe.clusters"]
    assert torch.equal(first.probe.clusters, second.probe.clusters)
    assert not torch.equal(first.probe.clusters, other.probe.clusters)
    loaded = CentroidPrior(torch.ones(5, 432))
    loaded.load_state_dict(first.state_dict())
    assert torch.equal(loaded(photos())[0], first(photos())[0])


def test_classes_carry_over_to_the_mirrored_photo():
    rgb = photos((256, 256))
    prior = CentroidPrior.fit([rgb], 6)
    assert (prior(rgb)[0] == prior(rgb.flip(3))[0].flip(2)).float().mean() > 0.8


def test_stego_sees_any_photo_at_256_pixels():
    stego = small_stego()
    prior = StegoPrior(stego)
    assert prior.num_segments == 7
    exact = F.interpolate(photos(), (256, 256), mode="nearest")
    for found, expected in zip(prior(exact), stego(exact), strict=True):
        assert torch.equal(found, expected)
    # Linear ramps stay linear when they are resized, but for half a pixel at the edges.
    across = torch.linspace(0, 1, 512 * 3)[None].expand(96, -1)
    down = torch.linspace(0, 1, 96)[:, None].expand(-1, 512 * 3)
    seen = []
    stego.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    prior(torch.stack([across, down, 1 - down])[None])
    position = (torch.arange(256) + 0.5) / 256
    inside = slice(8, -8)
    torch.testing.assert_close(
        seen[0][0, 0, :, inside],
        position[inside].expand(256, -1),
        rtol=0,
        atol=1e-2,
    )
    torch.testing.assert_close(
        seen[0][0, 2, inside],
        1 - position[inside, None].expand(-1, 256),
        rtol=0,
        atol=1e-2,
    )


def test_one_class_is_on_a_grid_of_every_8th_pixel():
    for found, value in zip(GlobalPrior()(torch.rand(2, 3, 32, 41)), (0, 1), strict=True):
        assert found.shape == (2, 4, 6)
        assert (found == value).all()


class Halves:
    """Two classes, left and right, on a grid of 4 x 4."""

    num_segments = 2

    def __call__(self, rgb):
        labels = torch.tensor([0, 0, 1, 1]).expand(len(rgb), 4, 4)
        return labels, torch.tensor([0.5, 0.6, 0.7, 0.8]).expand(len(rgb), 4, 4)


def test_pairs_are_resampled_to_each_photos_grid():
    images = [WorkingImage(coffee((120, 90))), WorkingImage(chelsea((90, 120)))]
    maps = PairPrior(Halves())(images)
    assert maps.num_segments == 2
    for index, image in enumerate(images):
        labels, confidence = maps.of(index, image.grid)
        column = np.floor((np.arange(image.grid[1]) + 0.5) / image.grid[1] * 4).astype(int)
        expected = np.broadcast_to(column // 2, image.grid)
        np.testing.assert_array_equal(labels, expected)
        sure = np.broadcast_to(np.float32([0.5, 0.6, 0.7, 0.8])[column], image.grid)
        np.testing.assert_array_equal(confidence, sure)
        assert (maps.labels[index][:, image.grid[1] :] == -1).all()


def test_pairs_show_the_prior_rgb_in_0_to_1():
    class Seen(GlobalPrior):
        def forward(self, rgb):
            self.rgb = rgb
            return super().forward(rgb)

    prior = Seen()
    PairPrior(prior)([WorkingImage(np.full((96, 96, 3), 255, np.uint8))])
    torch.testing.assert_close(prior.rgb, torch.ones_like(prior.rgb))


def test_one_class_colours_as_no_prior_does():
    target, reference = coffee(), skimage.data.astronaut()[:200, :160]
    found, expected = (
        colorize(target, reference, engine="match", prior=prior).rgb
        for prior in (PairPrior(GlobalPrior()), NoPrior())
    )
    np.testing.assert_array_equal(found, expected)


def test_stego_colours_a_photo():
    result = colorize(
        coffee(), chelsea(), engine="match", prior=PairPrior(StegoPrior(small_stego()))
    )
    assert result.rgb.shape == coffee().shape
    assert len(result.target_labels.unique()) > 1


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GlobalPrior()(torch.rand(3, 8, 8)), ValueError, r"rgb: expected shape \[B, 3, H"),
        (lambda: StegoPrior(small_stego())("x"), TypeError, "rgb: expected a torch.Tensor"),
        (lambda: CentroidPrior(torch.zeros(3)), ValueError, r"clusters: expected shape \[K, E\]"),
        (lambda: CentroidPrior.fit([], 0), ValueError, "num_segments: expected at least 1, got 0"),
        (lambda: CentroidPrior.fit([], 3), ValueError, "photos: expected at least 3 pos.* got 0"),
        (
            lambda: semantic_features(torch.rand(1, 3, 64, 40)),
            ValueError,
            r"rgb: expected H and W that are multiples of 32, got \[1, 3, 64, 40\]",
        ),
        (lambda: semantic_features(torch.rand(1, 1, 64, 64)), ValueError, "rgb: expected size 3"),
    ],
)
def test_errors_name_argument_expected_and_actual(make, error, message):
    with pytest.raises(error, match=message):
        make()
