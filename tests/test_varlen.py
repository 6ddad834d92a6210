"""`varlen_correspondence`: groups that are already packed."""

import itertools

import pytest
import torch
from cases import DTYPES, PAPER, Inputs, Options, random_inputs
from checking import WANTED, assert_right, backward, leaf

from spcolor_ops import varlen_correspondence

GROUPS = {
    "ragged": ([0, 3, 20, 21, 37], [0, 10, 11, 40, 53]),
    "one_group": ([0, 37], [0, 53]),
    "empty_groups": ([0, 0, 12, 12, 12, 37, 37], [0, 9, 9, 9, 30, 53, 53]),
    "rows_of_no_group": ([0, 5, 11], [0, 20, 31]),
    "only_empty_groups": ([0, 0, 0], [0, 0, 0]),
    "one_row_each": (list(range(38)), list(range(38))),
}


def labels_of(offsets: list[int], length: int) -> torch.Tensor:
    """Return [1, length]: each row's group; -1 beyond the last."""
    labels = torch.full((1, length), -1)
    for group, (begin, end) in enumerate(itertools.pairwise(offsets)):
        labels[0, begin:end] = group
    return labels


def check_varlen(inputs: Inputs, groups, options: Options, offset_dtype, backend: str) -> None:
    """Compare with the oracle of one image, whose classes are the groups."""
    leaves = {name: leaf(getattr(inputs, name)[0]) for name in ("query", "key", "value")}
    features = inputs.query.dtype
    sums = torch.float64 if features == torch.float64 else torch.float32
    leaves["temperature"] = leaf(torch.tensor(options.temperature, dtype=sums))
    out = varlen_correspondence(
        leaves["query"],
        leaves["key"],
        leaves["value"],
        *(torch.tensor(offsets, dtype=offset_dtype) for offsets in groups),
        **options._replace(temperature=leaves["temperature"])._asdict(),
        backend=backend,
    )
    actual = backward(out._asdict(), leaves, ("warped", "similarity", "lse"), WANTED)
    for tensors in (actual.outputs, actual.incoming, actual.gradients):
        for name in tensors.keys() - {"temperature"}:
            tensors[name] = tensors[name][None]
    query_labels, key_labels = (
        labels_of(offsets, x.shape[1]) for offsets, x in zip(groups, inputs[:2], strict=True)
    )
    # `index` counts within the key group; the oracle counts from the first row.
    index = actual.outputs["index"]
    begin = torch.tensor(groups[1])[query_labels.clamp(min=0)]
    actual.outputs["index"] = torch.where(index >= 0, index + begin, index)
    inputs = inputs._replace(
        query_labels=query_labels, key_labels=key_labels, num_segments=len(groups[0]) - 1
    )
    assert_right(inputs, options, actual)


@pytest.mark.parametrize("offset_dtype", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("options", [PAPER, Options(0.1, True), Options(1.0, False, False)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
def test_matches_oracle(groups, dtype, options, offset_dtype, backend):
    check_varlen(random_inputs(dtype, b=1), groups, options, offset_dtype, backend)


@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (0, 0)])
def test_no_rows(n, m, backend):
    inputs = random_inputs(b=1, n=n, m=m)
    check_varlen(inputs, ([0, 0, n], [0, m, m]), PAPER, torch.int32, backend)


def test_strided_rows(backend):
    inputs = random_inputs(b=1, n=74, m=106, c=32)
    inputs = inputs._replace(query=inputs.query[:, ::2, ::2], key=inputs.key[:, ::2, 1::2])
    inputs = inputs._replace(value=inputs.value[:, 1::2])
    check_varlen(inputs, GROUPS["ragged"], Options(0.1, True), torch.int64, backend)


def test_strided_offsets(backend):
    inputs = random_inputs(b=1)
    offsets = [torch.tensor(x, dtype=torch.int32) for x in GROUPS["ragged"]]
    spread = [torch.stack([x, x + 1], 1)[:, 0] for x in offsets]
    expected, actual = (
        varlen_correspondence(*(x[0] for x in inputs[:3]), *cu, backend=backend)
        for cu in (offsets, spread)
    )
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))
