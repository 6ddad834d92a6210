"""The ways the per-class correspondence is computed today, all from the same raw features.

Each includes centring, normalising and its own bookkeeping of the classes.
Dimensions: B images, N target and M reference positions, C channels, D values, K classes.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

import spcolor_ops

from .problem import TEMPERATURE, Inputs, Outputs, Way

PUBLISHED_CLASSES = 27  # the published loop visits all 27, whatever k is


def operator(inputs: Inputs) -> Outputs:
    """spcolor_ops itself."""
    out = spcolor_ops.segment_correspondence(
        *inputs[:5], num_segments=inputs.num_segments, temperature=TEMPERATURE, center=True
    )
    return Outputs(out.warped, out.similarity)


def unit(features: Tensor, positions: int, channels: int) -> Tensor:
    """Centre over the dimension of positions and normalise over that of channels."""
    return F.normalize(features - features.mean(positions, keepdim=True), dim=channels)


def published_loop(inputs: Inputs) -> Outputs:
    """Images and classes one after another, boolean masks of the size of the feature maps."""
    query, key, value = (x.transpose(1, 2) for x in inputs[:3])  # [B, C, N], [B, C, M], [B, D, M]
    batch, channels, length = query.shape
    depth = value.shape[1]
    query_maps = inputs.query_labels[:, None].repeat(1, channels, 1)  # [B, C, N]
    key_maps = inputs.key_labels[:, None].repeat(1, channels, 1)  # [B, C, M]
    warped = value.new_zeros(batch, depth, length)
    similarity = value.new_zeros(batch, 1, length)
    for b in range(batch):
        for c in range(PUBLISHED_CLASSES):
            query_mask, key_mask = query_maps[b] == c, key_maps[b] == c
            q = query[b][query_mask].view(channels, -1)  # [C, n]
            k = key[b][key_mask].view(channels, -1)  # [C, m]
            if q.numel() == 0 or k.numel() == 0:
                continue
            scores = unit(q, 1, 0).T @ unit(k, 1, 0)  # [n, m]
            weights = (scores / TEMPERATURE).softmax(1)
            colours = value[b][key_mask[:depth]].view(depth, -1)  # [D, m]
            similarity[b, query_mask[:1]] = scores.max(1).values
            warped[b, query_mask[:depth]] = (weights @ colours.T).T.flatten()
    return Outputs(warped.transpose(1, 2), similarity[:, 0])


def row_loop(inputs: Inputs) -> Outputs:
    """The same loop made gentler: masks of positions select rows, only k classes are visited."""
    query, key, value, query_labels, key_labels, num_segments, *_ = inputs
    warped = value.new_zeros(*query.shape[:2], value.shape[2])
    similarity = value.new_zeros(query.shape[:2])
    for b in range(query.shape[0]):
        for c in range(num_segments):
            query_mask, key_mask = query_labels[b] == c, key_labels[b] == c
            q, k = query[b, query_mask], key[b, key_mask]  # [n, C], [m, C]
            if len(q) == 0 or len(k) == 0:
                continue
            scores = unit(q, 0, 1) @ unit(k, 0, 1).T  # [n, m]
            similarity[b, query_mask] = scores.max(1).values
            warped[b, query_mask] = (scores / TEMPERATURE).softmax(1) @ value[b, key_mask]
    return Outputs(warped, similarity)


def sorted_matmul(inputs: Inputs) -> Outputs:
    """Sort the positions by class once, then one matmul per class on slices."""
    query, key, value, query_labels, key_labels, num_segments, *_ = inputs
    classes = torch.arange(num_segments + 1, device=query.device)
    results = []
    for b in range(query.shape[0]):
        sorted_query, query_order = query_labels[b].sort(stable=True)
        sorted_key, key_order = key_labels[b].sort(stable=True)
        query_sizes = torch.searchsorted(sorted_query, classes).diff().tolist()
        key_sizes = torch.searchsorted(sorted_key, classes).diff().tolist()
        warped, similarity = [], []
        for q, k, v in zip(
            query[b, query_order].split(query_sizes),
            key[b, key_order].split(key_sizes),
            value[b, key_order].split(key_sizes),
            strict=True,
        ):
            if len(q) == 0 or len(k) == 0:
                warped.append(v.new_zeros(len(q), v.shape[1]))
                similarity.append(v.new_zeros(len(q)))
                continue
            scores = unit(q, 0, 1) @ unit(k, 0, 1).T  # [n, m]
            warped.append((scores / TEMPERATURE).softmax(1) @ v)
            similarity.append(scores.max(1).values)
        inverse = query_order.argsort()
        results.append((torch.cat(warped)[inverse], torch.cat(similarity)[inverse]))
    return Outputs(*(torch.stack(parts) for parts in zip(*results, strict=True)))


def class_unit(features: Tensor, labels: Tensor, num_segments: int) -> Tensor:
    """Centre [B, N, C] per class by two small matmuls, and normalise."""
    one_hot = F.one_hot(labels, num_segments).to(features.dtype)  # [B, N, K]
    counts = one_hot.sum(1).clamp(min=1)[..., None]  # [B, K, 1]
    means = one_hot.transpose(1, 2) @ features / counts  # [B, K, C]
    return F.normalize(features - one_hot @ means, dim=2)


def units(inputs: Inputs) -> tuple[Tensor, Tensor]:
    query = class_unit(inputs.query, inputs.query_labels, inputs.num_segments)
    return query, class_unit(inputs.key, inputs.key_labels, inputs.num_segments)


def dense_masked(inputs: Inputs) -> Outputs:
    """All N x M cosines, -inf where the classes differ."""
    query, key = units(inputs)
    different = inputs.query_labels[:, :, None] != inputs.key_labels[:, None]  # [B, N, M]
    scores = (query @ key.transpose(1, 2)).masked_fill(different, -torch.inf)
    return Outputs((scores / TEMPERATURE).softmax(2) @ inputs.value, scores.max(2).values)


def sdpa_masked(inputs: Inputs) -> Outputs:
    """scaled_dot_product_attention with a boolean mask; it has no row maximum to give."""
    query, key = units(inputs)
    same = inputs.query_labels[:, :, None] == inputs.key_labels[:, None]
    depth = inputs.value.shape[2]
    padding = -depth % 8  # the fused CUDA kernels need rows of 16 bytes
    if not query.is_cuda:
        # The fused CPU kernel needs values as wide as the features. Padding them pays (80 against
        # 120 ms) in the forward alone: the fused backward works on one core for each head.
        padding = 0 if query.requires_grad else query.shape[2] - depth
    warped = F.scaled_dot_product_attention(
        query[:, None],
        key[:, None],
        F.pad(inputs.value, (0, padding))[:, None],
        same[:, None],
        scale=1 / TEMPERATURE,
    )
    return Outputs(warped[:, 0, :, :depth], None)


def block_mask(query_labels: Tensor, key_labels: Tensor, block: int) -> BlockMask:
    """Block mask of sorted labels [B, N], [B, M]: blocks meet where their class ranges do."""
    q = query_labels.unflatten(1, (-1, block))[:, None, :, None]  # [B, 1, N / block, 1, block]
    k = key_labels.unflatten(1, (-1, block))[:, None, None]  # [B, 1, 1, M / block, block]
    q_first, q_last, k_first, k_last = q[..., 0], q[..., -1], k[..., 0], k[..., -1]
    meet = (q_first <= k_last) & (k_first <= q_last)
    full = (q_first == q_last) & (k_first == k_last) & (q_first == k_first)

    def listed(wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Number of wanted key blocks for each query block, and their indices first."""
        order = wanted.int().argsort(dim=-1, descending=True, stable=True)
        return wanted.sum(-1, dtype=torch.int32), order.int().contiguous()

    def same_class(b, h, i, j):
        return query_labels[b, i] == key_labels[b, j]

    return BlockMask.from_kv_blocks(
        *listed(meet & ~full), *listed(full), BLOCK_SIZE=block, mask_mod=same_class
    )


@functools.cache
def compiled_flex_attention():
    return torch.compile(flex_attention, dynamic=False)


def sorted_block_mask(inputs: Inputs) -> tuple[Tensor, Tensor, BlockMask]:
    """Return the orders of query [B, N] and key [B, M] by class, and the block mask in them."""
    # On the CPU the faster of 64, 128, 256 and 512, all of which were tried; a GPU wants 128.
    block = 128 if inputs.num_segments <= 2 or inputs.query.is_cuda else 64
    query_labels, query_order = inputs.query_labels.sort(dim=1, stable=True)
    key_labels, key_order = inputs.key_labels.sort(dim=1, stable=True)
    return query_order, key_order, block_mask(query_labels, key_labels, block)


def flex_sorted(inputs: Inputs) -> Outputs:
    """Compiled FlexAttention on sorted tokens; no row maximum, and no backward on the CPU."""
    query, key = units(inputs)
    query_order, key_order, mask = sorted_block_mask(inputs)
    depth = inputs.value.shape[2]
    padding = max(0, 16 - depth) if query.is_cuda else 0  # fewer values than 16 are refused there

    def heads(x: Tensor, order: Tensor) -> Tensor:
        return x.gather(1, order[..., None].expand(-1, -1, x.shape[2]))[:, None]  # [B, 1, N, C]

    warped = compiled_flex_attention()(
        heads(query, query_order),
        heads(key, key_order),
        heads(F.pad(inputs.value, (0, padding)), key_order),
        block_mask=mask,
        scale=1 / TEMPERATURE,
    )
    inverse = query_order.argsort(dim=1)[..., None].expand(-1, -1, depth)
    return Outputs(warped[:, 0, :, :depth].gather(1, inverse), None)


OPERATOR = Way("spcolor_ops", operator)
LOOP = Way("boolean-mask loop", published_loop)
ROW_LOOP = Way("loop over rows", row_loop)
SORTED = Way("sorted, matmul per class", sorted_matmul)
DENSE = Way("dense with mask", dense_masked)
SDPA = Way("SDPA with mask", sdpa_masked, has_maximum=False)
FLEX = Way("FlexAttention", flex_sorted, has_maximum=False, has_backward=False, is_compiled=True)

PEERS = (LOOP, ROW_LOOP, SORTED, DENSE, SDPA, FLEX)
WAYS = {way.name: way for way in (OPERATOR, *PEERS)}
