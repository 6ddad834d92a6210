"""The same bits from run to run, and for any number of threads."""

import pytest
import torch
from cases import CASES, Options, one_class, random_inputs
from checking import run

from spcolor_ops import segment_cosine_similarity, segment_layout

INPUTS = {
    "dense": lambda: one_class(n=513, m=700, c=64),
    "giant_class": CASES["giant_class"],
    "many_classes": lambda: random_inputs(b=3, n=700, m=600, c=33, k=50),
    "bfloat16": lambda: random_inputs(torch.bfloat16, n=400, m=500, c=64, k=2),
    "float64": lambda: random_inputs(torch.float64, n=200, m=300, c=20, k=2),
}


@pytest.fixture
def set_threads():
    """`torch.set_num_threads`, put back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def bits(inputs, options: Options, backend: str) -> dict[str, torch.Tensor]:
    """Return every output and gradient of every operator."""
    actual = run(inputs, options, backend=backend)
    query, key = (x.detach().requires_grad_() for x in inputs[:2])
    blocks = segment_cosine_similarity(
        query,
        key,
        *inputs[3:5],
        num_segments=inputs.num_segments,
        center=options.center,
        backend=backend,
    ).values
    grads = torch.autograd.grad(blocks.square().sum(), (query, key))
    layout = segment_layout(inputs.query_labels, inputs.num_segments, backend=backend)
    return (
        actual.outputs
        | {f"grad_{name}": grad for name, grad in actual.gradients.items()}
        | {"blocks": blocks.detach(), "grad_blocks_query": grads[0], "grad_blocks_key": grads[1]}
        | layout._asdict()
    )


@pytest.mark.parametrize("options", [Options(), Options(0.1, center=True)])
@pytest.mark.parametrize("case", INPUTS)
def test_same_bits(case, options, backend, set_threads):
    inputs = INPUTS[case]()
    set_threads(2)
    first = bits(inputs, options, backend)
    for count in (1, 2, 1, 3, 2, 2, 2, 2, 2, 2):
        # A single-threaded product of PyTorch's may differ: the promise is the compiled backend's.
        set_threads(2 if backend == "reference" else count)
        for name, again in bits(inputs, options, backend).items():
            assert torch.equal(again, first[name]), (name, count)
