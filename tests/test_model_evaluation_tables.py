"""The harnesses of the paper's tables, on tiny runs."""

import csv
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("torchmetrics")

from PIL import Image
from torch.utils.data import default_collate
from training_runs import TINY, one_thread, photos, trainer  # noqa: F401

from benchmarks.paper_tables import one, three, two
from benchmarks.paper_tables.paper import TABLE_ONE, TABLE_THREE
from benchmarks.paper_tables.pictures import color, names, write_gray, write_truth
from benchmarks.training.forward import PAPER_MS
from spcolor_model.color import lab_to_rgb
from spcolor_model.data import Pair, read_manifest
from spcolor_model.trained_engine import TrainedEngine
from spcolor_model.training import checkpoint
from spcolor_model.training.classes import batch_classes
from spcolor_model.training.config import Seen

FAST = ("--features", "efficientnet_lite0", "--protocol", "standard")
CLUSTERS = ("prior.kind=clusters", "prior.num_segments=3", "max_steps=1")


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):  # noqa: F811
    """A trainer of clusters that made one step."""
    found = trainer(photos, tmp_path_factory.mktemp("run"), *CLUSTERS)
    found.run()
    return found


@pytest.fixture
def saved(run):
    """The folder of its checkpoint."""
    return checkpoint.find(run.folder)[-1].folder


def call(main, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["table", *map(str, arguments), *FAST])
    main()


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_names_of_pairs(tmp_path):
    a, b, c = (tmp_path / f"{name}.png" for name in "abc")
    assert names([Pair(a, b), Pair(b, a)]) == ["a", "b"]
    assert names([Pair(a, b), Pair(a, c)]) == ["a_by_b", "a_by_c"]
    with pytest.raises(ValueError, match=r"got none for .*a\.png"):
        names([Pair(a)])
    with pytest.raises(ValueError, match="got two pairs of the same"):
        names([Pair(a, b), Pair(a, tmp_path / "other" / "b.png")])


def test_a_checkpoint_colours_as_its_run_did(run, saved, photos, tmp_path):  # noqa: F811
    pairs = read_manifest(photos / "validation.csv")
    engine = TrainedEngine.load(saved)
    engine.area, engine.filler = 64**2, None
    assert engine.model.options["num_segments"] == 3
    folder = color(engine, tmp_path / "ours", pairs, 64)
    config = replace(run.config.prior, target=Seen.gray)
    for index, name in enumerate(names(pairs)):
        batch = default_collate([run.validation_pairs[index]])
        reference = batch.reference_luminance, batch.reference_ab
        classes = batch_classes(run.prior, batch, config)
        with torch.no_grad():
            ab = run.model(batch.luminance, *reference, *classes).ab
        expected = lab_to_rgb(batch.luminance[0, 0].numpy(), ab[0].permute(1, 2, 0).numpy())
        difference = np.array(Image.open(folder / f"{name}.png")).astype(int) - expected
        # The prior sees 8 bits, which may move a position to another class.
        assert abs(difference).mean() < 1


def test_table_one_compares_systems(saved, photos, tmp_path, monkeypatch, capsys):  # noqa: F811
    pairs = read_manifest(photos / "validation.csv")
    truth = write_truth(tmp_path / "made", pairs, 64)
    other = write_gray(tmp_path / "other", truth)
    arguments = [photos / "validation.csv", "--ours", saved, "--results", f"other={other}"]
    arguments += ["--size", 64, "--out", tmp_path / "out", "--compare", "ground truth", "gray"]
    call(one.main, monkeypatch, *arguments)
    lines = {x["system"]: x for x in read(tmp_path / "out" / "evaluation.csv")}
    assert list(lines) == ["ground truth", "gray", "other", "ours"]
    assert lines["ground truth"]["psnr"] == "inf"
    assert lines["gray"]["kid"] == lines["other"]["kid"]
    printed = capsys.readouterr().out
    assert "| ground truth better than gray |" in printed
    assert printed.count("| 100.0%  ") == len(one.COMPARED)
    assert TABLE_ONE["ours"].fid in printed
    call(one.main, monkeypatch, truth, "--out", tmp_path / "folder")
    lines = read(tmp_path / "folder" / "evaluation.csv")
    assert [line["system"] for line in lines] == ["ground truth", "gray"]
    capsys.readouterr()
    with pytest.raises(SystemExit):
        call(one.main, monkeypatch, truth, "--ours", saved)
    assert "data: expected a manifest of pairs" in capsys.readouterr().err


def test_table_two_trains_its_rows_and_goes_on(photos, tmp_path, monkeypatch, capsys):  # noqa: F811
    own = [value for value in TINY if not value.startswith(("prior", "max_steps"))]
    own += [f"data.manifest={photos}/train.csv", f"data.validation={photos}/validation.csv"]
    own += ["prior.num_segments=2", "--max-steps", "1", "--out", tmp_path]
    call(two.main, monkeypatch, *own)
    lines = read(tmp_path / "evaluation.csv")
    assert [line["system"] for line in lines] == list(two.ROWS)
    assert len({line["ab_error"] for line in lines}) == 3
    kinds = []
    for name in two.ROWS:
        folder = tmp_path / name.replace(",", "").replace(" ", "_")
        config = TrainedEngine.load(checkpoint.find(folder / "checkpoints")[-1].folder).config
        kinds.append((config.prior.kind.value, config.loss.masked))
    assert kinds == [("none", False), ("clusters", False), ("clusters", True)]
    capsys.readouterr()
    call(two.main, monkeypatch, *own)
    assert capsys.readouterr().err.count("from step 1") == 3
    assert read(tmp_path / "evaluation.csv") == lines


def test_table_three_merges_clusters(run, saved):
    found = dict(three.with_segments(TrainedEngine.load(saved), run.pairs, [1, 4, 27]))
    assert list(found) == [1, 4, 27]
    rgb = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for k, one_of in found.items():
        assert one_of.prior.prior.num_segments == k
        assert one_of.prior.prior(rgb)[0].max() < k
    whole = found[27].prior.prior.probe.clusters
    mean = found[1].prior.prior.probe.clusters[0]
    torch.testing.assert_close(mean, whole.mean(dim=0), atol=1e-5, rtol=1e-4)
    none = TrainedEngine.load(saved)
    none.config.prior.kind = three.PriorKind.none
    with pytest.raises(ValueError, match=r"prior\.kind: expected stego or clusters, got none"):
        next(three.with_segments(none, run.pairs, [1]))


def test_table_three_has_the_papers_rows(run, saved, tmp_path, monkeypatch):
    assert list(TABLE_THREE) == list(PAPER_MS)
    cells = {k: {"WarpNet, ms": f"{k}.5"} for k in (1, 2)}
    monkeypatch.setattr(three, "times", lambda _manifest, segments, _rounds: cells)
    call(three.main, monkeypatch, saved, "--segments", "1", "2", "--out", tmp_path)
    text = (tmp_path / "evaluation.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| standard")]
    assert [("k = 1 " in rows[0], "1.5" in rows[0]), ("k = 2 " in rows[1], "4.330" in rows[1])] == [
        (True, True),
        (True, True),
    ]
