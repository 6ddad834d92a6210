"""`segment_cosine_similarity`: the ragged blocks, their sizes and gradients."""

import conditioning
import oracle
import pytest
import torch
from cases import CASES, DTYPES, PAPER, Inputs, Options, random_inputs
from checking import leaf, sum_dtype
from tolerances import worst_ratio

from spcolor_ops import segment_cosine_similarity, segment_layout

OPTIONS = {
    "paper": PAPER,
    "centred": Options(center=True),
    "raw_centred": Options(center=True, normalize=False),
}


def blocks_of(inputs: Inputs, options: Options = PAPER, **more):
    return segment_cosine_similarity(
        *inputs[:2],
        *inputs[3:5],
        num_segments=inputs.num_segments,
        center=options.center,
        normalize=options.normalize,
        **more,
    )


def gather_blocks(dense: torch.Tensor, inputs: Inputs) -> torch.Tensor:
    """Return the blocks [total] of dense [B, N, M]: image by image, class by class, row by row."""
    parts = [
        dense[b][queries == c][:, keys == c].flatten()
        for b, (queries, keys) in enumerate(
            zip(inputs.query_labels.long(), inputs.key_labels.long(), strict=True)
        )
        for c in range(inputs.num_segments)
    ]
    return torch.cat([dense.flatten()[:0], *parts])


def check_blocks(inputs: Inputs, options: Options, backend: str, extra: int = 0) -> None:
    """Compare the values and both gradients with the oracle's dense cosines."""
    dtype = inputs.query.dtype
    rule = {"num_segments": inputs.num_segments, "center": options.center}
    rule |= {"normalize": options.normalize, "dtype": dtype}
    sides = []
    for x, labels in ((inputs.query, inputs.query_labels), (inputs.key, inputs.key_labels)):
        x = leaf(x.double())
        units = oracle.unit_vectors(x, labels, **rule)
        error = conditioning.vector_error(x, units, options.center, options.normalize)
        sides.append((x, units, error.detach()))
    (query, query_units, query_error), (key, key_units, key_error) = sides
    expected = gather_blocks(query_units.unit @ key_units.unit.mT, inputs)
    condition = conditioning.cosine_error(query_units, key_units, query_error, key_error)
    condition = gather_blocks(condition, inputs)

    leaves = inputs._replace(query=leaf(inputs.query), key=leaf(inputs.key))
    total = expected.numel() + extra if extra else None
    values = blocks_of(leaves, options, total_size=total, backend=backend).values
    assert values.dtype == sum_dtype(dtype)
    assert not values[expected.numel() :].any()
    used = values[: expected.numel()]
    assert worst_ratio("cosine", used, expected, dtype, condition) <= 1

    incoming = torch.randn(values.shape).to(values.dtype)
    grads = torch.autograd.grad(values, (leaves.query, leaves.key), incoming)
    incoming = incoming[: expected.numel()].double()
    expected_grads = torch.autograd.grad(expected, (query, key), incoming)
    size = (inputs.query.shape[0], inputs.query.shape[1], inputs.key.shape[1])
    positions = gather_blocks(torch.arange(size[0] * size[1] * size[2]).view(size), inputs)
    pairs = torch.zeros(size, dtype=torch.float64)
    pairs.view(-1)[positions.long()] = incoming.abs()
    for name, got, wanted, own, other, dense in (
        ("query", grads[0], expected_grads[0], sides[0], sides[1], pairs),
        ("key", grads[1], expected_grads[1], sides[1], sides[0], pairs.mT),
    ):
        condition = conditioning.gradient_condition(
            own[1], other[1], own[2], other[2], dense, dense, options.center, options.normalize
        )
        assert got.dtype == dtype
        assert worst_ratio(name, got, wanted, dtype, condition.detach()) <= 1, name


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_matches_oracle(case, dtype, options, backend):
    check_blocks(CASES[case](dtype), options, backend)


@pytest.mark.parametrize("extra", [1, 1000])
def test_what_is_beyond_the_blocks_is_zero(extra, backend):
    check_blocks(random_inputs(), PAPER, backend, extra=extra)


@pytest.mark.parametrize("case", ["ragged", "one_sided", "different_images"])
def test_block_is_a_view_of_its_class(case, backend):
    inputs = CASES[case]()
    blocks = blocks_of(inputs, backend=backend)
    unit_query, unit_key = (
        torch.nn.functional.normalize(x.double(), dim=2) for x in (inputs.query, inputs.key)
    )
    dense = (unit_query @ unit_key.mT).float()
    for b in range(len(inputs.query)):
        for c in range(inputs.num_segments):
            block = blocks.block(b, c)
            expected = dense[b][inputs.query_labels[b] == c][:, inputs.key_labels[b] == c]
            torch.testing.assert_close(block, expected, rtol=0, atol=1e-6)
            if block.numel():
                assert block.untyped_storage().data_ptr() == (
                    blocks.values.untyped_storage().data_ptr()
                )


@pytest.mark.parametrize(("b", "c"), [(-1, 0), (2, 0), (0, -1), (0, 5)])
def test_block_that_does_not_exist(b, c, backend):
    with pytest.raises(IndexError, match=r"expected 0\.\.[14], got"):
        blocks_of(random_inputs(), backend=backend).block(b, c)


def test_layouts_stand_for_labels(backend):
    inputs = random_inputs()
    layouts = [segment_layout(x, 5, backend=backend) for x in inputs[3:5]]
    by_layout = segment_cosine_similarity(*inputs[:2], *layouts, num_segments=5, backend=backend)
    expected = blocks_of(inputs, backend=backend)
    assert all(torch.equal(a, b) for a, b in zip(by_layout, expected, strict=True))


@pytest.mark.parametrize("side", ["query", "key"])
def test_a_nan_spoils_its_class_alone(side, backend):
    inputs = random_inputs()
    spoilt = inputs._replace(**{side: getattr(inputs, side).clone()})
    position = int((getattr(inputs, f"{side}_labels")[0] == 1).nonzero()[0])
    getattr(spoilt, side)[0, position, 3] = torch.nan
    options = Options(center=True)
    clean, dirty = (blocks_of(x, options, backend=backend) for x in (inputs, spoilt))
    for b in range(2):
        for c in range(5):
            if (b, c) == (0, 1):
                assert dirty.block(b, c).isnan().all()
            else:
                assert torch.equal(dirty.block(b, c), clean.block(b, c))
