"""Builds kernels with the emulator into a Python module, once per content of their sources."""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import importlib.util
import os
import shlex
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CUDA_SOURCES = ROOT / "csrc/cuda"
CACHE = ROOT / "build/emulator"
HEADERS = {".h", ".cuh", ".cu"}
COMPILER = shlex.split(os.environ.get("CXX", "g++"))
FLAGS = ["-x", "c++", "-std=c++20", "-O2", "-g1"]
FLAGS += ["-fPIC", "-fvisibility=hidden", "-ffp-contract=off"]
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
INSTRUMENTED = ["-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0"]


def build(
    name: str,
    *sources: Path,
    checked: bool = False,
    defines: Iterable[str] = (),
    includes: Iterable[str | Path] = (),
    libraries: Iterable[str] = (),
) -> ModuleType:
    """Compile pybind11 sources, one of which says `PYBIND11_MODULE(EMULATED_MODULE, m)`.

    Args:
        name: of the module, for its file and messages.
        checked: look at every memory access of the kernels for bounds and races; slower.
        defines: preprocessor names to define.
        includes: more folders with headers.
        libraries: what the linker is told beside the objects.
    """
    import pybind11

    name += "_checked" if checked else ""  # one process may load both
    flags = [*FLAGS, *WARNINGS, f"-DEMULATOR_CHECKED={int(checked)}"]
    own = [
        *(INSTRUMENTED if checked else []),
        f"-DEMULATED_MODULE={name}",
        *(f"-D{define}" for define in defines),
        f"-I{HERE}",
        f"-I{CUDA_SOURCES}",
        f"-isystem{pybind11.get_include()}",
        f"-isystem{sysconfig.get_path('include')}",
        *(f"-isystem{path}" for path in includes),
    ]
    runtime = sorted(HERE.glob("*.cpp"))
    folders = {HERE, CUDA_SOURCES, *(source.parent for source in sources)}
    headers = [path for folder in folders for path in folder.glob("*.*") if path.suffix in HEADERS]
    # The runtime comes first: of functions that both contain, the linker takes the one that is not
    # instrumented.
    objects = [_compile(source, flags, HERE.glob("*.h")) for source in runtime]
    objects += [_compile(source, flags + own, headers) for source in sources]
    library = CACHE / _hash(objects, []) / (name + ".so")
    if not library.exists():
        _run([*COMPILER, "-shared", *map(str, objects), *libraries], library)
    return _load(name, library)


def _compile(source: Path, flags: list[str], headers: Iterable[Path]) -> Path:
    target = CACHE / f"{source.stem}-{_hash([source, *sorted(set(headers))], flags)}.o"
    if not target.exists():
        _run([*COMPILER, *flags, "-c", str(source)], target)
    return target


def _hash(files: Iterable[Path], flags: list[str]) -> str:
    digest = hashlib.sha256(repr([_compiler_version(), COMPILER, flags]).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _compiler_version() -> str:
    return subprocess.run([*COMPILER, "--version"], capture_output=True, check=True).stdout.decode()


def _run(command: list[str], target: Path) -> None:
    """Run a command that writes a file; others see it complete or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        result = Path(folder) / target.name
        done = subprocess.run([*command, "-o", str(result)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)}\n{done.stderr}")
        result.replace(target)


def _load(name: str, library: Path) -> ModuleType:
    loader = importlib.machinery.ExtensionFileLoader(name, str(library))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module
