"""Who takes part: the operator's backends in each precision, and the peers."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

import spcolor_ops

from .. import peers
from ..peers import DENSE, LOOP, SDPA, SORTED
from ..problem import TEMPERATURE, Inputs, Outputs, Way

BACKENDS = ("triton", "cuda")


class Entrant(NamedTuple):
    """A way to compute the correspondence, and in which arithmetic."""

    way: Way
    backend: str = ""  # of the operator; a peer has none
    precision: str = ""  # of the operator; a peer computes in the features' own type
    center: bool = True

    @property
    def name(self) -> str:
        return self.way.name


@functools.cache
def operator(backend: str, precision: str, *, center: bool = True) -> Entrant:
    """spcolor_ops itself, labels to results."""

    def run(inputs: Inputs) -> Outputs:
        out = spcolor_ops.segment_correspondence(
            *inputs[:5],
            num_segments=inputs.num_segments,
            temperature=TEMPERATURE,
            center=center,
            precision=precision,
            backend=backend,
        )
        return Outputs(out.warped, out.similarity)

    name = f"{backend} {precision}" + ("" if center else " uncentred")
    return Entrant(Way(name, run), backend, precision, center)


@functools.cache
def compiled_dense():
    return torch.compile(peers.dense_masked, mode="max-autotune-no-cudagraphs", dynamic=False)


# The block mask is part of FlexAttention's own time, too.
FLEX = Entrant(peers.FLEX._replace(has_backward=True))
FLEX_MASK = Entrant(Way("FlexAttention's block mask", peers.sorted_block_mask, has_backward=False))
COMPILED = Entrant(
    Way(
        "dense, torch.compile max-autotune",
        lambda inputs: compiled_dense()(inputs),
        has_backward=False,
        is_compiled=True,
    )
)
PEERS = (*map(Entrant, (LOOP, SORTED, DENSE, SDPA)), FLEX, FLEX_MASK)
