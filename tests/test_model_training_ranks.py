"""Two processes under torchrun: the run of one, and no rank waits for ever."""

# ruff: noqa: F811 (fixtures that are imported)

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from subprocesses import ROOT
from training_runs import (
    ALONE,
    PreciseTrainer,
    assert_same,
    checkpoints,
    distance,
    one_thread,  # noqa: F401
    overrides,
    photos,  # noqa: F401
    state,
    tiny,
    train,
    weights,
)

# Of Adam's averages of gradients, relative. In float32 rounding grows to this much in the backward
# of a single step; float64 shows three steps.
FLOAT32, FLOAT64 = 2e-2, 1e-4
# How far local batch statistics are away, at least.
LOCAL = 0.5


def torchrun(script: Path, *arguments: str) -> None:
    """Run a script in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    found = subprocess.run(
        [*command, "--standalone", str(script), *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr


def averages(folder: Path) -> dict[str, torch.Tensor]:
    """Return Adam's averages of gradients, of both optimisers."""
    return {
        f"{number}.{index}": moments["exp_avg"]
        for number, optimizer in enumerate(state(folder)["optimizers"])
        for index, moments in optimizer["adam"]["state"].items()
    }


@pytest.fixture(scope="module")
def unlucky(photos, tmp_path_factory) -> tuple[Path, list[dict]]:
    """The folder of the runs in `rank_runs.py`, and what each rank saw."""
    out = tmp_path_factory.mktemp("ranks")
    values = overrides(photos, out, "batch_size=1")
    torchrun(Path(__file__).with_name("rank_runs.py"), str(out), *values)
    return out, [torch.load(out / f"rank_{rank}.pt") for rank in range(2)]


def test_a_step_of_two_processes_is_that_of_one(photos, tmp_path):
    """`train.py`, all losses, batch statistics over both ranks."""
    more = ("max_steps=1", "network.temperature=1.0")
    arguments = overrides(photos, tmp_path / "two", "batch_size=1", *more)
    torchrun(ROOT / "train.py", "--config", "small", *arguments)
    one = averages(train(photos, tmp_path / "one", *more))
    two = averages(checkpoints(tmp_path / "two")[-1])
    assert distance(two, one) < FLOAT32


@pytest.mark.parametrize(
    ("name", "more"), [("plain", ()), ("accumulated", ("accumulate=2",)), ("local", ())]
)
def test_three_steps_of_two_processes_are_those_of_one(photos, unlucky, tmp_path, name, more):
    out, _ = unlucky
    alone = PreciseTrainer(tiny(photos, tmp_path, *more), ALONE)
    alone.run()
    one, two = checkpoints(tmp_path)[-1], checkpoints(out / name)[-1]
    assert one.name == two.name == "step_00000003"
    found = [distance(read(two), read(one)) for read in (averages, weights)]
    if name == "local":
        assert found[0] > LOCAL  # so the tolerance can tell
    else:
        assert max(found) < FLOAT64


@pytest.mark.parametrize(("name", "ranks"), [("first", {0}), ("both", {0, 1})])
def test_a_batch_without_a_shared_class_is_trained(unlucky, name, ranks):
    _, (first, second) = unlucky
    for rank, found in enumerate((first[name], second[name])):
        assert (found["step"], found["message"]) == (3, "")
        assert all((x == 0) == (rank in ranks) for x in found["warped"])
        assert all(math.isfinite(x.abs().max()) for x in found["weights"].values())
    assert_same(first[name]["weights"], second[name]["weights"])


def test_one_rank_that_is_asked_to_stop_stops_both(unlucky):
    out, ranks = unlucky
    assert [found["stopped"]["step"] for found in ranks] == [1, 1]
    assert [path.name for path in checkpoints(out / "stopped")] == ["step_00000001"]


def test_a_full_disk_in_one_rank_stops_both(unlucky):
    _, (first, second) = unlucky
    assert "No space left on device" in first["full disk"]["message"]
    assert "the first process could not save" in second["full disk"]["message"]


def test_a_broken_loss_in_one_rank_stops_both(unlucky):
    out, (first, second) = unlucky
    assert "step 1: a loss of another process is not finite" in first["not finite"]["message"]
    assert "step 1: total, smoothness is not finite" in second["not finite"]["message"]
    assert not (out / "nan" / "checkpoints").exists()
