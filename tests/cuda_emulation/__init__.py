"""The operators of csrc/cuda on CPU tensors: built with the emulator, registered with PyTorch.

SPCOLOR_PROGRAM_ORDER=n shuffles blocks and threads, SPCOLOR_CHECKED=1 looks at every memory access
of the kernels.
"""

import os
from pathlib import Path

from emulator import build
from torch.utils.cpp_extension import include_paths, library_paths

from spcolor_ops import _library

HERE = Path(__file__).parent


def install() -> None:
    """Register `spcolor_ops::<stem>_cuda` for CPU tensors; once in a process."""
    module = build.build(
        "emulated_operators",
        HERE / "module.cpp",
        *sorted(build.CUDA_SOURCES.glob("*.cu")),
        checked=os.environ.get("SPCOLOR_CHECKED") == "1",
        defines=["TORCH_TARGET_VERSION=0x020b000000000000"],
        includes=[HERE, *include_paths()],
        libraries=[*(f"-L{path}" for path in library_paths()), "-ltorch_cpu", "-ltorch", "-lc10"],
    )
    module.seed(int(os.environ.get("SPCOLOR_PROGRAM_ORDER", "0")))
    _library.accept_cpu_tensors("cuda")
