"""Priors: one interface, clusters, masks, none, and which regions have no counterpart."""

import numpy as np
import pytest
import torch
from model_photos import chelsea, coffee, small_area  # noqa: F401

from spcolor_model.color import gray_rgb, rgb_to_lab
from spcolor_model.features import SEMANTIC_LEVELS, WorkingImage, joint_features
from spcolor_model.prior import ClusterPrior, MaskPrior, NoPrior, class_maps, unrelated_mask

pytestmark = pytest.mark.usefixtures("small_area")


def seen(rgb: np.ndarray) -> WorkingImage:
    return WorkingImage(gray_rgb(rgb_to_lab(rgb)[0]))


def pair() -> list[WorkingImage]:
    """A landscape and a portrait."""
    return [seen(coffee((120, 90))), seen(coffee((120, 90)).transpose(1, 0, 2))]


PRIORS = [
    NoPrior(),
    ClusterPrior(5),
    MaskPrior([np.zeros((9, 9), np.uint8), np.ones((9, 9), np.uint8)]),
]


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: type(prior).__name__)
def test_every_prior_returns_padded_maps_of_one_form(prior):
    images = pair()
    maps = prior(images)
    size = (2, *(max(image.grid[dim] for image in images) for dim in (0, 1)))
    assert maps.labels.shape == maps.confidence.shape == size
    assert maps.labels.dtype == torch.int64
    for index, image in enumerate(images):
        labels, confidence = maps.of(index, image.grid)
        assert labels.min() >= 0
        assert labels.max() < maps.num_segments
        assert confidence.min() > 0
        assert confidence.max() <= 1
        outside = torch.ones(size[1:], dtype=torch.bool)
        outside[: image.grid[0], : image.grid[1]] = False
        assert (maps.labels[index][outside] == -1).all()
        assert (maps.confidence[index][outside] == 0).all()


def test_working_image_keeps_area_and_aspect_ratio():
    image = WorkingImage(np.zeros((100, 200, 3), np.uint8))
    assert image.grid == (16, 32)
    assert WorkingImage(np.zeros((1, 3000, 3), np.uint8)).grid[0] == 4  # at least 32 pixels


def test_features_are_unit_rows_and_find_themselves():
    image = seen(coffee())
    features, same = joint_features([image, image], SEMANTIC_LEVELS)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(len(features)))
    assert features.shape[0] == image.grid[0] * image.grid[1]
    assert ((features @ same.T).argmax(1) == torch.arange(len(features))).float().mean() > 0.99


def test_clusters_agree_between_a_photo_and_its_mirror():
    photo = coffee((180, 135))
    images = [seen(photo), seen(np.ascontiguousarray(photo[:, ::-1]))]
    maps = ClusterPrior(6)(images)
    target, reference = (maps.of(index, images[index].grid)[0] for index in (0, 1))
    assert len(target.unique()) >= 4
    assert (target == reference.flip(1)).float().mean() > 0.8


def test_clusters_are_deterministic():
    first, second = (ClusterPrior(6)(pair()) for _ in range(2))
    assert torch.equal(first.labels, second.labels)
    assert torch.equal(first.confidence, second.confidence)


def test_an_object_without_counterpart_gets_a_class_that_the_reference_lacks():
    background = chelsea((160, 160))
    target = background.copy()
    target[50:120, 20:90] = coffee((400, 300))[100:240:2, 160:300:2]
    images = [seen(target), seen(background)]
    maps = ClusterPrior(8)(images)
    labels, _ = maps.of(0, images[0].grid)
    reference_labels, _ = maps.of(1, images[1].grid)
    lost = ~torch.isin(labels, reference_labels)
    assert (lost == (labels == maps.num_segments - 1)).all()
    inside = torch.zeros_like(lost)
    rows, columns = images[0].grid
    inside[50 * rows // 160 : 120 * rows // 160, 20 * columns // 160 : 90 * columns // 160] = True
    assert (lost & inside).sum() / (lost | inside).sum() > 0.5


def test_nothing_is_unrelated_between_a_photo_and_itself():
    image = seen(coffee())
    assert not unrelated_mask(image, image).any()


def test_masks_are_numbered_jointly_by_value_and_by_colour():
    red, blue = [200, 0, 0], [0, 0, 200]
    first = np.array([[red, blue]], np.uint8)
    second = np.array([[blue, blue]], np.uint8)
    images = pair()
    maps = MaskPrior([first, second])(images)
    labels, _ = maps.of(0, images[0].grid)
    other, _ = maps.of(1, images[1].grid)
    assert maps.num_segments == 2
    assert (labels[:, -1] == other[0, 0]).all()
    assert (labels[:, 0] != labels[:, -1]).all()
    assert len(other.unique()) == 1


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ClusterPrior(0), ValueError, "num_segments: expected at least 1, got 0"),
        (
            lambda: ClusterPrior(10_000)(pair()),
            ValueError,
            "num_segments: expected at most [0-9]+, the positions of all photos, got 10000",
        ),
        (lambda: ClusterPrior(3)(pair()[:1]), ValueError, "images: expected a target and a refe"),
        (lambda: MaskPrior([np.zeros((2, 2))]), TypeError, r"masks\[0\]: .*integers, got float64"),
        (lambda: MaskPrior([np.zeros(3, int)]), ValueError, r"masks\[0\]: .*got \[3\]"),
        (
            lambda: MaskPrior([np.zeros((2, 2), int)])(pair()),
            ValueError,
            "images: expected 1, one for each mask, got 2",
        ),
    ],
)
def test_errors_name_argument_expected_and_actual(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_class_maps_pad_what_is_smaller():
    maps = class_maps(
        [torch.zeros(2, 3).long(), torch.ones(4, 1).long()],
        [torch.ones(2, 3)] * 1 + [torch.ones(4, 1)],
        2,
    )
    assert maps.labels.tolist()[1] == [[1, -1, -1]] * 4
    assert maps.labels[0, 2:].eq(-1).all()


def test_own_statistics_make_features_independent_of_the_other_photo():
    first, second = seen(coffee()), seen(chelsea())
    (alone,) = joint_features([first], SEMANTIC_LEVELS)
    beside, _ = joint_features([first, second], SEMANTIC_LEVELS, own_statistics=True)
    pooled, _ = joint_features([first, second], SEMANTIC_LEVELS)
    torch.testing.assert_close(beside, alone)
    assert (pooled - alone).abs().max() > 0.01
