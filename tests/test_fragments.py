"""Matrix instructions of the emulator: against plain matrix products, and against a GPU's own.

Which elements a lane holds comes from the PTX manual, and is written here a second time.
"""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
import torch
from emulator.build import CACHE, CUDA_SOURCES, HERE, build

KERNELS = HERE / "kernels"
TYPES = ("fp16", "bf16", "tf32")
LANE = np.arange(32)


@pytest.fixture(scope="module")
def fragments():
    return build("fragments", KERNELS / "fragments.cpp", checked=True)


@pytest.fixture(scope="module")
def hopper():
    return build("hopper", KERNELS / "hopper.cpp", checked=True)


@pytest.fixture(scope="module")
def gpu():
    """The kernels of fragments.cuh on a GPU."""
    return build_for_gpu("fragments.cu", "native")


@pytest.fixture(scope="module")
def hopper_gpu():
    """Those of hopper.cuh."""
    if torch.cuda.is_available() and torch.cuda.get_device_capability() != (9, 0):
        pytest.skip("not a Hopper GPU")
    return build_for_gpu("hopper.cu", "sm_90a")


def build_for_gpu(source, arch):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc")
    library = CACHE / f"{source}.so"
    flags = ["-std=c++17", "-shared", f"-arch={arch}", "-Xcompiler=-fPIC", f"-I{CUDA_SOURCES}"]
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["nvcc", *flags, KERNELS / source, "-o", library], check=True)
    return OnGpu(ctypes.CDLL(str(library)))


class OnGpu:
    """Functions of a library, of NumPy arrays: copied to the GPU and back."""

    def __init__(self, library):
        self.library = library

    def __getattr__(self, name):
        function = getattr(self.library, name)
        function.restype = ctypes.c_char_p

        def call(*arguments):
            arrays = [x for x in arguments if isinstance(x, np.ndarray)]
            on_gpu = [torch.from_numpy(x.view(np.uint8)).cuda() for x in arrays]
            pointers = iter(ctypes.c_void_p(x.data_ptr()) for x in on_gpu)
            message = function(
                *(next(pointers) if isinstance(x, np.ndarray) else to_c(x) for x in arguments)
            )
            assert message is None, message
            for array, result in zip(arrays, on_gpu, strict=True):
                array.view(np.uint8)[...] = result.cpu().numpy()

        return call


def to_c(x):
    return x.encode() if isinstance(x, str) else x


def to_bits(x, dtype):
    """Registers of a float array whose last dimension fills whole ones."""
    if dtype == "tf32":
        return x.astype(np.float32).view(np.uint32)
    torch_dtype = torch.float16 if dtype == "fp16" else torch.bfloat16
    return torch.from_numpy(x).to(torch_dtype).view(torch.int16).numpy().view(np.uint32)


def random_operands(dtype, seed=0):
    """Matrices a [16, depth], b [8, depth] and c [16, 8] of numbers that every type holds."""
    random = np.random.default_rng(seed)
    depth = 8 if dtype == "tf32" else 16
    shapes = ((16, depth), (8, depth), (16, 8))
    return [random.integers(-128, 128, shape).astype(np.float32) / 32 for shape in shapes]


def to_fragments(a, b, c, dtype):
    """Registers of the 32 lanes: a [32, 4], b [32, 2], c [32, 4]."""
    a, b = (to_bits(x, dtype) for x in (a, b))  # [rows, 8] registers
    row, part = LANE // 4, LANE % 4
    return (
        np.stack([a[row, part], a[row + 8, part], a[row, part + 4], a[row + 8, part + 4]], 1),
        np.stack([b[row, part], b[row, part + 4]], 1),
        from_matrix(c),
    )


def from_matrix(c):
    row, column = LANE // 4, LANE % 4 * 2
    return np.stack(
        [c[row, column], c[row, column + 1], c[row + 8, column], c[row + 8, column + 1]], 1
    )


@pytest.mark.parametrize("dtype", TYPES)
def test_multiply(fragments, dtype):
    a, b, c = random_operands(dtype)
    d = np.empty((32, 4), np.float32)
    fragments.multiply(dtype, *to_fragments(a, b, c, dtype), d)
    np.testing.assert_array_equal(d, from_matrix(a @ b.T + c))


def test_tf32_ignores_the_low_bits(fragments):
    a, b, c = random_operands("tf32")
    exact, d = np.empty((2, 32, 4), np.float32)
    registers = to_fragments(a, b, c, "tf32")
    fragments.multiply("tf32", *registers, exact)
    fragments.multiply("tf32", registers[0] | 0x1FFF, registers[1], registers[2], d)
    np.testing.assert_array_equal(d, exact)


@pytest.mark.parametrize("transposed", [False, True])
def test_load(fragments, transposed):
    matrices = np.arange(4 * 8 * 8, dtype=np.uint16).reshape(4, 8, 8)
    out = np.empty((32, 4), np.uint32)
    fragments.load(transposed, matrices, out)
    if transposed:
        matrices = matrices.swapaxes(1, 2)
    pairs = np.ascontiguousarray(matrices).view(np.uint32)  # [4, 8, 4]
    np.testing.assert_array_equal(out, pairs[:, LANE // 4, LANE % 4].T)


@pytest.mark.parametrize("dtype", TYPES)
def test_hopper_product(hopper, dtype):
    a, b, expected = product_operands(dtype)
    for seed in range(4):
        hopper.seed(seed)
        out = np.empty((64, 128), np.float32)
        getattr(hopper, dtype)(a, 5, b, 10, out)
        np.testing.assert_array_equal(out, expected)


def product_operands(dtype):
    """Rows of 128 bytes, a [70] and b [130], and the product of those from 5 and 10 on.

    Fewer than 128 rows of b follow row 10: the rest of the product is 0.
    """
    random = np.random.default_rng(3)
    channels = 32 if dtype == "tf32" else 64
    a, b = (random.integers(-16, 16, (n, channels)).astype(np.float32) / 8 for n in (70, 130))
    expected = np.zeros((64, 128), np.float32)
    expected[:, :120] = a[5:69] @ b[10:].T
    return to_bits(a, dtype).view(np.uint8), to_bits(b, dtype).view(np.uint8), expected


@pytest.mark.parametrize("dtype", TYPES)
def test_hopper_product_like_a_gpu(hopper_gpu, dtype):
    a, b, expected = product_operands(dtype)
    out = np.empty((64, 128), np.float32)
    getattr(hopper_gpu, dtype)(a, len(a), 5, b, len(b), 10, out)
    np.testing.assert_array_equal(out, expected)


def random_floats():
    """Floats of any size, ties between two tf32 among them, infinities and NaN."""
    x = np.random.default_rng(0).integers(0, 2**32, 32, dtype=np.uint32)
    x[:8] = (x[:8] & 0xFFFFE000) | 0x1000
    x = x.view(np.float32)
    x[8:11] = np.inf, -np.inf, np.nan
    return x


def test_round_to_tf32(fragments):
    x = random_floats()
    out = np.empty(32, np.uint32)
    fragments.round_to_tf32(x, out)
    rounded = out.view(np.float32)
    assert not (out[np.isfinite(x)] & 0x1FFF).any()
    finite = np.isfinite(rounded)
    np.testing.assert_allclose(rounded[finite], x[finite], rtol=2**-11)
    np.testing.assert_array_equal(np.isnan(rounded), np.isnan(x))
    assert (np.abs(rounded[:8]) > np.abs(x[:8])).all()  # ties away from zero


@pytest.mark.parametrize("dtype", TYPES)
def test_multiply_like_a_gpu(fragments, gpu, dtype):
    random = np.random.default_rng(1)
    for _ in range(100):
        a, b, c = (random.standard_normal(x.shape, np.float32) for x in random_operands(dtype))
        registers = to_fragments(a, b, c, dtype)
        ours, theirs = np.empty((2, 32, 4), np.float32)
        fragments.multiply(dtype, *registers, ours)
        gpu.multiply(dtype, *registers, theirs)
        # Tensor cores keep fewer bits of a sum than float32, relative to its largest term.
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("transposed", [False, True])
def test_load_like_a_gpu(fragments, gpu, transposed):
    matrices = np.random.default_rng(2).integers(0, 2**16, (32, 8), dtype=np.uint16)
    ours, theirs = np.empty((2, 32, 4), np.uint32)
    fragments.load(transposed, matrices, ours)
    gpu.load(transposed, matrices, theirs)
    np.testing.assert_array_equal(ours, theirs)


def test_round_to_tf32_like_a_gpu(fragments, gpu):
    x = random_floats()
    ours, theirs = np.empty((2, 32), np.uint32)
    fragments.round_to_tf32(x, ours)
    gpu.round_to_tf32(x, theirs)
    np.testing.assert_array_equal(ours, theirs)
