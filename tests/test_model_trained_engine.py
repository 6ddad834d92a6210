"""The trained engine: this package's weights, other checkpoints, other priors."""

from functools import partial

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("omegaconf")

from model_photos import chelsea, coffee, small_area  # noqa: F401
from safetensors.torch import load_file
from torch.utils.data import default_collate
from training_runs import one_thread, photos, trainer  # noqa: F401

import spcolor_model
from spcolor_model.color import rgb_to_lab
from spcolor_model.engine import make_engine
from spcolor_model.model import anchor
from spcolor_model.networks import EfficientNetLite0, WarpNet
from spcolor_model.trained_engine import TrainedEngine, trust
from spcolor_model.training.classes import batch_classes
from spcolor_model.training.export import export
from spcolor_ops import segment_correspondence

colorize = partial(spcolor_model.colorize, engine="trained")
CLUSTERS = ("prior.kind=clusters", "prior.num_segments=3", "max_steps=1")


def chroma_error(rgb: np.ndarray, truth: np.ndarray) -> float:
    return np.linalg.norm(rgb_to_lab(rgb)[1] - rgb_to_lab(truth)[1], axis=-1).mean()


def test_the_packaged_weights_give_a_photo_its_own_colours_back():
    photo = coffee((250, 170))
    result = colorize(photo, photo[:, ::-1].copy())
    gray = np.linalg.norm(rgb_to_lab(photo)[1], axis=-1).mean()
    assert result.rgb.shape == photo.shape
    assert chroma_error(result.rgb, photo) < 0.35 * gray
    assert result.target_labels.shape == result.match.confidence.shape
    luminance, got = rgb_to_lab(photo)[0], rgb_to_lab(result.rgb)[0]
    np.testing.assert_allclose(got, luminance, atol=0.9)  # 8 bits, in the dark
    again = colorize(photo, photo[:, ::-1].copy())
    np.testing.assert_array_equal(again.rgb, result.rgb)


@pytest.mark.parametrize("size", [(1, 1), (40, 300), (121, 77)])
def test_any_size(size):
    target = coffee(size)
    assert colorize(target, chelsea((90, 33))).rgb.shape == target.shape


def test_other_priors_take_the_place_of_its_own():
    target, reference = coffee(), chelsea()
    own, none, two = (
        colorize(target, reference, **options)
        for options in ({}, {"prior": "none"}, {"num_segments": 2})
    )
    assert own.target_labels.unique().numel() > 1
    assert none.target_labels.unique().tolist() == [0]
    assert two.target_labels.max() <= 2
    mask = np.zeros((90, 120), np.uint8)
    mask[:, 60:] = 1
    foreign = colorize(target, reference, prior="masks", target_mask=mask, reference_mask=0 * mask)
    half = foreign.match.unrelated.shape[1] // 2
    assert foreign.match.unrelated[:, half:].all()
    assert not foreign.match.unrelated[:, :half].any()


def test_a_prior_of_more_classes_than_in_training_loses_none():
    photo = coffee()
    found = colorize(photo, photo, num_segments=40)
    assert found.target_labels.max() > 20
    # Of one photo with itself nothing is unrelated.
    assert not found.match.unrelated.any()


def test_an_exported_checkpoint_colours_as_the_checkpoint_does(photos, tmp_path):  # noqa: F811
    run = trainer(
        photos, tmp_path / "run", *CLUSTERS, "ema=0.5", "optimizer.warp_lr=0.01", "max_steps=2"
    )
    run.run()
    (folder,) = run.folder.glob("step_*")
    files = export(folder, tmp_path / "weights")
    assert [path.stem for path in files] == ["warp_net", "color_net", "prior"]
    assert {x.dtype for path in files for x in load_file(path).values()} == {torch.float16}
    whole, half = (TrainedEngine.load(path) for path in (folder, tmp_path / "weights"))
    averaged = run.average.module.warp_net.theta_class.weight
    last = run.model.warp_net.theta_class.weight
    assert (averaged - last).abs().max() > 1e-3
    for engine in (whole, half):
        found = engine.model.warp_net.theta_class.weight
        torch.testing.assert_close(found, averaged, atol=1e-4, rtol=0)
    assert half.config.network.initial == str(tmp_path / "weights")


def test_weights_are_for_the_trained_engine_alone(tmp_path):
    with pytest.raises(ValueError, match='weights: expected with engine="trained" alone'):
        make_engine("match", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"warp_net\.safetensors"):
        make_engine("trained", tmp_path)


def test_anchors_are_unit_vectors_that_a_change_of_contrast_does_not_move():
    rgb = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    found = anchor(EfficientNetLite0()(rgb), rgb.shape[2:])
    assert found.shape == (1, 472, 24, 32)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(1, 24, 32))
    maps = [3 * x + 1 for x in EfficientNetLite0()(rgb)]
    torch.testing.assert_close(anchor(maps, rgb.shape[2:]), found, atol=1e-3, rtol=0)


def test_a_gray_reference_is_matched_by_its_luminance_alone(photos, tmp_path):  # noqa: F811
    matched = {}
    for gray in (True, False):
        run = trainer(photos, tmp_path / str(gray), f"network.gray_reference={str(gray).lower()}")
        sample = default_collate([run.validation_pairs[0]])
        classes = batch_classes(run.prior, sample, run.config.prior)
        light, reference = sample.luminance, sample.reference_luminance
        with torch.no_grad():
            matched[gray] = [
                run.model(light, reference, ab, *classes).similarity
                for ab in (sample.reference_ab, -sample.reference_ab)
            ]
    torch.testing.assert_close(*matched[True])
    assert not torch.allclose(*matched[False], atol=1e-3)


def test_anchors_alone_are_what_is_matched_where_nothing_is_projected():
    """Without its projections WarpNet is the operator on the anchors."""
    random = torch.Generator().manual_seed(0)
    backbone = EfficientNetLite0()
    images = [torch.rand(1, 3, 64, 64, generator=random) for _ in range(2)]
    maps = [backbone(rgb) for rgb in images]
    anchors = [anchor(x, (64, 64)) for x in maps]
    warp_net = WarpNet(backbone.correspondence_channels, 16)
    for layer in (warp_net.theta_class, warp_net.phi_class):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    ab = 50 * torch.randn(1, 2, 64, 64, generator=random)
    labels, confidence = torch.zeros(1, 8, 8, dtype=torch.int64), torch.ones(1, 8, 8)
    with torch.no_grad():
        found = warp_net(
            *(backbone.correspondence_maps(x) for x in maps),
            ab,
            labels,
            labels,
            confidence,
            confidence,
            num_segments=1,
            target_anchor=anchors[0],
            reference_anchor=anchors[1],
        )
    query, key = (x.flatten(2).transpose(1, 2) for x in anchors)
    value = F.avg_pool2d(ab, 4).flatten(2).transpose(1, 2)
    one = torch.zeros(1, 256, dtype=torch.int64)
    expected = segment_correspondence(query, key, value, one, one, num_segments=1, center=True)
    torch.testing.assert_close(found[:, :2].flatten(2).transpose(1, 2), expected.warped)
    torch.testing.assert_close(found[:, 2].flatten(1), expected.similarity)


def test_a_residual_run_begins_with_the_warped_colours(photos, tmp_path):  # noqa: F811
    run = trainer(photos, tmp_path, "network.residual=true", "network.anchored=true")
    sample = run.validation_pairs[0]
    maps = (x[None] for x in (sample.luminance, sample.reference_luminance, sample.reference_ab))
    batch = default_collate([sample])
    with torch.no_grad():
        found = run.model(*maps, *batch_classes(run.prior, type(sample)(*batch), run.config.prior))
    enlarged = F.interpolate(found.warped[:, :2], scale_factor=4, mode="bilinear")
    torch.testing.assert_close(found.ab, enlarged)


def test_both_photos_are_seen_at_one_area(small_area):  # noqa: F811
    engine = TrainedEngine.default()
    luminance, reference = rgb_to_lab(coffee())[0], chelsea()
    larger = TrainedEngine(engine.model, engine.prior, engine.config, 384**2)
    for one, side in ((engine, 192), (larger, 384)):
        positions = one(luminance, reference).match.confidence.numel()
        assert positions == pytest.approx((side / 4) ** 2, rel=0.3)


def test_trust_is_of_the_surroundings_and_of_the_whole():
    confidence = np.full((40, 60), 0.3, np.float32)
    assert (trust(confidence) == 1).all()
    confidence[20, 30] = 0
    assert trust(confidence).min() == 1  # a single one says nothing
    confidence[:, :30] = 0.08
    found = trust(confidence)
    assert found[20, 5] == 0  # (0.08 + 0.19) / 2 < 0.15
    assert found[20, 55] == 1
    assert (np.diff(found[20]) >= -1e-6).all()
    assert (trust(confidence * 0.3) == 0).all()


def test_where_little_is_alike_regions_take_the_place_of_single_matches(small_area):  # noqa: F811
    target, reference = coffee((200, 150)), chelsea((120, 90))
    default = TrainedEngine.default()
    plain = TrainedEngine(default.model, default.prior, default.config, filler=None)
    red = TrainedEngine(
        default.model,
        default.prior,
        default.config,
        filler=lambda match, luminance: np.full((*luminance.shape, 2), (50.0, 0.0)),
    )
    luminance = rgb_to_lab(target)[0]
    predicted, found = (engine(luminance, reference) for engine in (plain, red))
    trusted = cv2.resize(trust(found.match.confidence.numpy()), luminance.shape[::-1])[..., None]
    assert trusted.min() < 0.5
    expected = trusted * predicted.ab + (1 - trusted) * np.array((50.0, 0.0))
    np.testing.assert_allclose(found.ab, expected, atol=1e-4)
