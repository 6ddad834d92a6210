"""`segment_correspondence` with tensors on the GPU: all cases and precisions, by the oracle."""

import pytest
import torch
from cases import CASES, DTYPES, Options, random_inputs
from checking import check, on_device
from test_correspondence import OPTIONS
from tolerances import PRECISION_ATOL

from spcolor_ops import segment_correspondence, segment_layout

PRECISIONS = ("ieee", "tf32x3", *PRECISION_ATOL)
FEW_CASES = (
    "ragged",
    "one_sided",
    "giant_class",
    "odd_sizes",
    "many_keys",
    "dense",
    "channels_3",
    "channels_300",
    "values_17",
    "stepped",
    "far_from_zero",
    "zero_vectors",
)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("case", CASES)
def test_matches_oracle(case, options, dtype, backend):
    check(CASES[case](dtype), options, backend=backend, device="cuda")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", FEW_CASES)
def test_every_precision_matches_oracle(case, precision, center, dtype, backend):
    options = Options(temperature=0.05, center=center, precision=precision)
    check(CASES[case](dtype), options, backend=backend, device="cuda")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_number_is_the_temperature_of_a_tensor(dtype, backend):
    """A number stays on the CPU, a tensor is read on the GPU."""
    inputs = [on_device(x, "cuda") for x in random_inputs(dtype)[:5]]
    by_number, by_tensor = (
        segment_correspondence(*inputs, num_segments=5, temperature=temperature, backend=backend)
        for temperature in (0.25, torch.tensor(0.25, device="cuda"))
    )
    assert all(torch.equal(a, b) for a, b in zip(by_number, by_tensor, strict=True))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("length", [1, 257, 5000])
@pytest.mark.parametrize("num_segments", [1, 27, 1000])
def test_layout(num_segments, length, dtype, backend):
    labels = torch.randint(0, num_segments + 2, (3, length)).to(dtype)
    expected = segment_layout(labels, num_segments, backend="reference")
    actual = segment_layout(labels.cuda(), num_segments, backend=backend)
    for name, got, wanted in zip(expected._fields, actual, expected, strict=True):
        assert torch.equal(got.cpu(), wanted), name


@pytest.mark.parametrize("where", ["order", "offsets"])
@pytest.mark.parametrize("value", [-(2**31), -1, 10**6, 2**31 - 1])
def test_a_wrong_layout_reads_nothing_out_of_bounds(where, value, backend):
    """Whatever a layout holds, the call ends, and the next one is right."""
    inputs = random_inputs(b=1)
    on_gpu = [on_device(x, "cuda").requires_grad_() for x in inputs[:3]]
    layouts = [segment_layout(x.cuda(), 5, backend=backend) for x in inputs[3:5]]
    for layout in layouts:
        getattr(layout, where)[:, 1::2] = value
    out = segment_correspondence(*on_gpu, *layouts, num_segments=5, center=True, backend=backend)
    torch.autograd.grad(out.warped.sum() + out.similarity.sum(), on_gpu)
    torch.cuda.synchronize()
    check(inputs, backend=backend, device="cuda")
