"""Builds the extension libraries; all other metadata is in pyproject.toml.

SPCOLOR_NO_EXTENSION=1 installs the pure-Python part alone. SPCOLOR_SANITIZE=1 builds with the
address and undefined-behaviour sanitizers.
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


def cpu_extension():
    from torch.utils.cpp_extension import CppExtension

    sanitize = os.environ.get("SPCOLOR_SANITIZE") == "1"
    warnings = ["-Wall", "-Wextra", "-Wno-psabi", "-Wno-unused-parameter"]
    flags = ["-std=c++17", "-fvisibility=hidden", *warnings, *STABLE_ABI]
    optimize = ["-O1", "-g", "-fno-omit-frame-pointer"] if sanitize else ["-O3"]
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"] if sanitize else []
    return CppExtension(
        "spcolor_ops._C_cpu",
        sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc/cpu").glob("*.cpp")),
        depends=sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.[hi]*")),
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
    from torch.utils.cpp_extension import BuildExtension

    print("spcolor: building the CPU library; this release has no CUDA sources")
    return {
        "ext_modules": [cpu_extension()],
        "cmdclass": {"build_ext": BuildExtension},
        "options": {"bdist_wheel": {"py_limited_api": "cp310"}},
    }


setup(**extensions())
