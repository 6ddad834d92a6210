"""Explanations: points, warnings, and a report that needs nothing else."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from model_photos import chelsea, coffee, small_area  # noqa: F401
from PIL import Image
from typer.testing import CliRunner

from spcolor_model import colorize, explain, save_report
from spcolor_model.cli import app
from spcolor_model.color import rgb_to_lab
from spcolor_model.explanation.report import class_shares
from spcolor_model.regions import Box, Edits, Region

pytestmark = pytest.mark.usefixtures("small_area")
ENGINES = ["trained", "match"]


def half_masks() -> dict:
    """The target's right half is of a class that the reference lacks."""
    mask = np.zeros((90, 120), np.uint8)
    mask[:, 60:] = 1
    return {"prior": "masks", "target_mask": mask, "reference_mask": 0 * mask}


@pytest.mark.parametrize("engine", ENGINES)
def test_points_say_what_the_engine_did(engine):
    photo = coffee()
    explanation = explain(photo, photo, [(5, 80), (60, 45)], engine=engine)
    result = colorize(photo, photo, engine=engine)
    np.testing.assert_array_equal(explanation.colorization.rgb, result.rgb)
    for point in explanation.points:
        rows, columns = explanation.operands.grid
        position = (point.y * rows // 90, point.x * columns // 120)
        warped = result.match.ab[:, position[0], position[1]]
        np.testing.assert_allclose(point.within.value[:2], warped, atol=2e-3)
        assert point.similarity == result.match.confidence[position].item()
        np.testing.assert_allclose(point.ab, rgb_to_lab(result.rgb)[1][point.y, point.x], atol=1e-4)
        # A photo's best match with itself is where it is.
        assert np.hypot(point.best[0] - point.x, point.best[1] - point.y) < 8
        assert not point.warnings
    assert explanation.at(60, 45).best == explanation.points[1].best
    assert sum(one.target for one in class_shares(explanation)) == pytest.approx(1)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_class_and_low_trust_are_warned_of(engine):
    explanation = explain(coffee(), coffee(), [(30, 45), (90, 45)], engine=engine, **half_masks())
    related, missing = explanation.points
    assert not related.warnings
    assert missing.best is None
    assert missing.within.weights.sum() == 0
    assert missing.best_across is not None
    assert missing.warnings[0].startswith("point 90,45: the reference has nothing of its class 1")
    assert "50% of the target" in missing.warnings[0]
    trusted = explain(coffee(), chelsea(), engine=engine)
    low = np.argwhere((trusted.trust < 0.5) & ~trusted.colorization.match.unrelated.numpy())
    row, column = low[len(low) // 2]
    rows, columns = trusted.operands.grid
    point = trusted.at(int((column + 0.5) * 120 / columns), int((row + 0.5) * 90 / rows))
    assert point.trust < 0.5
    assert "little in the reference is like it" in point.warnings[0]
    assert f"{len(low) / trusted.trust.size:.0%} of the target" in point.warnings[0]


class Page(HTMLParser):
    """The pictures of a page, and every address in it."""

    def __init__(self, text: str):
        super().__init__()
        self.images, self.addresses, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        self.addresses += [values[name] for name in ("src", "href", "srcset") if name in values]
        if tag == "img":
            self.images.append(values)


def test_the_report_needs_nothing_else_and_says_what_it_shows(tmp_path):
    explanation = explain(coffee(), chelsea(), [(30, 45), (90, 45)], engine="match", **half_masks())
    page, picture = save_report(tmp_path / "new" / "why.html", explanation)
    text = page.read_text("utf-8")
    found = Page(text)
    assert len(found.images) == 8 + 2 * 4
    assert all(address.startswith("data:image/webp;base64,") for address in found.addresses)
    assert not re.search(r"https?://|@import|url\(", text)
    assert {"script", "link", "iframe"}.isdisjoint(found.tags)
    assert all(len(image["alt"]) > 20 for image in found.images)
    assert len({image["alt"] for image in found.images}) == len(found.images)
    assert 'name="viewport"' in text
    assert "Warning:</strong> point 90,45: the reference has nothing of its class 1" in text
    assert "nothing: the reference lacks the class" in text
    assert Image.open(picture).size == (4 * 360, 4 * 324)
    with pytest.raises(ValueError, match=r"output: expected a file with the suffix .html, got"):
        save_report(tmp_path / "why.pdf", explanation)


def test_what_is_asked_for_is_checked():
    with pytest.raises(
        ValueError, match=r"point: expected x in 0..119 and y in 0..89, .* got 120,5"
    ):
        explain(coffee(), chelsea(), [(120, 5)], engine="match")
    with pytest.raises(TypeError, match="engine: expected one that can be observed"):
        explain(coffee(), chelsea(), engine=lambda luminance, reference, prior: None)


def test_edits_are_explained(tmp_path):
    edits = Edits({"part": Region([Box(0, 0, 60, 90)], [Box(60, 0, 120, 90)])})
    explanation = explain(coffee(), chelsea(), [(20, 40)], engine="match", edits=edits)
    (point,) = explanation.points
    assert point.label == explanation.operands.num_segments - 1
    assert point.best[0] >= 55


def run(*arguments) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["explain", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


@pytest.fixture
def photos(tmp_path):
    """A target that is stored lying on its side, and a reference."""
    image = Image.fromarray(coffee())
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "target.jpg", exif=exif)
    Image.fromarray(chelsea()).save(tmp_path / "reference.png")
    (tmp_path / "edits.json").write_text(
        '{"regions": {"a": {"target": {"box": [0, 0, 40, 100]}, "color": "gray"}}}'
    )
    return tmp_path


def test_command_line(photos):
    pair = (photos / "target.jpg", photos / "reference.png")
    out = photos / "why.html"
    points = ("--point", "80,110", "--point", "3,4")
    options = ("--engine", "match", "--edits", photos / "edits.json")
    code, output = run(*pair, *points, "-o", out, *options)
    assert code == 0, output
    assert out.is_file()
    assert out.with_suffix(".png").is_file()
    assert "Point 2: pixel 3,4" in out.read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--point", "100,5", "-o", "why.html"), "point: expected x in 0..89 and y in 0..119"),
        (("--point", "1;5", "-o", "why.html"), "--point: expected X,Y in whole pixels, got '1;5'"),
        (("-o", "why.jpg"), "output: expected a file with the suffix .html"),
        (("-o", "reference.html"), "--output: expected a path that is no input"),
        (("-o", "why.html", "--edits", "none.yaml"), "none.yaml: expected a file of edits"),
    ],
)
def test_wrong_arguments_end_with_2(photos, monkeypatch, options, message):
    monkeypatch.chdir(photos)
    code, output = run("target.jpg", "reference.png", *options)
    assert code == 2
    assert message in output
    assert not (photos / "why.html").exists()


def test_colorize_takes_edits(photos):
    def colour(edits, out):
        arguments = ["colorize", photos / "target.jpg", photos / "reference.png", "-o", out]
        options = ["--engine", "match", "--prior", "none", "--edits", edits]
        return CliRunner().invoke(app, [str(x) for x in (*arguments, *options)])

    done = colour(photos / "edits.json", photos / "new.png")
    assert done.exit_code == 0, done.output
    result = np.array(Image.open(photos / "new.png")).astype(int)
    assert np.ptp(result[:100, :38], axis=-1).max() == 0
    assert np.ptp(result[:, 50:], axis=-1).max() > 10
    (photos / "bad.yaml").write_text("regions: {a: {target: {box: [1]}, color: gray}}")
    done = colour(photos / "bad.yaml", photos / "other.png")
    assert done.exit_code == 2
    assert "regions.a.target.box: expected" in " ".join(done.output.replace("│", " ").split())
