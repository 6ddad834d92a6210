"""The edge of the arithmetic: equal maxima, saturated rows, no temperature, wrong layouts."""

import math

import pytest
import torch

import spcolor_ops
from spcolor_ops._library import operator


def one_class(length):
    return torch.zeros(1, length, dtype=torch.int64)


@pytest.mark.parametrize(
    ("scale", "normalize", "temperature"), [(400, False, 0.01), (1, True, 1e-9)]
)
def test_equal_maxima_share_the_weight_in_every_strip(backend, scale, normalize, temperature):
    query = torch.randn(1, 4, 64, generator=torch.Generator().manual_seed(0)) * scale
    key = query.repeat(1, 75, 1)  # key j equals query j % 4
    value = torch.arange(300.0)[None, :, None].requires_grad_()
    warped = spcolor_ops.segment_softmax_warp(
        query,
        key,
        value,
        one_class(4),
        one_class(300),
        num_segments=1,
        normalize=normalize,
        temperature=temperature,
        backend=backend,
    )
    torch.testing.assert_close(warped[0, :, 0], torch.arange(148.0, 152.0))
    warped.sum().backward()
    torch.testing.assert_close(value.grad, torch.full_like(value, 1 / 75))


def saturated_problem(keys, channels=64):
    """One query whose best key has nearly all of the weight; the rest has 1e-7 each."""
    generator = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize(
        torch.randn(channels, dtype=torch.float64, generator=generator), dim=0
    )
    other = torch.randn(keys - 1, channels, dtype=torch.float64, generator=generator)
    other = torch.nn.functional.normalize(other - (other @ unit)[:, None] * unit, dim=1)
    cosine = 1 - 0.01 * 23.3 * math.log(2)
    key = torch.cat([unit[None], cosine * unit + math.sqrt(1 - cosine**2) * other])[None]
    value = torch.randn(1, keys, 3, dtype=torch.float64, generator=generator)
    return unit[None, None], key, value


def gradients(inputs, dtype, backend):
    query, key, value = (x.to(dtype).requires_grad_() for x in inputs)
    temperature = torch.tensor(0.01, dtype=dtype, requires_grad=True)
    labels = (one_class(1), one_class(key.shape[1]))
    warped = spcolor_ops.segment_softmax_warp(
        query, key, value, *labels, num_segments=1, temperature=temperature, backend=backend
    )
    return torch.autograd.grad(warped.sum(), (query, key, temperature))


def test_a_saturated_row_keeps_the_gradient_of_its_small_weights(compiled_backend):
    inputs = saturated_problem(4096)
    expected = gradients(inputs, torch.float64, "reference")
    for actual, wanted in zip(
        gradients(inputs, torch.float32, compiled_backend), expected, strict=True
    ):
        assert (actual - wanted).norm() < 1e-3 * wanted.norm()


@pytest.mark.parametrize("temperature", [-1.0, 0.0, math.nan])
def test_no_temperature_gives_nan_but_the_right_maximum(backend, temperature):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, n, c, generator=generator).requires_grad_()
        for n, c in ((4, 8), (1000, 8), (1000, 3))
    )
    layouts = [spcolor_ops.segment_layout(one_class(n), 1) for n in (4, 1000)]
    warped, similarity, index, lse, _ = operator("correspondence", backend)(
        query,
        key,
        value,
        *(x for layout in layouts for x in (layout.order, layout.offsets)),
        torch.tensor(temperature),
        False,
        True,
        "ieee",
        False,
    )
    expected = spcolor_ops.segment_max_similarity(
        query, key, one_class(4), one_class(1000), num_segments=1, backend="reference"
    )
    torch.testing.assert_close(similarity, expected.similarity)
    assert torch.equal(index, expected.index)
    assert warped.isnan().all()
    assert lse.isnan().all()
    for grad in torch.autograd.grad(warped.sum(), (query, key, value)):
        assert grad.isnan().all()


def test_a_non_finite_feature_spoils_the_gradient_of_its_cosine_block(backend):
    query, key = torch.randn(1, 6, 4), torch.randn(1, 6, 4)
    query[0, 0, 0] = math.nan
    query.requires_grad_()
    key.requires_grad_()
    labels = torch.tensor([[0, 0, 0, 1, 1, 1]])
    blocks = spcolor_ops.segment_cosine_similarity(
        query, key, labels, labels, num_segments=2, backend=backend
    )
    grad = torch.autograd.grad(blocks.values.sum(), key)[0]
    assert grad[0, :3].isnan().all()
    assert grad[0, 3:].isfinite().all()


def test_the_cpu_refuses_what_would_be_unsafe(compiled_backend):
    layout = spcolor_ops.segment_layout(one_class(4), 1)
    features = torch.randn(1, 4, 3)
    repeated = layout._replace(order=torch.zeros_like(layout.order))
    with pytest.raises(RuntimeError, match=r"query_order: expected every position of 0\.\.3 once"):
        spcolor_ops.segment_max_similarity(
            features, features, repeated, layout, num_segments=1, backend=compiled_backend
        )
    ranks = (layout.order, layout.offsets, layout.order, layout.offsets)
    with pytest.raises(RuntimeError, match="query: expected at least one channel"):
        operator("correspondence", compiled_backend)(
            features[..., :0],
            features[..., :0],
            None,
            *ranks,
            torch.tensor(1.0),
            False,
            True,
            "ieee",
            False,
        )


def test_maps_of_one_size_but_another_shape_are_refused():
    match = spcolor_ops.SegmentCorrespondence(2)
    maps = torch.randn(1, 4, 3, 5)
    labels = torch.zeros(1, 3, 5, dtype=torch.int64)
    with pytest.raises(ValueError, match="query_labels: expected size 3"):
        match(maps, maps, maps[:, :2], labels.transpose(1, 2), labels)
    with pytest.raises(ValueError, match="value: expected size 3"):
        match(maps, maps, maps[:, :2].transpose(2, 3), labels, labels)


@pytest.mark.parametrize("temperature", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_the_weights_of_a_backward_sum_to_one(dtype, temperature, backend):
    """Scores that are computed again must not differ from the maximum they are compared with."""
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, 40, 64, generator=generator).to(dtype) for _ in range(2))
    value = torch.randn(1, 40, 3, generator=generator).requires_grad_()
    warped = spcolor_ops.segment_softmax_warp(
        query,
        key,
        value,
        *(one_class(40), one_class(40)),
        num_segments=1,
        temperature=temperature,
        backend=backend,
    )
    warped.sum().backward()
    torch.testing.assert_close(value.grad.sum(1), torch.full((1, 3), 40.0))
