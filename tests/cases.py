"""Inputs that every operator test shares: one table, name -> factory.

A factory takes the type of the features and that of the values and returns `Inputs`, the same ones
each time. B images, N target and M reference positions, C channels, D values, K classes.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class Inputs(NamedTuple):
    """Positional arguments of `segment_correspondence`, and num_segments."""

    query: Tensor  # [B, N, C]
    key: Tensor  # [B, M, C]
    value: Tensor  # [B, M, D]
    query_labels: Tensor  # [B, N]
    key_labels: Tensor  # [B, M]
    num_segments: int


class Options(NamedTuple):
    """Keyword arguments that change the result."""

    temperature: float = 0.01
    center: bool = False
    normalize: bool = True
    precision: str | None = None


PAPER = Options()


def random_inputs(
    dtype: torch.dtype = torch.float32,
    value_dtype: torch.dtype | None = None,
    *,
    b: int = 2,
    n: int = 37,
    m: int = 53,
    c: int = 16,
    d: int = 3,
    k: int = 5,
    seed: int = 0,
) -> Inputs:
    """Normal features and values; labels from -1 to K, so that some positions have no class."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def labels(length: int) -> Tensor:
        return torch.randint(-1, k + 1, (b, length), generator=generator)

    return Inputs(
        normal(b, n, c).to(dtype),
        normal(b, m, c).to(dtype),
        normal(b, m, d).to(value_dtype or dtype),
        labels(n),
        labels(m),
        k,
    )


def one_class(*args, **sizes: int) -> Inputs:
    """Every position of both sides in class 0: a dense product."""
    inputs = random_inputs(*args, **{"b": 1, "k": 1, **sizes})
    return inputs._replace(
        query_labels=torch.zeros_like(inputs.query_labels),
        key_labels=torch.zeros_like(inputs.key_labels),
    )


def one_sided(*args) -> Inputs:
    """Only class 2 is on both sides; 0 and 1 lack keys, 3 and 4 lack queries."""
    inputs = random_inputs(*args)
    return inputs._replace(
        query_labels=inputs.query_labels.clamp(0, 2), key_labels=inputs.key_labels.clamp(2, 4)
    )


def nothing_shared(*args) -> Inputs:
    """No class is on both sides."""
    inputs = random_inputs(*args)
    return inputs._replace(
        query_labels=inputs.query_labels.clamp(0, 1), key_labels=inputs.key_labels.clamp(2, 4)
    )


def single_elements(*args) -> Inputs:
    """Every class holds one position on each side, in another order."""
    inputs = random_inputs(*args, n=13, m=13, k=13)
    generator = torch.Generator().manual_seed(1)
    permutations = [torch.randperm(13, generator=generator) for _ in range(4)]
    return inputs._replace(
        query_labels=torch.stack(permutations[:2]), key_labels=torch.stack(permutations[2:])
    )


def giant_class(*args) -> Inputs:
    """Nine of ten positions in class 17 of 40."""
    inputs = random_inputs(*args, b=1, n=400, m=300, k=40)
    few = torch.arange(400) % 10 == 3
    return inputs._replace(
        query_labels=inputs.query_labels.where(few, 17),
        key_labels=inputs.key_labels.where(few[:300], 17),
    )


def channel_first(*args) -> Inputs:
    """Views of [B, C, N] maps: positions side by side in memory."""
    inputs = random_inputs(*args)
    views = (x.mT.contiguous().mT for x in inputs[:3])
    return Inputs(*views, *inputs[3:])


def expanded(*args) -> Inputs:
    """Stride 0: one query for two images, one key channel for all, one value, one label map."""
    inputs = random_inputs(*args)
    return Inputs(
        inputs.query[:1].expand(2, -1, -1),
        inputs.key[:, :, :1].expand(-1, -1, 16),
        inputs.value[:, :1].expand(-1, 53, -1),
        inputs.query_labels[:1].expand(2, -1),
        inputs.key_labels[:1].expand(2, -1),
        inputs.num_segments,
    )


def expanded_rows(*args) -> Inputs:
    """Stride 0 over positions: all queries equal, so that centring leaves nothing."""
    inputs = random_inputs(*args)
    return inputs._replace(query=inputs.query[:, :1].expand(-1, 37, -1))


def offset_storage(*args) -> Inputs:
    """Parts of larger tensors: odd offsets, rows further apart than they are long."""
    query, key, value, query_labels, key_labels, k = random_inputs(
        *args, b=3, n=41, m=57, c=21, d=6
    )
    return Inputs(
        query[1:, 3:40, 2:19],
        key[1:, 1:54, 3:20],
        value[1:, 1:54, 1:4],
        query_labels[1:, 3:40],
        key_labels[1:, 1:54],
        k,
    )


def stepped(*args) -> Inputs:
    """Every second position, every third channel, transposed labels."""
    query, key, value, query_labels, key_labels, k = random_inputs(*args, n=74, m=106, c=48, d=6)
    return Inputs(
        query[:, ::2, ::3],
        key[:, 1::2, 1::3],
        value[:, ::2, ::2],
        query_labels[:, ::2].mT.contiguous().mT,
        key_labels[:, ::2].mT.contiguous().mT,
        k,
    )


def integer_labels(label_dtype: torch.dtype, outside: tuple[int, ...], *args) -> Inputs:
    """Labels of one type, a fifth of them outside 0..K-1."""
    inputs = random_inputs(*args)
    sides = []
    for labels in (inputs.query_labels, inputs.key_labels):
        labels = labels.clamp(0, 4)
        labels[:, ::5] = torch.tensor(outside)[torch.arange(labels[:, ::5].shape[1]) % len(outside)]
        sides.append(labels.to(label_dtype))
    return inputs._replace(query_labels=sides[0], key_labels=sides[1])


def different_images(*args) -> Inputs:
    """One class; all classes different; no class at all; ragged. Lengths of vectors differ 1e4."""
    query, key, value, query_labels, key_labels, _ = random_inputs(*args, b=4, n=33, m=41, k=41)
    query_labels[0], key_labels[0] = 7, 7
    query_labels[1], key_labels[1] = torch.arange(33), torch.arange(41).flip(0)
    query_labels[2], key_labels[2] = -1, 41
    query_labels[3], key_labels[3] = query_labels[3] % 4, key_labels[3] % 4
    scale = torch.tensor([1.0, 0.01, 1.0, 100.0])[:, None, None]
    return Inputs(
        (query * scale).to(query.dtype),
        (key / scale).to(key.dtype),
        value,
        query_labels,
        key_labels,
        41,
    )


def far_from_zero(*args) -> Inputs:
    """A mean ten times the spread, as features after a ReLU have it."""
    inputs = random_inputs(*args)
    return inputs._replace(query=inputs.query + 10, key=inputs.key + 10)


def zero_vectors(*args) -> Inputs:
    """Every third vector 0 on each side: all its cosines are 0 and tie."""
    inputs = random_inputs(*args)
    inputs.query[:, ::3] = 0
    inputs.key[:, 1::3] = 0
    return inputs


_INT64 = torch.iinfo(torch.int64)

CASES: dict[str, Callable[..., Inputs]] = {
    "ragged": random_inputs,
    "no_images": partial(random_inputs, b=0),
    "no_queries": partial(random_inputs, n=0),
    "no_keys": partial(random_inputs, m=0),
    "nothing": partial(random_inputs, n=0, m=0),
    "one_sided": one_sided,
    "nothing_shared": nothing_shared,
    "single_elements": single_elements,
    "one_position": partial(one_class, n=1, m=1),
    "giant_class": giant_class,
    "more_classes_than_positions": partial(random_inputs, n=7, m=9, k=100),
    "one_class": one_class,
    "odd_sizes": partial(random_inputs, b=3, n=31, m=129, c=67, d=7, k=2),
    "many_queries": partial(random_inputs, n=301, m=5, k=2),
    "many_keys": partial(random_inputs, n=5, m=1301, k=2),
    "dense": partial(one_class, n=300, m=700, c=64),
    "dense_queries": partial(one_class, n=600, m=200, c=64),
    **{
        f"channels_{c}": partial(random_inputs, b=1, n=40, m=70, c=c, k=2)
        for c in (1, 3, 16, 17, 63, 64, 65, 255, 256, 300, 512)
    },
    **{
        f"values_{d}": partial(random_inputs, b=1, n=30, m=40, d=d, k=2)
        for d in (0, 1, 2, 4, 5, 8, 15, 16, 17, 31, 32)
    },
    "channel_first": channel_first,
    "expanded": expanded,
    "expanded_rows": expanded_rows,
    "offset_storage": offset_storage,
    "stepped": stepped,
    "labels_int8": partial(integer_labels, torch.int8, (-128, -1, 5, 127)),
    "labels_uint8": partial(integer_labels, torch.uint8, (5, 127, 128, 255)),
    "labels_int16": partial(integer_labels, torch.int16, (-(2**15), -1, 5, 256, 2**15 - 1)),
    "labels_int32": partial(integer_labels, torch.int32, (-(2**31), -1, 5, 65537, 2**31 - 1)),
    # 2**32 + 1 would be class 1 in 32 bits.
    "labels_int64": partial(
        integer_labels, torch.int64, (_INT64.min, -1, 5, 2**32 + 1, _INT64.max)
    ),
    "different_images": different_images,
    "far_from_zero": far_from_zero,
    "zero_vectors": zero_vectors,
}
