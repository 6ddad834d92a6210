"""The CUDA backend, emulated: the tests of every backend in processes of their own, and nvcc.

A part of the cases stands for all of them here. SPCOLOR_TEST_BACKENDS=cuda runs them all, on the
files of RUNS.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pybind11")

TESTS = Path(__file__).parent
SOURCES = TESTS.parent / "csrc/cuda"

# One expression, and what the emulator is asked for beside.
RUNS = {
    "cases": (
        "test_matches_oracle and not cosine and (paper or centred and not raw) "
        "and (float32 or bfloat16) or test_cosine_similarity.py and (ragged or giant) "
        "or test_equal_maxima or spoil or no_temperature or test_sizes or test_gradients_one "
        "and float64 or test_precision.py or opcheck or backward_sum",
        {},
    ),
    "hopper": (
        "test_matches_oracle and (float16 or bfloat16) and paper or test_precision.py",
        {"SPCOLOR_HOPPER": "1"},
    ),
    "any_order": (
        "test_matches_oracle and float16 and centred and not raw "
        "and (ragged or many_keys or odd_sizes or channels_300 or giant)",
        {"SPCOLOR_PROGRAM_ORDER": "1"},
    ),
    "checked": (
        "test_matches_oracle and not float16- and (paper or centred and not raw) "
        "and (ragged or odd_sizes or many_queries)",
        {"SPCOLOR_CHECKED": "1"},
    ),
}
FILES = (
    *("correspondence", "cosine_similarity", "layout", "varlen", "precision", "extremes"),
    "library",
)


@pytest.mark.parametrize("name", RUNS)
def test_emulated(name):
    expression, environment = RUNS[name]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore"),
            *("-k", expression),
            *(str(TESTS / f"test_{file}.py") for file in FILES),
        ],
        env=os.environ | environment | {"SPCOLOR_TEST_BACKENDS": "cuda", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


COMPILED = """
#include "correspondence_backward.cuh"
#include "layout.cuh"
using namespace spcolor;
void launch(const Problem& problem, const Outputs& out, const Saved& saved, const Gradients& grads,
            Workspace& workspace) {
  correspondence<float>(problem, out, workspace, nullptr);
  correspondence_backward<float>(problem, saved, grads, workspace, nullptr);
  launch_layout<int64_t>({}, nullptr);
}
"""


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_kernels_for_sm_80_do_not_spill(tmp_path):
    source = tmp_path / "kernels.cu"
    source.write_text(COMPILED)
    command = ["nvcc", "-std=c++17", "-arch=sm_80", "-cubin", f"-I{SOURCES}"]
    command += ["-Xptxas=-v", "-Werror=all-warnings", "-o", str(tmp_path / "kernels"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kernel, spilling, seen = "", {}, 0
    for line in done.stderr.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            kernel, seen = match[1], seen + 1
        elif (match := re.search(r"(\d+) bytes spill stores", line)) and int(match[1]):
            spilling[kernel] = line.strip()
    assert seen > 20
    assert not spilling
