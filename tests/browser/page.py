"""`spcolor serve` in Chromium: what a visitor does, from upload to download.

`make test-page` runs it. Screenshots go to out/page.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from hostile_files import hostile_files
from visitors import ROOT, Visitor, read, running_browser, running_server

from spcolor_model import colorize
from spcolor_model.demo import photos
from spcolor_model.prior import DEFAULT_SEGMENTS
from spcolor_model.sheet import class_colors

OUT = ROOT / "out" / "page"
VISITORS = 20


@pytest.fixture(scope="module")
def browser():
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def address():
    with running_server("--megapixels", "12", "--megabytes", "2") as found:
        yield found


@pytest.fixture
def visit(browser, address):
    """Open the page as a visitor of one's own, as often as it is called."""
    opened = []

    def visitor(**options) -> Visitor:
        opened.append(Visitor(browser, address, **options))
        return opened[-1]

    yield visitor
    for one in opened:
        one.close()
        assert one.errors == []
        # A page that works offline asks its own server alone.
        assert [x for x in one.asked if not x.startswith((address, "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> list[tuple[Path, Path]]:
    """Two pairs of photos."""
    folder, found = tmp_path_factory.mktemp("pairs"), []
    for name, target, reference in list(photos())[:2]:
        paths = folder / f"{name}.png", folder / f"{name}_reference.jpg"
        for path, rgb in zip(paths, (target, reference), strict=True):
            Image.fromarray(rgb).save(path)
        found.append(paths)
    return found


def shoot(visitor: Visitor, name: str) -> None:
    """Save a picture of the whole page."""
    OUT.mkdir(parents=True, exist_ok=True)
    visitor.page.wait_for_timeout(1500)
    visitor.page.screenshot(path=OUT / f"{name}.png", full_page=True)


def test_upload_colour_and_download(visit, pairs):
    visitor = visit()
    shoot(visitor, "1_empty")
    visitor.choose_pair(*pairs[0])
    visitor.colour()
    shoot(visitor, "2_coloured")
    name, saved = visitor.save()
    assert name == "motorcycle_coloured.png"
    expected = colorize(*pairs[0]).rgb
    difference = np.abs(read(saved).astype(int) - expected)
    assert difference.shape == expected.shape
    # Another number of threads may round otherwise.
    assert difference.max() <= 2
    name, sheet = visitor.save("save_sheet")
    assert name == "motorcycle_sheet.png"
    assert read(sheet).shape[1] > 1000
    visitor.page.locator("#maps .thumbnail-item").nth(2).click()
    shoot(visitor, "3_classes")


def test_a_point_is_explained(visit, pairs):
    visitor = visit()
    visitor.choose_pair(*pairs[0])
    visitor.choose("Matching alone")
    visitor.colour()
    photo = visitor.page.locator("#clicked img")
    photo.scroll_into_view_if_needed()
    place = photo.bounding_box()
    photo.click(position={"x": place["width"] * 0.45, "y": place["height"] * 0.3})
    visitor.page.locator("#points").get_by_text("with classes: best at").first.wait_for()
    assert visitor.page.locator("#points img").count() == 4
    shoot(visitor, "11_point")


def test_an_example(visit):
    visitor = visit()
    visitor.page.locator("#examples button").nth(1).click()
    visitor.page.locator("#reference img[src*='.jpg']").first.wait_for()
    visitor.choose("Matching alone", "None: match everything")
    visitor.colour()
    shoot(visitor, "4_example")


def test_regions_are_drawn(visit, pairs):
    visitor = visit()
    visitor.choose_pair(*pairs[0])
    visitor.choose("Matching alone")
    visitor.page.get_by_text("Regions: say what belongs together").click()
    for box in ("target_drawing", "reference_drawing"):
        canvas = visitor.page.locator(f"#{box} canvas").first
        canvas.wait_for()
        visitor.page.wait_for_timeout(2000)
        canvas.scroll_into_view_if_needed()
        place = canvas.bounding_box()
        middle = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
        visitor.page.mouse.move(middle[0] - 60, middle[1])
        visitor.page.mouse.down()
        for step in range(-60, 61, 6):
            visitor.page.mouse.move(middle[0] + step, middle[1] + step / 3)
        visitor.page.mouse.up()
        visitor.page.wait_for_timeout(1500)
    shoot(visitor, "5_drawn")
    visitor.colour()
    shoot(visitor, "6_regions")
    # The drawn region is the last class, whose colour is that of its number.
    sheet = read(visitor.save("save_sheet")[1])
    drawn = class_colors(np.array(DEFAULT_SEGMENTS + 1))
    for panel in (sheet[:324, 720:1080], sheet[:324, 1080:]):
        assert (panel == drawn).all(-1).sum() > 100


def test_hostile_uploads_are_refused_aloud(visit, pairs, tmp_path):
    visitor = visit()
    # A file of too many bytes is refused by Gradio's part in the browser.
    chosen = {"drawing.png", "bomb.jpg", "cut.png", "header.png", "line.png"}
    files = [x for x in hostile_files() if x.name in chosen]
    assert len(files) == len(chosen)
    for hostile in files:
        path = tmp_path / hostile.name
        path.write_bytes(hostile.content)
        visitor.upload("target", path)
        visitor.page.get_by_text(hostile.why).first.wait_for()
        if hostile.name == "bomb.jpg":
            shoot(visitor, "7_refused")
    visitor.choose_pair(*pairs[0])


def test_two_visitors_at_once(visit, pairs):
    both = [visit(), visit()]
    for visitor, pair in zip(both, pairs, strict=True):
        visitor.choose_pair(*pair)
        visitor.choose("Matching alone")
    for visitor in both:
        visitor.start()
    for visitor, pair in zip(both, pairs, strict=True):
        visitor.wait()
        name, saved = visitor.save()
        assert name == f"{pair[0].stem}_coloured.png"
        assert read(saved).shape == read(pair[0]).shape
    file = both[0].page.locator("#result img").last.get_attribute("src")
    assert both[0].context.request.get(file).status == 200
    assert both[1].context.request.get(file).status == 404


def test_a_batch(visit, pairs, tmp_path):
    visitor = visit()
    visitor.page.get_by_role("tab", name="Many photos").click()
    small = []
    for index in range(3):
        small.append(tmp_path / f"photo {index}.jpg")
        Image.open(pairs[0][0]).resize((200 + index, 140)).convert("L").save(small[-1])
    visitor.upload("targets", *small)
    visitor.upload("batch_reference", pairs[0][1])
    visitor.page.locator("#batch_reference img[src*='.jpg']").first.wait_for()
    visitor.page.locator("#colour_all").click()
    visitor.page.get_by_text("3 of 3 photos are coloured.").wait_for()
    shoot(visitor, "8_batch")
    name, saved = visitor.save("save_all")
    assert name == "coloured.zip"
    with zipfile.ZipFile(saved) as packed:
        assert packed.namelist() == [f"photo {index}_coloured.png" for index in range(3)]
        for index, inside in enumerate(packed.namelist()):
            assert Image.open(packed.open(inside)).size == (200 + index, 140)


def test_a_film(visit, pairs, tmp_path):
    visitor = visit()
    visitor.page.get_by_role("tab", name="Film").click()
    gray = Image.open(pairs[0][0]).convert("L").resize((240, 160))
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = 224, 160, "yuv420p"
        for index in range(8):
            moved = np.asarray(gray.crop((index, 0, index + 224, 160)).convert("RGB"))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved)))
        container.mux(stream.encode())
    playlist = tmp_path / "playlist.mp4"
    playlist.write_text("#EXTM3U\nfile:///etc/passwd\n")
    visitor.upload("film", playlist)
    visitor.page.get_by_text("playlist.mp4: expected a film").first.wait_for()
    visitor.upload("film", tmp_path / "film.mp4")
    visitor.upload("film_references", pairs[0][1])
    visitor.page.locator("#film_references").get_by_text("KB").wait_for()
    visitor.page.locator("#film").get_by_text("KB").wait_for()
    visitor.page.locator("#colour_film").click()
    visitor.page.locator("#film_remarks").get_by_text("scene 1 of 1 takes").wait_for()
    shoot(visitor, "12_film")
    name, saved = visitor.save("save_film")
    assert name == "film_coloured.mp4"
    with av.open(str(saved)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 8
    assert np.ptp(frames[-1].astype(int), axis=-1).max() > 60


def test_on_a_phone(visit, pairs):
    visitor = visit(size=(390, 844))
    shoot(visitor, "9_phone_empty")
    visitor.choose_pair(*pairs[1])
    visitor.choose("Matching alone")
    visitor.colour()
    shoot(visitor, "10_phone")
    width = visitor.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390


def test_jobs_of_many_visitors_are_not_lost_or_mixed(visit, pairs, tmp_path):
    visitors, wanted = [], []
    for index in range(VISITORS):
        target, reference = tmp_path / f"target_{index}.png", tmp_path / f"reference_{index}.png"
        Image.open(pairs[0][0]).resize((96 + index, 72)).save(target)
        # A hue of the visitor's own, which only the own reference has.
        hue = Image.new("HSV", (96, 72), (index * 255 // VISITORS, 200, 200)).convert("RGB")
        Image.blend(Image.open(pairs[0][1]).resize((96, 72)), hue, 0.6).save(reference)
        visitors.append(visit())
        visitors[-1].choose_pair(target, reference)
        visitors[-1].choose("Matching alone", "None: match everything")
        wanted.append(colorize(target, reference, engine="match", prior="none").rgb)
    for visitor in visitors:
        visitor.start()
    for visitor, expected in zip(visitors, wanted, strict=True):
        visitor.wait()
        got = read(visitor.save()[1])
        assert got.shape == expected.shape
        assert np.abs(got.astype(int) - expected).max() <= 2
