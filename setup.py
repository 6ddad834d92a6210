"""Builds the extension libraries; all other metadata is in pyproject.toml.

SPCOLOR_NO_EXTENSION=1 installs the pure-Python part alone, SPCOLOR_CUDA=0 leaves the CUDA library
out. SPCOLOR_SANITIZE=1 builds the CPU library with the address and undefined-behaviour sanitizers,
SPCOLOR_WERROR=1 makes warnings of the CUDA compiler errors.
"""

import os
import shutil
import sys
from pathlib import Path

from setuptools import setup

MISSING_COMPILER = """
spcolor: no C++ compiler found (looked for {compiler!r}).
  Install one (Debian and Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++),
  or name one in CXX,
  or install the pure-Python part, which is much slower: SPCOLOR_NO_EXTENSION=1 pip install .
"""

# One binary serves every torch from 2.11 on (LibTorch stable ABI) and Python from 3.10 on (abi3).
STABLE_ABI = ["-DTORCH_TARGET_VERSION=0x020b000000000000"]
ROOT = Path(__file__).parent


def sources(folder, *patterns):
    paths = (path for pattern in patterns for path in (ROOT / folder).glob(pattern))
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def find_cuda():
    """Return the folder of the CUDA toolkit, or None; nvcc in PATH may be a wrapper elsewhere."""
    nvcc = shutil.which("nvcc")
    candidates = [
        *(os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")),
        Path(nvcc).resolve().parents[1] if nvcc else None,
        "/usr/local/cuda",
    ]
    for home in filter(None, candidates):
        if (Path(home) / "include/cuda_runtime.h").exists():
            return str(home)
    return None


def why_no_cuda():
    """Return why the CUDA library is not built, or None; prepare the environment if it is."""
    import torch

    if os.environ.get("SPCOLOR_CUDA") == "0":
        return "SPCOLOR_CUDA=0"
    if torch.version.cuda is None:
        return "this PyTorch is built without CUDA"
    home = find_cuda()
    if home is None:
        return "no CUDA toolkit found (looked at CUDA_HOME, CUDA_PATH, nvcc, /usr/local/cuda)"
    if "TORCH_CUDA_ARCH_LIST" not in os.environ:
        chosen = architectures(torch)
        if not chosen:
            return "no GPU here has compute capability 8.0 or later"
        os.environ["TORCH_CUDA_ARCH_LIST"] = ";".join(chosen)
    os.environ["CUDA_HOME"] = home
    return None


def architectures(torch):
    """Return those of the GPUs that are here, or all that are supported where there is none.

    9.0 becomes 9.0a: the Hopper kernel needs its instructions, and no other GPU is of 9.0. GPUs
    before 8.0 have no code, and none is returned where there are no others.
    """
    version = tuple(int(part) for part in torch.version.cuda.split("."))
    supported = ["8.0", "8.6", "8.9", "9.0", *(["10.0"] if version >= (12, 8) else [])]
    newest = ["12.0+PTX"] if version >= (12, 8) else ["9.0+PTX"]
    count = torch.cuda.device_count()
    devices = {torch.cuda.get_device_capability(device) for device in range(count)}
    found = ["{}.{}".format(*device) for device in sorted(devices) if device >= (8, 0)]
    chosen = found if count else supported + newest
    return ["9.0a" if arch == "9.0" else arch for arch in chosen]


def cuda_extension():
    from torch.utils.cpp_extension import CUDAExtension

    warnings = ["-Werror", "all-warnings"] if os.environ.get("SPCOLOR_WERROR") == "1" else []
    # PyTorch's build turns the conversions of 16-bit floats off, which the kernels use.
    conversions = ["-U__CUDA_NO_HALF_CONVERSIONS__", "-U__CUDA_NO_BFLOAT16_CONVERSIONS__"]
    flags = ["-O3", "-std=c++17", "-DUSE_CUDA", "-Xcompiler=-fvisibility=hidden", *conversions]
    if "9.0a" in os.environ["TORCH_CUDA_ARCH_LIST"]:
        flags.append("-DSPCOLOR_SM_90A")
    return CUDAExtension(
        "spcolor_ops._C_cuda",
        sources("csrc/cuda", "*.cu"),
        depends=sources("csrc", "*.h", "cuda/*.cuh", "cuda/*.h"),
        py_limited_api=True,
        extra_compile_args={"cxx": STABLE_ABI, "nvcc": [*flags, *warnings, *STABLE_ABI]},
    )


def cpu_extension():
    from torch.utils.cpp_extension import CppExtension

    sanitize = os.environ.get("SPCOLOR_SANITIZE") == "1"
    warnings = ["-Wall", "-Wextra", "-Wno-psabi", "-Wno-unused-parameter"]
    flags = ["-std=c++17", "-fvisibility=hidden", *warnings, *STABLE_ABI]
    optimize = ["-O1", "-g", "-fno-omit-frame-pointer"] if sanitize else ["-O3"]
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"] if sanitize else []
    return CppExtension(
        "spcolor_ops._C_cpu",
        sources("csrc/cpu", "*.cpp"),
        depends=sources("csrc", "*.h", "cpu/*.h", "cpu/*.inl"),
        py_limited_api=True,
        extra_compile_args={"cxx": [*flags, *optimize, *checks]},
        extra_link_args=checks,
    )


def extensions():
    if os.environ.get("SPCOLOR_NO_EXTENSION") == "1":
        return {}
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler.split()[0]) is None:
        sys.exit(MISSING_COMPILER.format(compiler=compiler))
    reason = why_no_cuda()
    from torch.utils.cpp_extension import BuildExtension  # reads the environment once

    print(f"spcolor: building the CPU library{'' if reason else ' and the CUDA library'}")
    if reason:
        print(f"spcolor: no CUDA library: {reason}")
    return {
        "ext_modules": [cpu_extension(), *([] if reason else [cuda_extension()])],
        "cmdclass": {"build_ext": BuildExtension},
        "options": {"bdist_wheel": {"py_limited_api": "cp310"}},
    }


setup(**extensions())
