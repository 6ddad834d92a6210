"""A small set of calls for compute-sanitizer: each operator, forward and backward."""

from __future__ import annotations

import torch
from cases import CASES, Options
from checking import on_device, run

import spcolor_ops
from spcolor_ops import _library

SETS = {
    "ragged": ((torch.float32, None), (torch.float16, "fp16"), (torch.float64, None)),
    "odd_sizes": ((torch.bfloat16, None), (torch.float32, "tf32")),
    "many_keys": ((torch.float16, None),),
    "no_keys": ((torch.float32, None),),
}


def blocks(inputs, backend: str) -> None:
    query, key, *labels = (on_device(inputs[i], "cuda") for i in (0, 1, 3, 4))
    leaves = (query.requires_grad_(), key.requires_grad_())
    values = spcolor_ops.segment_cosine_similarity(
        *leaves, *labels, num_segments=inputs.num_segments, center=True, backend=backend
    ).values
    torch.autograd.grad(values.sum(), leaves)


def main() -> None:
    for backend in ("triton", "cuda"):
        if backend in _library.unavailable:
            print(f"backend {backend!r} is unavailable: not watched")
            continue
        for case, kinds in SETS.items():
            for dtype, precision in kinds:
                inputs = CASES[case](dtype)
                options = Options(0.1, center=True, precision=precision)
                run(inputs, options, backend=backend, device="cuda")
            blocks(CASES[case](torch.float32), backend)
        torch.cuda.synchronize()
        print(f"backend {backend!r}: done")


if __name__ == "__main__":
    main()
