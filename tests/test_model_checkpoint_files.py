"""Checkpoints of training: complete or absent, and refused where they are damaged or hostile."""

# ruff: noqa: F811 (fixtures that are imported)

import os
import pickle
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_runs import (
    assert_same,
    checkpoints,
    contents,
    finished,  # noqa: F401
    names,
    one_thread,  # noqa: F401
    out,  # noqa: F401
    photos,  # noqa: F401
    state,
    train,
    trainer,
    weights,
)

from spcolor_model.training import checkpoint
from spcolor_model.training.config import load_config


def test_the_last_n_stay(photos, tmp_path):
    train(photos, tmp_path, "max_steps=5", "checkpoint_steps=1", "keep=2")
    assert names(tmp_path) == ["step_00000004", "step_00000005"]


def test_weights_hold_the_configuration(out):
    for path in checkpoints(out)[-1].glob("*.safetensors"):
        saved = out / "config.yaml"
        saved.write_text(checkpoint.load_config(path))
        config = load_config(str(saved))
        assert (config.max_steps, config.network.channels, config.name) == (2, 16, "small")


def test_what_an_interrupted_write_left_is_ignored_and_removed(photos, out):
    left = out / "checkpoints" / "step_00000003.partial"
    left.mkdir()
    (left / "warp_net.safetensors").write_bytes(b"half of it")
    (out / "checkpoints" / "step_old").mkdir()
    (out / "checkpoints" / "step_00000009").write_text("no folder")
    train(photos, out, "max_steps=4", "checkpoint_steps=2")
    assert names(out) == ["step_00000002", "step_00000004", "step_00000009", "step_old"]


def test_a_checkpoint_that_is_half_removed_has_no_name(tmp_path, monkeypatch):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"net": {"x": torch.ones(2)}}, {}, "")

    def interrupted(path, **_):
        (path / "state.pt").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.remove_old(tmp_path, keep=1)
    assert [found.step for found in checkpoint.find(tmp_path)] == [2]


def test_everything_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    """Each file, then the folder, then the name, then the folder of names."""
    events, descriptors = [], {}
    real_open, real_rename = os.open, Path.rename

    def opened(path, flags, *args, **kwargs):
        found = real_open(path, flags, *args, **kwargs)
        descriptors[found] = Path(path)
        return found

    def renamed(path, target):
        events.append(("rename", path.name))
        return real_rename(path, target)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", lambda x: events.append(("fsync", descriptors[x].name)))
    monkeypatch.setattr(Path, "rename", renamed)
    checkpoint.save(tmp_path, 7, {"net": {"x": torch.ones(2)}}, {}, "")
    partial = "step_00000007.partial"
    assert events == [
        ("fsync", "net.safetensors"),
        ("fsync", "state.pt"),
        ("fsync", partial),
        ("rename", partial),
        ("fsync", tmp_path.name),
    ]


def test_writers_that_really_fail_are_understood(out):
    """Past a limit on the size of files, as on a full disk, each library has its own error."""
    folder = out / "checkpoints"
    before = contents(out)
    small, large = {"x": torch.ones(2)}, {"x": torch.ones(100_000)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        for weights_, state_ in (({"net": large}, {}), ({"net": small}, large)):
            with pytest.raises(OSError, match="step_00000003: could not be written"):
                checkpoint.save(folder, 3, weights_, state_, "")
            assert names(out) == ["step_00000002"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(out) == before


class Hostile:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "was run")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change_weights(path: Path, change) -> None:
    metadata = {"config": checkpoint.load_config(path)}
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata)


def change_state(folder: Path, change) -> None:
    found = state(folder)
    change(found)
    torch.save(found, folder / "state.pt")


def shorten_moments(found: dict) -> None:
    moments = found["optimizers"][0]["adam"]["state"][0]
    moments["exp_avg"] = moments["exp_avg"].flatten()[:1]


DAMAGE = {
    "truncated weights": (
        lambda f: truncate(f / "warp_net.safetensors"),
        "warp_net.safetensors: expected a safetensors file",
    ),
    "truncated other weights": (
        lambda f: truncate(f / "discriminator.safetensors"),
        "discriminator.safetensors: expected a safetensors file",
    ),
    "no weights": (lambda f: (f / "color_net.safetensors").unlink(), "color_net.*got nothing"),
    "another name": (
        lambda f: change_weights(
            f / "color_net.safetensors", lambda x: x.update(other=x.pop(min(x)))
        ),
        "color_net.safetensors: .*1 missing.*1 unexpected: other",
    ),
    "another shape": (
        lambda f: change_weights(
            f / "color_net.safetensors", lambda x: x.update({min(x): torch.ones(1, 2)})
        ),
        r"color_net.safetensors: .*expected shape .*got \[1, 2\]",
    ),
    "no configuration": (
        lambda f: save_file(load_file(f / "warp_net.safetensors"), f / "warp_net.safetensors"),
        "warp_net.safetensors: expected a configuration",
    ),
    "another configuration": (
        lambda f: save_file({}, f / "warp_net.safetensors", {"config": "- [1"}),
        "warp_net.safetensors: ",
    ),
    "a list for a configuration": (
        lambda f: save_file({}, f / "warp_net.safetensors", {"config": "- 1"}),
        "warp_net.safetensors: ",
    ),
    "truncated state": (lambda f: truncate(f / "state.pt"), "state.pt: .*cannot be read"),
    "empty state": (lambda f: (f / "state.pt").write_bytes(b""), "state.pt: .*cannot be read"),
    "no state": (lambda f: (f / "state.pt").unlink(), "state.pt"),
    "code in an archive": (
        lambda f: torch.save(Hostile(f / "was_run"), f / "state.pt"),
        "state.pt: .*UnpicklingError.*not safe",
    ),
    "code alone": (
        lambda f: (f / "state.pt").write_bytes(pickle.dumps(Hostile(f / "was_run"), protocol=2)),
        "state.pt: .*cannot be read.*not safe",
    ),
    "a list for a state": (lambda f: torch.save([1], f / "state.pt"), "expected the optimisers"),
    "moments of another shape": (
        lambda f: change_state(f, shorten_moments),
        r"expected the optimisers.*exp_avg: expected shape .*got \[1\]",
    ),
    "one optimiser": (
        lambda f: change_state(f, lambda x: x["optimizers"].pop()),
        "expected the optimisers",
    ),
    "random numbers of another kind": (
        lambda f: change_state(f, lambda x: x.update(random=torch.zeros(3))),
        "expected the optimisers",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_and_hostile_files_are_refused(photos, out, name):
    damage, message = DAMAGE[name]
    (folder,) = checkpoints(out)
    damage(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        trainer(photos, out)
    assert not (folder / "was_run").exists()


def test_the_hostile_file_is_one(tmp_path):
    pickle.loads(pickle.dumps(Hostile(tmp_path / "was_run")))
    assert (tmp_path / "was_run").exists()


def test_clusters_of_another_shape_are_refused(photos, tmp_path):
    more = ("prior.kind=clusters", "prior.num_segments=4", "max_steps=1")
    folder = train(photos, tmp_path, *more)
    save_file({"probe.clusters": torch.ones(4, 7)}, folder / "prior.safetensors")
    with pytest.raises(ValueError, match=r"prior.safetensors: .*expected shape .*got \[4, 7\]"):
        trainer(photos, tmp_path, *more)


def test_a_repeated_save_is_the_same(photos, out, tmp_path):
    """Loading and saving changes nothing."""
    run = trainer(photos, out)
    run.folder = tmp_path / "again"
    run._save()
    (again,) = run.folder.iterdir()
    assert_same(weights(again), weights(checkpoints(out)[-1]))
    assert_same(state(again), state(checkpoints(out)[-1]))
