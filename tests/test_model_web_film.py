"""The page's tab of a film, without a browser."""

from types import SimpleNamespace

import numpy as np
import pytest
from hostile_files import photo
from model_photos import chelsea, coffee, one_thread, small_area  # noqa: F401
from PIL import Image

pytest.importorskip("gradio")
pytest.importorskip("av")
import av
import gradio as gr

from spcolor_model.web.film import Film
from spcolor_model.web.films import check_film
from spcolor_model.web.limits import Limits, RefusedError
from spcolor_model.web.storage import Storage

LIMITS = Limits(megapixels=0.1, minutes=0.1)
FRAMES = 4


def film(path, size=(96, 64), frames=FRAMES, rate=8):
    """Write a gray film that moves over a photo."""
    wide = np.array(Image.fromarray(coffee((size[0] + frames, size[1]))).convert("L"))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index in range(frames):
            gray = np.repeat(wide[:, index : index + size[0], None], 3, axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(gray))))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "got other data"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "got other data"),
        (photo(), "got other data"),
        (b"", "got other data"),
        (b"\0\0\0\x20ftypisom" + bytes(99), "expected a film"),
        (b"\x1aE\xdf\xa3" + bytes(99), "got a damaged header"),
        (b"RIFF\0\0\0\0AVI " + bytes(99), "got a damaged header"),
    ],
)
def test_what_is_no_film_is_refused(tmp_path, content, why):
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(RefusedError, match=why):
        check_film(path, "film.mp4", LIMITS)


def test_large_and_long_films_are_refused(tmp_path):
    check_film(film(tmp_path / "good.mkv"), "good.mkv", LIMITS)
    with pytest.raises(RefusedError, match=r"at most 0.1 megapixels, got 480 x 320"):
        check_film(film(tmp_path / "large.mp4", (480, 320), 2), "large.mp4", LIMITS)
    with pytest.raises(RefusedError, match=r"at most 0.1 minutes, got 0.2"):
        check_film(film(tmp_path / "long.mp4", frames=12, rate=1), "long.mp4", LIMITS)


@pytest.fixture
def desk(tmp_path):
    """Handlers, a visitor's request, a film and a reference."""
    storage = Storage(tmp_path / "page", hours=1)
    state = SimpleNamespace(visitor=storage.admit(None))
    request = SimpleNamespace(request=SimpleNamespace(state=state), session_hash="desk")
    Image.fromarray(chelsea()).save(tmp_path / "new.png")
    source = str(film(tmp_path / "old.mp4"))
    return Film(storage, LIMITS), request, source, str(tmp_path / "new.png")


def test_a_film_is_coloured(desk, small_area):  # noqa: F811
    handlers, request, source, reference = desk
    seen = []
    watched, file, said = handlers.colour(
        source, [reference], True, False, request, progress=lambda at, *_, **__: seen.append(at)
    )
    assert file["value"] == watched
    assert handlers.storage.readable(request.request.state.visitor, watched)
    with av.open(watched) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == FRAMES
    assert frames[0].shape == (64, 96, 3)
    assert np.ptp(frames[0].astype(int), axis=-1).max() > 10
    assert (FRAMES, FRAMES) in seen
    assert "scene 1 of 1 takes new.png" in said


def test_a_film_is_stopped(desk, small_area):  # noqa: F811
    handlers, request, source, reference = desk
    handlers.begin(request)

    def stop(at, *_, **__):
        if isinstance(at, tuple):
            handlers.stop(request)

    done = handlers.colour(source, [reference], False, False, request, progress=stop)
    assert done[0] is None
    assert done[2] == "Stopped."


def test_what_is_missing_is_said(desk):
    handlers, request, source, _ = desk
    with pytest.raises(gr.Error, match="Choose a colour reference first"):
        handlers.colour(source, None, True, False, request)
