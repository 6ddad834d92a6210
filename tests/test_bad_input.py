"""Wrong calls: each is refused at once, by a message naming argument, expected and actual."""

from functools import partial

import pytest
import torch

from spcolor_ops import (
    SegmentCorrespondence,
    SegmentLayout,
    segment_correspondence,
    segment_cosine_similarity,
    segment_layout,
    segment_max_similarity,
    segment_softmax_warp,
    varlen_correspondence,
)


def features(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.ones(shape, dtype=dtype)


def labels(*shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype)


def cu(*values: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


GOOD = {
    "query": features(2, 3, 4),
    "key": features(2, 5, 4),
    "value": features(2, 5, 6),
    "query_labels": labels(2, 3),
    "key_labels": labels(2, 5),
    "num_segments": 7,
}
GOOD_COSINE = {name: x for name, x in GOOD.items() if name != "value"}
GOOD_VARLEN = {
    "query": features(3, 4),
    "key": features(5, 4),
    "value": features(5, 6),
    "cu_seqlens_q": cu(0, 1, 3),
    "cu_seqlens_k": cu(0, 2, 5),
}
GOOD_MAPS = (
    features(2, 4, 3, 3),
    features(2, 4, 2, 5),
    features(2, 6, 2, 5),
    labels(2, 3, 3),
    labels(2, 2, 5),
)


def correspond(**wrong):
    return partial(segment_correspondence, **(GOOD | wrong))


def varlen(**wrong):
    return partial(varlen_correspondence, **(GOOD_VARLEN | wrong))


def cosine(**wrong):
    return partial(segment_cosine_similarity, **(GOOD_COSINE | wrong))


def maximum(**wrong):
    return partial(segment_max_similarity, **(GOOD_COSINE | wrong))


def warp(**wrong):
    return partial(segment_softmax_warp, **(GOOD | wrong))


def module(position: int, wrong: torch.Tensor):
    inputs = [*GOOD_MAPS]
    inputs[position] = wrong
    return partial(SegmentCorrespondence(7), *inputs)


LAYOUT_OF_6 = segment_layout(labels(2, 3), 6, backend="reference")
LAYOUT_OF_3_IMAGES = segment_layout(labels(3, 3), 7, backend="reference")

# (call, exception, the fragments that its message holds)
WRONG_CALLS = [
    # What is not a tensor, or of the wrong number of dimensions
    (correspond(query=[[1.0]]), TypeError, "query: expected a torch.Tensor, got list"),
    (correspond(key=None), TypeError, "key: expected a torch.Tensor, got NoneType"),
    (correspond(value=1.0), TypeError, "value: expected a torch.Tensor, got float"),
    (correspond(query=features(3, 4)), ValueError, "query: expected shape [B, N, C], got [3, 4]"),
    (
        correspond(key=features(2, 4, 5, 1)),
        ValueError,
        "key: expected shape [B, M, C], got [2, 4, 5, 1]",
    ),
    (correspond(value=features(2, 5)), ValueError, "value: expected shape [B, M, D], got [2, 5]"),
    (
        correspond(query_labels=labels(3)),
        ValueError,
        "query_labels: expected shape [B, N], got [3]",
    ),
    # Sizes that do not fit each other
    (
        correspond(key=features(3, 5, 4)),
        ValueError,
        "key: expected size 2 (that of query) in dimension 0, got shape [3, 5, 4]",
    ),
    (
        correspond(key=features(2, 5, 8)),
        ValueError,
        "key: expected size 4 (that of query) in dimension -1, got shape [2, 5, 8]",
    ),
    (
        correspond(value=features(2, 6, 6)),
        ValueError,
        "value: expected size 5 (that of key) in dimension 1, got shape [2, 6, 6]",
    ),
    (
        correspond(value=features(1, 5, 6)),
        ValueError,
        "value: expected size 2 (that of key) in dimension 0, got shape [1, 5, 6]",
    ),
    (
        correspond(query_labels=labels(2, 4)),
        ValueError,
        "query_labels: expected size 3 (that of query) in dimension 1, got shape [2, 4]",
    ),
    (
        correspond(key_labels=labels(1, 5)),
        ValueError,
        "key_labels: expected size 2 (that of key) in dimension 0, got shape [1, 5]",
    ),
    (
        correspond(query=features(2, 3, 0), key=features(2, 5, 0)),
        ValueError,
        "query: expected at least one channel C, got [2, 3, 0]",
    ),
    # Types
    (
        correspond(query=labels(2, 3, 4)),
        TypeError,
        "query: expected one of float32, float64, bfloat16, float16, got torch.int64",
    ),
    (
        correspond(query=features(2, 3, 4, dtype=torch.complex64)),
        TypeError,
        "query: expected one of float32, float64, bfloat16, float16, got torch.complex64",
    ),
    (
        correspond(key=features(2, 5, 4, dtype=torch.float64)),
        TypeError,
        "key: expected query's dtype torch.float32, got torch.float64",
    ),
    (correspond(value=labels(2, 5, 6)), TypeError, "value: expected one of float32"),
    (
        correspond(query_labels=labels(2, 3, dtype=torch.float32)),
        TypeError,
        "query_labels: expected an integer dtype, got torch.float32",
    ),
    (
        correspond(key_labels=labels(2, 5, dtype=torch.bool)),
        TypeError,
        "key_labels: expected an integer dtype, got torch.bool",
    ),
    # Devices
    (
        correspond(key=features(2, 5, 4).to("meta")),
        ValueError,
        "key: expected a tensor on cpu like query, got meta",
    ),
    (
        correspond(value=features(2, 5, 6).to("meta")),
        ValueError,
        "value: expected a tensor on cpu like query, got meta",
    ),
    # num_segments
    (correspond(num_segments=0), ValueError, "num_segments: expected at least 1, got 0"),
    (correspond(num_segments=-3), ValueError, "num_segments: expected at least 1, got -3"),
    (correspond(num_segments=2.0), TypeError, "num_segments: expected an int, got float"),
    (correspond(num_segments=True), TypeError, "num_segments: expected an int, got bool"),
    (
        correspond(query_labels=LAYOUT_OF_6),
        ValueError,
        "query_labels: expected a layout of num_segments=7 classes, got one of 6",
    ),
    (
        correspond(query_labels=LAYOUT_OF_3_IMAGES),
        ValueError,
        "query_labels: expected size 2 (that of query) in dimension 0, got shape [3, 3]",
    ),
    # temperature
    (
        correspond(temperature=0.0),
        ValueError,
        "(at least 1.2e-38 for torch.float32), got 0.0",
    ),
    (correspond(temperature=-1), ValueError, "temperature: expected a finite number above 0"),
    (correspond(temperature=float("nan")), ValueError, "temperature: expected a finite number"),
    (correspond(temperature=float("inf")), ValueError, "temperature: expected a finite number"),
    (
        correspond(temperature=torch.tensor(-0.5)),
        ValueError,
        "(at least 1.2e-38 for torch.float32), got -0.5",
    ),
    (
        correspond(temperature=features(2)),
        ValueError,
        "temperature: expected a float or a floating tensor of one element, "
        "got torch.float32 of shape [2]",
    ),
    (
        correspond(temperature=labels(1)),
        ValueError,
        "temperature: expected a float or a floating tensor of one element, got torch.int64",
    ),
    (
        correspond(temperature="0.01"),
        TypeError,
        "temperature: expected a float or a tensor, got str",
    ),
    (
        correspond(temperature=True),
        TypeError,
        "temperature: expected a float or a tensor, got bool",
    ),
    # Flags and choices
    (correspond(center=1), TypeError, "center: expected True or False, got 1"),
    (correspond(normalize=None), TypeError, "normalize: expected True or False, got None"),
    (correspond(deterministic="yes"), TypeError, "deterministic: expected True or False"),
    (
        correspond(precision="half"),
        ValueError,
        "precision: expected None or one of ('ieee', 'tf32x3', 'tf32', 'bf16', 'fp16'), got 'half'",
    ),
    (
        correspond(precision="tf32", backend="reference"),
        ValueError,
        "precision: backend 'reference' computes in 'ieee' only, got 'tf32'",
    ),
    (correspond(backend="mps"), ValueError, "backend: expected None or one of ("),
    (
        correspond(
            **{name: x.to("meta") for name, x in GOOD.items() if name != "num_segments"}
            | {"backend": "cpu"}
        ),
        ValueError,
        "backend: 'cpu' does not serve tensors on meta",
    ),
    # The functions around it name the same arguments
    (warp(value=features(2, 4, 6)), ValueError, "value: expected size 5 (that of key)"),
    (warp(temperature=0), ValueError, "(at least 1.2e-38 for torch.float32), got 0"),
    (maximum(key=features(2, 5, 1)), ValueError, "key: expected size 4 (that of query)"),
    (maximum(center="no"), TypeError, "center: expected True or False, got 'no'"),
    # segment_cosine_similarity
    (cosine(total_size=29), ValueError, "total_size: expected at least 30"),
    (cosine(total_size=-1), ValueError, "total_size: expected at least 0, got -1"),
    (cosine(total_size=30.0), TypeError, "total_size: expected an int or None, got float"),
    (cosine(total_size=True), TypeError, "total_size: expected an int or None, got bool"),
    (cosine(key_labels=labels(2, 4)), ValueError, "key_labels: expected size 5 (that of key)"),
    # varlen_correspondence
    (varlen(query=features(1, 3, 4)), ValueError, "query: expected shape [T, C], got [1, 3, 4]"),
    (varlen(key=features(5)), ValueError, "key: expected shape [S, C], got [5]"),
    (varlen(value=features(4, 6)), ValueError, "value: expected size 5 (that of key)"),
    (varlen(cu_seqlens_q=[0, 3]), TypeError, "cu_seqlens_q: expected a torch.Tensor, got list"),
    (
        varlen(cu_seqlens_q=cu(0, 3, dtype=torch.int16)),
        TypeError,
        "cu_seqlens_q: expected int32 or int64, got torch.int16",
    ),
    (varlen(cu_seqlens_k=cu(1, 2, 5)), ValueError, "cu_seqlens_k: expected 0 first, got 1"),
    (
        varlen(cu_seqlens_k=cu(0, 4, 2)),
        ValueError,
        "cu_seqlens_k: expected values that never fall, got [0, 4, 2]",
    ),
    (
        varlen(cu_seqlens_q=cu(0, 1, 4)),
        ValueError,
        "cu_seqlens_q: expected at most 3 (the rows of query), got 4 last",
    ),
    (
        varlen(cu_seqlens_k=cu(0, 5)),
        ValueError,
        "cu_seqlens_k: expected size 3 (that of cu_seqlens_q) in dimension 0",
    ),
    (
        varlen(cu_seqlens_q=cu(0)),
        ValueError,
        "cu_seqlens_q: expected shape [G+1] with at least one group, got [1]",
    ),
    # segment_layout
    (
        partial(segment_layout, labels(4), 2),
        ValueError,
        "labels: expected shape [B, N], got [4]",
    ),
    (
        partial(segment_layout, features(1, 4), 2),
        TypeError,
        "labels: expected an integer dtype, got torch.float32",
    ),
    (
        partial(segment_layout, [[0, 1]], 2),
        TypeError,
        "labels: expected a torch.Tensor, got list",
    ),
    (
        partial(segment_layout, labels(1, 4), 0),
        ValueError,
        "num_segments: expected at least 1, got 0",
    ),
    # The module
    (
        partial(SegmentCorrespondence, 0),
        ValueError,
        "num_segments: expected at least 1, got 0",
    ),
    (
        module(0, features(2, 4, 9)),
        ValueError,
        "query: expected shape [B, C, H, W], got [2, 4, 9]",
    ),
    (
        module(3, labels(2, 9)),
        ValueError,
        "query_labels: expected shape [B, H, W], got [2, 9]",
    ),
    (
        module(4, labels(2, 5, 3)),
        ValueError,
        "key_labels: expected size 2 (that of key)",
    ),
]


@pytest.mark.parametrize(
    ("call", "exception", "message"), WRONG_CALLS, ids=[message for *_, message in WRONG_CALLS]
)
@pytest.mark.filterwarnings("ignore:spcolor_ops. plain PyTorch")
def test_wrong_call(call, exception, message):
    with pytest.raises(exception) as caught:
        call()
    assert type(caught.value) is exception
    assert message in str(caught.value)


def test_the_right_calls_are_right(backend):
    """Else a wrong call could fail for another reason than its own."""
    correspond(backend=backend)()
    warp(backend=backend)()
    maximum(backend=backend)()
    cosine(backend=backend, total_size=30)()
    varlen(backend=backend)()
    SegmentCorrespondence(7, backend=backend)(*GOOD_MAPS)


LAYOUT = segment_layout(labels(2, 3), 7, backend="reference")


@pytest.mark.parametrize(
    "wrong",
    [
        {"order": LAYOUT.order.long()},
        {"offsets": LAYOUT.offsets.float()},
        {"offsets": LAYOUT.offsets[:1]},
        {"offsets": LAYOUT.offsets.repeat(2, 1)},
        {"offsets": LAYOUT.offsets[0]},
        {"offsets": LAYOUT.offsets.to("meta")},
        {"order": LAYOUT.order.to("meta")},
    ],
    ids=["order_type", "offsets_type", "fewer", "more", "dimensions", "offsets_meta", "order_meta"],
)
def test_a_layout_of_the_wrong_form_is_refused(wrong, backend):
    with pytest.raises((TypeError, ValueError), match=r"^query_labels"):
        correspond(query_labels=LAYOUT._replace(**wrong), backend=backend)()


@pytest.mark.parametrize(
    "offsets",
    [
        [0, 2, 9],  # beyond the rows
        [0, 3, -5],  # falling
        [-4, 0, 3],  # before the rows
        [2**31 - 1, 2**31 - 1, 2**31 - 1],
    ],
)
@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 99], [-7, 1, 2]])
def test_a_broken_layout_reads_nothing_out_of_bounds(offsets, order, backend):
    """A layout made by hand is refused, or clamped: never a read or write outside the tensors."""
    broken = SegmentLayout(
        torch.tensor([order] * 2, dtype=torch.int32),
        torch.tensor([[0, 1, 2]] * 2, dtype=torch.int32),
        torch.tensor([offsets] * 2, dtype=torch.int32),
    )
    inputs = GOOD | {"num_segments": 2, "query_labels": broken}
    inputs["query"] = features(2, 3, 4).requires_grad_()
    try:
        out = segment_correspondence(**inputs, backend=backend)
        out.warped.sum().backward()
    except (ValueError, RuntimeError, IndexError):
        return
    assert out.warped.isfinite().all()
