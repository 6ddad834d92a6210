"""Class maps for benchmarks: blocky ones like those of a segmentation network.

A segmentation network labels patches, and its map is enlarged by nearest neighbour, so classes
come in blocks. Dimensions: B images, N = side * side positions, K classes.
"""

import torch
from torch import Tensor


def blocky_label_maps(
    batch: int,
    num_segments: int,
    generator: torch.Generator,
    *,
    side: int = 64,
    block: int = 2,
) -> Tensor:
    """Return [B, side * side] int64 labels: a uniform class for every block x block square."""
    cells = side // block
    coarse = torch.randint(num_segments, (batch, cells, cells), generator=generator)
    fine = coarse.repeat_interleave(block, dim=1).repeat_interleave(block, dim=2)
    return fine.flatten(1)


def class_counts(labels: Tensor, num_segments: int) -> Tensor:
    """Return [B, K], the number of positions of each class; labels outside 0..K-1 do not count."""
    return torch.stack([(labels == c).sum(1) for c in range(num_segments)], dim=1)


def related_pairs(query_labels: Tensor, key_labels: Tensor, num_segments: int) -> int:
    """Return sum_c n_c m_c over all images: the cosines that have to be computed."""
    n = class_counts(query_labels, num_segments)
    m = class_counts(key_labels, num_segments)
    return int((n * m).sum())


def density(query_labels: Tensor, key_labels: Tensor, num_segments: int) -> float:
    """Return sum_c n_c m_c / (N M), averaged over the images: 1 means all pairs."""
    all_pairs = query_labels.numel() * key_labels.shape[1]
    return related_pairs(query_labels, key_labels, num_segments) / all_pairs
