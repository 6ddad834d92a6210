"""Compiles the Triton kernels for GPUs that are not there: no spills, and the right instructions.

`make gpu-report` compiles all of them.
"""

import csv

import pytest
from subprocesses import run_python

pytest.importorskip("triton")

INSTRUCTIONS = {"sm_80": "HMMA", "sm_90": "HGMMA"}
# Tiles of fewer rows than HGMMA's 64 are predicted to be faster there.
NARROW = {("sm_90", "tf32x3", "query_gradient"), ("sm_90", "tf32x3", "key_gradient")}
PRODUCTS = {"correspondence", "query_gradient", "key_gradient"}


@pytest.mark.parametrize(("arch", "precision"), [(80, "fp16"), (90, "fp16"), (90, "tf32x3")])
def test_compiles_without_spills(arch, precision, tmp_path):
    # In a process of its own: the tests of this one may interpret Triton.
    run = run_python(
        *("-m", "benchmarks.gpu_report", "--backend", "triton", "--out", str(tmp_path)),
        *("--arch", str(arch), "--precision", precision),
        TRITON_INTERPRET="0",
    )
    assert run.returncode == 0, run.stdout + run.stderr
    with (tmp_path / "gpu_report.csv").open() as file:
        lines = {line["kernel"]: line for line in csv.DictReader(file)}
    assert lines.keys() >= PRODUCTS | {"layout", "unit_vectors"}
    for name in PRODUCTS:
        is_narrow = (f"sm_{arch}", precision, name) in NARROW
        instruction = "HMMA" if is_narrow else INSTRUCTIONS[f"sm_{arch}"]
        assert lines[name]["instruction"] == instruction
        assert float(lines[name]["fraction"]) > 0


MANY_CHANNELS = """
import torch
from benchmarks.gpu_report.architectures import ARCHITECTURES
from benchmarks.gpu_report.triton_kernels import compile_kernels

for kernel in compile_kernels(90, "tf32x3", torch.float32, classes=22, channels=300):
    print(kernel.name, kernel.shared_memory, ARCHITECTURES[90].shared_memory)
"""


def test_shared_memory_does_not_grow_with_the_channels():
    run = run_python("-c", MANY_CHANNELS, TRITON_INTERPRET="0")
    assert run.returncode == 0, run.stdout + run.stderr
    kernels = [line.split() for line in run.stdout.splitlines()]
    assert {name for name, _, _ in kernels} >= PRODUCTS
    assert all(int(used) <= int(most) for _, used, most in kernels), run.stdout
