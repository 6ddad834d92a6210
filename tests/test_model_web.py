"""The page without a browser: what is refused, whose files are whose, and what its buttons do."""

import io
import json
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hostile_files import MEGABYTES, MEGAPIXELS, hostile_files, photo
from model_photos import chelsea, coffee, one_thread, small_area  # noqa: F401
from PIL import Image, ImageFile
from typer.testing import CliRunner

pytest.importorskip("gradio")
import gradio as gr
from starlette.testclient import TestClient

from spcolor_model import engine
from spcolor_model.cli import app as command
from spcolor_model.explanation import explain
from spcolor_model.web import server
from spcolor_model.web.limits import Limits, RefusedError, check_name
from spcolor_model.web.many_photos import ManyPhotos
from spcolor_model.web.one_photo import OnePhoto
from spcolor_model.web.regions import BRUSHES, drawn_edits, drawn_regions
from spcolor_model.web.storage import Storage

LIMITS = Limits(megapixels=MEGAPIXELS, megabytes=MEGABYTES, files=3)
UPLOAD = "/gradio_api/upload"
JOIN = "/gradio_api/queue/join"
SETTINGS = ("match", "none", False, 22)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server's storage and application."""
    storage = Storage(tmp_path_factory.mktemp("page"), hours=1)
    app = server.make_app(storage, LIMITS)
    with TestClient(app, base_url="http://127.0.0.1"):
        yield storage, app


@pytest.fixture
def visit(site):
    """Open the page as a visitor of one's own, as often as it is called."""

    def opened() -> TestClient:
        client = TestClient(site[1], base_url="http://127.0.0.1")
        assert client.get("/").status_code == 200
        return client

    return opened


def send(client: TestClient, *files: tuple[str, bytes]):
    """Upload files under names as they are, which a client library would mend."""
    edge = b"--edge"
    parts = b"".join(
        edge
        + b'\r\nContent-Disposition: form-data; name="files"; filename="'
        + name.encode()
        + b'"\r\nContent-Type: image/png\r\n\r\n'
        + content
        + b"\r\n"
        for name, content in files
    )
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    return client.post(UPLOAD, content=parts + edge + b"--\r\n", headers=kind)


def sent(client: TestClient, name: str = "old.png") -> str:
    """The path of an uploaded photo."""
    answer = send(client, (name, photo()))
    assert answer.status_code == 200, answer.text
    return answer.json()[0]


def kept(storage: Storage) -> list[Path]:
    """Every file of every visitor."""
    return [x for x in storage.root.rglob("*") if x.is_file() and storage.shared not in x.parents]


@pytest.mark.parametrize("hostile", hostile_files(), ids=lambda x: repr(x.name)[:30])
def test_hostile_files_are_refused_and_not_kept(site, visit, hostile):
    before = kept(site[0])
    answer = send(visit(), (hostile.name, hostile.content))
    assert answer.status_code == 400, answer.text
    assert hostile.why in answer.text
    assert not {"<", ">", "\0", "\u202e"} & set(answer.text)
    assert kept(site[0]) == before


def test_a_bomb_is_not_decoded(visit, monkeypatch):
    bombs = [hostile for hostile in hostile_files() if "megapixels" in hostile.why]
    assert len(bombs) == 8
    for plugin in (Image.Image, ImageFile.ImageFile):
        monkeypatch.setattr(plugin, "load", lambda self: pytest.fail("decoded"))
    for hostile in bombs:
        assert send(visit(), (hostile.name, hostile.content)).status_code == 400


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
def test_photos_are_taken(visit, kind):
    client = visit()
    content = photo(kind)
    answer = send(client, (f"Großmutter & ich.{kind.lower()}", content))
    assert answer.status_code == 200, answer.text
    read = client.get(f"/gradio_api/file={answer.json()[0]}")
    assert read.content == content
    assert read.headers["content-type"].startswith("image/")
    assert read.headers["x-content-type-options"] == "nosniff"


def test_one_bad_file_of_several_is_named(visit):
    answer = send(visit(), ("a.png", photo()), ("b.png", b"<html>"))
    assert (answer.status_code, answer.text[:6]) == (400, "b.png:")


def test_too_many_files_and_forms_that_are_none(visit):
    client = visit()
    assert send(client, *[(f"{i}.png", photo()) for i in range(4)]).status_code == 400
    assert "got none" in send(client).text
    assert client.post(UPLOAD, content=b"nonsense").status_code == 400


def test_one_visitor_does_not_fill_the_disk(site, visit, monkeypatch):
    client = visit()
    sent(client)
    monkeypatch.setattr(Storage, "used", lambda *_: LIMITS.kept_bytes)
    answer = send(client, ("a.png", photo()))
    assert answer.status_code == 400
    assert "of one visitor" in answer.text


def test_files_are_their_visitors_alone(visit):
    mine, other = visit(), visit()
    path = sent(mine)
    assert mine.get(f"/gradio_api/file={path}").status_code == 200
    assert other.get(f"/gradio_api/file={path}").status_code == 404
    # The same photo of another visitor is another file.
    assert sent(other) != path
    message = {"data": [{"path": path}], "fn_index": 0, "session_hash": "other1"}
    refused = other.post(JOIN, json=message)
    assert (refused.status_code, refused.text) == (
        403,
        "file: expected one that this visitor sent, got another",
    )
    nested = {"data": [{"a": [{"image": {"path": path}}]}], "session_hash": "other1"}
    assert other.post(JOIN, json=nested).status_code == 403


def test_sessions_are_their_visitors_alone(visit):
    mine, other = visit(), visit()
    message = {"data": [], "fn_index": 0, "event_id": "none", "session_hash": "abcdef"}
    assert mine.post("/gradio_api/reset", json=message).status_code == 200
    for method, path in (
        ("POST", JOIN),
        ("POST", "/gradio_api/reset"),
        ("POST", "/gradio_api/cancel"),
        ("GET", "/gradio_api/queue/data?session_hash=abcdef"),
        ("GET", "/gradio_api/heartbeat/abcdef"),
    ):
        refused = other.request(method, path, json=message if method == "POST" else None)
        assert (refused.status_code, refused.text[:8]) == (403, "session:")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../etc/passwd",
        "..%2f..%2f..%2fetc/passwd",
        "/proc/self/environ",
        "{own}/../../../etc/passwd",
        "{shared}/../../../etc/passwd",
        "{own}",
        "{module}",
        "http://127.0.0.1/",
        "file:///etc/passwd",
        "%00",
        "",
    ],
)
def test_nothing_else_can_be_read(site, visit, path):
    client = visit()
    own = Path(sent(client)).parent
    path = path.format(own=own, shared=site[0].shared, module=server.__file__)
    assert client.get(f"/gradio_api/file={path}").status_code == 404


def test_a_link_out_of_the_folder_is_not_followed(visit):
    client = visit()
    link = Path(sent(client)).with_name("link.png")
    link.symlink_to("/etc/passwd")
    assert client.get(f"/gradio_api/file={link}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/proxy=http://127.0.0.1/",
        "gradio_api/info",
        "gradio_api/run/colour",
        "gradio_api/call/colour",
        "gradio_api/deep_link",
        "monitoring",
        "docs",
        "openapi.json",
        "gradio_api/token",
        "gradio_api/app_id",
    ],
)
def test_routes_that_the_page_does_not_use_are_closed(visit, path):
    client = visit()
    assert client.get(f"/{path}").status_code == 404
    assert client.post(f"/{path}", json={}).status_code == 404


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"data": [{"path": "/etc/passwd"}]}, "expected one that this visitor sent"),
        ({"data": [{"path": "http://127.0.0.1/x.png"}]}, "expected one that this visitor sent"),
        ({"data": [{"path": None, "url": "data:image/png;base64,AAAA"}]}, "got data in"),
        ({"data": [{"path": ["x"]}]}, "expected one that this visitor sent"),
        ([], "expected an object"),
        ("[" * 100_000, "expected JSON"),
        ("x", "expected JSON"),
        ('"' + "x" * (1 << 20) + '"', "expected at most 1048576 bytes"),
    ],
)
def test_messages_that_hold_more_than_they_may(visit, content, why):
    text = content if isinstance(content, str) else json.dumps(content)
    refused = visit().post(JOIN, content=text)
    assert refused.status_code == 403
    assert why in refused.text


def test_a_drawing_is_checked_like_a_photo(visit):
    client = visit()
    form = {"session_hash": "drawn", "component_id": "1", "fn_name": "accept_blobs"}
    for hostile in hostile_files():
        if "megapixels" in hostile.why or "SVG" in hostile.why:
            files = {"file": ("blob", hostile.content)}
            refused = client.post("/gradio_api/component_server", data=form, files=files)
            assert refused.status_code == 403
            assert hostile.why in refused.text


def test_without_a_cookie_nothing_is_taken(site):
    stranger = TestClient(site[1], base_url="http://127.0.0.1")
    assert send(stranger, ("a.png", photo())).status_code == 403
    stranger.cookies.set("spcolor_visitor", "guessed")
    assert send(stranger, ("a.png", photo())).status_code == 403


def test_another_name_of_this_machine_is_refused(site):
    assert TestClient(site[1], base_url="http://evil.example").get("/").status_code == 400


def test_the_page_asks_no_other_machine(visit):
    answer = visit().get("/")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    cookie = answer.headers.get("set-cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_files_go_when_the_visitor_is_gone(tmp_path, monkeypatch):
    storage = Storage(tmp_path, hours=1)
    gone, stays = storage.admit(None), storage.admit(None)
    for token in (gone, stays):
        storage.new_file(token, ".png").write_bytes(b"x")
    storage.sweep()
    assert len(kept(storage)) == 2
    with storage.tab(stays):
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 700)
        storage.sweep()
        assert not storage.knows(gone)
        assert storage.knows(stays)
        assert len(kept(storage)) == 1
        # An open tab that nobody used for hours.
        monkeypatch.setattr(time, "monotonic", lambda: now + 3700)
        storage.sweep()
        assert kept(storage) == []
    storage.close()
    assert not tmp_path.exists()


@pytest.fixture
def desk(site, tmp_path):
    """Storage, a visitor's request, and two photos."""
    storage = site[0]
    request = SimpleNamespace(
        request=SimpleNamespace(state=SimpleNamespace(visitor=storage.admit(None))),
        session_hash="desk",
    )
    paths = []
    for name, rgb in (("old.png", coffee()), ("new.png", chelsea())):
        paths.append(str(tmp_path / name))
        Image.fromarray(rgb).save(paths[-1])
    return storage, request, *paths


def test_a_photo_is_coloured_at_its_full_size(desk, small_area):  # noqa: F811
    storage, request, target, reference = desk
    both, file, maps, sheet, said, clicked = OnePhoto(storage, LIMITS, []).colour(
        target, reference, *SETTINGS, None, None, "gray", "PNG", request, progress=lambda *_: None
    )
    expected = engine.colorize(target, reference, engine="match", prior="none").rgb
    saved = Path(file["value"])
    assert saved.name == "old_coloured.png"
    assert (np.asarray(Image.open(saved)) == expected).all()
    assert said.startswith("120 x 90 pixels.")
    assert len(maps) == 8
    assert Path(sheet["value"]).name == "old_sheet.png"
    assert clicked == both[1]
    token = request.request.state.visitor
    for path in (*both, saved, sheet["value"], *(path for path, _ in maps)):
        assert storage.readable(token, path)
        assert not storage.readable(storage.admit(None), path)


def stroke(brush: str, columns: slice, size: tuple[int, int] = (45, 60)) -> dict:
    """A drawing of one brush over some columns of a canvas of half the photos' size."""
    layer = np.zeros((*size, 4), np.uint8)
    layer[:, columns] = (*bytes.fromhex(BRUSHES[brush][1:]), 255)
    return {"layers": [Image.fromarray(layer)]}


def test_drawn_regions_are_classes_of_their_own(desk, small_area):  # noqa: F811
    storage, request, target, reference = desk
    more = ("gray", "PNG", request)
    left, right = stroke("red", slice(0, 30)), stroke("red", slice(30, 60))
    got = OnePhoto(storage, LIMITS, []).colour(target, reference, *SETTINGS, left, right, *more)
    maps = {name: np.asarray(Image.open(path)) for path, name in got[2]}
    classes = [picture for name, picture in maps.items() if name.startswith("classes")]
    # One class on the left of the photo is that on the right of the reference.
    sides = [x[x.shape[0] // 2, [20, -20]].astype(int) for x in classes]
    assert abs(sides[0] - sides[1][::-1]).max() < 12
    assert abs(sides[0][0] - sides[0][1]).max() > 30


def test_what_is_drawn_on_the_photo_alone_stays_gray(desk, small_area):  # noqa: F811
    storage, request, target, reference = desk
    page = OnePhoto(storage, LIMITS, [])
    drawing = stroke("blue", slice(0, 30))
    for alone in ("gray", "own"):
        got = page.colour(target, reference, *SETTINGS, drawing, None, alone, "PNG", request)
        rgb = np.asarray(Image.open(got[1]["value"])).astype(int)
        inside = rgb[:, :50]
        wanted = coffee()[:, :50].astype(int) if alone == "own" else inside.mean(-1, keepdims=True)
        assert abs(inside - wanted).max() <= 3
        assert np.ptp(rgb[:, 70:], axis=-1).max() > 10
    with pytest.raises(gr.Error, match="expected blue on the photo too"):
        page.colour(target, reference, *SETTINGS, None, drawing, "gray", "PNG", request)


def test_drawings_become_edits_of_the_photos_size():
    edits = drawn_edits(stroke("cyan", slice(0, 30)), None, ((90, 120), (7, 9)))
    assert list(edits.regions) == ["cyan"]
    assert edits.regions["cyan"].color == "gray"
    inside = edits.regions["cyan"].target[0].fill((90, 120))
    assert inside[:, :60].all()
    assert not inside[:, 60:].any()
    assert drawn_edits(None, {"layers": []}, ((9, 9), (9, 9))) is None


def test_a_clicked_point_is_explained(desk, small_area):  # noqa: F811
    storage, request, target, reference = desk
    page = OnePhoto(storage, LIMITS, [])
    clicked = SimpleNamespace(index=(60, 45))
    with pytest.raises(gr.Error, match="not kept any more"):
        page.points.explain(request, clicked)
    page.colour(target, reference, *SETTINGS, None, None, "gray", "PNG", request)
    pictures, said = page.points.explain(request, clicked)
    expected = explain(target, reference, [(60, 45)], engine="match", prior="none").points[0]
    x, y = expected.best
    captions = [caption for _, caption in pictures]
    assert f"Point 1, with classes: best at {x},{y}" in captions
    assert len(captions) == 4
    assert "point 60,45" in said
    other = SimpleNamespace(request=request.request, session_hash="other")
    with pytest.raises(gr.Error, match="not kept any more"):
        page.points.explain(other, clicked)
    for index in range(4):
        page.points.keep(f"later {index}", None)
    with pytest.raises(gr.Error, match="not kept any more"):
        page.points.explain(request, clicked)


def test_strokes_are_read_by_their_colour():
    layer = np.zeros((4, 6, 4), np.uint8)
    layer[0, :2] = (230, 25, 75, 255)
    layer[1, :2] = (225, 30, 70, 130)  # a softened edge
    layer[2, :2] = (60, 180, 75, 90)  # too faint
    expected = np.zeros((4, 6), int)
    expected[:2, :2] = 1
    assert (drawn_regions({"layers": [Image.fromarray(layer)]}) == expected).all()
    assert drawn_regions({"layers": [Image.fromarray(0 * layer)]}) is None
    assert drawn_regions(None) is None


def test_a_batch_names_what_failed_and_packs_the_rest(desk, small_area, tmp_path):  # noqa: F811
    storage, request, target, reference = desk
    broken = tmp_path / "<b>broken.png"
    broken.write_bytes(b"x")
    targets = [target, str(broken), target]
    *_, last = ManyPhotos(storage, LIMITS).colour(
        targets, reference, *SETTINGS, request, progress=lambda *_: None
    )
    pictures, said, archive = last
    assert [name for _, name in pictures] == ["old_coloured.png", "old_coloured_2.png"]
    assert "Not coloured:" in said
    assert "<b>" not in said
    assert "2 of 3 photos are coloured." in said
    with zipfile.ZipFile(archive["value"]) as packed:
        assert packed.namelist() == ["old_coloured.png", "old_coloured_2.png"]
        picture = Image.open(io.BytesIO(packed.read("old_coloured_2.png")))
        assert picture.size == (120, 90)


def test_a_batch_that_is_stopped_packs_what_is_done(desk, small_area):  # noqa: F811
    storage, request, target, reference = desk
    handlers = ManyPhotos(storage, LIMITS)
    handlers.begin(request)
    run = handlers.colour([target] * 3, reference, *SETTINGS, request, progress=lambda *_: None)
    next(run)
    handlers.stop(request)
    *_, (_, said, archive) = run
    assert "Stopped after 1 of 3 photos." in said
    assert len(zipfile.ZipFile(archive["value"]).namelist()) == 1
    handlers.begin(request)
    *_, (_, said, _) = handlers.colour(
        [target], reference, *SETTINGS, request, progress=lambda *_: None
    )
    assert "Stopped" not in said


def test_what_is_missing_is_said(desk):
    storage, request, target, reference = desk
    more = (*SETTINGS, None, None, "gray", "PNG", request)
    for photos, missing in (((None, reference), "photo to colour"), ((target, None), "reference")):
        with pytest.raises(gr.Error, match=missing):
            OnePhoto(storage, LIMITS, []).colour(*photos, *more)
    with pytest.raises(gr.Error, match="at most 3 photos, got 4"):
        next(ManyPhotos(storage, LIMITS).colour([target] * 4, reference, *SETTINGS, request))


def test_photos_are_shown_upright_and_small(desk, tmp_path):
    storage, request, *_ = desk
    image = Image.new("RGB", (3000, 1500))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.tif", exif=exif)
    shown, path = OnePhoto(storage, LIMITS, []).show(str(tmp_path / "turned.tif"), request)
    assert Image.open(shown).size == (700, 1400)
    assert Image.open(shown).format == "JPEG"
    assert path == str(tmp_path / "turned.tif")
    assert OnePhoto(storage, LIMITS, []).show(None, request) == (None, None)


@pytest.mark.parametrize(
    "name", ["old photo (3).jpg", "père & fils.PNG", "東京.tiff", "a.b.c.webp"]
)
def test_names_that_people_have(name):
    assert check_name(name) == name


def test_a_name_of_spaces_is_none():
    with pytest.raises(RefusedError, match="expected a file name"):
        check_name(" . ")


def test_wrong_limits_end_before_any_work():
    result = CliRunner().invoke(command, ["serve", "--megapixels", "0"])
    assert result.exit_code == 2
    assert "megapixels: expected a number above 0" in result.output
