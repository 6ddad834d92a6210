"""Perceptual loss, plain and masked by similarity.

Dimensions: B images, C channels of a backbone's map, h rows and w columns of its grid, h' rows and
w' columns of the similarity map.
"""

from __future__ import annotations

from torch import Tensor

from ._inputs import as_float, check_same_shape, similarity_mask


def perceptual(features: Tensor, truth_features: Tensor) -> Tensor:
    """Mean squared distance of the deep features of two images.

        L_perc = mean_bcyx (φ(T^)_bcyx - φ(T)_bcyx)²

    Args:
        features: φ of the prediction, [B, C, h, w], in the backbone's own scale.
        truth_features: φ of the target in its true colours, [B, C, h, w].

    Returns:
        A scalar in squared feature units.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.

    Example:
        >>> perceptual(torch.full((1, 512, 16, 16), 3.0), torch.zeros(1, 512, 16, 16))
        tensor(9.)

    Source: paper eq. 11 (φ = VGG-19 relu5_2), as a mean; "Perc. Loss" of table II.
    """
    return _squared_error(features, truth_features).mean()


def similarity_masked_perceptual(
    features: Tensor, truth_features: Tensor, similarity: Tensor
) -> Tensor:
    """Perceptual loss (SMP) that lets go of the target where the reference's colour is reliable.

        L_SMP = mean_bcyx (φ(T^)_bcyx - φ(T)_bcyx)² (1 - S_b[⌊y h'/h⌋, ⌊x w'/w⌋])

    Each feature position takes the nearest similarity at its upper left corner. S is a weight: it
    gets no gradient. It is not clamped: the cosine in it may be negative, where the weight is
    above 1.

    Args:
        features: φ of the prediction, [B, C, h, w], in the backbone's own scale.
        truth_features: φ of the target in its true colours, [B, C, h, w].
        similarity: S, [B, h', w'], at most 1, on a grid of any size; 0 in unrelated regions.

    Returns:
        A scalar in squared feature units.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.

    Example:
        >>> features, truth = torch.full((1, 512, 16, 16), 3.0), torch.zeros(1, 512, 16, 16)
        >>> similarity_masked_perceptual(features, truth, torch.full((1, 64, 64), 0.75))
        tensor(2.2500)

    Source: paper eq. 11, 14 and 15.
    """
    squared_error = _squared_error(features, truth_features)
    return (squared_error * similarity_mask(similarity, "features", squared_error)).mean()


def _squared_error(features: Tensor, truth_features: Tensor) -> Tensor:
    features = as_float("features", features, "B C h w")
    truth_features = as_float("truth_features", truth_features, "B C h w").detach()
    check_same_shape("truth_features", truth_features, "features", features)
    return (features - truth_features).square()
