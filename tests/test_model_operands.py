"""What the engines match: one row of it against the operator and against the warped colours."""

import numpy as np
import pytest
import torch
from model_photos import chelsea, coffee, small_area  # noqa: F401

from spcolor_model.color import rgb_to_lab
from spcolor_model.engine import make_engine
from spcolor_model.operands import Operands
from spcolor_ops import segment_correspondence

pytestmark = pytest.mark.usefixtures("small_area")


def observed(name: str, reference: np.ndarray) -> tuple:
    seen = []
    found = make_engine(name)(rgb_to_lab(coffee())[0], reference, None, seen.append)
    (operands,) = seen
    return operands, found


@pytest.mark.parametrize("name", ["trained", "match"])
def test_a_row_gives_the_warped_colour_of_the_engine(name):
    operands, found = observed(name, chelsea())
    assert operands.grid == tuple(found.match.confidence.shape)
    rows, columns = operands.grid
    for position in [(0, 0), (rows // 2, columns // 3), (rows - 1, columns - 1), (2, columns // 2)]:
        row = operands.row(position)
        torch.testing.assert_close(
            row.value[:2], found.match.ab[:, position[0], position[1]], atol=2e-3, rtol=0
        )
        if row.best is None:
            assert found.match.unrelated[position]
        else:
            assert row.weights.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("center", [False, True])
def test_rows_are_those_of_the_operator(center):
    shapes = ((12, 5), (20, 5), (20, 3))
    query, key, value = (torch.randn(shape) for shape in shapes)
    labels = torch.randint(-1, 3, (12,)), torch.randint(-1, 2, (20,))
    operands = Operands(query, key, value, *labels, 3, 0.1, center, (3, 4), (4, 5))
    for one in (operands, operands.without_classes()):
        inputs = (x[None] for x in one[:5])
        out = segment_correspondence(*inputs, num_segments=3, temperature=0.1, center=center)
        for i in range(12):
            row = one.row(divmod(i, 4))
            torch.testing.assert_close(row.value, out.warped[0, i])
            assert row.similarity == pytest.approx(out.similarity[0, i].item(), abs=1e-6)
            index = out.index[0, i].item()
            assert row.best == (None if index < 0 else divmod(index, 5))
    assert any(operands.row(divmod(i, 4)).best is None for i in range(12))
