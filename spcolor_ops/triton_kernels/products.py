"""Matrix products in the precision that was asked for, and the types it takes."""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def product(a, b, PRECISION: tl.constexpr):
    """Return a @ b summed in float32 (float64 for float64); operands are packed for PRECISION."""
    if a.dtype == tl.float32:
        return tl.dot(a, b, input_precision=PRECISION)
    elif a.dtype == tl.float64:
        return tl.dot(a, b, out_dtype=tl.float64)
    else:
        return tl.dot(a, b)


@triton.jit
def weighted_product(weights, b, PRECISION: tl.constexpr):
    """Return weights @ b, with float32 (float64) weights of any magnitude and a packed operand b.

    fp16 would lose small weights; tf32 has its fraction and float32's exponents.
    """
    if PRECISION == "bf16":
        return tl.dot(weights.to(tl.bfloat16), b.to(tl.bfloat16))
    elif weights.dtype == tl.float64:
        return tl.dot(weights, b.to(tl.float64), out_dtype=tl.float64)
    elif (PRECISION == "fp16") | (PRECISION == "tf32"):
        return tl.dot(_tf32(weights), _tf32(b.to(tl.float32)), input_precision="tf32")
    else:
        return tl.dot(weights, b.to(tl.float32), input_precision=PRECISION)


@triton.jit
def _tf32(x):
    """Return float32 x rounded: a tensor core cuts off, and the errors of a sum would add up."""
    bits = (x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000
    return tl.where(x == x, bits.to(tl.float32, bitcast=True), x)


def product_precision(precision: str, is_raw: bool) -> str:
    """Return the PRECISION of the kernels.

    Raw 16-bit operands have exact products; beside them, float32 weights are split. AMD's matrix
    units multiply float32 itself, so that nothing has to be split there.
    """
    if precision == "ieee" and is_raw:
        precision = "tf32x3"
    if precision == "tf32x3" and torch.version.hip:
        return "ieee"
    return precision


def is_raw(features: Tensor, precision: str, center: bool) -> bool:
    """Whether features are packed as they are."""
    own = {torch.bfloat16: ("ieee", "bf16"), torch.float16: ("ieee", "fp16")}
    return not center and precision in own.get(features.dtype, ())


def product_dtype(features: Tensor, precision: str, center: bool) -> torch.dtype:
    """Return the type in which the products' operands are packed."""
    if features.dtype == torch.float64 or is_raw(features, precision, center):
        return features.dtype
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)


def triton_dtype(dtype: torch.dtype):
    """Return Triton's name of a type of sums."""
    return tl.float64 if dtype == torch.float64 else tl.float32
