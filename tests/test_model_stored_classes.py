"""Classes that are computed once: stored, read, interrupted, refused, and trained with."""

import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("omegaconf")

import typer
from training_runs import ALONE, one_thread, overrides, photos, trainer  # noqa: F401
from typer.testing import CliRunner

from spcolor_model.data.stored_classes import REFERENCE, TARGET, StoredClasses, store
from spcolor_model.prior.centroids import CentroidPrior
from spcolor_model.training import store_classes as command
from spcolor_model.training.classes import batch_classes
from spcolor_model.training.passes import Passes

PHOTOS = [Path(f"{number}.png") for number in range(70)]
MADE_WITH = {"size": 64}
CLUSTERS = ("prior.kind=clusters", "prior.num_segments=3", "prior.reference=color")
RANDOM = ("data.self_reference_probability=0.5", "data.old_photo_probability=0.5")


def classify(part, way):
    """Labels and confidence [B, 2, 3] that tell photo and way."""
    numbers = torch.tensor([int(path.stem) for path in part])[:, None, None].expand(-1, 2, 3)
    return numbers % 5, numbers / 100 + (way == "color")


def fill(folder, found=PHOTOS, batches=None, made_with=MADE_WITH, ways=("color", "gray")):
    steps = store(folder, found, classify, ways=ways, depends_on=made_with, batch_size=2)
    for count, _ in enumerate(steps, 1):
        if count == batches:
            return


def opened(folder, found=PHOTOS, ways=("gray", "color"), made_with=MADE_WITH):
    return StoredClasses(folder, found, ways, made_with)


def test_what_is_stored_is_read(tmp_path):
    fill(tmp_path / "classes")
    stored = opened(tmp_path / "classes")
    assert stored.grid == (2, 3)
    for path in PHOTOS:
        for role, way in ((TARGET, "gray"), (REFERENCE, "color")):
            labels, confidence = (x[0] for x in classify([path], way))
            assert torch.equal(stored.of(path, role), torch.stack([labels.float(), confidence]))


def test_another_process_opens_the_files_itself(tmp_path):
    fill(tmp_path / "classes")
    stored = opened(tmp_path / "classes")
    state = pickle.dumps(stored)
    assert stored.confidence.nbytes > 3000
    assert b"NUMPY" not in state
    assert len(state) < len(pickle.dumps(stored.places)) + 1000
    assert torch.equal(pickle.loads(state).of(PHOTOS[9], 0), stored.of(PHOTOS[9], 0))


def test_a_full_disk_is_an_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        fill(tmp_path / "classes")


def test_an_interrupted_store_goes_on(tmp_path):
    fill(tmp_path / "straight")
    fill(tmp_path / "twice", batches=33)
    with pytest.raises(FileNotFoundError, match="stored classes of all photos, got 64 of 70"):
        opened(tmp_path / "twice")
    first = np.load(tmp_path / "twice/labels.npy")
    assert (first[:64] == np.load(tmp_path / "straight/labels.npy")[:64]).all()
    assert fill(tmp_path / "twice") is None
    for name in ("labels.npy", "confidence.npy", "about.json", "done"):
        straight, twice = ((tmp_path / x / name).read_bytes() for x in ("straight", "twice"))
        assert straight == twice, name


def test_what_does_not_fit_is_refused(tmp_path):
    folder = tmp_path / "classes"
    with pytest.raises(FileNotFoundError, match="got 0 of 0"):
        opened(folder)
    fill(folder)
    with pytest.raises(ValueError, match="expected classes of size=128, got those of 64"):
        opened(folder, made_with={"size": 128})
    with pytest.raises(ValueError, match=r"lacks 1, as of other\.png"):
        opened(folder, [*PHOTOS, Path("other.png")])
    with pytest.raises(ValueError, match="classes of photos in color and sepia, got those in"):
        opened(folder, ways=("sepia", "color"))
    with pytest.raises(ValueError, match="expected classes of size=128, got those of 64"):
        fill(folder, made_with={"size": 128})
    with pytest.raises(ValueError, match="photos=1 entries up to"):
        fill(folder, PHOTOS[:1])
    with pytest.raises(ValueError, match="ways=1 entries up to gray, got those of 2 entries"):
        fill(folder, ways=("gray",))


@pytest.fixture
def run(photos, tmp_path):  # noqa: F811
    """A run with random samples, and the folder that the command stored its classes in."""
    made = trainer(photos, tmp_path / "out", *CLUSTERS, *RANDOM, "max_steps=8")
    folder = tmp_path / "classes"
    steps = command.store_classes(folder, made.config, made.pairs, made.prior, ALONE.device)
    assert [*steps][-1] == (5, 5)
    made.config.data.classes = str(folder)
    return made


class Counting(torch.nn.Module):
    """A prior that counts the photos that it sees."""

    def __init__(self, prior):
        super().__init__()
        self.prior, self.seen = prior, 0

    def forward(self, rgb):
        self.seen += len(rgb)
        return self.prior(rgb)


def test_training_reads_what_is_stored_and_computes_the_rest(run):
    made = run
    plain = [x for step in made.passes for x in step]
    made.pairs.stored = command.stored_for(made.config, made.pairs, made.prior)
    counting = Counting(made.prior)
    stored = [x for step in Passes(made.config, ALONE, made.pairs, counting, 0) for x in step]
    distorted = 0
    for one, other in zip(plain, stored, strict=True):
        assert torch.equal(one.batch.ab, other.batch.ab)
        distorted += int(one.batch.is_self.sum())
        distorted += int((one.batch.seen_luminance != one.batch.luminance).flatten(1).any(1).sum())
        for name in ("classes", "reference_classes"):
            expected, found = getattr(one, name), getattr(other, name)
            assert torch.equal(found.labels, expected.labels)
            torch.testing.assert_close(found.confidence, expected.confidence)
            assert found.labels.dtype == expected.labels.dtype
    assert 0 < distorted == counting.seen < 4 * len(plain)


def test_a_whole_batch_of_stored_photos_asks_no_prior(run):
    made = run
    made.pairs.stored = command.stored_for(made.config, made.pairs, made.prior)
    made.pairs.self_reference_probability = made.pairs.old_photo_probability = 0
    batch = torch.utils.data.default_collate([made.pairs[0], made.pairs[1]])
    classes, _ = batch_classes(None, batch, made.config.prior)
    assert classes.labels.shape == (2, 8, 8)


def test_the_command_and_a_run_with_its_classes(photos, tmp_path, monkeypatch):  # noqa: F811
    given = overrides(photos, tmp_path / "out", *CLUSTERS)
    app = typer.Typer()
    app.command()(command.main)
    folder = tmp_path / "classes"
    arguments = [str(folder), *given, "--config", "small"]
    for _ in range(2):  # once more, it reads the clusters and has nothing to do
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        more = done.stdout.split()
        assert more == [f"data.classes={folder}", f"prior.weights={folder}/prior.safetensors"]
    asked = []
    monkeypatch.setattr(CentroidPrior, "forward", lambda self, rgb: asked.append(rgb))
    plain = ("data.self_reference_probability=0", "data.workers=2", *CLUSTERS, *more)
    for steps in (1, 2):  # the second goes on
        trainer(photos, tmp_path / "out", *plain, f"max_steps={steps}").run()
    assert not asked
    for change, message in (
        ("data.image_size=96", r"classes of data\.image_size=96, got those of 64"),
        ("data.in_memory=true", r"classes of data\.in_memory=True, got those of False"),
        ("prior.weights=null", "classes of the prior's weights="),
    ):
        monkeypatch.undo()
        with pytest.raises(ValueError, match=message):
            trainer(photos, tmp_path / "other", *plain, change, "seed=3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("prior.kind=none", "prior.num_segments=1"), "expected stego or clusters, got none"),
        (("prior.num_segments=257",), "prior.num_segments: expected at most 256, got 257"),
    ],
)
def test_priors_that_cannot_be_stored(photos, tmp_path, change, message):  # noqa: F811
    app = typer.Typer()
    app.command()(command.main)
    given = overrides(photos, tmp_path / "out", *CLUSTERS, *change)
    refused = CliRunner().invoke(app, [str(tmp_path / "classes"), *given, "--config", "small"])
    assert refused.exit_code == 2
    assert message in " ".join(refused.output.replace("│", " ").split())
