"""Classes that are computed once: stored, read, interrupted, refused, and trained with."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("omegaconf")

from training_runs import ALONE, one_thread, overrides, photos, trainer  # noqa: F401
from typer.testing import CliRunner

from spcolor_model.data.stored_classes import StoredClasses, store
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


def test_what_is_stored_is_read(tmp_path):
    fill(tmp_path / "classes")
    stored = StoredClasses(tmp_path / "classes", MADE_WITH)
    assert stored.grid == (2, 3)
    for path in PHOTOS:
        for way in ("gray", "color"):
            labels, confidence = (x[0] for x in classify([path], way))
            assert torch.equal(stored.of(path, way), torch.stack([labels.float(), confidence]))
    with pytest.raises(KeyError):
        stored.of(Path("other.png"), "gray")


def test_an_interrupted_store_goes_on(tmp_path):
    fill(tmp_path / "straight")
    fill(tmp_path / "twice", batches=33)
    with pytest.raises(FileNotFoundError, match="stored classes of all photos, got 64 of 70"):
        StoredClasses(tmp_path / "twice", MADE_WITH)
    first = np.load(tmp_path / "twice/labels.npy")
    assert (first[:64] == np.load(tmp_path / "straight/labels.npy")[:64]).all()
    assert fill(tmp_path / "twice") is None
    for name in ("labels.npy", "confidence.npy", "about.json", "done"):
        straight, twice = ((tmp_path / x / name).read_bytes() for x in ("straight", "twice"))
        assert straight == twice, name


def test_what_does_not_fit_is_refused(tmp_path):
    folder = tmp_path / "classes"
    with pytest.raises(FileNotFoundError, match="got 0 of 0"):
        StoredClasses(folder, MADE_WITH)
    fill(folder)
    with pytest.raises(ValueError, match="expected classes of size=128, got those of 64"):
        StoredClasses(folder, {"size": 128})
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
    command.store_classes(tmp_path / "classes", made.config, made.pairs, made.prior, "cpu")
    return made, tmp_path / "classes"


class Counting(torch.nn.Module):
    """A prior that counts the photos that it sees."""

    def __init__(self, prior):
        super().__init__()
        self.prior, self.seen = prior, 0

    def forward(self, rgb):
        self.seen += len(rgb)
        return self.prior(rgb)


def test_training_reads_what_is_stored_and_computes_the_rest(run):
    made, folder = run
    plain = [x for step in made.passes for x in step]
    made.config.data.classes = str(folder)
    made.pairs.stored = command.stored_for(made.config, made.prior)
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
    made, folder = run
    made.config.data.classes = str(folder)
    made.pairs.stored = command.stored_for(made.config, made.prior)
    made.pairs.self_reference_probability = made.pairs.old_photo_probability = 0
    batch = torch.utils.data.default_collate([made.pairs[0], made.pairs[1]])
    classes, _ = batch_classes(None, batch, made.config.prior)
    assert classes.labels.shape == (2, 8, 8)


def test_the_command_and_a_run_with_its_classes(photos, tmp_path):  # noqa: F811
    given = overrides(photos, tmp_path / "out", *CLUSTERS, *RANDOM)
    app = command.typer.Typer()
    app.command()(command.main)
    arguments = [str(tmp_path / "classes"), *given, "--config", "small"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    more = (*CLUSTERS, *RANDOM, f"data.classes={tmp_path}/classes")
    for steps in (1, 2):  # the second goes on
        trainer(photos, tmp_path / "out", *more, f"max_steps={steps}").run()
    with pytest.raises(ValueError, match=r"classes of data\.image_size=96, got those of 64"):
        trainer(photos, tmp_path / "other", *more, "data.image_size=96")
    with pytest.raises(ValueError, match="classes of the prior's weights="):
        trainer(photos, tmp_path / "other", *more, "prior.num_segments=2")
    refused = CliRunner().invoke(app, [*arguments, "prior.kind=none", "prior.num_segments=1"])
    assert refused.exit_code == 2
    assert "expected stego or clusters, got none" in " ".join(refused.output.split())
