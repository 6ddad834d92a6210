"""`segment_layout`: a stable order by class."""

import pytest
import torch
from cases import CASES
from hypothesis import given
from hypothesis import strategies as st

from spcolor_ops import segment_layout

INTEGERS = (
    torch.int8,
    torch.uint8,
    torch.int16,
    torch.uint16,
    torch.int32,
    torch.uint32,
    torch.int64,
    torch.uint64,
)


def check_layout(labels: torch.Tensor, num_segments: int, backend: str) -> None:
    """Compare with Python's own stable sort."""
    layout = segment_layout(labels, num_segments, backend=backend)
    assert layout.num_segments == num_segments
    assert {x.dtype for x in layout} == {torch.int32}
    batch, length = labels.shape
    assert layout.order.shape == layout.inverse.shape == (batch, length)
    assert layout.offsets.shape == (batch, num_segments + 1)
    for b, row in enumerate(labels.tolist()):
        classes = [c if 0 <= c < num_segments else num_segments for c in row]
        order = sorted(range(length), key=classes.__getitem__)  # Python's sort is stable
        assert layout.order[b].tolist() == order
        assert layout.inverse[b, layout.order[b].long()].tolist() == list(range(length))
        offsets = [sum(c < bound for c in classes) for bound in range(num_segments + 1)]
        assert layout.offsets[b].tolist() == offsets


@pytest.mark.parametrize("case", CASES)
def test_cases(case, backend):
    inputs = CASES[case]()
    check_layout(inputs.query_labels, inputs.num_segments, backend)
    check_layout(inputs.key_labels, inputs.num_segments, backend)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_extremes_of_every_integer_type(dtype, backend):
    limits = torch.iinfo(dtype)
    values = [limits.min, limits.max, 0, 1, 2, 3, 4, limits.max - 1, 2, 0]
    check_layout(torch.tensor([values, values[::-1]], dtype=dtype), 3, backend)


@pytest.mark.parametrize("length", [1, 255, 256, 257, 5000])
@pytest.mark.parametrize("num_segments", [1, 2, 27, 1000])
def test_sizes(length, num_segments, backend):
    labels = torch.randint(-1, num_segments + 1, (2, length))
    check_layout(labels, num_segments, backend)


@given(
    labels=st.integers(0, 30).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(-3, 9), min_size=n, max_size=n), min_size=1, max_size=3
        )
    ),
    num_segments=st.integers(1, 8),
)
def test_any_labels(backend, labels, num_segments):
    check_layout(torch.tensor(labels, dtype=torch.int64), num_segments, backend)
