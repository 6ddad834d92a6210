"""L1 loss that counts where the reference's colour is not reliable."""

from __future__ import annotations

from torch import Tensor

from ._inputs import as_float, check_same_shape, similarity_mask


def similarity_masked_l1(ab: Tensor, truth_ab: Tensor, similarity: Tensor) -> Tensor:
    """Mean absolute error of ab, of any reference, that lets go where its colour is reliable.

        L = mean_bcyx |ab_bcyx - truth_bcyx| (1 - S_b[⌊y h'/H⌋, ⌊x w'/W⌋])

    A colour that was matched with little similarity is likely to be wrong, and a network can learn
    to fade it. S is a weight: it gets no gradient. It is not clamped: the cosine in it may be
    negative, where the weight is above 1.

    Args:
        ab: predicted, [B, 2, H, W], in Lab units.
        truth_ab: [B, 2, H, W].
        similarity: S, [B, h', w'], at most 1, on a grid of any size; 0 in unrelated regions.

    Returns:
        A scalar in Lab units.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.

    Example:
        >>> ab, truth_ab = torch.full((1, 2, 8, 8), 4.0), torch.zeros(1, 2, 8, 8)
        >>> similarity_masked_l1(ab, truth_ab, torch.full((1, 4, 4), 0.75))
        tensor(1.)

    Source: this project's own; the mask is that of paper eq. 15.
    """
    ab = as_float("ab", ab, "B 2 H W")
    truth_ab = as_float("truth_ab", truth_ab, "B 2 H W").detach()
    check_same_shape("truth_ab", truth_ab, "ab", ab)
    return ((ab - truth_ab).abs() * similarity_mask(similarity, "ab", ab)).mean()
