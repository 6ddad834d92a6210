"""Films: luma, scenes, merging by lse, sound, tags, image sequences, resumed runs and messages."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from model_photos import chelsea, coffee, small_area  # noqa: F401
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("av")

import av

from spcolor_model.cli import app
from spcolor_model.color import rgb_to_lab
from spcolor_model.trained_engine import TrainedEngine
from spcolor_model.video.colorist import Colorist, merge
from spcolor_model.video.frames import colored, luminance
from spcolor_model.video.reading import Film
from spcolor_model.video.references import FilmReference, SceneReferences, reference_path
from spcolor_model.video.run import colorize_video
from spcolor_model.video.scenes import survey
from spcolor_ops import segment_correspondence

FORMATS = ["yuv420p", "yuv422p10le", "yuv444p", "gray"]


@pytest.fixture
def engine():
    """The packaged networks on 96 x 96 pixels."""
    default = TrainedEngine.default()
    return TrainedEngine(default.model, default.prior, default.config, 96 * 96)


def write(path: Path, pictures, *, pix_fmt="yuv420p", sound=False, interlaced=False) -> Path:
    """Write pictures [H, W, 3] as a lossless film of 30000/1001 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(30000, 1001))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        stream.codec_context.colorspace = stream.codec_context.color_primaries = 1
        stream.codec_context.color_range = 1
        if sound:
            tone = container.add_stream("aac", rate=48000, layout="mono")
        for rgb in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
        if sound:
            wave = np.sin(np.arange(48000) / 20).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate = 48000
            container.mux(tone.encode(frame))
            container.mux(tone.encode(None))
    return path


def shot(photo, count: int) -> list[np.ndarray]:
    """Pan over a photo."""
    return [np.ascontiguousarray(photo[:64, 2 * i : 2 * i + 96]) for i in range(count)]


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s.type == kind]
        return [bytes(p) for p in container.demux(streams) if p.size]


def planes(frame) -> list[np.ndarray]:
    size = 2 if "10" in frame.format.name else 1
    return [
        np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : size * p.width] for p in frame.planes
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_luma_is_kept_bit_for_bit_and_chroma_is_that_of_the_colour(name):
    frame = av.VideoFrame.from_ndarray(coffee((96, 64)), format="rgb24").reformat(format=name)
    ab = np.broadcast_to(np.float32([20, -10]), (64, 96, 2))
    out = colored(frame, luminance(frame), ab)
    assert out.format.name == ("yuv420p" if name == "gray" else name)
    np.testing.assert_array_equal(planes(out)[0], planes(frame)[0])
    found = rgb_to_lab(out.to_ndarray(format="rgb24"))[1]
    assert np.abs(np.median(found, (0, 1)) - [20, -10]).max() < 1


def test_a_cut_is_where_the_photo_changes(tmp_path):
    pictures = [*shot(coffee((150, 64)), 5), *shot(chelsea((150, 64)), 4)]
    found = survey(Film(write(tmp_path / "film.mkv", pictures)))
    assert (found.frames, found.starts) == (9, [0, 5])
    assert [found.at(t) for t in (0, 0.1, 0.2, 9)] == [0, 0, 1, 1]


def test_merging_two_sets_of_keys_is_one_call_with_all():
    random = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, n, 8, generator=random) for n in (20, 30))
    value = torch.randn(1, 30, 3, generator=random)
    labels = [torch.randint(4, (1, n), generator=random) for n in (20, 30)]
    labels[1][labels[1] == 3] = 2  # a class that no key has
    parts = [
        segment_correspondence(
            query, key[:, s], value[:, s], labels[0], labels[1][:, s], num_segments=4
        )
        for s in (slice(12), slice(12, 30))
    ]
    whole = segment_correspondence(query, key, value, *labels, num_segments=4)
    joined = merge(parts, [0.0, 0.0])
    torch.testing.assert_close(joined.warped, whole.warped)
    torch.testing.assert_close(joined.lse, whole.lse)
    light = merge(parts, [0.0, -1e4])
    both = parts[0].index >= 0
    torch.testing.assert_close(light.warped[both], parts[0].warped[both])


def test_the_last_frame_lends_its_colours(engine):
    photo = coffee((96, 64))
    light = luminance(av.VideoFrame.from_ndarray(photo, format="rgb24"))
    found = {}
    for weight in (None, 50.0):
        colorist = Colorist(engine, weight)
        colorist.begin([photo])
        first = colorist(light)
        found[weight] = np.abs(colorist(light) - first).max()
        assert (colorist.state is None) == (weight is None)
    assert found[None] == 0 < found[50.0]


def test_sound_size_rate_aspect_depth_and_tags_are_kept(tmp_path, engine):
    source = write(
        tmp_path / "film.mkv", shot(coffee((150, 64)), 4), pix_fmt="yuv420p10le", sound=True
    )
    reference = FilmReference(coffee((96, 64)))
    out = colorize_video(source, [reference], tmp_path / "out.mkv", engine=engine, codec="ffv1")
    assert packets(out, "audio") == packets(source, "audio") != []
    before, after = Film(source), Film(out)
    for name in ("rate", "size", "aspect", "time_base"):
        assert getattr(after, name) == getattr(before, name), name
    pairs = list(zip(before.frames(), after.frames(), strict=True))
    assert len(pairs) == 4
    for old, new in pairs:
        assert (new.pts, new.format.name) == (old.pts, "yuv420p10le")
        assert (new.colorspace, new.color_primaries, new.color_range) == (1, 1, 1)
        np.testing.assert_array_equal(planes(new)[0], planes(old)[0])
    assert not list(tmp_path.glob("*.segments"))


def test_a_killed_run_goes_on_and_gives_the_same_frames(tmp_path, engine, monkeypatch):
    source = write(
        tmp_path / "film.mkv", [*shot(coffee((150, 64)), 5), *shot(chelsea((150, 64)), 2)]
    )
    references = [FilmReference(coffee((96, 64))), FilmReference(chelsea((96, 64)))]
    options = {"engine": engine, "segment": 2, "codec": "ffv1"}
    whole = colorize_video(source, references, tmp_path / "whole.mkv", **options)

    class KilledError(Exception):
        pass

    def kill(done, count):
        if done == 4:
            raise KilledError

    stopped = tmp_path / "stopped.mkv"
    with pytest.raises(KilledError):
        colorize_video(source, references, stopped, progress=kill, **options)
    assert not stopped.exists()
    with pytest.raises(ValueError, match="expected segments of this film"):
        colorize_video(source, references[:1], stopped, **options)
    seen = []
    colorize_video(source, references, stopped, progress=lambda d, c: seen.append(d), **options)
    assert seen[0] == 3
    for one, other in zip(Film(whole).frames(), Film(stopped).frames(), strict=True):
        for a, b in zip(planes(one), planes(other), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_coloured_frame_belongs_to_its_scene():
    references = [FilmReference(coffee()), FilmReference(chelsea()), FilmReference(coffee(), 1.0)]
    choice = SceneReferences(references, [None, None, 1], 1)
    assert choice.of(1, chelsea()) == [2]
    assert choice.of(0, chelsea((150, 100))) == [1]
    assert reference_path("12.5=a.png") == (Path("a.png"), 12.5)
    assert reference_path("a.png") == (Path("a.png"), None)


def run(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["video", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


@pytest.mark.usefixtures("small_area")
def test_image_sequences_in_and_out(tmp_path):
    (tmp_path / "in").mkdir()
    for number, rgb in enumerate(shot(coffee((150, 64)), 3)):
        Image.fromarray(rgb).convert("L").save(tmp_path / f"in/{number:03}.png")
    Image.fromarray(coffee()).save(tmp_path / "r.png")
    for source in (tmp_path / "in", tmp_path / "in/%03d.png"):
        code, output = run(source, "-r", tmp_path / "r.png", "-o", tmp_path / "out")
        assert code == 0, output
    found = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in found] == ["000001.png", "000002.png", "000003.png"]
    assert np.ptp(np.array(Image.open(found[0])).astype(int), axis=-1).max() > 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.mkv", "-r", "r.png", "-o", "o.mp4"], "gone.mkv: expected a film, got nothing"),
        (["r.txt", "-r", "r.png", "-o", "o.mp4"], "r.txt: expected a film"),
        (["film.mkv", "-r", "gone.png", "-o", "o.mp4"], "gone.png: expected an image file"),
        (["film.mkv", "-r", "r.png", "-o", "o.xyz"], "--output: expected a suffix of"),
        (["film.mkv", "-r", "r.png", "-o", "film.mkv"], "expected a path that is no input"),
        (["film.mkv", "-r", "1=r.png", "-o", "r.png"], "expected a path that is no input"),
        (["film.mkv", "-r", "r.png", "-o", "o.mp4", "--codec", "x9"], "--codec: expected an enc"),
        (["film.mkv", "-r", "r.png", "-o", "o.mp4", "--rate", "9"], "--rate: expected with an"),
        ([".", "-r", "r.png", "-o", "o.mp4", "--rate", "zero"], "--rate: expected a number above"),
    ],
)
def test_wrong_arguments_end_before_any_work(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "film.mkv", shot(coffee((150, 64)), 2))
    (tmp_path / "r.txt").write_text("no film")
    Image.fromarray(coffee()).save(tmp_path / "r.png")
    before = (tmp_path / "film.mkv").read_bytes()
    code, output = run(*arguments)
    assert code == 2
    assert message in output
    assert (tmp_path / "film.mkv").read_bytes() == before
    assert not list(tmp_path.glob("o.*"))


def test_interlaced_films_are_refused_or_made_whole(tmp_path, engine):
    source = tmp_path / "film.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "tff=1"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for rgb in shot(coffee((150, 64)), 4):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(ValueError, match="got an interlaced one at frame 0; --deinterlace"):
        colorize_video(source, [FilmReference(coffee())], tmp_path / "o.mkv", engine=engine)
    whole = Film(source, deinterlace=True)
    assert sum(1 for _ in whole.frames()) == 4
