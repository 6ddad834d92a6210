"""Published weights: copies, downloads from a local address, and their SHA-256."""

import hashlib

import pytest
import torch

from spcolor_model.networks import published
from spcolor_model.networks.published import FOLDER_VARIABLE, Published, find


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache of torch.hub, and no folder of the user's."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    return tmp_path / "home" / "hub" / "checkpoints"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A file to download; publishes it as "net" with a SHA-256, and returns its real one."""
    (tmp_path / "server").mkdir()
    source = tmp_path / "server" / "net.pth"
    torch.save({"weight": torch.ones(2)}, source)

    def publish(sha256: str = "") -> str:
        known = Published("net.pth", "a university", source.as_uri(), sha256)
        monkeypatch.setitem(published.PUBLISHED, "net", known)
        return hashlib.sha256(source.read_bytes()).hexdigest()

    publish.source = source
    return publish


def test_a_download_is_recorded_and_a_change_refused(home, server):
    digest = server()
    path = find("net")
    assert path == home / "net.pth"
    assert path.read_bytes() == server.source.read_bytes()
    record = home / "net.pth.sha256"
    assert record.read_text() == f"{digest}  net.pth\n"
    assert sorted(home.iterdir()) == [path, record]
    server.source.unlink()
    assert find("net") == path
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match=rf"net.pth: expected SHA-256 {digest} .*delete .*, got"):
        find("net")
    record.unlink()
    assert find("net") == path


def test_a_published_sum_is_checked_at_every_use(home, server):
    digest = server("0000")
    with pytest.raises(ValueError, match=r'net.pth: invalid hash value \(expected "0000"'):
        find("net")
    assert not list(home.iterdir())
    server(digest[:8])
    path = find("net")
    assert list(home.iterdir()) == [path]
    path.write_bytes(b"changed")
    with pytest.raises(ValueError, match=f"SHA-256 {digest[:8]} .published by a university"):
        find("net")


def test_an_empty_record_is_refused(home, server):
    server()
    find("net").with_name("net.pth.sha256").write_text("")
    with pytest.raises(ValueError, match=r"net.pth.sha256: expected a SHA-256 and a file name"):
        find("net")


def test_a_folder_that_keeps_no_record_warns(home, server, monkeypatch):
    server()
    find("net").with_name("net.pth.sha256").unlink()

    def refuse(*args):
        raise OSError("read-only")

    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    with pytest.warns(UserWarning, match=r"net.pth.sha256: cannot be written"):
        find("net")


def test_own_copies_come_first(tmp_path, home, server, monkeypatch):
    server()
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(own))
    assert find("net") == home / "net.pth"
    (own / "net.pth").write_bytes(server.source.read_bytes())
    assert find("net") == own / "net.pth"
    assert find("net", server.source) == server.source
    assert find("net", server.source.parent) == server.source
    assert not server.source.with_name("net.pth.sha256").exists()


def test_missing_files_say_where_they_come_from(tmp_path, home, server, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"vgg19_conv.pth: not in .*README of github.com"):
        find("vgg19_conv")
    with pytest.raises(FileNotFoundError, match=r"x.ckpt: .*by github.com/mhamilton723/STEGO"):
        find("cocostuff27_vit_base_5", tmp_path / "x.ckpt")
    server()
    server.source.unlink()
    with pytest.raises(FileNotFoundError, match=r"net.pth: not in .*file:.* failed .*a university"):
        find("net")
    assert not list(home.iterdir())
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=f"{FOLDER_VARIABLE}: expected a folder, got"):
        find("net")
    with pytest.raises(ValueError, match=r"name: expected one of 'vgg19_conv', .*got 'vgg'"):
        find("vgg")


@pytest.mark.parametrize("name", published.PUBLISHED)
def test_addresses_end_in_the_file_and_torchvisions_sum_is_in_its_name(name):
    known = published.PUBLISHED[name]
    assert known.url is None or known.url.endswith(f"/{known.file}")
    assert not known.sha256 or f"-{known.sha256}." in known.file
