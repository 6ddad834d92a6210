"""The cosine blocks of paper eq. 6, one class of one image after another."""

from torch import Tensor

from .segments import accumulation_dtype, related_classes, unit_vectors, unit_vectors_backward


def cosine_similarity(
    query: Tensor,  # [B, N, C]
    key: Tensor,  # [B, M, C]
    query_order: Tensor,  # [B, N]
    query_offsets: Tensor,  # [B, K + 1]
    key_order: Tensor,  # [B, M]
    key_offsets: Tensor,  # [B, K + 1]
    block_offsets: Tensor,  # [B * K + 1]
    total_size: int,
    center: bool = False,
    normalize: bool = True,
    precision: str = "ieee",
    deterministic: bool = True,
) -> Tensor:
    """Return the blocks, row by row, [total_size]; 0 beyond the last block that fits."""
    num_segments = query_offsets.shape[1] - 1
    begins = block_offsets.tolist()
    values = query.new_zeros(total_size, dtype=accumulation_dtype(query.dtype))
    for b, c, i, j in related_classes(query_order, query_offsets, key_order, key_offsets):
        q = unit_vectors(query[b, i], center=center, normalize=normalize)
        k = unit_vectors(key[b, j], center=center, normalize=normalize)
        begin, end = begins[b * num_segments + c : b * num_segments + c + 2]
        if end <= total_size:
            values[begin:end] = (q @ k.T).flatten()
    return values


def cosine_similarity_backward(
    grad: Tensor,  # [total_size]
    query: Tensor,
    key: Tensor,
    query_order: Tensor,
    query_offsets: Tensor,
    key_order: Tensor,
    key_offsets: Tensor,
    block_offsets: Tensor,
    center: bool,
    normalize: bool,
    precision: str,
    deterministic: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of query [B, N, C] and key [B, M, C]."""
    num_segments = query_offsets.shape[1] - 1
    begins = block_offsets.tolist()
    grad_query, grad_key = query.new_zeros(query.shape), key.new_zeros(key.shape)
    for b, c, i, j in related_classes(query_order, query_offsets, key_order, key_offsets):
        begin, end = begins[b * num_segments + c : b * num_segments + c + 2]
        if end > grad.shape[0]:
            continue
        q = unit_vectors(query[b, i], center=center, normalize=normalize)
        k = unit_vectors(key[b, j], center=center, normalize=normalize)
        grad_scores = grad[begin:end].view(len(i), len(j))
        for x, grad_x, rows, grad_unit in (
            (query, grad_query, i, grad_scores @ k),
            (key, grad_key, j, grad_scores.T @ q),
        ):
            grad_rows = unit_vectors_backward(
                grad_unit, x[b, rows], center=center, normalize=normalize
            )
            grad_x[b, rows] = grad_rows.to(x.dtype)
    return grad_query, grad_key
