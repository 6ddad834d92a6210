"""To how much a unit error of the cosines grows in each output and gradient, to first order.

Float64, dense, elementwise upper bounds: every sum adds magnitudes. `oracle` computes the values
themselves; this computes only how sensitive they are.
"""

from typing import NamedTuple

import torch
from oracle import Oracle, Units
from torch import Tensor


class Condition(NamedTuple):
    """Factors of the table's atol, and what softmax weights below the cutoff contribute."""

    amplified: dict[str, Tensor]
    dropped: dict[str, Tensor]


def vector_error(x: Tensor, units: Units, center: bool, normalize: bool) -> Tensor:
    """Return [B, N, 1]: the error of a unit vector, in units of roundoff.

    Subtracting the mean leaves an error as large as the class's largest vector, which grows in
    proportion where x - mean is short.
    """
    length = x.norm(dim=2, keepdim=True)
    if center:
        largest = (units.one_hot * length).amax(1) if x.shape[1] else units.one_hot.sum(1)
        length = units.one_hot @ largest[:, :, None]
    return length / units.norm if normalize else length


def cosine_error(
    query: Units, key: Units, query_error: Tensor, key_error: Tensor
) -> Tensor:  # [B, N, M]
    """Return the error of each product of two vectors whose own errors are given."""
    query_length = query.unit.norm(dim=2, keepdim=True)
    key_length = key.unit.norm(dim=2, keepdim=True)
    return query_error * key_length.mT + query_length * key_error.mT


def gradient_condition(
    own: Units,  # [B, N, C]
    other: Units,  # [B, M, C]
    own_error: Tensor,  # [B, N, 1]
    other_error: Tensor,  # [B, M, 1]
    pairs: Tensor,  # [B, N, M], magnitude of the products' gradients
    pairs_error: Tensor,  # [B, N, M], their error
    center: bool,
    normalize: bool,
) -> Tensor:
    """Return the condition of one side's gradient [B, N, C], given that of the products."""
    magnitude = other.unit.abs()
    bound = pairs_error @ magnitude + pairs @ other_error + own_error * (pairs @ magnitude)
    if normalize:
        bound = bound + own.unit.abs() * (own.unit.abs() * bound).sum(2, keepdim=True)
        bound = bound / own.norm
    if center:
        mean = own.one_hot.mT @ bound / own.one_hot.sum(1).clamp(min=1)[:, :, None]
        bound = bound + own.one_hot @ mean
    return bound


def conditions(
    query: Units,
    key: Units,
    query_error: Tensor,  # [B, N, 1]
    key_error: Tensor,  # [B, M, 1]
    value: Tensor,  # [B, M, D]
    temperature: float,
    result: Oracle,
    incoming: dict[str, Tensor],  # gradients of warped, similarity and lse; 0 where not used
    cutoff: float,
    center: bool,
    normalize: bool,
) -> Condition:
    """Return the condition of every output and of the gradients of every input."""
    error = cosine_error(query, key, query_error, key_error) * result.related  # [B, N, M]
    weights = result.weights
    logit_error = error / temperature
    shift = logit_error + (weights * logit_error).sum(2, keepdim=True)  # relative, of a weight
    amplified = {
        "similarity": error.amax(2) if error.shape[2] else error.sum(2),
        "lse": (weights * logit_error).sum(2) + 1.0,
        "warped": (weights * (shift + 1)) @ value.abs(),
    }
    grad_warped, grad_similarity, grad_lse = (
        incoming[name].abs() for name in ("warped", "similarity", "lse")
    )
    projected = (grad_warped * result.warped.abs()).sum(2, keepdim=True)
    slope = grad_warped @ value.abs().mT + projected + grad_lse[:, :, None]
    slope = slope / temperature * result.related  # magnitude of dlogit, per unit of weight
    picked = torch.zeros_like(weights)
    if picked.shape[2]:
        picked.scatter_(2, result.index.clamp(min=0)[:, :, None], grad_similarity[:, :, None])
        picked *= result.related
    grad = weights * slope + picked
    grad_error = weights * slope * (shift + 1) + picked
    weights_dropped = weights.clamp(max=cutoff)
    grad_dropped = weights_dropped * slope

    dropped = {}
    for name, units, other, own_error, other_error, transpose in (
        ("query", query, key, query_error, key_error, False),
        ("key", key, query, key_error, query_error, True),
    ):
        pairs, pairs_error, pairs_dropped = (
            x.mT if transpose else x for x in (grad, grad_error, grad_dropped)
        )
        amplified[name] = gradient_condition(
            units, other, own_error, other_error, pairs, pairs_error, center, normalize
        )
        nothing = torch.zeros_like(pairs)
        dropped[name] = gradient_condition(
            units, other, own_error, other_error, nothing, pairs_dropped, center, normalize
        )
    amplified["value"] = (weights * (shift + 1)).mT @ grad_warped
    dropped["value"] = weights_dropped.mT @ grad_warped
    cosine = result.cosine.abs()
    softmax_part = weights * slope
    amplified["temperature"] = (
        softmax_part * (shift + 1) * cosine + softmax_part * error
    ).sum() / temperature
    dropped["temperature"] = (grad_dropped * cosine).sum() / temperature
    return Condition(amplified, dropped)
