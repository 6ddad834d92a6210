"""The instruction sets of the compiled CPU library: one is chosen per process."""

from pathlib import Path

import pytest
from subprocesses import run_python

pytestmark = pytest.mark.usefixtures("compiled_backend")

TESTS = Path(__file__).parent

# Prints a sum of bits, which depends on the order of every addition.
DIGEST = """
import torch
from spcolor_ops import segment_correspondence

torch.manual_seed(0)
x, labels = torch.randn(1, 400, 333), torch.zeros(1, 400, dtype=torch.int64)
out = segment_correspondence(
    x, x, x, labels, labels, num_segments=1, temperature=1.0, backend="cpu"
)
print(out.warped.view(torch.int32).long().sum().item())
"""

# Every shape of tile, forward and backward, in both types of sums; and the cosine blocks.
SUBSET = "cpu and not bfloat16 and (test_matches_oracle and centred and not raw or equal_maxima)"


def this_processor_has(level: str) -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    needed = {
        "avx512": ("avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
        "avx2": ("avx2", "fma"),
        "portable": (),
    }
    return all(flag in flags for flag in needed[level])


@pytest.mark.parametrize("level", ["avx512", "avx2", "portable"])
def test_level_matches_oracle(level):
    if not this_processor_has(level):
        refused = run_python("-c", DIGEST, SPCOLOR_CPU_LEVEL=level)
        assert f"SPCOLOR_CPU_LEVEL: this processor has no {level}" in refused.stderr
        return
    finished = run_python(
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-k",
        SUBSET,
        str(TESTS / "test_correspondence.py"),
        str(TESTS / "test_cosine_similarity.py"),
        SPCOLOR_CPU_LEVEL=level,
    )
    assert finished.returncode == 0, finished.stdout
    assert " passed" in finished.stdout


@pytest.mark.parametrize("level", ["avx-512", "AVX2"])
def test_a_misspelt_level_is_refused(level):
    finished = run_python("-c", DIGEST, SPCOLOR_CPU_LEVEL=level)
    assert finished.returncode != 0
    message = f"SPCOLOR_CPU_LEVEL: expected portable, avx2 or avx512, got '{level}'"
    assert message in finished.stderr


def test_the_variable_has_an_effect():
    """Vectors of another width add in another order, so some last bit differs."""
    if not this_processor_has("avx2"):
        pytest.skip("this processor has one level only")
    finished = [run_python("-c", DIGEST, SPCOLOR_CPU_LEVEL=level) for level in ("portable", "avx2")]
    assert [x.returncode for x in finished] == [0, 0], finished
    assert finished[0].stdout != finished[1].stdout
