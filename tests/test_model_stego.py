"""STEGO: every part against NumPy in float64, the published names, and merged clusters."""

import numpy as np
import pytest
import stego_oracle
import torch
import torch.nn.functional as F

pytest.importorskip("timm")

from spcolor_model.networks.stego import (
    Stego,
    dino_vit,
    patch_tokens,
    reduce_centroids,
    resample_positions,
)
from spcolor_model.prior.probe import ClusterProbe

HEADS = 2
BLOCK = {
    "norm1.weight": [768],
    "norm1.bias": [768],
    "attn.qkv.weight": [2304, 768],
    "attn.qkv.bias": [2304],
    "attn.proj.weight": [768, 768],
    "attn.proj.bias": [768],
    "norm2.weight": [768],
    "norm2.bias": [768],
    "mlp.fc1.weight": [3072, 768],
    "mlp.fc1.bias": [3072],
    "mlp.fc2.weight": [768, 3072],
    "mlp.fc2.bias": [768],
}
PUBLISHED = {
    "net.model.cls_token": [1, 1, 768],
    "net.model.pos_embed": [1, 785, 768],
    "net.model.patch_embed.proj.weight": [768, 3, 8, 8],
    "net.model.patch_embed.proj.bias": [768],
    **{f"net.model.blocks.{i}.{name}": shape for i in range(12) for name, shape in BLOCK.items()},
    "net.model.norm.weight": [768],
    "net.model.norm.bias": [768],
    "net.cluster1.0.weight": [90, 768, 1, 1],
    "net.cluster1.0.bias": [90],
    "net.cluster2.0.weight": [768, 768, 1, 1],
    "net.cluster2.0.bias": [768],
    "net.cluster2.2.weight": [90, 768, 1, 1],
    "net.cluster2.2.bias": [90],
    "cluster_probe.clusters": [27, 90],
}


def small_vit():
    return dino_vit(depth=2, embed_dim=24, num_heads=HEADS)


def small_stego(num_segments: int = 27) -> Stego:
    """Two narrow blocks and weights large enough that every part counts, in float64."""
    stego = Stego(num_segments, backbone=small_vit()).double()
    for parameter in stego.parameters():
        parameter.normal_(std=0.4)
    return stego


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: x.numpy() for name, x in module.state_dict().items()}


@pytest.mark.parametrize("size", [(32, 32), (60, 45), (14, 30), (28, 29)])
def test_positions_are_resampled_as_dino_does(size):
    embedding = torch.randn(1, 785, 3, dtype=torch.float64)
    found = resample_positions(embedding, size)
    expected = stego_oracle.positions(embedding[0].numpy(), size)
    torch.testing.assert_close(found[0].numpy(), expected, rtol=0, atol=1e-12)


def test_positions_of_the_native_grid_stay():
    embedding = torch.randn(1, 785, 3)
    assert torch.equal(resample_positions(embedding, (28, 28)), embedding)


def test_positions_are_not_those_of_a_plain_resize():
    embedding = torch.randn(1, 785, 64)
    grid = embedding[:, 1:].transpose(1, 2).unflatten(2, (28, 28))
    plain = F.interpolate(grid, (32, 32), mode="bicubic").flatten(2).transpose(1, 2)
    assert (resample_positions(embedding, (32, 32))[:, 1:] - plain).abs().max() > 0.1


def test_the_transformer_is_timms_own_at_its_native_size():
    vit = small_vit().double().eval()
    images = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    with torch.no_grad():
        expected = vit.forward_features(images)[:, 1:].transpose(1, 2).unflatten(2, (28, 28))
        torch.testing.assert_close(patch_tokens(vit, images), expected, rtol=1e-12, atol=1e-12)


def test_the_transformer_takes_images_that_are_not_square():
    vit = small_stego().net.model
    image = torch.randn(3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        found = patch_tokens(vit, image[None])[0]
    expected = stego_oracle.vit(image.numpy(), arrays(vit), HEADS).T.reshape(24, 8, 12)
    torch.testing.assert_close(found.numpy(), expected, rtol=1e-10, atol=1e-10)


def test_stego_is_its_equations():
    stego = small_stego()
    rgb = torch.rand(2, 3, 256, 256, dtype=torch.float64)
    labels, confidence = stego(rgb)
    assert labels.dtype == torch.int64
    assert len(labels.unique()) > 3
    for image, own_labels, own_confidence in zip(rgb, labels, confidence, strict=True):
        expected = stego_oracle.stego(image.numpy(), arrays(stego), HEADS)
        np.testing.assert_array_equal(own_labels, expected[0])
        np.testing.assert_allclose(own_confidence, expected[1], rtol=1e-9)


def test_full_size_has_the_published_names_shapes_and_counts():
    stego = Stego()
    state = stego.state_dict()
    assert {name: list(x.shape) for name, x in state.items()} == PUBLISHED

    def count(*prefixes: str) -> int:
        return sum(x.numel() for name, x in state.items() if name.startswith(prefixes))

    assert count("net.model.") == 85_807_872
    assert count("net.cluster1.", "net.cluster2.") == 729_012
    assert count("cluster_probe.") == 2_430
    labels, confidence = stego(torch.rand(1, 3, 256, 256))
    assert labels.shape == confidence.shape == (1, 32, 32)
    assert confidence.dtype == torch.float32


def test_stego_is_frozen():
    stego = small_stego()
    assert not any(parameter.requires_grad for parameter in stego.parameters())
    rgb = torch.rand(1, 3, 256, 256, dtype=torch.float64, requires_grad=True)
    labels, confidence = stego(rgb)
    assert not confidence.requires_grad
    stego.train()
    again = stego(rgb)
    assert torch.equal(again[0], labels)
    assert torch.equal(again[1], confidence)


@pytest.mark.parametrize("scale", [10.0, 20.0])
def test_probe_is_a_softmax_of_cosines(scale):
    code, clusters = (torch.randn(*n, dtype=torch.float64) for n in ((2, 6, 3, 5), (7, 6)))
    labels, confidence = ClusterProbe(clusters, scale=scale)(code)
    rows = code.permute(0, 2, 3, 1).reshape(-1, 6).numpy()
    expected = stego_oracle.probe(rows, clusters.numpy(), scale)
    np.testing.assert_array_equal(labels.flatten(), expected[0])
    np.testing.assert_allclose(confidence.flatten(), expected[1], rtol=1e-13)


def checkpoint(tmp_path, stego: Stego, **changes):
    """A file like the published one, with what STEGO's own training needs."""
    extras = {
        "train_cluster_probe.clusters": torch.randn(27, 90),
        "linear_probe.weight": torch.randn(27, 90, 1, 1),
        "decoder.bias": torch.randn(768),
    }
    path = tmp_path / "stego.ckpt"
    state = {**stego.state_dict(), **extras, **changes}
    state = {name: x for name, x in state.items() if x is not None}
    torch.save({"epoch": 3, "state_dict": state, "hyper_parameters": {"dim": 90}}, path)
    return path


def test_checkpoint_comes_back(tmp_path):
    stego = small_stego().float()
    loaded = Stego.from_checkpoint(checkpoint(tmp_path, stego), backbone=small_vit())
    rgb = torch.rand(1, 3, 256, 256)
    for found, expected in zip(loaded(rgb), stego(rgb), strict=True):
        assert torch.equal(found, expected)
    assert loaded.num_segments == 27


def test_checkpoint_with_merged_clusters(tmp_path):
    stego = small_stego().float()
    path = checkpoint(tmp_path, stego)
    merged = Stego.from_checkpoint(path, 5, backbone=small_vit())
    assert merged.num_segments == 5
    expected = reduce_centroids(stego.cluster_probe.clusters, 5)
    assert torch.equal(merged.cluster_probe.clusters, expected)
    labels, confidence = merged(torch.rand(1, 3, 256, 256))
    assert labels.max() < 5
    assert confidence.min() > 1 / 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net.cluster1.0.bias": None}, "got 1 missing: net.cluster1.0.bias"),
        ({"net.extra": torch.zeros(1)}, "got 1 unexpected: net.extra"),
        ({"cluster_probe.clusters": torch.zeros(9, 90)}, r"shape \[27, 90\], got \[9, 90\]"),
    ],
)
def test_checkpoint_is_loaded_strictly(tmp_path, changes, message):
    path = checkpoint(tmp_path, small_stego().float(), **changes)
    with pytest.raises(ValueError, match=f"stego.ckpt: .*{message}"):
        Stego.from_checkpoint(path, backbone=small_vit())


# What np.random.seed(122); np.random.choice(27, 27, replace=False) gives; k picks are the first k.
PICKED = [18, 24, 5, 19, 17, 8, 1, 7, 21, 0, 11, 13, 4, 3]
PICKED += [14, 6, 9, 25, 20, 2, 26, 23, 16, 12, 22, 10, 15]


def lloyd(rows: np.ndarray, k: int) -> np.ndarray:
    """Plain k-means from the published start."""
    centres = rows[PICKED[:k]]
    while True:
        nearest = ((rows[:, None] - centres) ** 2).sum(2).argmin(1)
        moved = np.stack([rows[nearest == c].mean(0) for c in range(k)])
        if np.array_equal(moved, centres):
            return centres
        centres = moved


@pytest.mark.parametrize("k", [1, 2, 5, 22, 27])
def test_centroids_are_merged_by_k_means_from_the_published_start(k):
    rows = np.random.default_rng(2).standard_normal((27, 3))  # takes several steps
    found = reduce_centroids(torch.from_numpy(rows), k)
    np.testing.assert_allclose(found.numpy(), lloyd(rows, k), rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_a_cluster_that_loses_its_last_row_does_not_end_in_nan():
    rows = torch.eye(3, 4)[torch.arange(27) % 3]
    found = reduce_centroids(rows, 5)
    assert found.shape == (5, 4)
    assert found.isfinite().all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Stego(0, backbone=small_vit()), ValueError, "num_segments: expected at least 1"),
        (lambda: small_stego()([0]), TypeError, "rgb: expected a torch.Tensor, got list"),
        (
            lambda: small_stego()(torch.rand(1, 3, 224, 224)),
            ValueError,
            r"rgb: expected size 256 \(that of STEGO's input\) in dimension 2, got .*224",
        ),
        (
            lambda: reduce_centroids(torch.rand(3, 4), 5),
            ValueError,
            "num_segments: expected at most 3, got 5",
        ),
        (lambda: ClusterProbe(torch.rand(0, 4)), ValueError, r"clusters: .*got shape \[0, 4\]"),
        (
            lambda: ClusterProbe(torch.rand(3, 4))(torch.rand(1, 5, 2, 2)),
            ValueError,
            r"code: expected size 4 \(that of clusters\) in dimension 1",
        ),
    ],
)
def test_errors_name_argument_expected_and_actual(make, error, message):
    with pytest.raises(error, match=message):
        make()
