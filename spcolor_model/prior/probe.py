"""The cluster probe: from the code of a position to its class and how sure that is.

Dimensions: B images, E channels of the code, K classes, h rows and w columns of the grid.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spcolor_ops import _checks


class ClusterProbe(nn.Module):
    """Classify every position by the cluster whose centroid has the nearest direction.

    With the cosines s_ic = cos(code_i, u_c) of the centroids u_c,

        C(i) = argmax_c s_ic,    S_cl(i) = max_c softmax_c(scale s_ic)    (paper section III-B).

    Args:
        clusters: [K, E] centroids, of any length; kept as a buffer of this name.
        scale: 10 in the published code, for STEGO's codes.

    Raises:
        TypeError, ValueError: clusters that are no floating [K, E] with K and E at least 1.

    Example:
        >>> labels, confidence = ClusterProbe(torch.randn(27, 90))(torch.randn(2, 90, 32, 32))
    """

    def __init__(self, clusters: Tensor, *, scale: float = 10.0) -> None:
        super().__init__()
        _checks.check_features("clusters", clusters, "K E")
        if clusters.numel() == 0:
            raise ValueError(f"clusters: expected at least one, got shape {list(clusters.shape)}")
        self.register_buffer("clusters", clusters.detach().clone())
        self.scale = scale

    @property
    def num_segments(self) -> int:
        """Number of classes K."""
        return len(self.clusters)

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels [B, h, w] int64 in 0..K-1 and confidence [B, h, w] in 1/K..1.

        Args:
            code: [B, E, h, w].
        """
        _checks.check_features("code", code, "B E h w")
        _checks.check_size("code", code, 1, self.clusters.shape[1], "clusters")
        cosine = torch.einsum(
            "behw,ke->bkhw", F.normalize(code, dim=1), F.normalize(self.clusters, dim=1)
        )
        confidence, labels = (self.scale * cosine).softmax(dim=1).max(dim=1)
        return labels, confidence

    def extra_repr(self) -> str:
        return f"num_segments={self.num_segments}, scale={self.scale}"
