"""Files of weights: every format, hostile and damaged ones, and strict loading."""

import builtins
import collections
import os
import pickle
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spcolor_model.networks.weights import load_into, load_state

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.tensor([1.0, -2.0])}
DATA_PARALLEL = {f"module.{name}": x for name, x in TENSORS.items()}
CONTENTS = {
    "flat": TENSORS,
    "ordered": collections.OrderedDict(TENSORS),
    "parameters": {name: nn.Parameter(x) for name, x in TENSORS.items()},
    "lightning": {"epoch": 3, "state_dict": TENSORS, "optimizer_states": [{"lr": 0.1}]},
    "dino": {"student": {"a.weight": torch.zeros(1)}, "teacher": DATA_PARALLEL, "epoch": 1},
    "data parallel": DATA_PARALLEL,
    "beside numbers": {**TENSORS, "iteration": 7},
}


def check_same(state: dict[str, torch.Tensor]) -> None:
    assert list(state) == list(TENSORS)
    for name, expected in TENSORS.items():
        assert torch.equal(state[name], expected)


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "before torch 1.6"])
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
def test_every_format_is_read(tmp_path, content, archive):
    path = tmp_path / "weights.pth"
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    check_same(load_state(path))


def test_safetensors_are_read(tmp_path):
    save_file(TENSORS, tmp_path / "weights.safetensors")
    check_same({name: load_state(tmp_path / "weights.safetensors")[name] for name in TENSORS})


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A module of a checkpoint's settings; importing it leaves a trace, as do its classes."""
    (tmp_path / "foreign_settings.py").write_text(
        "from pathlib import Path\n"
        f"TRACE = Path({str(tmp_path / 'trace')!r})\n"
        "TRACE.touch()\n"
        "class Config:\n"
        "    def __getstate__(self): return (self.dim, self.cache)\n"
        "    def __setstate__(self, state): TRACE.touch()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import foreign_settings

    yield foreign_settings
    sys.modules.pop("foreign_settings", None)


def test_classes_of_settings_are_never_imported(tmp_path, settings):
    config = settings.Config()
    config.dim, config.cache = 90, collections.defaultdict(dict, a={"b": 1})
    path = tmp_path / "lightning.ckpt"
    saved = {"state_dict": TENSORS, "hyper_parameters": config, "types": {settings.Config: list}}
    torch.save(saved, path)
    del sys.modules["foreign_settings"]
    settings.TRACE.unlink()
    with pytest.warns(UserWarning, match=r"lightning.ckpt: read without .*foreign_settings.Config"):
        check_same(load_state(path))
    assert "foreign_settings" not in sys.modules
    assert not settings.TRACE.exists()
    assert torch.load(path, weights_only=False)["hyper_parameters"].__class__.__name__ == "Config"
    assert settings.TRACE.exists()


class Payload:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


PAYLOADS = {
    "os.system": lambda path: Payload(os.system, f"touch {path}"),
    "eval": lambda path: Payload(eval, f"open({str(path)!r}, 'w').close()"),
    "exec": lambda path: Payload(exec, f"open({str(path)!r}, 'w').close()"),
    "open": lambda path: Payload(builtins.open, str(path), "w"),
}
# torch.load refuses what asks for os, and the others come to nothing.
REFUSED = ("os.system",)


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_in_a_checkpoint_does_nothing(tmp_path, name):
    marker = tmp_path / "marker"
    path = tmp_path / "hostile.ckpt"
    torch.save({"state_dict": TENSORS, "hyper_parameters": PAYLOADS[name](marker)}, path)
    if name in REFUSED:
        with pytest.raises(ValueError, match=r"hostile.ckpt: .* names posix.system .*not safe"):
            load_state(path)
    else:
        with pytest.warns(UserWarning, match=f"read without its (builtins|_?io).{name}"):
            check_same(load_state(path))
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "before torch 1.6"])
@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_in_the_place_of_tensors_is_refused(tmp_path, name, archive):
    marker = tmp_path / "marker"
    path = tmp_path / "hostile.pth"
    torch.save(PAYLOADS[name](marker), path, _use_new_zipfile_serialization=archive)
    with pytest.raises(ValueError, match=r"hostile.pth: expected"):
        load_state(path)
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_bare_pickle_is_refused(tmp_path):
    path = tmp_path / "hostile.pth"
    path.write_bytes(pickle.dumps(PAYLOADS["eval"](tmp_path / "marker")))
    with pytest.raises(ValueError, match=r"hostile.pth: expected a checkpoint of tensors"):
        load_state(path)
    assert not (tmp_path / "marker").exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["weights.pth", "old.pth", "weights.safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, name, kept):
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path, _use_new_zipfile_serialization=name != "old.pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=rf"{name}: .* \(\w+\): damaged, of another format"):
        load_state(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "expected tensors by name, got dict without any"),
        (torch.zeros(3), "expected tensors by name, got Tensor without any"),
        ([TENSORS], "expected tensors by name, got list without any"),
    ],
)
def test_a_file_without_named_tensors_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=message):
        load_state(tmp_path / "weights.pth")


def test_text_is_no_checkpoint(tmp_path):
    (tmp_path / "weights.pth").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"weights.pth: expected a checkpoint of tensors"):
        load_state(tmp_path / "weights.pth")


def test_a_folder_and_a_missing_file_have_messages_of_their_own(tmp_path):
    with pytest.raises(ValueError, match="expected a file, got a folder"):
        load_state(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"weights.pth: no such file$"):
        load_state(tmp_path / "weights.pth")
    with pytest.raises(FileNotFoundError, match=r"published by colorization_checkpoint.zip"):
        load_state(tmp_path / "vgg19_conv.pth")


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 2)


def test_loading_is_exact():
    module = Two()
    load_into(module, TENSORS, source="file")
    check_same(module.state_dict())


def test_loading_leaves_out_what_it_is_told_to():
    module = Two()
    load_into(module, {**TENSORS, "b.weight": TENSORS["a.bias"]}, source="file", ignore=["b."])
    check_same(module.state_dict())


MANY = {f"b.{index}": torch.zeros(1) for index in range(9)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a.bias": TENSORS["a.bias"]}, "of Two, got 1 missing: a.weight$"),
        ({**TENSORS, "a.extra": torch.zeros(1)}, "of Two, got 1 unexpected: a.extra$"),
        (
            {"a.bias": TENSORS["a.bias"], **MANY},
            "1 missing: a.weight; 9 unexpected: b.0, b.1, b.2, b.3, b.4, and 4 more$",
        ),
        (
            {**TENSORS, "a.weight": torch.zeros(3, 2)},
            r"file: a.weight: expected shape \[2, 3\], got \[3, 2\]$",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(state, message):
    module = Two()
    before = {name: x.clone() for name, x in module.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_into(module, state, source="file")
    for name, x in module.state_dict().items():
        assert torch.equal(x, before[name])
