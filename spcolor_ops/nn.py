"""`SegmentCorrespondence`: the operator as a module, for channel-first maps."""

from __future__ import annotations

from torch import Tensor, nn

from . import _checks
from .correspondence import Correspondence, segment_correspondence


class SegmentCorrespondence(nn.Module):
    """`segment_correspondence` of [B, C, H, W] feature maps and [B, H, W] label maps.

    Args:
        num_segments: number of classes K.
        temperature, center, normalize, precision, deterministic, backend: as in
            `segment_correspondence`. A temperature that is an `nn.Parameter` is learned.

    Example:
        >>> match = SegmentCorrespondence(22, center=True)
        >>> warped = match(target, reference, reference_ab, target_labels, reference_labels).warped
    """

    def __init__(
        self,
        num_segments: int,
        *,
        temperature: float | Tensor = 0.01,
        center: bool = False,
        normalize: bool = True,
        precision: str | None = None,
        deterministic: bool | None = None,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        _checks.check_num_segments(num_segments)
        self.num_segments = num_segments
        self.temperature = temperature
        self.center = center
        self.normalize = normalize
        self.precision = precision
        self.deterministic = deterministic
        self.backend = backend

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        query_labels: Tensor,
        key_labels: Tensor,
    ) -> Correspondence:
        """Match maps of any two sizes.

        Args:
            query: [B, C, H, W].
            key: [B, C, h, w].
            value: [B, D, h, w].
            query_labels: [B, H, W] integers.
            key_labels: [B, h, w] integers.

        Returns:
            `Correspondence` of warped [B, D, H, W] and similarity, index, lse [B, H, W]; `index`
            counts row by row in the h x w map. Unrelated positions as in `segment_correspondence`.
        """
        for name, tensor, dims in (
            ("query", query, "B C H W"),
            ("key", key, "B C h w"),
            ("value", value, "B D h w"),
            ("query_labels", query_labels, "B H W"),
            ("key_labels", key_labels, "B h w"),
        ):
            _checks.check_tensor(name, tensor, dims)
        for name, tensor, like_name, like in (
            ("query_labels", query_labels, "query", query),
            ("key_labels", key_labels, "key", key),
            ("value", value, "key", key),
        ):
            for dim in (-2, -1):
                _checks.check_size(name, tensor, dim, like.shape[dim], like_name)
        out = segment_correspondence(
            *(x.flatten(2).transpose(1, 2) for x in (query, key, value)),
            query_labels.flatten(1),
            key_labels.flatten(1),
            num_segments=self.num_segments,
            temperature=self.temperature,
            center=self.center,
            normalize=self.normalize,
            precision=self.precision,
            deterministic=self.deterministic,
            backend=self.backend,
        )
        size = query.shape[2:]
        return Correspondence(
            out.warped.transpose(1, 2).unflatten(2, size),
            *(x.unflatten(1, size) for x in (out.similarity, out.index, out.lse)),
        )

    def extra_repr(self) -> str:
        return f"num_segments={self.num_segments}, center={self.center}, backend={self.backend!r}"
