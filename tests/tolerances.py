"""How far an operator may be from the oracle: one table for all tests.

An entry may differ by

    rtol * |expected| + atol * condition + dropped.

`condition` (see conditioning.py) says to how much a unit error of the cosines grows in that entry:
at temperature 0.01 a cosine error of 1e-6 is a logit error of 1e-4, hence a relative error of 1e-4
in every softmax weight. So atol is the error of one cosine, in units that do not depend on sizes,
temperature or values. `dropped` is what the softmax weights below the cutoff contribute, which the
backward may leave out.

Oracle and operator get the same inputs, already rounded to their type. bfloat16 and float16 are
therefore as exact as float32, in which they are summed; only storing a result in them rounds it.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Tolerance(NamedTuple):
    """See the module's docstring."""

    rtol: float
    atol: float


# Unit roundoff of the sums: 6e-8 for float32, 1.1e-16 for float64. A norm, a mean and a product of
# up to 512 terms each add a few of them; random signs keep the sum near 5.
_F32 = 4e-7
_F64 = 1e-15

# Storing a result rounds it by half an epsilon: 2**-8 = 0.0039 and 2**-11 = 0.00049.
_BF16 = 0.004
_F16 = 0.0005

_SUMMED_IN_FLOAT32 = (torch.float32, torch.bfloat16, torch.float16)

TOLERANCES: dict[tuple[str, torch.dtype], Tolerance] = {
    # Outputs, by the type of the features: float32 even for bfloat16 and float16 features.
    **{("similarity", dtype): Tolerance(0, _F32) for dtype in _SUMMED_IN_FLOAT32},
    ("similarity", torch.float64): Tolerance(0, _F64),
    # The logarithm is near 1 / temperature = 100; float32 holds that to 4e-6: one epsilon.
    **{("lse", dtype): Tolerance(1.2e-7, _F32) for dtype in _SUMMED_IN_FLOAT32},
    ("lse", torch.float64): Tolerance(2.2e-16, _F64),
    **{("cosine", dtype): Tolerance(0, _F32) for dtype in _SUMMED_IN_FLOAT32},
    ("cosine", torch.float64): Tolerance(0, _F64),
    # Softmax sums run over up to thousands of terms, in blocks: their roundoff is part of atol.
    **{("warped", dtype): Tolerance(0, _F32) for dtype in _SUMMED_IN_FLOAT32},
    ("warped", torch.float64): Tolerance(0, _F64),
    # Gradients, by the type of the features. Query and key have that type, so it rounds them.
    **{
        (name, dtype): Tolerance(rtol, atol)
        for name in ("query", "key")
        for dtype, rtol, atol in (
            (torch.float32, 0, _F32),
            (torch.float64, 0, _F64),
            (torch.bfloat16, _BF16, _F32),
            (torch.float16, _F16, _F32),
        )
    },
    **{("value", dtype): Tolerance(0, _F32) for dtype in _SUMMED_IN_FLOAT32},
    ("value", torch.float64): Tolerance(0, _F64),
    # A sum over all pairs. The condition adds magnitudes, while most of the pairs' errors cancel.
    **{("temperature", dtype): Tolerance(0, _F32 / 4) for dtype in _SUMMED_IN_FLOAT32},
    ("temperature", torch.float64): Tolerance(0, _F64 / 4),
}

# What has value's or the temperature's own type is rounded to that type.
STORAGE_RTOL = {
    torch.float64: 2.2e-16,
    torch.float32: 1.2e-7,
    torch.bfloat16: _BF16,
    torch.float16: _F16,
}

# float16 has no numbers between 0 and 6e-8, and none below 3e-8 that rounds away from 0.
STORAGE_ATOL = {
    torch.float64: 0.0,
    torch.float32: 1e-38,
    torch.bfloat16: 1e-38,
    torch.float16: 6e-8,
}

# Half a unit in the last place of the products' operands. A cosine of two unit vectors that are
# rounded once errs by at most twice that, one for each vector, as the condition counts it.
PRECISION_ATOL = {"tf32": 2**-11, "fp16": 2**-11, "bf16": 2**-8}


def coarser_by(precision: str | None, dtype: torch.dtype) -> float:
    """Return how many times the error of one cosine in `precision` is that of the table."""
    return 1 + PRECISION_ATOL.get(precision, 0.0) / TOLERANCES["cosine", dtype].atol


def worst_ratio(
    name: str,
    actual: Tensor,
    expected: Tensor,  # float64
    dtype: torch.dtype,  # of the features
    condition: Tensor | float = 1.0,
    dropped: Tensor | float = 0.0,
) -> float:
    """Return the largest error over its tolerance: right if at most 1. NaN counts as infinite."""
    if actual.shape != expected.shape:
        raise AssertionError(
            f"{name}: shape {list(actual.shape)} instead of {list(expected.shape)}"
        )
    if actual.numel() == 0:
        return 0.0
    tolerance = TOLERANCES[name, dtype]
    rtol = tolerance.rtol + STORAGE_RTOL[actual.dtype]
    allowed = rtol * expected.abs() + tolerance.atol * condition + dropped
    allowed = allowed + STORAGE_ATOL[actual.dtype]
    expected_stored = expected.to(actual.dtype)  # beyond float16's range both are infinite
    error = (actual.double() - expected).abs()
    error = torch.where(actual == expected_stored, 0.0, error).nan_to_num(nan=torch.inf)
    ratio = error / allowed.nan_to_num(nan=0.0)  # 0 / 0 is right
    return float(ratio.nan_to_num(nan=0.0, posinf=torch.inf).max().detach())
