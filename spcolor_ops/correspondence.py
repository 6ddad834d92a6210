"""Per-class correspondence (paper eq. 6-10): public functions, schema, fake and autograd.

Dimensions: B images, N target and M reference positions, C channels, D values, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import _checks, _library
from .layout import SegmentLayout, layouts_of
from .reference import correspondence as reference
from .reference.segments import accumulation_dtype

# B N M / K: eight pairs of 4096 positions in one class.
_MANY_PAIRS = 2**27


class Correspondence(NamedTuple):
    """What `segment_correspondence` returns.

    Attributes:
        warped: [B, N, D] in value's dtype. Softmax-weighted value; 0 where unrelated.
        similarity: [B, N]. Row maximum of the cosine; 0 where unrelated.
        index: [B, N] int64. Position of that maximum in 0..M-1; -1 where unrelated.
        lse: [B, N]. log sum_j exp(s_ij / temperature); -inf where unrelated.
    """

    warped: Tensor
    similarity: Tensor
    index: Tensor
    lse: Tensor


class MaxSimilarity(NamedTuple):
    """What `segment_max_similarity` returns; see `Correspondence`."""

    similarity: Tensor
    index: Tensor


def segment_correspondence(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_labels: Tensor | SegmentLayout,
    key_labels: Tensor | SegmentLayout,
    *,
    num_segments: int,
    temperature: float | Tensor = 0.01,
    center: bool = False,
    normalize: bool = True,
    precision: str | None = None,
    deterministic: bool | None = None,
    backend: str | None = None,
) -> Correspondence:
    """Match every query position with the key positions of its own class, in one pass.

    With x^ = x / ||x|| (after subtracting the mean of x's class in its image if `center`):

        s_ij = q^_i . k^_j                   for j of i's class   (paper eq. 6)
        warped_i = sum_j softmax_j(s_ij / temperature) value_j    (eq. 7-9)
        similarity_i = max_j s_ij                                 (eq. 10)

    Time is proportional to sum_c n_c m_c C and memory to (N + M) C; nothing is [N, M].
    Gradients reach query, key, value and a tensor temperature through warped, similarity and lse;
    that of the maximum goes to `index` alone. Second derivatives raise NotImplementedError.

    Args:
        query: [B, N, C] float32, float64, bfloat16 or float16; any strides.
        key: [B, M, C], query's dtype.
        value: [B, M, D], any of those dtypes.
        query_labels: [B, N] integers, or a `SegmentLayout`. Values outside 0..num_segments-1
            mean "no class".
        key_labels: [B, M], likewise.
        num_segments: number of classes K.
        temperature: softmax temperature, above 0; a float or a tensor of one element.
        center: subtract each image's per-class mean first, as the paper's published code does.
        normalize: divide by the norm. A vector with ||x - mean|| <= 1e-6 ||x|| (float32; scaled by
            epsilon for other dtypes) or a norm below 1e-12 becomes 0, and so does its gradient.
        precision: arithmetic of the products: "ieee", "tf32x3", "tf32", "bf16" or "fp16"; None is
            "tf32x3" for float32 on a GPU and "ieee" elsewhere. The CPU has "ieee" only.
        deterministic: None follows torch.are_deterministic_algorithms_enabled(). The CPU always is.
        backend: "reference", "cpu", "triton", "cuda", or None for the fastest on query's device.

    Returns:
        `Correspondence`; similarity and lse are float32 (float64 for float64 features). A query
        position whose class no key has is unrelated: warped 0, similarity 0, index -1, lse -inf,
        no gradient. Equal maxima give the lowest index.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.

    Example:
        >>> q, k, v = torch.eye(2)[None], torch.eye(2)[None], torch.tensor([[[1.0], [2.0]]])
        >>> segment_correspondence(q, k, v, torch.tensor([[0, 1]]), torch.tensor([[0, 0]]),
        ...                        num_segments=2).warped
        tensor([[[1.],
                 [0.]]])
    """
    _checks.check_query_key_value(query, key, value, "B N C")
    layouts = layouts_of(query, key, query_labels, key_labels, num_segments, backend)
    warped, similarity, index, lse = _correspondence(
        query,
        key,
        value,
        *layouts,
        temperature,
        center,
        normalize,
        precision,
        deterministic,
        backend,
    )
    return Correspondence(warped, similarity, index, lse)


def segment_softmax_warp(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_labels: Tensor | SegmentLayout,
    key_labels: Tensor | SegmentLayout,
    *,
    num_segments: int,
    temperature: float | Tensor = 0.01,
    center: bool = False,
    normalize: bool = True,
    precision: str | None = None,
    deterministic: bool | None = None,
    backend: str | None = None,
) -> Tensor:
    """Return only `warped` [B, N, D] of `segment_correspondence` (paper eq. 7-9).

    Arguments, errors and unrelated classes are those of `segment_correspondence`.

    Example:
        >>> colour = segment_softmax_warp(q, k, ab, q_labels, k_labels, num_segments=22)
    """
    return segment_correspondence(
        query,
        key,
        value,
        query_labels,
        key_labels,
        num_segments=num_segments,
        temperature=temperature,
        center=center,
        normalize=normalize,
        precision=precision,
        deterministic=deterministic,
        backend=backend,
    ).warped


def segment_max_similarity(
    query: Tensor,
    key: Tensor,
    query_labels: Tensor | SegmentLayout,
    key_labels: Tensor | SegmentLayout,
    *,
    num_segments: int,
    center: bool = False,
    normalize: bool = True,
    precision: str | None = None,
    deterministic: bool | None = None,
    backend: str | None = None,
) -> MaxSimilarity:
    """Return only the maximum cosine and where it is, with no exponential (paper eq. 10).

    S_w(i) = max_j q^_i . k^_j over the keys j of i's class. Arguments, errors and unrelated classes
    are those of `segment_correspondence`.

    Example:
        >>> similarity, index = segment_max_similarity(q, k, q_labels, k_labels, num_segments=22)
    """
    _checks.check_query_key_value(query, key, None, "B N C")
    layouts = layouts_of(query, key, query_labels, key_labels, num_segments, backend)
    _, similarity, index, _ = _correspondence(
        query, key, None, *layouts, 1.0, center, normalize, precision, deterministic, backend
    )
    return MaxSimilarity(similarity, index)


def varlen_correspondence(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    *,
    temperature: float | Tensor = 0.01,
    center: bool = False,
    normalize: bool = True,
    precision: str | None = None,
    deterministic: bool | None = None,
    backend: str | None = None,
) -> Correspondence:
    """`segment_correspondence` of groups that are already packed one after another.

    Group g holds the query rows cu_seqlens_q[g] : cu_seqlens_q[g + 1] and the key rows
    cu_seqlens_k[g] : cu_seqlens_k[g + 1] (flash-attention's convention); rows match within their
    group. The formulas are those of `segment_correspondence`, with groups for classes.

    Args:
        query: [T, C].
        key: [S, C].
        value: [S, D].
        cu_seqlens_q: [G + 1] int32 or int64, first 0, never falling, last at most T.
        cu_seqlens_k: [G + 1], likewise, at most S.
        temperature, center, normalize, precision, deterministic, backend: as there.

    Returns:
        `Correspondence` of warped [T, D], similarity, index and lse [T]. `index` counts within the
        key group. Rows of a group without keys, or of no group, are unrelated.

    Raises:
        TypeError, ValueError: naming the argument, what was expected and what came.

    Example:
        >>> cu = torch.tensor([0, 3, 8])
        >>> query, key, value = torch.randn(8, 4), torch.randn(8, 4), torch.randn(8, 2)
        >>> warped = varlen_correspondence(query, key, value, cu, cu).warped
    """
    _checks.check_query_key_value(query, key, value, "T C")
    _checks.check_cu_seqlens("cu_seqlens_q", cu_seqlens_q, query, "query")
    _checks.check_cu_seqlens("cu_seqlens_k", cu_seqlens_k, key, "key")
    _checks.check_size("cu_seqlens_k", cu_seqlens_k, 0, cu_seqlens_q.shape[0], "cu_seqlens_q")
    layouts = (None, cu_seqlens_q[None].int(), None, cu_seqlens_k[None].int())
    warped, similarity, index, lse = (
        output[0]
        for output in _correspondence(
            query[None],
            key[None],
            value[None],
            *layouts,
            temperature,
            center,
            normalize,
            precision,
            deterministic,
            backend,
        )
    )
    rows = torch.arange(query.shape[0], device=query.device)
    last_group = cu_seqlens_k.shape[0] - 2
    group = torch.searchsorted(cu_seqlens_q[1:].long(), rows, right=True).clamp(max=last_group)
    index = torch.where(index >= 0, index - cu_seqlens_k.long()[group], index)
    return Correspondence(warped, similarity, index, lse)


def _correspondence(
    query,
    key,
    value,
    query_order,
    query_offsets,
    key_order,
    key_offsets,
    temperature,
    center,
    normalize,
    precision,
    deterministic,
    backend,
):
    """Check what every public function shares, and call the operator of the chosen backend."""
    query, key = autocast_features(query, key)
    fastest = _fastest_backend(query, key, value, temperature, query_offsets, precision)
    backend = _library.resolve_backend(backend, query.device, fastest)
    options = _checks.check_options(
        center, normalize, precision, deterministic, backend, query.dtype
    )
    dtype = accumulation_dtype(query.dtype)
    temperature = _checks.check_temperature(temperature, query, dtype)
    warped, similarity, index, lse, _ = _library.operator("correspondence", backend)(
        query,
        key,
        value,
        query_order,
        query_offsets,
        key_order,
        key_offsets,
        temperature,
        *options,
    )
    return warped if value is None else warped.to(value.dtype), similarity, index, lse


def _fastest_backend(query, key, value, temperature, query_offsets, precision) -> str | None:
    """Return the backend that is faster than the first of its device for this work, if any.

    A forward alone in tf32x3 on classes so large that the kernel's time is most of the call
    (docs/performance.md). Compiled code keeps one choice for all shapes.
    """
    if query.device.type != "cuda" or torch.compiler.is_compiling():
        return None
    inputs = (query, key, value, temperature)
    is_differentiated = torch.is_grad_enabled() and any(
        isinstance(x, Tensor) and x.requires_grad for x in inputs
    )
    is_tf32x3 = query.dtype == torch.float32 and precision in (None, "tf32x3")
    pairs = query.shape[0] * query.shape[1] * key.shape[1]
    is_large = pairs >= _MANY_PAIRS * (query_offsets.shape[1] - 1)
    return "triton" if is_tf32x3 and is_large and not is_differentiated else None


def autocast_features(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Under autocast, features (and nothing else) take its dtype; float64 stays, as in PyTorch."""
    device_type = query.device.type
    if torch.is_autocast_enabled(device_type):
        dtype = torch.get_autocast_dtype(device_type)
        query, key = (x if x.dtype == torch.float64 else x.to(dtype) for x in (query, key))
    if key.dtype != query.dtype:
        raise TypeError(f"key: expected query's dtype {query.dtype}, got {key.dtype}")
    return query, key


def weight_cutoff(dtype: torch.dtype) -> float:
    """Return the cutoff of the backward: an epsilon of the sums.

    An element is dropped if its softmax weight is below the cutoff times the weight that the row
    has beside its maximum.
    """
    return torch.finfo(accumulation_dtype(dtype)).eps


def _fake(
    query,
    key,
    value,
    query_order,
    query_offsets,
    key_order,
    key_offsets,
    temperature,
    center,
    normalize,
    precision,
    deterministic,
):
    batch, length, _ = query.shape
    dtype = accumulation_dtype(query.dtype)
    softmax_length = 0 if value is None else length
    return (
        query.new_empty((batch, length, 0 if value is None else value.shape[2]), dtype=dtype),
        query.new_empty((batch, length), dtype=dtype),
        query.new_empty((batch, length), dtype=torch.int64),
        query.new_empty((batch, softmax_length), dtype=dtype),
        query.new_empty((batch, softmax_length), dtype=dtype),
    )


def _fake_backward(grad_warped, grad_similarity, grad_lse, query, key, value, *rest):
    inputs = query, key, value, rest[4]
    return tuple(
        query.new_empty(x.shape, dtype=x.dtype) if want else query.new_empty(0)
        for x, want in zip(inputs, rest[-4:], strict=True)
    )


def _autograd(backend):
    def setup_context(ctx, inputs, output):
        *tensors, center, normalize, precision, deterministic = inputs
        warped, similarity, index, _, log_mass = output
        ctx.save_for_backward(*tensors, warped, similarity, index, log_mass)
        ctx.options = (center, normalize, precision, deterministic)
        ctx.set_materialize_grads(False)

    def backward(ctx, grad_warped, grad_similarity, _grad_index, grad_lse, _grad_log_mass):
        saved = ctx.saved_tensors
        query, value = saved[0], saved[2]
        need_query, need_key, need_value, *_, need_temperature = ctx.needs_input_grad[:8]
        grad_query, grad_key, grad_value, grad_temperature = _library.operator(
            "correspondence_backward", backend
        )(
            grad_warped if value is not None else None,
            grad_similarity,
            grad_lse if value is not None else None,
            *saved,
            *ctx.options,
            weight_cutoff(query.dtype),
            need_query,
            need_key,
            need_value,
            need_temperature,
        )
        return (
            grad_query if need_query else None,
            grad_key if need_key else None,
            grad_value if need_value else None,
            *[None] * 4,
            grad_temperature if need_temperature else None,
            *[None] * 4,
        )

    return backward, setup_context


def _autograd_backward(_backend):
    def setup_context(ctx, inputs, output):
        *tensors, center, normalize = inputs[:17]
        ctx.save_for_backward(*tensors[:11])
        ctx.options = (center, normalize)
        ctx.set_materialize_grads(False)

    def backward(ctx, *cotangents):
        incoming, inputs = ctx.saved_tensors[:3], ctx.saved_tensors[3:]
        grads = reference.correspondence_second_backward(
            cotangents, incoming, *inputs, *ctx.options
        )
        *of_incoming, of_query, of_key, of_value, of_temperature = grads
        # What the forward found is a function of the others, and has its share in theirs.
        return (*of_incoming, of_query, of_key, of_value, *[None] * 4, of_temperature, *[None] * 13)

    return backward, setup_context


_INPUTS = (
    "Tensor query, Tensor key, Tensor? value, Tensor? query_order, Tensor query_offsets, "
    "Tensor? key_order, Tensor key_offsets, Tensor temperature"
)
_OPTIONS = "bool center, bool normalize, str precision, bool deterministic"

_library.define(
    "correspondence",
    f"({_INPUTS}, {_OPTIONS}) "
    "-> (Tensor warped, Tensor similarity, Tensor index, Tensor lse, Tensor log_mass)",
    fake=_fake,
    reference=reference.correspondence,
    autograd=_autograd,
)
_library.define(
    "correspondence_backward",
    "(Tensor? grad_warped, Tensor? grad_similarity, Tensor? grad_lse, "
    f"{_INPUTS}, Tensor warped, Tensor similarity, Tensor index, Tensor log_mass, {_OPTIONS}, "
    "float weight_cutoff, bool query_grad, bool key_grad, bool value_grad, bool temperature_grad) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    fake=_fake_backward,
    reference=reference.correspondence_backward,
    autograd=_autograd_backward,
)
