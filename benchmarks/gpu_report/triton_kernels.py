"""Compiles the Triton kernels through the library's own launchers, for a GPU that is not there."""

import contextlib
from collections.abc import Iterator
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from spcolor_ops import _library
from spcolor_ops.triton_kernels import tiles

from .architectures import ARCHITECTURES
from .bound import Product
from .compiled import BATCH, CHANNELS, LENGTH, VALUES, Compiled
from .sass import Code, disassemble


class _Driver:
    """Stands in for the driver of a GPU: launches are compiled and go no further."""

    def __init__(self, arch: int | str) -> None:
        is_amd = isinstance(arch, str)
        self._target = GPUTarget("hip", arch, 64) if is_amd else GPUTarget("cuda", arch, 32)

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int | str:
        return self._target.arch  # Triton keeps what it compiled by device

    def get_current_stream(self, _device: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")


@contextlib.contextmanager
def _compile_only(arch: int | str) -> Iterator[dict[str, tuple]]:
    """Turn every launch into a compilation for `arch`; yield name -> (kernel, products)."""
    compiled: dict[str, tuple] = {}
    launch = JITFunction.run

    def compile_kernel(self, *arguments, grid, warmup, **options):
        kernel = launch(self, *arguments, grid=grid, warmup=True, **options)
        name = self.__name__.removeprefix("_").removesuffix("_kernel")
        compiled[name] = kernel, _products(arguments[0].dtype, options)
        return kernel

    triton.runtime.driver.set_active(_Driver(arch))
    with (
        mock.patch.object(JITFunction, "run", compile_kernel),
        mock.patch.object(tiles, "STAND_IN", _device(arch)),
        mock.patch.object(torch.version, "hip", "" if isinstance(arch, int) else "6"),
    ):
        yield compiled


def _device(arch: int | str) -> tiles.Device:
    """Return what the launchers are to see in place of a device."""
    if isinstance(arch, str):
        return tiles.Device((9, 4), 65_536, 304)
    card = ARCHITECTURES[arch]
    return tiles.Device(divmod(arch, 10), card.shared_memory, card.multiprocessors)


def _products(dtype: torch.dtype, options: dict) -> list[Product]:
    """Return the products of one step of a kernel's loop, from its constants."""
    if "PRECISION" not in options:
        return []
    precision, pairs = options["PRECISION"], options["ROWS"] * options["COLUMNS"]
    kind = {2: "half", 8: "double"}.get(dtype.itemsize, precision)
    summed = options.get("GRADIENT_CHANNELS", options["C_PADDED"])
    share = summed / options["C_PADDED"]  # every slice of the gradient computes the scores again
    products = [Product(kind, pairs * options["C_PADDED"], options["ROWS"], share)]
    if "GRADIENT_CHANNELS" in options:
        weights = {"bf16": "half", "fp16": "tf32"}.get(precision, precision)
        weights = "double" if kind == "double" else weights
        products.append(Product(weights, pairs * summed, options["ROWS"]))
    return products


def compile_kernels(
    arch: int | str, precision: str, dtype: torch.dtype, classes: int, channels: int = CHANNELS
) -> list[Compiled]:
    """Compile all kernels of forward and backward for one architecture, precision and type."""
    _library.accept_cpu_tensors("triton")
    query = torch.empty(BATCH, LENGTH, channels, dtype=dtype).requires_grad_()
    value = torch.empty(BATCH, LENGTH, VALUES)
    labels = torch.empty(BATCH, LENGTH, dtype=torch.int32)
    offsets = torch.empty(BATCH, classes + 1, dtype=torch.int32)
    temperature = torch.tensor(0.01, dtype=torch.promote_types(dtype, torch.float32))
    operators = torch.ops.spcolor_ops
    with _compile_only(arch) as compiled:
        operators.layout_triton([labels, labels], classes)
        warped, similarity, _, lse, _ = operators.correspondence_triton(
            query, query, value, labels, offsets, labels, offsets, temperature,
            False, True, precision, False,
        )  # fmt: skip
        outputs = (warped, similarity, lse)
        torch.autograd.grad(outputs, [query], [torch.empty_like(x) for x in outputs])
    return [
        Compiled(
            name,
            _code(kernel),
            kernel.metadata.shared,
            kernel.metadata.num_warps,
            products,
        )
        for name, (kernel, products) in compiled.items()
    ]


def _code(kernel) -> Code | None:
    if "cubin" not in kernel.asm:
        return None
    (code,) = disassemble(kernel.asm["cubin"])
    return code
