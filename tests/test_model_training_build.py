"""What a run begins with: photos of a prepared manifest, weights of another run."""

# ruff: noqa: F811 (fixtures that are imported)

import pytest
import torch
from training_runs import ALONE, one_thread, photos, tiny, trainer  # noqa: F401

pytest.importorskip("pyarrow")

import pyarrow
from pyarrow import parquet

from spcolor_model.data import Pair
from spcolor_model.training.build import build_pairs
from spcolor_model.training.classes import batch_classes
from spcolor_model.training.config import PriorConfig, Seen


def test_a_prepared_manifest_serves_for_both_splits(photos, tmp_path):
    """What is held out is validated with itself, once for each photo."""
    paths = sorted(photos.glob("*.png"))
    rows = [(0, 1, "train"), (1, 0, "train"), (2, 0, "held-out"), (2, 1, "held-out")]
    table = pyarrow.table(
        {
            "target": [str(paths[one]) for one, _, _ in rows],
            "reference": [str(paths[other]) for _, other, _ in rows],
            "split": [split for *_, split in rows],
        }
    )
    parquet.write_table(table, tmp_path / "manifest.parquet")
    config = tiny(photos, tmp_path, f"data.manifest={tmp_path}/manifest.parquet")
    config.data.validation = None
    config.data.self_reference_area = 0.5
    train, validation = build_pairs(config, ALONE)
    assert [*train.pairs] == [Pair(paths[0], paths[1]), Pair(paths[1], paths[0])]
    assert [*validation.pairs] == [Pair(paths[2])]
    assert validation[0].is_self
    assert validation.self_reference_area == 0.5
    assert not (tmp_path / "photos").exists()


def test_a_run_starts_from_the_generator_and_the_clusters_of_another(photos, tmp_path):
    clusters = ("prior.kind=clusters", "prior.num_segments=3", "max_steps=1")
    first = trainer(photos, tmp_path / "first", *clusters)
    first.run()
    (folder,) = first.folder.glob("step_*")
    more = (f"network.initial={folder}", f"prior.weights={folder}/prior.safetensors", "seed=1")
    second = trainer(photos, tmp_path / "second", *clusters, *more)
    assert second.step == 0
    for name in ("warp_net", "color_net"):
        states = [getattr(run.model, name).state_dict() for run in (first, second)]
        torch.testing.assert_close(*states, rtol=0, atol=0)
    torch.testing.assert_close(
        first.prior.probe.clusters, second.prior.probe.clusters, rtol=0, atol=0
    )
    with pytest.raises(ValueError, match=r"prior\.safetensors.*expected shape"):
        trainer(photos, tmp_path / "third", *clusters[:1], "prior.num_segments=4", *more[1:])


def test_what_is_seen_of_a_target_is_its_old_print(photos, tmp_path):
    """Networks and a prior that sees gray never read the true luminance."""
    more = ("data.old_photo_probability=1", "luminance_noise=0", "max_steps=1")
    run = trainer(photos, tmp_path, *more)
    ((one,),) = run.passes
    other = one._replace(batch=one.batch._replace(luminance=100 - one.batch.luminance))
    with torch.no_grad():
        predictions = [run.update._predict(x).ab for x in (one, other)]
    torch.testing.assert_close(*predictions, rtol=0, atol=0)

    def brightness(rgb):
        return rgb.mean(dim=1), rgb.mean(dim=1)

    for seen, is_same in ((Seen.gray, True), (Seen.color, False)):
        config = PriorConfig(target=seen)
        found = [batch_classes(brightness, x.batch, config)[0].labels for x in (one, other)]
        assert torch.equal(*found) == is_same
