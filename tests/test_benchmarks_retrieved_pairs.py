"""Pairs that are chosen: the best reference of each target, and the class that its name states."""

import csv
import sys

import pytest

pytest.importorskip("timm")

from model_photos import coffee

from benchmarks import retrieved_pairs
from spcolor_model.data import Pair, read_manifest
from spcolor_model.images import write_image


def test_each_target_has_its_first_reference(tmp_path, monkeypatch):
    paths = [tmp_path / f"{name}.png" for name in ("imagenet_07_609", "imagenet_1_2", "other")]
    for path in paths:
        write_image(path, coffee((40, 30)))
    one, two, other = paths
    found = [Pair(one, other), Pair(one, two), Pair(other, one), Pair(two), Pair(two, other)]
    monkeypatch.setattr(retrieved_pairs, "read_manifest", lambda path: found)
    run = ["retrieved_pairs", "data", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", run)
    retrieved_pairs.main()
    chosen = read_manifest(tmp_path / "out" / "manifest.csv")
    names = [tuple(path.stem for path in pair) for pair in chosen]
    assert names == [("imagenet_07_609", "other"), ("imagenet_1_2", "other")]
    with (tmp_path / "out" / "classes.csv").open(newline="") as file:
        assert [*csv.reader(file)][1:] == [
            ["imagenet_07_609.png", "609"],
            ["imagenet_1_2.png", "2"],
        ]
    monkeypatch.setattr(sys, "argv", [*run, "--targets", "nothing*"])
    with pytest.raises(SystemExit):
        retrieved_pairs.main()
