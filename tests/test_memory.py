"""Nothing of size N * M, forward or backward."""

import sys

import pytest
from subprocesses import run_python

LENGTH = 12_000  # one float32 matrix of this size squared would be 576 MB
LIMIT_MB = 120

# Peak memory of the process before and after; the first call loads what is loaded once.
MEASURE = f"""
import resource
import torch
from spcolor_ops import segment_correspondence

def step(length):
    x = torch.randn(1, length, 8, requires_grad=True)
    value = torch.randn(1, length, 2, requires_grad=True)
    labels = torch.zeros(1, length, dtype=torch.int64)
    out = segment_correspondence(
        x, x, value, labels, labels, num_segments=1, center=True, backend="cpu"
    )
    (out.warped.sum() + out.similarity.sum() + out.lse.sum()).backward()

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

step(100)
before = peak()
step({LENGTH})
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
@pytest.mark.usefixtures("compiled_backend")
def test_memory_is_not_quadratic():
    finished = run_python("-c", MEASURE)
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout) / 1024 < LIMIT_MB
