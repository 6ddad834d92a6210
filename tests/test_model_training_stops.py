"""How a run of `train.py` ends before its last step: what it says, and what is left."""

# ruff: noqa: F811 (fixtures that are imported)

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import typer.testing
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from subprocesses import ROOT
from training_runs import (
    checkpoints,
    contents,
    finished,  # noqa: F401
    names,
    one_thread,  # noqa: F401
    out,  # noqa: F401
    overrides,
    photos,  # noqa: F401
    train,
    trainer,
)

from spcolor_model.losses import generator
from spcolor_model.training import checkpoint
from spcolor_model.training.log import Log
from spcolor_model.training.trainer import TrainingStoppedError

pytestmark = pytest.mark.usefixtures("_signals")


@pytest.fixture
def _signals():
    """`train.py` changes what SIGTERM does."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def command(photos: Path, out: Path, *more: str):
    """Run `train.py` in this process."""
    import train as script

    arguments = ["--config", "small", *overrides(photos, out, *more)]
    return typer.testing.CliRunner().invoke(script.app, arguments)


def test_no_steps_make_one_checkpoint_once(photos, tmp_path):
    for is_again in (False, True):
        result = command(photos, tmp_path, "max_steps=0")
        assert result.exit_code == 0
        assert ("nothing to do" in result.output) == is_again
        assert names(tmp_path) == ["step_00000000"]
    train(photos, tmp_path, "max_steps=1")
    assert names(tmp_path) == ["step_00000000", "step_00000001"]


def test_losses_are_printed_where_there_is_no_terminal(photos, tmp_path):
    result = command(photos, tmp_path, "max_steps=4", "log_steps=2")
    lines = [line for line in result.output.splitlines() if "images/s" in line and ";" in line]
    assert [line.partition(":")[0] for line in lines] == ["step 2", "step 4"]
    assert all(f"{name} " in lines[0] for name in ("total", "l1", "discriminator"))


def test_a_run_that_is_older_than_an_option_goes_on(photos, out):
    for path in checkpoints(out)[-1].glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            config = yaml.safe_load(file.metadata()["config"])
        del config["loss"]["weights"]["masked_l1"], config["data"]["classes"]
        save_file(load_file(path), path, {"config": yaml.safe_dump(config)})
    assert train(photos, out, "max_steps=3").name == "step_00000003"
    with pytest.raises(ValueError, match=r"got another loss\.weights\.masked_l1"):
        trainer(photos, out, "loss.weights.masked_l1=1")


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["save_file", "os.fsync", "torch.save", "Path.rename", "log"])
def test_a_full_disk_stops_the_run_and_spares_the_last_checkpoint(
    photos,
    out,
    monkeypatch,
    where,
):
    before = contents(out)
    owners = {"os": os, "torch": torch, "Path": Path, "": checkpoint}
    module, _, name = where.rpartition(".")
    if where == "log":
        monkeypatch.setattr(Log, "scalars", full)
    else:
        monkeypatch.setattr(owners[module], name, full)
    result = command(photos, out, "max_steps=3")
    monkeypatch.undo()
    assert result.exit_code == 1
    assert "No space left on device" in result.output
    assert "the last checkpoint is" in result.output
    assert result.output.count("Traceback") == 0
    assert names(out) == ["step_00000002"]
    assert contents(out) == before
    assert train(photos, out, "max_steps=3").name == "step_00000003"


def nan(*_, **__):
    return torch.tensor(torch.nan, requires_grad=True)


def nan_gradient(ab, *_):
    """0, whose gradient is 0 times infinity."""
    return (ab * 0).sum().sqrt()


def test_a_loss_that_is_not_finite_stops_the_run(photos, out, monkeypatch):
    before = contents(out)
    monkeypatch.setattr(generator, "smoothness", nan)
    result = command(photos, out, "max_steps=9", "checkpoint_steps=1")
    monkeypatch.undo()
    assert result.exit_code == 1
    assert "step 3: total, smoothness is not finite; the last checkpoint is" in result.output
    assert contents(out) == before
    assert train(photos, out, "max_steps=3").name == "step_00000003"


def test_weights_that_are_not_finite_are_not_saved(photos, out, monkeypatch):
    """The losses of a step are from before its update."""
    before = contents(out)
    monkeypatch.setattr(generator, "smoothness", nan_gradient)
    with pytest.raises(TrainingStoppedError, match="expected finite weights, got others in warp_"):
        trainer(photos, out, "max_steps=3").run()
    assert contents(out) == before


def test_another_configuration_is_refused_by_name(photos, out):
    for change in ("seed=1", "optimizer.decay=0.7", "loss.masked=false", "ema=0.9"):
        name = change.partition("=")[0]
        with pytest.raises(ValueError, match=f"got another {name};"):
            trainer(photos, out, change)
    trainer(photos, out, "max_steps=9", "keep=1", "data.workers=1", "log_steps=3")
    result = command(photos, out, "seed=1")
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_checkpoints_are_not_overwritten_unasked(photos, out):
    with pytest.raises(FileExistsError, match="expected a folder without checkpoints, got 1"):
        trainer(photos, out, resume=False)


def test_sigterm_saves_and_the_next_start_goes_on(photos, tmp_path):
    """The signal goes to the data workers as well, as from a scheduler."""
    arguments = ["--config", "small", *overrides(photos, tmp_path)]
    arguments += ["max_steps=1000000", "data.workers=1"]
    run = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("logs/*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)
        os.killpg(run.pid, signal.SIGTERM)
        _, text = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 0, text
    (folder,) = checkpoints(tmp_path)
    step = int(folder.name.removeprefix("step_"))
    assert f"stopped after step {step}, as requested" in text
    assert train(photos, tmp_path, f"max_steps={step + 1}").name == f"step_{step + 1:08}"


def test_a_run_leaves_the_signals_as_they_were(photos, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    train(photos, tmp_path, "max_steps=1")
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
