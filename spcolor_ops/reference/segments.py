"""What the reference operators share: the classes two images have in common, and unit vectors."""

from collections.abc import Iterator

import torch
from torch import Tensor

RELATIVE_ZERO = 1e-6  # of float32; other types scale it by their epsilon
ABSOLUTE_ZERO = 1e-12


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Type of sums and products: float64 for float64 features, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def related_classes(
    query_order: Tensor | None,  # [B, N]; None: already in class order
    query_offsets: Tensor,  # [B, K + 1]
    key_order: Tensor | None,  # [B, M]
    key_offsets: Tensor,  # [B, K + 1]
) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """Yield (image, class, query positions [n], key positions [m]) of the shared classes."""

    def positions(order: Tensor | None, b: int, begin: int, end: int) -> Tensor:
        if order is None:
            return torch.arange(begin, end, device=query_offsets.device)
        return order[b, begin:end].long()

    query_bounds, key_bounds = query_offsets.tolist(), key_offsets.tolist()
    for b, (q, k) in enumerate(zip(query_bounds, key_bounds, strict=True)):
        for c in range(len(q) - 1):
            if q[c] < q[c + 1] and k[c] < k[c + 1]:
                i = positions(query_order, b, q[c], q[c + 1])
                j = positions(key_order, b, k[c], k[c + 1])
                yield b, c, i, j


def unit_vectors(
    features: Tensor,  # [n, C], one class of one image
    *,
    center: bool,
    normalize: bool,
) -> Tensor:
    """Subtract the class mean, then divide by the norm; a vector of rounding noise becomes 0."""
    centred, scale = _centred_and_scale(features, center, normalize)
    return torch.where(scale == 0, 0, centred * scale)


def unit_vectors_backward(
    grad: Tensor,  # [n, C], gradient of unit_vectors(features)
    features: Tensor,  # [n, C]
    *,
    center: bool,
    normalize: bool,
) -> Tensor:
    """Return the gradient of the features [n, C]."""
    centred, scale = _centred_and_scale(features, center, normalize)
    grad = torch.where(scale == 0, 0, scale * grad)
    if normalize:
        unit = torch.where(scale == 0, 0, centred * scale)
        grad = grad - unit * (unit * grad).sum(1, keepdim=True)
    return grad - grad.mean(0) if center else grad


def _centred_and_scale(features: Tensor, center: bool, normalize: bool) -> tuple[Tensor, Tensor]:
    """Return x - mean [n, C] and the factor [n, 1] that makes it a unit vector.

    The factor is 0 for noise and NaN for a vector that is not finite.
    """
    x = features.to(accumulation_dtype(features.dtype))
    centred = x - x.mean(0) if center else x
    norm = centred.detach().norm(dim=1, keepdim=True)
    if not normalize:
        return centred, torch.where(norm.isfinite(), 1, torch.nan)
    is_zero = norm < ABSOLUTE_ZERO
    if center:
        relative = RELATIVE_ZERO * torch.finfo(features.dtype).eps / torch.finfo(torch.float32).eps
        is_zero |= norm <= relative * x.detach().norm(dim=1, keepdim=True)
    # Nothing of noise is differentiated: the second derivative of a norm is infinite at 0.
    scale = torch.where(is_zero, 0, 1 / torch.where(is_zero, 1, centred).norm(dim=1, keepdim=True))
    return centred, torch.where(norm.isfinite(), scale, torch.nan)
