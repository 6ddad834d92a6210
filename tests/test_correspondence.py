"""`segment_correspondence` and its two shorter forms, of every backend."""

import itertools
import math

import pytest
import torch
from cases import CASES, DTYPES, PAPER, Inputs, Options, one_class, random_inputs
from checking import OUTPUTS, WANTED, Actual, assert_right, check, leaf, run

import spcolor_ops
from spcolor_ops import segment_correspondence, segment_layout

OPTIONS = {
    "paper": PAPER,
    "centred": Options(center=True),
    "raw": Options(temperature=1.0, normalize=False),
    "raw_centred": Options(temperature=1.0, center=True, normalize=False),
    "soft": Options(temperature=10.0, center=True),
}


def call(inputs: Inputs, **options):
    return segment_correspondence(*inputs[:5], num_segments=inputs.num_segments, **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("case", CASES)
def test_matches_oracle(case, options, dtype, backend):
    check(CASES[case](dtype), options, backend=backend)


_SUBSETS = [s for size in (1, 2) for s in itertools.combinations(OUTPUTS, size)]


@pytest.mark.parametrize("wanted", [*((name,) for name in WANTED), WANTED], ids="-".join)
@pytest.mark.parametrize("differentiated", _SUBSETS, ids="-".join)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_gradients_one_by_one(dtype, differentiated, wanted, backend):
    """A backward that is asked for less takes other branches, and must give the same."""
    options = Options(temperature=0.1, center=True)
    check(
        random_inputs(dtype),
        options,
        backend=backend,
        differentiated=differentiated,
        wanted=wanted,
    )


@pytest.mark.parametrize("value_dtype", DTYPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_value_has_its_own_type(dtype, value_dtype, backend):
    check(random_inputs(dtype, value_dtype), backend=backend)


@pytest.mark.parametrize(
    ("dtype", "center"), [(torch.float32, True), (torch.float64, False)], ids=str
)
def test_twenty_thousand_positions(dtype, center, backend):
    """Class by class against the oracle, since [20000, 20000] would be 3 GB."""
    length, k = 20_000, 60
    inputs = random_inputs(dtype, b=1, n=length, m=length - 777, c=8, k=k)
    # Runs of one class, as in a real label map; class 0 is five times the others.
    query_labels = (torch.arange(length) // 90 % (k + 4) - 4).clamp(min=0)[None]
    key_labels = query_labels[:, 777:].flip(1)
    inputs = inputs._replace(query_labels=query_labels, key_labels=key_labels)
    options = Options(center=center)
    actual = run(inputs, options, backend=backend)
    for c in range(k):
        i = (query_labels[0] == c).nonzero()[:, 0]
        j = (key_labels[0] == c).nonzero()[:, 0]
        assert torch.isin(actual.outputs["index"][0, i], j).all()
        outputs = {name: x[:, i] for name, x in actual.outputs.items()}
        outputs["index"] = torch.searchsorted(j, outputs["index"])
        gradients = {
            name: actual.gradients[name][:, rows]
            for name, rows in (("query", i), ("key", j), ("value", j))
        }
        part = Inputs(
            inputs.query[:, i],
            inputs.key[:, j],
            inputs.value[:, j],
            torch.zeros_like(i)[None],
            torch.zeros_like(j)[None],
            1,
        )
        incoming = {name: x[:, i] for name, x in actual.incoming.items()}
        assert_right(part, options, Actual(outputs, incoming, gradients))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("length", [2, 16, 33, 700])
def test_equal_maxima_give_the_lowest_index(length, dtype, backend):
    """Small integers, whose products are exact, so that many keys share the maximum exactly."""
    generator = torch.Generator().manual_seed(length)
    inputs = one_class(dtype, n=40, m=length, c=4)
    query, key = (
        torch.randint(-1, 2, x.shape, generator=generator).to(dtype)
        for x in (inputs.query, inputs.key)
    )
    scores = query.double() @ key.double().mT
    is_maximum = scores == scores.amax(2, keepdim=True)
    lowest = torch.where(is_maximum, torch.arange(length), length).amin(2)
    inputs = inputs._replace(query=query, key=key)
    index = call(inputs, normalize=False, backend=backend).index
    assert torch.equal(index, lowest)


def test_equal_maxima_send_their_gradient_to_the_lowest_index(backend):
    inputs = one_class(n=3, m=50, c=4)
    inputs = inputs._replace(key=torch.ones_like(inputs.key))
    options = Options(temperature=1.0, normalize=False)
    grad = run(inputs, options, backend=backend, differentiated=("similarity",)).gradients["key"]
    assert grad[0, 0].any()
    assert not grad[0, 1:].any()


@pytest.mark.parametrize("length", [5, 37, 300, 1000, 20_000])
@pytest.mark.parametrize("level", [0.1, 1000 / 3])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_flat_features_match_nothing_once_centred(dtype, level, length, backend):
    """A flat sky minus its mean is rounding noise: the unit vectors and all gradients are 0."""
    inputs = one_class(dtype, n=length, m=40, c=8)
    inputs = inputs._replace(
        query=torch.full_like(inputs.query, level), key=torch.full_like(inputs.key, -level)
    )
    for textured in (None, "key"):
        if textured:
            inputs = inputs._replace(key=one_class(dtype, n=1, m=40, c=8).key)
        actual = run(inputs, Options(center=True), backend=backend)
        assert not actual.outputs["similarity"].any()
        assert not actual.outputs["index"].any()
        lse = actual.outputs["lse"]
        torch.testing.assert_close(lse, torch.full_like(lse, math.log(40)))
        for name in ("query", "key"):
            assert not actual.gradients[name].any(), name


def test_a_vector_below_the_absolute_limit_is_zero(backend):
    inputs = one_class(n=4, m=5, c=4)
    inputs = inputs._replace(query=inputs.query * 1e-14)
    actual = run(inputs, backend=backend)
    assert not actual.outputs["similarity"].any()
    assert not actual.gradients["query"].any()
    assert not actual.gradients["key"].any()


@pytest.mark.parametrize(("steps", "similarity"), [(4, 0.0), (16, 1.0)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_relative_limit_is_where_the_contract_says(dtype, steps, similarity, backend):
    """1e-6 is 8.4 epsilons of float32, and as many of every other type; all numbers are exact."""
    eps = torch.finfo(dtype).eps
    far = 4096.0  # so that float64's centred vectors are above the absolute limit
    query = torch.tensor([[[far], [far * (1 + 2 * steps * eps)]]], dtype=dtype)
    key = torch.tensor([[[1.0], [3.0]]], dtype=dtype)
    labels = torch.zeros(1, 2, dtype=torch.int64)
    out = segment_correspondence(
        query, key, key, labels, labels, num_segments=1, center=True, backend=backend
    )
    assert out.similarity.tolist() == [pytest.approx([similarity, similarity], abs=1e-6)]


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("side", ["query", "key", "value"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_non_finite_features_spoil_their_class_alone(dtype, bad, side, center, backend):
    clean = random_inputs(dtype, n=90, m=110, k=3)
    spoilt = clean._replace(**{side: getattr(clean, side).clone()})
    labels = clean.query_labels if side == "query" else clean.key_labels
    position = int((labels[0] == 1).nonzero()[2])
    getattr(spoilt, side)[0, position, 1] = bad
    options = Options(center=center)
    expected, actual = (run(x, options, backend=backend) for x in (clean, spoilt))

    query_kept, key_kept = clean.query_labels != 1, clean.key_labels != 1
    query_kept[1], key_kept[1] = True, True  # the other image
    for name, output in actual.outputs.items():
        assert torch.equal(output[query_kept], expected.outputs[name][query_kept]), name
    for name, kept in (("query", query_kept), ("key", key_kept), ("value", key_kept)):
        grad, clean_grad = actual.gradients[name], expected.gradients[name]
        assert torch.equal(grad[kept], clean_grad[kept]), name
    index = actual.outputs["index"]
    assert ((index >= -1) & (index < 110)).all()
    if side == "value":  # the cosines do not see it
        for name in ("similarity", "index", "lse"):
            assert torch.equal(actual.outputs[name], expected.outputs[name]), name
    else:  # what it spoils must show
        rows = (clean.query_labels[0] == 1) if side == "key" or center else position
        for name in ("warped", "similarity", "lse"):
            assert actual.outputs[name][0, rows].isnan().all(), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tiny_temperature_copies_the_nearest_value(dtype, backend):
    inputs = random_inputs(dtype)
    actual = run(inputs, Options(temperature=1e-10), backend=backend)
    index = actual.outputs["index"]
    picked = torch.stack([v[i.clamp(min=0)] for v, i in zip(inputs.value, index, strict=True)])
    picked[index < 0] = 0
    assert torch.equal(actual.outputs["warped"], picked)
    torch.testing.assert_close(
        actual.outputs["lse"] * 1e-10,
        actual.outputs["similarity"].masked_fill(index < 0, -math.inf),
    )
    for name, grad in actual.gradients.items():
        # 1 / temperature is beyond float16, but infinite is not undefined.
        assert not grad.isnan().any() if dtype == torch.float16 else grad.isfinite().all(), name


def test_tiny_temperature_shares_between_equal_cosines(backend):
    """Exact ties stay ties: two keys equal to the query take half of the weight each."""
    eye = torch.eye(4)
    key = torch.cat([eye, eye.flip(0)])[None]  # key 7 - i equals key i
    value = torch.arange(8.0)[None, :, None]
    labels = torch.zeros(1, 8, dtype=torch.int64)
    out = segment_correspondence(
        eye[None],
        key,
        value,
        labels[:, :4],
        labels,
        num_segments=1,
        temperature=1e-10,
        backend=backend,
    )
    assert out.warped.flatten().tolist() == [3.5] * 4
    assert out.index.tolist() == [[0, 1, 2, 3]]
    torch.testing.assert_close(out.lse, torch.full((1, 4), 1e10))


@pytest.mark.parametrize(
    "make",
    [
        lambda: 0.5,
        lambda: torch.tensor(0.5),
        lambda: torch.tensor([0.5]),
        lambda: torch.tensor([[0.5]], dtype=torch.float64),
        lambda: torch.tensor(0.5, dtype=torch.bfloat16),
    ],
    ids=["float", "scalar", "vector", "matrix_float64", "bfloat16"],
)
def test_temperature_forms(make, backend):
    inputs = random_inputs()
    temperature = make()
    expected = run(inputs, Options(temperature=0.5), backend=backend)
    if isinstance(temperature, torch.Tensor):
        temperature.requires_grad_()
    out = call(inputs, temperature=temperature, backend=backend)
    assert torch.equal(out.warped, expected.outputs["warped"])
    if isinstance(temperature, torch.Tensor):
        out.warped.backward(expected.incoming["warped"])
        assert temperature.grad.shape == temperature.shape
        assert temperature.grad.dtype == temperature.dtype


def test_an_integer_temperature_is_a_float(backend):
    inputs = random_inputs()
    as_integer, as_float = (
        call(inputs, temperature=temperature, backend=backend) for temperature in (2, 2.0)
    )
    assert torch.equal(as_integer.lse, as_float.lse)


@pytest.mark.parametrize("center", [False, True])
def test_layouts_stand_for_labels(center, backend):
    inputs = random_inputs()
    layouts = (segment_layout(x, 5, backend=backend) for x in inputs[3:5])
    by_layout = segment_correspondence(
        *inputs[:3], *layouts, num_segments=5, center=center, backend=backend
    )
    by_labels = call(inputs, center=center, backend=backend)
    for name, got, wanted in zip(by_labels._fields, by_layout, by_labels, strict=True):
        assert torch.equal(got, wanted), name


def test_softmax_warp_is_the_first_output(backend):
    inputs = random_inputs()
    warped = spcolor_ops.segment_softmax_warp(
        *inputs[:5], num_segments=5, temperature=0.1, center=True, normalize=True, backend=backend
    )
    assert torch.equal(warped, call(inputs, temperature=0.1, center=True, backend=backend).warped)


@pytest.mark.parametrize("options", [PAPER, Options(center=True), Options(normalize=False)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", ["ragged", "no_keys", "one_sided", "dense", "zero_vectors"])
def test_max_similarity_is_the_second_and_third(case, dtype, options, backend):
    inputs = CASES[case](dtype)
    query, key = leaf(inputs.query), leaf(inputs.key)
    similarity, index = spcolor_ops.segment_max_similarity(
        query,
        key,
        *inputs[3:5],
        num_segments=inputs.num_segments,
        center=options.center,
        normalize=options.normalize,
        backend=backend,
    )
    whole = run(inputs, options, backend=backend, differentiated=("similarity",))
    incoming = whole.incoming["similarity"]
    grads = torch.autograd.grad(similarity, (query, key), incoming)
    whole.outputs.update(similarity=similarity.detach(), index=index)
    actual = Actual(whole.outputs, whole.incoming, dict(zip(("query", "key"), grads, strict=True)))
    assert_right(inputs, options, actual)


def test_unrelated_rows_have_the_contract_values(backend):
    inputs = CASES["one_sided"]()
    alone = inputs.query_labels != 2
    out = call(inputs, backend=backend)
    assert alone.any()
    assert not out.warped[alone].any()
    assert not out.similarity[alone].any()
    assert (out.index[alone] == -1).all()
    assert (out.lse[alone] == -math.inf).all()
    assert out.lse[~alone].isfinite().all()


def test_deterministic_flag_changes_nothing_on_the_cpu(backend):
    inputs = random_inputs()
    outputs = [call(inputs, deterministic=flag, backend=backend) for flag in (None, True, False)]
    for got in outputs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(got, outputs[0], strict=True))
