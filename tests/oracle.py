"""What the operators must compute, in float64: dense [N, M] cosines under a label mask.

A formulation of its own, not the reference's loop over classes: classes are told apart by a mask,
their means taken by a one-hot matmul, and gradients left to PyTorch's autograd.
"""

from typing import NamedTuple

import torch
from torch import Tensor

RELATIVE_ZERO = 1e-6  # of float32; other types scale it by their epsilon
ABSOLUTE_ZERO = 1e-12


class Oracle(NamedTuple):
    """The four outputs, and the dense matrices that they come from."""

    warped: Tensor  # [B, N, D]
    similarity: Tensor  # [B, N]
    index: Tensor  # [B, N]
    lse: Tensor  # [B, N]
    cosine: Tensor  # [B, N, M]
    weights: Tensor  # [B, N, M], the softmax; 0 between different labels
    related: Tensor  # [B, N, M] bool


class Units(NamedTuple):
    """Unit vectors, and what the error of one depends on."""

    unit: Tensor  # [B, N, C]; just x - mean where it is not normalised
    norm: Tensor  # [B, N, 1] of x - mean; infinite where the unit vector is 0 by rule
    one_hot: Tensor  # [B, N, K]


def one_hot(labels: Tensor, num_segments: int) -> Tensor:
    """Return [B, N, K] float64; a label outside 0..K-1 gives a row of zeros."""
    return (labels.long()[:, :, None] == torch.arange(num_segments)).double()


def unit_vectors(
    x: Tensor, labels: Tensor, num_segments: int, center: bool, normalize: bool, dtype: torch.dtype
) -> Units:
    """Centre x [B, N, C] by class and normalise it; `dtype` is the type that x was rounded to."""
    classes = one_hot(labels, num_segments)
    centred = x
    if center:
        mean = classes.mT @ x / classes.sum(1).clamp(min=1)[:, :, None]  # [B, K, C]
        centred = x - classes @ mean
    norm = centred.norm(dim=2, keepdim=True)
    if not normalize:
        return Units(centred, norm, classes)
    limit = RELATIVE_ZERO * torch.finfo(dtype).eps / torch.finfo(torch.float32).eps
    zero = (norm < ABSOLUTE_ZERO) | (norm <= limit * x.norm(dim=2, keepdim=True))
    norm = norm.masked_fill(zero, torch.inf)
    return Units(torch.where(zero, 0.0, centred / norm.masked_fill(zero, 1.0)), norm, classes)


def correspondence(
    query: Tensor,  # [B, N, C] float64
    key: Tensor,  # [B, M, C] float64
    value: Tensor,  # [B, M, D] float64
    query_labels: Tensor,  # [B, N]
    key_labels: Tensor,  # [B, M]
    temperature: Tensor,  # [] float64
    *,
    num_segments: int,
    center: bool,
    normalize: bool,
    dtype: torch.dtype,
    index: Tensor | None = None,
) -> Oracle:
    """Return the outputs; with `index` [B, N], similarity is read there and not at the maximum.

    Where two cosines are nearly equal, rounding decides which one an operator takes for the
    maximum; its gradient then goes there.
    """
    # One more key, of no class, because a maximum over no keys is an error in PyTorch.
    key, value = (torch.nn.functional.pad(x, (0, 0, 0, 1)) for x in (key, value))
    key_labels = torch.nn.functional.pad(key_labels.long(), (0, 1), value=-1)
    query_labels = query_labels.long()

    q = unit_vectors(query, query_labels, num_segments, center, normalize, dtype).unit
    k = unit_vectors(key, key_labels, num_segments, center, normalize, dtype).unit
    related = query_labels[:, :, None] == key_labels[:, None, :]
    related &= ((query_labels >= 0) & (query_labels < num_segments))[:, :, None]
    alone = ~related.any(2)  # [B, N]

    cosine = q @ k.mT
    logits = (cosine / temperature).masked_fill(~related, -torch.inf)
    logits = logits.masked_fill(alone[:, :, None], 0.0)
    weights = logits.softmax(2).masked_fill(~related, 0.0)
    best = cosine.detach().masked_fill(~related, -torch.inf).max(2).indices
    if index is not None:
        best = index.clamp(min=0)
    return Oracle(
        weights @ value,
        cosine.gather(2, best[:, :, None])[:, :, 0].masked_fill(alone, 0.0),
        best.masked_fill(alone, -1),
        logits.logsumexp(2).masked_fill(alone, -torch.inf),
        *(x[:, :, :-1] for x in (cosine, weights, related)),
    )
