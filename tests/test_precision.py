"""Products in fewer bits, of the backends that have them."""

import pytest
import torch
from cases import CASES, Options, random_inputs
from checking import check, run
from tolerances import PRECISION_ATOL

from spcolor_ops import segment_correspondence

pytestmark = pytest.mark.usefixtures("gpu_backend")


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("precision", ["ieee", "tf32x3", *PRECISION_ATOL])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_matches_oracle(dtype, precision, center, gpu_backend):
    options = Options(temperature=0.05, center=center, precision=precision)
    check(
        CASES["dense" if dtype == torch.float32 else "ragged"](dtype), options, backend=gpu_backend
    )


@pytest.mark.parametrize("precision", PRECISION_ATOL)
def test_is_what_was_asked_for(precision, gpu_backend):
    """Fewer bits show: as much as their rounding, and more than float32's."""
    inputs = random_inputs(b=1, n=64, m=64, c=256, k=1)
    exact, coarse = (
        run(inputs, Options(precision=p), backend=gpu_backend).outputs["similarity"]
        for p in ("ieee", precision)
    )
    error = (exact - coarse).abs().max()
    assert 0.01 * PRECISION_ATOL[precision] < error < 2 * PRECISION_ATOL[precision]


def test_default_is_float32_grade(gpu_backend):
    inputs = random_inputs(b=1, n=64, m=64, c=256, k=1)
    exact, default = (
        run(inputs, Options(precision=p), backend=gpu_backend).outputs["similarity"]
        for p in ("ieee", None)
    )
    assert (exact - default).abs().max() < 1e-6


def test_float64_has_one_precision(gpu_backend):
    inputs = random_inputs(torch.float64)
    with pytest.raises(ValueError, match="precision: expected None or 'ieee' for float64"):
        segment_correspondence(
            *inputs[:5], num_segments=inputs.num_segments, precision="tf32", backend=gpu_backend
        )
