"""Per-class correspondence exactly as the paper writes it: one class of one image after another."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .segments import accumulation_dtype, related_classes, unit_vectors, unit_vectors_backward


def correspondence(
    query: Tensor,  # [B, N, C]
    key: Tensor,  # [B, M, C]
    value: Tensor | None,  # [B, M, D]; None: only the maximum is wanted
    query_order: Tensor | None,  # [B, N]
    query_offsets: Tensor,  # [B, K + 1]
    key_order: Tensor | None,  # [B, M]
    key_offsets: Tensor,  # [B, K + 1]
    temperature: Tensor,  # []
    center: bool = False,
    normalize: bool = True,
    precision: str = "ieee",
    deterministic: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return (warped [B, N, D], similarity, index, lse, log_mass [B, N] each); paper eq. 6-10.

    log_mass = log sum_j exp((s_ij - max_j s_ij) / temperature): what lse keeps when the maximum is
    taken out. The backward reads it because lse itself loses its fraction at small temperatures.
    Without a value, warped has D = 0 and lse and log_mass are [B, 0].
    """
    batch, length, _ = query.shape
    dtype = accumulation_dtype(query.dtype)
    warped = query.new_zeros((batch, length, 0 if value is None else value.shape[2]), dtype=dtype)
    similarity = query.new_zeros((batch, length), dtype=dtype)
    index = query.new_full((batch, length), -1, dtype=torch.int64)
    lse = query.new_full((batch, 0 if value is None else length), -torch.inf, dtype=dtype)
    log_mass = lse.clone()
    temperature = torch.where(temperature > 0, temperature, torch.nan)

    for b, _, i, j in related_classes(query_order, query_offsets, key_order, key_offsets):
        q = unit_vectors(query[b, i], center=center, normalize=normalize)
        k = unit_vectors(key[b, j], center=center, normalize=normalize)
        scores = q @ k.T  # [n, m], eq. 6
        maximum, rank = scores.max(1)  # eq. 10; the first of equal maxima
        similarity[b, i] = maximum
        index[b, i] = j[rank]
        if value is not None:
            logits = scores / temperature
            warped[b, i] = logits.softmax(1) @ value[b, j].to(dtype)  # eq. 7-9
            lse[b, i] = logits.logsumexp(1)
            log_mass[b, i] = (logits - (maximum / temperature)[:, None]).logsumexp(1)
    return warped, similarity, index, lse, log_mass


def correspondence_backward(
    grad_warped: Tensor | None,  # [B, N, D]
    grad_similarity: Tensor | None,  # [B, N]
    grad_lse: Tensor | None,  # [B, N]
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    query_order: Tensor | None,
    query_offsets: Tensor,
    key_order: Tensor | None,
    key_offsets: Tensor,
    temperature: Tensor,
    warped: Tensor,
    similarity: Tensor,
    index: Tensor,
    log_mass: Tensor,
    center: bool,
    normalize: bool,
    precision: str,
    deterministic: bool,
    weight_cutoff: float,
    query_grad: bool,
    key_grad: bool,
    value_grad: bool,
    temperature_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of query, key, value and temperature; an unwanted one is empty.

    With p = softmax(s / temperature), g the incoming gradients and y = warped:

        ds_ij = p_ij (g_warped_i . (v_j - y_i) + g_lse_i) / temperature
                + [j = index_i] g_similarity_i
        dq^_i = sum_j ds_ij k^_j,  dk^_j = sum_i ds_ij q^_i,  dv_j = sum_i p_ij g_warped_i
        dtemperature = -sum_ij (softmax part of ds_ij) s_ij / temperature

    `weight_cutoff` is a licence to drop elements with p_ij < weight_cutoff (1 - max_j p_ij); the
    reference drops none.
    """
    dtype = accumulation_dtype(query.dtype)
    grads = [
        x.new_zeros(x.shape, dtype=dtype) if want else query.new_empty(0)
        for x, want in (
            (query, query_grad),
            (key, key_grad),
            (value, value_grad),
            (temperature, temperature_grad),
        )
    ]
    grad_query, grad_key, grad_value, grad_temperature = grads
    temperature = torch.where(temperature > 0, temperature, torch.nan)

    for b, _, i, j in related_classes(query_order, query_offsets, key_order, key_offsets):
        q = unit_vectors(query[b, i], center=center, normalize=normalize)
        k = unit_vectors(key[b, j], center=center, normalize=normalize)
        scores = q @ k.T
        grad_scores = torch.zeros_like(scores)
        if grad_warped is not None or grad_lse is not None:
            maximum = similarity[b, i, None]
            weights = torch.exp((scores - maximum) / temperature - log_mass[b, i, None])
            grad_logits = torch.zeros_like(scores)
            if grad_warped is not None:
                grad_rows = grad_warped[b, i].to(dtype)
                projected = (grad_rows * warped[b, i]).sum(1, keepdim=True)
                grad_logits += weights * (grad_rows @ value[b, j].to(dtype).T - projected)
                if value_grad:
                    grad_value[b, j] = weights.T @ grad_rows
            if grad_lse is not None:
                grad_logits += weights * grad_lse[b, i, None]
            grad_scores += grad_logits / temperature
            if temperature_grad:
                grad_temperature -= (grad_scores * scores).sum() / temperature
        if grad_similarity is not None:
            rank = torch.searchsorted(j, index[b, i])[:, None]
            grad_scores.scatter_add_(1, rank, grad_similarity[b, i, None].to(dtype))
        if query_grad:
            grad_query[b, i] = unit_vectors_backward(
                grad_scores @ k, query[b, i], center=center, normalize=normalize
            )
        if key_grad:
            grad_key[b, j] = unit_vectors_backward(
                grad_scores.T @ q, key[b, j], center=center, normalize=normalize
            )
    return (
        grad_query.to(query.dtype),
        grad_key.to(key.dtype),
        grad_value.to(value.dtype) if value_grad else grad_value,
        grad_temperature.to(temperature.dtype) if temperature_grad else grad_temperature,
    )


def correspondence_second_backward(
    cotangents: Sequence[Tensor | None],  # of what correspondence_backward returns
    incoming: Sequence[Tensor | None],  # grad_warped, grad_similarity, grad_lse
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    query_order: Tensor | None,
    query_offsets: Tensor,
    key_order: Tensor | None,
    key_offsets: Tensor,
    temperature: Tensor,
    center: bool,
    normalize: bool,
) -> list[Tensor | None]:
    """Return the gradients of incoming, query, key, value and temperature, None where 0.

    PyTorch differentiates `correspondence` twice, class by class: all scores of the pair are in
    memory, and offsets are read on the host. With create_graph=True any higher derivative follows.
    """
    with torch.enable_grad():
        # Names of their own: a gradient that came in may be a function of the query itself, and
        # that is not for this formula to differentiate.
        incoming = [None if x is None else x.view_as(x) for x in incoming]
        inputs = [None if x is None else x.view_as(x) for x in (query, key, value, temperature)]
        query, key, value, temperature = inputs
        warped, similarity, _, lse, _ = correspondence(
            *(query, key, value, query_order, query_offsets, key_order, key_offsets, temperature),
            center,
            normalize,
        )
        outputs = [
            (output, grad.to(output.dtype))
            for output, grad in zip((warped, similarity, lse), incoming, strict=True)
            if grad is not None and output.requires_grad
        ]
        firsts = _gradients(outputs, inputs, create_graph=True)
    pairs = [
        (first, cotangent)
        for first, cotangent in zip(firsts, cotangents, strict=True)
        if first is not None and cotangent is not None and first.requires_grad
    ]
    return _gradients(pairs, (*incoming, *inputs), create_graph=torch.is_grad_enabled())


def _gradients(
    outputs: Sequence[tuple[Tensor, Tensor]],
    inputs: Sequence[Tensor | None],
    *,
    create_graph: bool,
) -> list[Tensor | None]:
    """Return the gradient of each input, or None, of pairs (output, gradient of it)."""
    wanted = [x for x in inputs if x is not None and x.requires_grad]
    if not outputs or not wanted:
        return [None] * len(inputs)
    found = iter(
        torch.autograd.grad(
            [output for output, _ in outputs],
            wanted,
            [grad for _, grad in outputs],
            create_graph=create_graph,
            allow_unused=True,
        )
    )
    return [next(found) if x is not None and x.requires_grad else None for x in inputs]
