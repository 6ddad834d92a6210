"""Second derivatives of the correspondence, in eager mode."""

import pytest
import torch
from cases import random_inputs
from torch.autograd import gradgradcheck

from spcolor_ops import segment_correspondence, segment_max_similarity, varlen_correspondence

SIZES = {"b": 2, "n": 5, "m": 6, "c": 3, "d": 2, "k": 2}
OUTPUTS = ("warped", "similarity", "lse")


def leaves_of(inputs, temperature: float = 0.5):
    """Return query, key, value and temperature, which a gradient is wanted of."""
    leaves = [x.clone().requires_grad_() for x in inputs[:3]]
    return (*leaves, torch.tensor(temperature, dtype=torch.float64, requires_grad=True))


def outputs_of(inputs, names, backend, **options):
    """Return the named outputs as a function of the leaves; unrelated rows have no lse."""

    def run(query, key, value, temperature):
        out = segment_correspondence(
            *(query, key, value, *inputs[3:5]),
            num_segments=inputs.num_segments,
            temperature=temperature,
            backend=backend,
            **options,
        )
        found = out._replace(lse=out.lse[out.index >= 0])
        return tuple(getattr(found, name) for name in names)

    return run


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("names", [*((name,) for name in OUTPUTS), OUTPUTS], ids="-".join)
def test_gradgradcheck(names, center, backend):
    inputs = random_inputs(torch.float64, **SIZES)
    assert gradgradcheck(outputs_of(inputs, names, backend, center=center), leaves_of(inputs))


def test_gradgradcheck_without_normalising(backend):
    inputs = random_inputs(torch.float64, **SIZES)
    run = outputs_of(inputs, OUTPUTS, backend, normalize=False)
    assert gradgradcheck(run, leaves_of(inputs, 2.0))


def test_gradgradcheck_of_classes_that_one_side_lacks(backend):
    inputs = random_inputs(torch.float64, **SIZES)
    inputs.query_labels[0], inputs.key_labels[0] = 0, 1
    inputs.query_labels[1, 0] = -1
    assert gradgradcheck(outputs_of(inputs, OUTPUTS, backend), leaves_of(inputs))


def test_gradgradcheck_of_a_part_of_the_inputs(backend):
    inputs = random_inputs(torch.float64, **SIZES)
    run = outputs_of(inputs, OUTPUTS, backend)
    query, *others = leaves_of(inputs)
    others = [x.detach() for x in others]
    assert gradgradcheck(lambda query: run(query, *others), query)


def test_hessian_of_a_loss_of_the_outputs(backend):
    """Gradients that come in depend on the inputs themselves, as those of every real loss do."""
    inputs = random_inputs(torch.float64, **SIZES)
    run = outputs_of(inputs, OUTPUTS, backend)
    leaves = leaves_of(inputs)

    def slope(*leaves):
        loss = sum(x.square().sum() for x in run(*leaves))
        return torch.autograd.grad(loss, leaves, create_graph=True)

    assert torch.autograd.gradcheck(slope, leaves)


def test_a_zero_vector_has_no_second_derivative(backend):
    inputs = random_inputs(torch.float64, **SIZES)
    inputs.query[0, 1] = 0
    leaves = leaves_of(inputs)
    warped, similarity = outputs_of(inputs, OUTPUTS[:2], backend)(*leaves)
    first = torch.autograd.grad(
        warped.square().sum() + similarity.square().sum(), leaves, create_graph=True
    )
    second = torch.autograd.grad(sum(x.square().sum() for x in first), leaves)
    assert all(x.isfinite().all() for x in second)
    assert (second[0][0, 1] == 0).all()
    assert (second[0][0, 0] != 0).any()


def test_third_derivatives_follow(backend):
    """Of f(T) = similarity / T summed by lse: differentiated as often as is wanted."""
    inputs = random_inputs(torch.float64, **SIZES)
    *features, temperature = leaves_of(inputs)
    (lse,) = outputs_of(inputs, ("lse",), backend)(*(x.detach() for x in features), temperature)
    derivative = lse.sum()
    for _ in range(3):
        (derivative,) = torch.autograd.grad(derivative, temperature, create_graph=True)
    step = 1e-4

    def second(at):
        at = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        (lse,) = outputs_of(inputs, ("lse",), backend)(*(x.detach() for x in features), at)
        (first,) = torch.autograd.grad(lse.sum(), at, create_graph=True)
        return torch.autograd.grad(first, at)[0]

    expected = (second(0.5 + step) - second(0.5 - step)) / (2 * step)
    torch.testing.assert_close(derivative, expected, rtol=1e-5, atol=0)


def test_gradgradcheck_of_the_other_functions(backend):
    inputs = random_inputs(torch.float64, **SIZES)
    query, key, value, temperature = leaves_of(inputs)

    def maximum(query, key):
        labels = inputs[3:5]
        return segment_max_similarity(
            query, key, *labels, num_segments=2, backend=backend
        ).similarity

    def varlen(query, key, value, temperature):
        cu_q, cu_k = torch.tensor([0, 2, 5]), torch.tensor([0, 3, 6])
        return varlen_correspondence(
            query, key, value, cu_q, cu_k, temperature=temperature, backend=backend
        )[:2]

    assert gradgradcheck(maximum, (query, key))
    rows = [x.detach()[0].requires_grad_() for x in (query, key, value)]
    assert gradgradcheck(varlen, (*rows, temperature))
