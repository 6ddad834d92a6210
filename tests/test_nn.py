"""`SegmentCorrespondence`: the operator as a module, for maps."""

import pytest
import torch
from torch import nn

from spcolor_ops import SegmentCorrespondence, segment_correspondence


def maps() -> tuple[torch.Tensor, ...]:
    """Two target maps of 5 x 7 and two reference maps of 9 x 4, in 4 classes."""
    return (
        torch.randn(2, 8, 5, 7),
        torch.randn(2, 8, 9, 4),
        torch.randn(2, 3, 9, 4),
        torch.randint(-1, 4, (2, 5, 7)),
        torch.randint(0, 5, (2, 9, 4)),
    )


@pytest.mark.parametrize("options", [{}, {"center": True, "temperature": 0.2}])
def test_maps_of_two_sizes(options, backend):
    query, key, value, query_labels, key_labels = inputs = maps()
    out = SegmentCorrespondence(4, backend=backend, **options)(*inputs)
    # Token-major views with the maps' own strides, so that the results are the same to the bit.
    rows = [x.permute(0, 2, 3, 1).reshape(2, -1, x.shape[1]) for x in (query, key, value)]
    expected = segment_correspondence(
        *rows,
        query_labels.reshape(2, -1),
        key_labels.reshape(2, -1),
        num_segments=4,
        backend=backend,
        **options,
    )
    warped = expected.warped.reshape(2, 5, 7, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(out.warped, warped)
    assert torch.equal(out.index, expected.index.view(2, 5, 7))
    for name in ("similarity", "lse"):
        torch.testing.assert_close(getattr(out, name), getattr(expected, name).view(2, 5, 7))


def test_index_counts_row_by_row_in_the_reference_map(backend):
    key = torch.eye(6).view(1, 6, 2, 3)  # position (y, x) is unit vector 3 y + x
    query = key.flip(3)
    labels = torch.zeros(1, 2, 3, dtype=torch.int64)
    out = SegmentCorrespondence(1, backend=backend)(query, key, key, labels, labels)
    assert out.index.tolist() == [[[2, 1, 0], [5, 4, 3]]]
    torch.testing.assert_close(out.warped, query)


def test_a_temperature_that_is_a_parameter_is_learned(backend):
    module = SegmentCorrespondence(4, temperature=nn.Parameter(torch.tensor(1.0)), backend=backend)
    assert [name for name, _ in module.named_parameters()] == ["temperature"]
    assert module.state_dict()["temperature"] == 1.0
    inputs = maps()
    target = SegmentCorrespondence(4, temperature=0.1, backend=backend)(*inputs).warped
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    losses = []
    for _ in range(40):
        loss = (module(*inputs).warped - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    assert 0.05 < module.temperature.item() < 0.2


def test_gradients_reach_the_maps(backend):
    query, key, value, *labels = maps()
    leaves = [x.requires_grad_() for x in (query, key, value)]
    out = SegmentCorrespondence(4, center=True, backend=backend)(*leaves, *labels)
    (out.warped.sum() + out.similarity.sum()).backward()
    assert all(x.grad.abs().sum() > 0 for x in leaves)


def test_a_float_temperature_is_no_state():
    module = SegmentCorrespondence(4)
    assert not list(module.parameters())
    assert not module.state_dict()


def test_repr_says_what_it_is():
    text = repr(SegmentCorrespondence(22, center=True, backend="reference"))
    assert text == "SegmentCorrespondence(num_segments=22, center=True, backend='reference')"
