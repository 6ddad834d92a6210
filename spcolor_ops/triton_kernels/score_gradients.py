"""The gradient ds of the scores of a tile, and what it reads of each query.

With p_ij = exp((s_ij - similarity_i) / T - log_mass_i) and
delta_i = g_lse_i - g_warped_i . warped_i:

    ds_ij = p_ij (g_warped_i . v_j + delta_i) / T + [j = index_i] g_similarity_i

What a query has beside its vector is gathered in class order once.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .correspondence import LOG2_E
from .products import triton_dtype
from .segments import position_of

_GATHERED_ROWS = 128  # of one program
SIMILARITY, LOG_MASS, DELTA, GRAD_SIMILARITY, FIRST_VALUE = (tl.constexpr(i) for i in range(5))


@triton.jit
def _row_terms_kernel(
    grad_warped,  # [B, N, D]
    grad_similarity,  # [B, N]
    grad_lse,  # [B, N]
    warped,  # [B, N, D]
    similarity,  # [B, N]
    index,  # [B, N]
    log_mass,  # [B, N]
    query_order,  # [B, N]
    terms,  # [B, FIRST_VALUE + D, N]
    matched,  # [B, N], index in class order
    N,
    D,
    QUERY_ORDER: tl.constexpr,
    SOFTMAX: tl.constexpr,
    GRAD_WARPED: tl.constexpr,
    GRAD_SIMILARITY_GIVEN: tl.constexpr,
    GRAD_LSE: tl.constexpr,
    ROWS: tl.constexpr,
    SUM: tl.constexpr,
):
    b = tl.program_id(1).to(tl.int64)
    rank = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = rank < N
    row = b * N + position_of(query_order + b * N, rank, inside, N, QUERY_ORDER)
    terms += b * (FIRST_VALUE + D) * N + rank
    tl.store(matched + b * N + rank, tl.load(index + row, mask=inside).to(tl.int32), mask=inside)
    tl.store(terms + SIMILARITY * N, tl.load(similarity + row, mask=inside), mask=inside)
    nothing = tl.zeros((ROWS,), SUM)
    grad = nothing
    if GRAD_SIMILARITY_GIVEN:
        grad = tl.load(grad_similarity + row, mask=inside).to(SUM)
    tl.store(terms + GRAD_SIMILARITY * N, grad, mask=inside)
    if SOFTMAX:
        tl.store(terms + LOG_MASS * N, tl.load(log_mass + row, mask=inside), mask=inside)
        delta = nothing
        if GRAD_LSE:
            delta = tl.load(grad_lse + row, mask=inside).to(SUM)
        for d in range(D):
            grad = nothing
            if GRAD_WARPED:
                grad = tl.load(grad_warped + row * D + d, mask=inside).to(SUM)
                delta -= grad * tl.load(warped + row * D + d, mask=inside)
            tl.store(terms + tl.cast(FIRST_VALUE + d, tl.int64) * N, grad, mask=inside)
        tl.store(terms + DELTA * N, delta, mask=inside)


@triton.jit
def score_gradients(
    s,  # [ROWS, COLUMNS] or its transpose, as is the shape of what follows
    values,  # g_warped_i . v_j
    terms,  # of the image, [FIRST_VALUE + D, N]
    rank,  # [ROWS], of the queries
    mask,
    is_match,
    related,
    rate,  # 1 / T
    N,
    SOFTMAX: tl.constexpr,
    TRANSPOSED: tl.constexpr,
):
    """Return (ds, its softmax part, p), 0 outside `related`."""
    grad_similarity = _spread(terms + GRAD_SIMILARITY * N, rank, mask, TRANSPOSED)
    ds = tl.where(is_match, grad_similarity, 0.0)
    p = tl.zeros_like(s)
    softmax_part = tl.zeros_like(s)
    if SOFTMAX:
        similarity = _spread(terms + SIMILARITY * N, rank, mask, TRANSPOSED)
        log_mass = _spread(terms + LOG_MASS * N, rank, mask, TRANSPOSED)
        delta = _spread(terms + DELTA * N, rank, mask, TRANSPOSED)
        # Scores that are summed again round differently: at a tiny temperature, by many exponents.
        below = tl.where(is_match, 0.0, tl.minimum(s - similarity, 0.0))
        p = tl.exp2(below * (rate * LOG2_E) - log_mass * LOG2_E)
        p = tl.where(related, p, 0.0)
        softmax_part = tl.where(related, p * (values + delta) * rate, 0.0)
        ds += softmax_part
    return ds, softmax_part, p


@triton.jit
def _spread(term, rank, mask, TRANSPOSED: tl.constexpr):
    """Return one number of each query, as a column (or a row, TRANSPOSED)."""
    x = tl.load(term + rank, mask=mask, other=0.0)
    return x[None, :] if TRANSPOSED else x[:, None]


@triton.jit
def value_products(
    terms, query, query_mask, value, key, key_mask, N, M, D, like, TRANSPOSED: tl.constexpr
):  # fmt: skip
    """Return g_warped_i . v_j for a tile of pairs."""
    total = tl.zeros_like(like)
    for d in range(D):
        d = tl.cast(d, tl.int64)
        grad = _spread(terms + (FIRST_VALUE + d) * N, query, query_mask, TRANSPOSED)
        v = _spread(value + d * M, key, key_mask, not TRANSPOSED)
        total += grad * v
    return total


class RowTerms(NamedTuple):
    """What the gradient kernels read of each query beside its vector, in class order."""

    terms: Tensor  # [B, FIRST_VALUE + D, N]
    matched: Tensor  # [B, N]


def row_terms(
    grad_warped, grad_similarity, grad_lse, warped, similarity, index, log_mass, query_order
) -> RowTerms:
    batch, length, values = warped.shape
    terms = similarity.new_empty((batch, FIRST_VALUE.value + values, length))
    matched = similarity.new_empty((batch, length), dtype=torch.int32)
    _row_terms_kernel[(triton.cdiv(length, _GATHERED_ROWS), batch)](
        warped if grad_warped is None else grad_warped.contiguous(),
        similarity if grad_similarity is None else grad_similarity.contiguous(),
        similarity if grad_lse is None else grad_lse.contiguous(),
        warped,
        similarity,
        index,
        log_mass,
        index if query_order is None else query_order,
        terms,
        matched,
        length,
        values,
        QUERY_ORDER=query_order is not None,
        SOFTMAX=grad_warped is not None or grad_lse is not None,
        GRAD_WARPED=grad_warped is not None,
        GRAD_SIMILARITY_GIVEN=grad_similarity is not None,
        GRAD_LSE=grad_lse is not None,
        ROWS=_GATHERED_ROWS,
        SUM=triton_dtype(similarity.dtype),
    )
    return RowTerms(terms, matched)
