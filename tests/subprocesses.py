"""Python processes of their own, for what is decided once per process."""

import os
import subprocess
import sys
from pathlib import Path

import spcolor_ops

ROOT = Path(spcolor_ops.__file__).parents[1]


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run Python, with the tests' own spcolor_ops and more environment variables."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
    )
