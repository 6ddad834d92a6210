"""The operators of csrc/cuda on CPU tensors: built with the emulator, registered with PyTorch."""

import functools
from types import ModuleType

import torch
from emulator import build
from torch.utils.cpp_extension import include_paths, library_paths

from spcolor_ops import _library

HERE = build.HERE.parent / "cuda_emulation"


@functools.cache
def load(checked: bool = False) -> ModuleType:
    """Register `spcolor_ops::<stem>_cuda` for CPU tensors; of one process only once."""
    module = build.build(
        "emulated_operators",
        HERE / "module.cpp",
        *sorted(build.CUDA_SOURCES.glob("*.cu")),
        checked=checked,
        defines=["TORCH_TARGET_VERSION=0x020b000000000000"],
        includes=[HERE, *include_paths()],
        libraries=[f"-L{path}" for path in library_paths()] + ["-ltorch_cpu", "-ltorch", "-lc10"],
    )
    _library.accept_cpu_tensors("cuda")
    return module
