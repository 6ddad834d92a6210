"""Compiles the CUDA library's kernels with nvcc, for a GPU that is not there."""

import re
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from torch.utils.cpp_extension import include_paths

from .architectures import ARCHITECTURES
from .bound import Product
from .compiled import CHANNELS, VALUES, Compiled
from .sass import Code, disassemble

CSRC = Path(__file__).parents[2] / "csrc/cuda"
SOURCES = ("layout.cu", "correspondence.cu", "correspondence_backward.cu")
FLAGS = ["-std=c++17", "-O3", "-DUSE_CUDA", "-DTORCH_TARGET_VERSION=0x020b000000000000"]

# A slice of a row, and stages of slices in flight: csrc/cuda/product.cuh, slice_stream.cuh. Shared
# memory that a launch asks for is not in the object.
_SLICE_BYTES, _STAGES, _COLUMNS, _WARPS = 128, 3, 64, 4

_UNITS = {
    "HalfUnit": ("half", 2),
    "Tf32Unit": ("tf32", 4),
    "Tf32x3Unit": ("tf32x3", 4),
    "FmaProductIf": ("ieee", 4),
    "FmaProductId": ("double", 8),
}
_NAME = re.compile(r"spcolor\d+([a-z_]+?)_kernel(?:I|E|N)")
_FORWARD = re.compile(r"Li(\d)ELi(\d)E")
_HOPPER = re.compile(r"kernelI\d+_*(half|nv_bfloat16)Li(\d)ELi(\d)E")

# Of csrc/cuda/correspondence_hopper.cuh: each consumer has 64 queries. Two tiles of keys are in
# flight for two consumers, one for one.
_HOPPER_KEYS, _CONSUMER_ROWS = 128, 64


def has_compiler() -> bool:
    """Whether there is an nvcc."""
    return shutil.which("nvcc") is not None


def compile_kernels(arch: int) -> list[tuple[str, Compiled]]:
    """Compile the kernels of C = 256 and D = 3; return (precision, kernel) pairs."""
    codes = [code for source in SOURCES for code in _compile(CSRC / source, arch)]
    limit = ARCHITECTURES[arch].shared_memory
    described = [pair for code in codes if (pair := _describe(code, limit)) is not None]
    return list({(precision, x.name): (precision, x) for precision, x in described}.values())


def _compile(source: Path, arch: int) -> list[Code]:
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernels.cubin"
        target = f"sm_{arch}a" if arch == 90 else f"sm_{arch}"
        includes = [f"-I{path}" for path in (*include_paths(), sysconfig.get_path("include"))]
        command = ["nvcc", *FLAGS, *includes, f"-arch={target}", "-cubin", source, "-o", cubin]
        subprocess.run(command, check=True)
        return disassemble(cubin.read_bytes())


def _describe(code: Code, limit: int) -> tuple[str, Compiled] | None:
    """Return a kernel with its precision and products, read from its mangled name.

    Rows that do not fit into `limit` bytes of shared memory are streamed like the columns.
    """
    match = _NAME.search(code.name)
    if match is None:
        return None
    name = match[1]
    if name == "hopper_forward":
        return _describe_hopper(code)
    unit = next((unit for key, unit in _UNITS.items() if key in code.name), None)
    if unit is None:
        return "", Compiled(name, code, code.static_shared_memory, _WARPS, [])
    kind, size = unit
    row_blocks = 1
    if name == "forward":
        row_blocks, values = map(int, _FORWARD.search(code.name).groups())
        if values != VALUES:
            return None
    rows, columns = 64 * row_blocks, _COLUMNS if size < 8 else _COLUMNS // 2
    pairs = rows * columns
    shared = rows * CHANNELS * size + _STAGES * columns * _SLICE_BYTES + code.static_shared_memory
    shared = min(shared, limit)
    products = [Product(kind, pairs * CHANNELS, rows)] * (2 if name == "gradient" else 1)
    return kind, Compiled(name, code, shared, _WARPS, products, CHANNELS * size // _SLICE_BYTES)


def _describe_hopper(code: Code) -> tuple[str, Compiled] | None:
    match = _HOPPER.search(code.name)
    # Elsewhere than on sm_90a it is empty, and never launched.
    if match is None or int(match[2]) != VALUES or code.matrix_instruction != "HGMMA":
        return None
    consumers = int(match[3])
    rows = consumers * (_CONSUMER_ROWS + _HOPPER_KEYS)
    shared = rows * CHANNELS * 2 + code.static_shared_memory
    products = [Product("half", _CONSUMER_ROWS * _HOPPER_KEYS * CHANNELS, _CONSUMER_ROWS)]
    kind = {"half": "fp16", "nv_bfloat16": "bf16"}[match[1]]
    name = f"hopper_forward_{kind}" + ("_small" if consumers == 1 else "")
    warps = 4 * (consumers + 1)
    return kind, Compiled(name, code, shared, warps, products, consumers=consumers)
