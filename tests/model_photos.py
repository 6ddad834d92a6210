"""Small pictures for the tests of the model, and a working area that makes them fast."""

import numpy as np
import pytest

pytest.importorskip("timm")

import skimage.data
import torch
from PIL import Image

from spcolor_model import features


@pytest.fixture
def small_area(monkeypatch):
    """See every photo at 192 x 192 pixels, a grid of 24 x 24 positions."""
    monkeypatch.setattr(features, "WORKING_AREA", 192 * 192)


@pytest.fixture(autouse=True)
def one_thread():
    """Networks and pictures this small only lose by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def coffee(size: tuple[int, int] = (120, 90)) -> np.ndarray:
    """A photo of width and height `size` as [H, W, 3] uint8."""
    return np.array(Image.fromarray(skimage.data.coffee()).resize(size, Image.BOX))


def chelsea(size: tuple[int, int] = (120, 90)) -> np.ndarray:
    """Another photo, likewise."""
    return np.array(Image.fromarray(skimage.data.chelsea()).resize(size, Image.BOX))
