"""Triton's interpreter on CPU tensors, made to compute what a GPU would.

As it comes, it adds bfloat16 as raw bits, truncates where it should round, does not know tf32 and
reads out of bounds without a word. `install()` changes that, for Triton 3.6 to 3.8; call it before
any kernel is defined. SPCOLOR_PROGRAM_ORDER=seed runs the programs of every launch shuffled.
"""

import os
import random
from typing import NamedTuple

import numpy as np
import torch

import spcolor_ops._library


def install() -> None:
    """Let `backend="triton"` take CPU tensors, and interpret its kernels."""
    os.environ["TRITON_INTERPRET"] = "1"
    from triton.runtime import interpreter

    builder = interpreter.InterpreterBuilder
    builder.create_dot = _dot(interpreter)
    for name in ("binary_op", "unary_op", "ternary_op"):
        if hasattr(builder, name):
            setattr(builder, name, _in_float32(interpreter, getattr(builder, name)))
    interpreter._convert_float = _converter(interpreter._convert_float)
    interpreter._interpreter = _CheckedMemory(interpreter._interpreter)
    _watch_arguments(interpreter)
    _index_by_scalars(interpreter)
    _patch_language_once(interpreter)
    if "SPCOLOR_PROGRAM_ORDER" in os.environ:
        _shuffle_programs(builder, int(os.environ["SPCOLOR_PROGRAM_ORDER"]))
    spcolor_ops._library.accept_cpu_tensors("triton")


# --- number formats: bfloat16 is held as uint16


def _to_float32(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _to_bfloat16(x: np.ndarray) -> np.ndarray:
    """Round to nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0), rounded)


def _to_tf32(x: np.ndarray) -> np.ndarray:
    """Round to 10 bits of fraction, ties away from zero."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = ((bits + 0x1000) & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isfinite(x), rounded, x)


def _matmul(a: np.ndarray, b: np.ndarray, precision: str) -> np.ndarray:
    """Multiply float32 matrices as a tensor core does in `precision`, one of Triton's names."""
    if precision not in ("tf32", "tf32x3"):
        return a @ b
    a_high, b_high = _to_tf32(a), _to_tf32(b)
    product = a_high @ b_high
    if precision == "tf32x3":
        # What is left of an infinite number is no number; the high product says what it must.
        a_low, b_low = (
            _to_tf32(np.where(np.isfinite(x), x - high, 0.0))
            for x, high in ((a, a_high), (b, b_high))
        )
        product = product + (a_low @ b_high + a_high @ b_low)
    return product


def _dot(interpreter):
    from triton import language as tl

    def widened(operand):
        if operand.dtype.scalar == tl.bfloat16:
            return _to_float32(operand.data)
        return operand.data.astype(np.promote_types(operand.data.dtype, np.float32))

    def create_dot(self, a, b, d, input_precision, max_num_imprecise_acc):
        precision = input_precision.name.lower() if a.dtype.scalar == tl.float32 else "ieee"
        with np.errstate(invalid="ignore", over="ignore"):
            product = _matmul(widened(a), widened(b), precision)
        total = (product + d.data).astype(d.data.dtype)
        return interpreter.TensorHandle(total, d.dtype.scalar)

    return create_dot


def _in_float32(interpreter, operation):
    """Wrap an operation so that bfloat16 is computed in float32 and rounded."""
    from triton import language as tl

    def is_bfloat16(x):
        return isinstance(x, interpreter.TensorHandle) and x.dtype.scalar == tl.bfloat16

    def wrapped(self, *arguments):
        if not any(is_bfloat16(x) for x in arguments):
            return operation(self, *arguments)
        widened = (
            interpreter.TensorHandle(_to_float32(x.data), tl.float32) if is_bfloat16(x) else x
            for x in arguments
        )
        result = operation(self, *widened)
        if result.data.dtype == np.float32:
            return interpreter.TensorHandle(_to_bfloat16(result.data), tl.bfloat16)
        return result

    return wrapped


def _converter(convert):
    from triton import language as tl

    def convert_float(x, source, target, rounding_mode):
        if source == tl.bfloat16 and target == tl.float32:
            return _to_float32(x.view(np.uint16)).view(np.uint32)
        if source == tl.float32 and target == tl.bfloat16:
            return _to_bfloat16(x.view(np.float32))
        return convert(x, source, target, rounding_mode)

    return convert_float


# --- memory


class _Range(NamedTuple):
    begin: int
    end: int


class _CheckedMemory:
    """The interpreter's memory, limited to the tensors that the launch was given."""

    ranges: tuple[_Range, ...] = ()

    def __init__(self, memory):
        self._memory = memory

    def __getattr__(self, name):
        return getattr(self._memory, name)

    def _check(self, pointers, mask, itemsize, what):
        pointers, mask = np.broadcast_arrays(pointers, np.asarray(mask, bool))
        wanted = pointers[mask]
        inside = np.zeros(wanted.shape, bool)
        for begin, end in self.ranges:
            inside |= (wanted >= begin) & (wanted + np.uint64(itemsize) <= end)
        if not inside.all():
            raise IndexError(f"{what} out of bounds: {(~inside).sum()} of {wanted.size} lanes")

    def load(self, pointers, mask, other, dtype):
        self._check(pointers, mask, np.dtype(dtype).itemsize, "load")
        return self._memory.load(pointers, mask, other, dtype)

    def store(self, pointers, values, mask):
        self._check(pointers, mask, values.dtype.itemsize, "store")
        return self._memory.store(pointers, values, mask)

    def atomic_rmw(self, operation, pointers, values, mask, semantics):
        self._check(pointers, mask, values.dtype.itemsize, "atomic")
        return self._memory.atomic_rmw(operation, pointers, values, mask, semantics)


def _range_of(tensor: torch.Tensor) -> _Range:
    """Return the addresses from a tensor's first to its last element, gaps between included."""
    if not tensor.numel():
        return _Range(0, 0)
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))  # noqa: B905
    return _Range(tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size())


def _watch_arguments(interpreter) -> None:
    executor = interpreter.GridExecutor
    original = executor._init_args_hst

    def init_arguments(self, arguments, keywords):
        arguments, keywords = original(self, arguments, keywords)
        given = (*arguments, *keywords.values())
        _CheckedMemory.ranges = tuple(_range_of(x) for x in given if isinstance(x, torch.Tensor))
        return arguments, keywords

    executor._init_args_hst = init_arguments


# --- programs


def _index_by_scalars(interpreter) -> None:
    """Let a scalar bound a `range`: NumPy 2.4 turns no array of one element into a number."""
    original = interpreter._patch_lang_tensor

    def to_index(self):
        return int(np.asarray(self.handle.data).reshape(-1)[0])

    def patch(tensor, *scope):
        result = original(tensor, *scope)
        if scope:
            scope[0].set_attr(tensor, "__index__", to_index)
        else:
            tensor.__index__ = to_index
        return result

    interpreter._patch_lang_tensor = patch


class _NothingToRestore:
    def restore(self):
        pass


def _patch_language_once(interpreter) -> None:
    """Patch Triton's modules once for each launch, not again for each function that it calls."""
    original = interpreter._patch_lang
    language = (interpreter.tl, interpreter.tl.core)
    patched = set()

    def patch(function):
        visible = {
            id(module)
            for module in function.__globals__.values()
            if any(module is known for known in language)
        }
        if visible <= patched:
            return _NothingToRestore()
        is_launch = not patched
        patched.update(visible)
        scope = original(function)
        if is_launch:
            restore = scope.restore
            scope.restore = lambda: (patched.clear(), restore())
        return scope

    interpreter._patch_lang = patch


def _shuffle_programs(builder, seed: int) -> None:
    """Run the programs of a launch in an order of its own: none may lean on the one before."""
    set_dim, set_index = builder.set_grid_dim, builder.set_grid_idx

    def set_grid_dim(self, x, y, z):
        set_dim(self, x, y, z)
        self.pending = [(i, j, k) for i in range(x) for j in range(y) for k in range(z)]
        random.Random(seed).shuffle(self.pending)

    def set_grid_idx(self, x, y, z):
        set_index(self, *self.pending.pop())

    builder.set_grid_dim, builder.set_grid_idx = set_grid_dim, set_grid_idx
