"""Pairs whose right colours are known."""

import sys

import numpy as np
import pytest

pytest.importorskip("timm")

from model_photos import chelsea, coffee

from benchmarks import true_pairs
from benchmarks.true_pairs import VIEWS
from spcolor_model.data import Pair, read_manifest
from spcolor_model.images import read_image, write_image


def test_every_held_out_photo_is_paired_with_itself_once(tmp_path, monkeypatch):
    photos, held_out = tmp_path / "photos", [tmp_path / f"{name}.png" for name in "abc"]
    for names in VIEWS:
        for name in names:
            write_image(photos / name, coffee((40, 30)))
    for path, rgb in zip(held_out, (coffee(), chelsea(), coffee((60, 40))), strict=True):
        write_image(path, rgb)
    # Each with two references, as `spcolor prepare` finds them; one was trained with.
    found = [Pair(path, other) for path in held_out for other in held_out if path != other]
    found.insert(2, Pair(tmp_path / "rocket.jpg", held_out[0]))
    monkeypatch.setattr(true_pairs, "read_manifest", lambda path, split: found)
    arguments = ["data", "--photos", photos, "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["true_pairs", *map(str, arguments)])
    true_pairs.main()
    pairs = read_manifest(tmp_path / "out" / "manifest.csv")
    assert len(pairs) == 3 + len(VIEWS)
    target, reference = map(read_image, pairs[0])
    np.testing.assert_array_equal(target, coffee())
    np.testing.assert_array_equal(reference, coffee()[:, ::-1])
    target, reference = map(read_image, pairs[1])
    np.testing.assert_array_equal(target, chelsea()[13:, :102])
    np.testing.assert_array_equal(reference, chelsea()[:, ::-1])
