"""The Triton backend, interpreted: the tests of every backend in processes of their own.

Interpreting takes milliseconds an operation, so a part of the cases stands for all of them here.
`make test-triton` runs them all.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

TESTS = Path(__file__).parent

# name -> (files, expression, environment); each takes about a minute.
RUNS = {
    "correspondence": (
        ["test_correspondence.py", "test_extremes.py"],
        "test_matches_oracle and ("
        "  (centred and not raw and float32 and (ragged or no_keys or odd_sizes or channels_300))"
        "  or (paper and float32 and (values_17 or stepped or expanded- or one_sided))"
        "  or (ragged and raw_centred and float64)"
        "  or (ragged and centred and bfloat16)"
        ")"
        " or (equal_maxima and 33 and float32) or (tiny_temperature and float32)"
        " or (max_similarity and zero_vectors and float16 and options0)"
        " or (spoil and nan and float32 and query and False)"
        " or (backward_sum and 1e-08)",
        {},
    ),
    "others": (
        [
            *("test_cosine_similarity.py", "test_layout.py", "test_varlen.py", "test_precision.py"),
            "test_library.py",
        ],
        "(test_matches_oracle and ragged and centred and (float32 or bfloat16))"
        " or beyond_the_blocks or (test_sizes and 7-257) or no_rows or strided_offsets"
        " or (test_precision and float32 and False) or asked_for or default_is or one_precision"
        " or (test_precision and float16-bf16-True)"
        " or opcheck_layout or (opcheck_correspondence_backward and bfloat16)",
        {},
    ),
    "any_order": (
        ["test_correspondence.py"],
        "test_matches_oracle and float16 and paper and (ragged or many_keys)",
        {"SPCOLOR_PROGRAM_ORDER": "1"},
    ),
}


@pytest.fixture(scope="module")
def runs():
    """Start all of them at once: each uses one core."""
    processes = {
        name: subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore"),
                *("-k", expression),
                *(str(TESTS / file) for file in files),
            ],
            env=os.environ
            | environment
            | {"SPCOLOR_TEST_BACKENDS": "triton", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, (files, expression, environment) in RUNS.items()
    }
    yield processes
    for process in processes.values():
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", RUNS)
def test_interpreted(name, runs):
    output, _ = runs[name].communicate()
    assert runs[name].returncode == 0, output
    assert " passed" in output
