"""Edits of the class correspondence: what they do to both engines, and which are refused."""

import json

import numpy as np
import pytest
import torch
from model_photos import chelsea, coffee, small_area  # noqa: F401
from PIL import Image

from spcolor_model import colorize
from spcolor_model.color import rgb_to_lab
from spcolor_model.engine import make_engine
from spcolor_model.features import WorkingImage
from spcolor_model.prior import ClassMaps
from spcolor_model.regions import (
    Box,
    EditedPrior,
    Edits,
    Mask,
    Pair,
    Polygon,
    Recolor,
    Region,
    load_edits,
    parse_edits,
)

pytestmark = pytest.mark.usefixtures("small_area")
SIZE = (240, 160)
ENGINES = ["trained", "match"]


def stripes(images) -> ClassMaps:
    """Classes 0, 1, 2 and 3 from left to right."""
    labels = [(torch.arange(w) * 4 // w).expand(h, w) for h, w in (x.grid for x in images)]
    return ClassMaps(torch.stack(labels), torch.full((2, *labels[0].shape), 0.5), 4)


def edited(edits: Edits) -> ClassMaps:
    images = [WorkingImage(x) for x in (coffee((96, 96)), chelsea((96, 96)))]
    return EditedPrior(stripes, edits, [(96, 96)] * 2)(images)


def mean_ab(rgb: np.ndarray, box: Box) -> np.ndarray:
    return rgb_to_lab(rgb)[1][box.fill(rgb.shape[:2])].mean(axis=0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_region_takes_its_colour_from_the_chosen_region(engine):
    """A part of the table takes the colour of the saucer, or of the coffee."""
    photo = coffee(SIZE)
    target, left, right = Box(190, 50, 236, 130), Box(42, 75, 66, 110), Box(95, 45, 135, 70)
    plain = colorize(photo, photo, engine=engine)
    for source in (left, right):
        edits = Edits({"part": Region([target], [source])})
        found = colorize(photo, photo, engine=engine, edits=edits)
        inner = Box(200, 60, 228, 120)
        wanted, other = (mean_ab(photo, x) for x in (source, left if source is right else right))
        got = mean_ab(found.rgb, inner)
        assert np.linalg.norm(got - wanted) < 0.5 * np.linalg.norm(other - wanted)
        outside = np.ones(photo.shape[:2], bool)
        outside[40:140, 180:] = False
        outside &= ~source.fill(photo.shape[:2])
        change = np.linalg.norm(rgb_to_lab(found.rgb)[1] - rgb_to_lab(plain.rgb)[1], axis=-1)
        assert change[outside].mean() < 3


def test_regions_are_classes_of_their_own_in_both_photos():
    maps = edited(Edits({"a": Region([Box(0, 0, 16, 96)], [Box(80, 0, 96, 96)])}))
    assert maps.num_segments == 5
    target, reference = maps.labels
    assert (target == 4).any(dim=0).tolist() == [True] * 4 + [False] * 20
    assert (reference == 4).any(dim=0).tolist() == [False] * 20 + [True] * 4
    assert maps.confidence[0, 0, 0] == 1
    assert maps.confidence[0, 0, 10] == 0.5


def test_pairs_are_meant_at_once_and_several_may_have_one_reference():
    edits = Edits(
        {"sky": Region(reference=[Box(0, 0, 96, 16)]), "sea": Region([Box(0, 80, 96, 96)])},
        [Pair(0, 1), Pair(1, 3), Pair(2, 3), Pair("sea", "sky")],
    )
    target, reference = edited(edits).labels
    assert [target[5, x].item() for x in (0, 6, 12, 18)] == [1, 3, 3, 3]
    assert set(target[22].tolist()) == {4}
    assert set(reference[2].tolist()) == {4}
    assert set(reference[10].tolist()) == {0, 1, 2, 3}


def test_a_later_region_counts_where_two_overlap():
    first, second = (
        Region([Box(0, 0, 60, 96)], [Box(0, 0, 48, 96)]),
        Region([Box(40, 0, 96, 96)], [Box(48, 0, 96, 96)]),
    )
    target = edited(Edits({"a": first, "b": second})).labels[0]
    assert target[3].tolist() == [4] * 10 + [5] * 14


def test_a_region_thinner_than_a_position_has_those_that_it_covers_most():
    maps = edited(Edits({"wire": Region([Box(40, 0, 42, 96)], [Box(0, 0, 96, 96)])}))
    assert (maps.labels[0] == 4).sum(dim=1).tolist() == [1] * 24


@pytest.mark.parametrize("engine", ENGINES)
def test_gray_is_exactly_gray_and_nothing_else_changes(engine):
    photo = coffee(SIZE)
    polygon = Polygon([(20, 20), (150, 30), (90, 120)])
    edits = Edits({"wall": Region([polygon], color="gray", feather=3)})
    plain, found = (
        colorize(photo, chelsea(SIZE), engine=engine, edits=x).rgb for x in (None, edits)
    )
    inside = polygon.fill(photo.shape[:2])
    np.testing.assert_array_equal(found[~inside], plain[~inside])
    channels = np.ptp(found.astype(int), axis=-1)
    assert channels[40:70, 70:100].max() == 0
    assert np.ptp(plain.astype(int), axis=-1)[40:70, 70:100].max() > 10
    luminance, got = (rgb_to_lab(x)[0] for x in (photo, found))
    np.testing.assert_allclose(got, luminance, atol=0.9)


def test_kept_colours_fade_in_inside_the_border():
    own = np.zeros((20, 30, 2), np.float32)
    own[:] = (30, 10)
    ab = np.zeros_like(own)
    region = Region([Box(10, 5, 30, 20)], color="own", feather=3)
    found = Recolor(Edits({"part": region}), own)(ab)[..., 0] / 30
    np.testing.assert_allclose(found[12, 8:16], [0, 0, 0.25, 0.5, 0.75, 1, 1, 1], atol=1e-6)
    assert found[19, 29] == 1  # the photo's rim is no border
    hard = Region([Box(10, 5, 30, 20)], color="#ff0000", feather=0)
    red = rgb_to_lab(np.full((1, 1, 3), (255, 0, 0), np.uint8))[1][0, 0]
    found = Recolor(Edits({"part": hard}), own)(ab)
    np.testing.assert_allclose(found[5, 10], red)
    assert (found[4] == 0).all()


def test_own_colours_are_those_of_the_target():
    photo = coffee(SIZE)
    box = Box(30, 30, 120, 120)
    found = colorize(
        photo,
        chelsea(SIZE),
        engine="match",
        prior="none",
        edits=Edits({"cup": Region([box], color="own", feather=0)}),
    ).rgb
    inside = box.fill(photo.shape[:2])
    assert abs(found[inside].astype(int) - photo[inside]).max() <= 2


FILE = """
regions:
  cup: {target: {box: [10, 10, 60, 60]}, reference: [{polygon: [[0, 0], [50, 0], [0, 50]]}]}
  wall:
    target: {mask: wall.png}
    color: gray
pairs: [{target: 0, reference: 0}]
"""


def test_a_file_its_json_and_python_say_the_same(tmp_path):
    wall = np.zeros(coffee().shape[:2], bool)
    wall[60:] = True
    Image.fromarray(wall).save(tmp_path / "wall.png")
    (tmp_path / "edits.yaml").write_text(FILE)
    data = {
        "regions": {
            "cup": {
                "target": {"box": [10, 10, 60, 60]},
                "reference": [{"polygon": [[0, 0], [50, 0], [0, 50]]}],
            },
            "wall": {"target": {"mask": "wall.png"}, "color": "gray"},
        },
        "pairs": [{"target": 0, "reference": 0}],
    }
    (tmp_path / "edits.json").write_text(json.dumps(data))
    python = Edits(
        {
            "cup": Region([Box(10, 10, 60, 60)], [Polygon([(0, 0), (50, 0), (0, 50)])]),
            "wall": Region([Mask(wall)], color="gray"),
        },
        [Pair(0, 0)],
    )
    results = [
        colorize(coffee(), chelsea(), engine="match", prior="none", edits=edits).rgb
        for edits in (tmp_path / "edits.yaml", load_edits(tmp_path / "edits.json"), python)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])
    assert load_edits(tmp_path / "edits.yaml").files == [tmp_path / "wall.png"]
    assert np.ptp(results[0][70:].astype(int), axis=-1).max() == 0


TARGET = {"box": [0, 0, 9, 9]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "expected a mapping with pairs, regions, got None"),
        ({}, "expected regions or pairs, got neither"),
        ({"region": {}}, "region: expected one of pairs, regions"),
        ({"regions": ["a"]}, r"regions: expected names with regions, got \['a'\]"),
        ({"pairs": {"target": 1}}, "pairs: expected a list"),
        ({"regions": {"a": {"targets": TARGET}}}, "regions.a.targets: expected one of color, "),
        ({"regions": {"a": {"target": TARGET}}}, "regions.a: expected a reference, a color or a"),
        ({"regions": {"a": {"reference": TARGET}}}, "regions.a: expected a target, or a pair"),
        ({"regions": {"a": {}}}, "regions.a.target: expected shapes here or in reference"),
        (
            {"regions": {"a": {"target": TARGET, "color": None}}},
            'regions.a.color: expected "gray", "own" or "#rrggbb" in quotation marks, got nothing',
        ),
        (
            {"regions": {"a": {"target": TARGET, "color": "red"}}},
            "regions.a.color: expected .* got 'red'",
        ),
        (
            {"regions": {"a": {"target": TARGET, "reference": TARGET, "color": "gray"}}},
            "regions.a.color: expected for a region of the target alone, got one that takes",
        ),
        (
            {"regions": {"a": {"target": TARGET, "color": "gray", "feather": -1}}},
            "regions.a.feather: expected at least 0, got -1",
        ),
        (
            {"regions": {"a": {"target": TARGET, "reference": TARGET, "feather": 2}}},
            "regions.a.feather: expected with color alone, got 2",
        ),
        (
            {"regions": {"a": {"target": {"circle": 3}, "color": "gray"}}},
            "regions.a.target.circle: expected one of box, mask, polygon",
        ),
        (
            {"regions": {"a": {"target": [TARGET, {"box": [0, 0, 5]}], "color": "gray"}}},
            r"regions.a.target\[1\].box: expected \[left, top, right, bottom\], got \[0, 0, 5\]",
        ),
        (
            {"regions": {"a": {"target": {"box": [5, 0, 5, 9]}, "color": "gray"}}},
            "regions.a.target.box: expected left, top, right, bottom with",
        ),
        (
            {"regions": {"a": {"target": {"box": [0, 0, 5, "x"]}, "color": "gray"}}},
            "regions.a.target.box: expected four whole numbers",
        ),
        (
            {"regions": {"a": {"target": {"polygon": [[0, 0], [1, 1]]}, "color": "gray"}}},
            "regions.a.target.polygon: expected at least three points",
        ),
        (
            {"regions": {"a": {"target": {"polygon": [[0, 0], [1], [2, 2]]}, "color": "gray"}}},
            r"regions.a.target.polygon\[1\]: expected \[x, y\] of numbers, got \[1\]",
        ),
        (
            {"regions": {"a": {"target": {"mask": 3}, "color": "gray"}}},
            "regions.a.target.mask: expected the path of a picture, got 3",
        ),
        ({"pairs": [{"target": 1}]}, r"pairs\[0\].reference: expected a class number or a region"),
        (
            {"pairs": [{"target": -1, "reference": 0}]},
            r"pairs\[0\].target: expected a class number",
        ),
        ({"pairs": [{"target": 1.5, "reference": 0}]}, r"pairs\[0\].target: expected .* got 1.5"),
        (
            {"pairs": [{"target": 1, "reference": 0}, {"target": 1, "reference": 2}]},
            r"pairs\[1\].target: expected one pair for each target, got a second of 1",
        ),
        (
            {"pairs": [{"target": 1, "reference": "sky"}]},
            r"pairs\[0\].reference: expected a class number or a region with a reference",
        ),
        (
            {
                "regions": {"a": {"target": TARGET, "color": "gray"}},
                "pairs": [{"target": "a", "reference": 0}],
            },
            r"pairs\[0\].target: expected a region that takes nothing else, but it has a color",
        ),
    ],
)
def test_bad_edits_are_refused_by_the_name_of_their_key(data, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        parse_edits(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("regions: [", "edits.yaml: while parsing"),
        ("pairs: []\npairs: []", "edits.yaml: line 2: expected each key once, got 'pairs' again"),
        (
            "regions: {a: {target: {box: [0, 0, 1, 1]}, color: #fff000}}",
            "edits.yaml: while parsing",
        ),
        (b"\xff\xfe\x00", "edits.yaml: "),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, message):
    path = tmp_path / "edits.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        load_edits(path)
    with pytest.raises(FileNotFoundError, match=r"other.yaml: expected a file of edits"):
        load_edits(tmp_path / "other.yaml")


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        (
            Edits({"a": Region([Box(0, 0, 500, 20)], color="gray")}),
            r"regions.a.target\[0\].box: expected x in 0..120 and y in 0..90",
        ),
        (
            Edits({"a": Region([Mask(np.ones((4, 5), bool))], color="gray")}),
            r"regions.a.target\[0\].mask: expected the photo's 120 x 90 pixels, got 5 x 4",
        ),
        (
            Edits({"a": Region([Mask(np.zeros((90, 120), bool))], color="gray")}),
            "regions.a.target: expected at least one pixel, got none",
        ),
        (Edits(pairs=[Pair(0, 7)]), r"pairs\[0\].reference: expected a class that .* \(0\), got 7"),
        (Edits(pairs=[Pair(3, 0)]), r"pairs\[0\].target: expected a class that .* \(0\), got 3"),
        (
            Edits(
                {
                    "a": Region([Box(0, 0, 40, 40)], [Box(0, 0, 40, 40)]),
                    "b": Region([Box(50, 0, 90, 40)], [Box(0, 0, 60, 60)]),
                }
            ),
            "regions.a.reference: expected a part that no later region covers",
        ),
    ],
)
def test_edits_that_do_not_fit_the_photos_are_refused(edits, message):
    with pytest.raises(ValueError, match=message):
        colorize(coffee(), chelsea(), engine="match", prior="none", edits=edits)


def test_own_colours_of_a_gray_target_are_refused():
    gray = np.full((40, 50, 3), 90, np.uint8)
    edits = Edits({"a": Region([Box(0, 0, 20, 20)], color="own")})
    with pytest.raises(ValueError, match=r"regions.a.color: expected a target with colours there"):
        colorize(gray, chelsea(), engine="match", prior="none", edits=edits)


def test_an_engine_without_a_prior_needs_one():
    engine = make_engine("match")

    def bare(luminance, reference, prior):
        return engine(luminance, reference, prior)

    edits = Edits({"a": Region([Box(0, 0, 40, 40)], [Box(0, 0, 40, 40)])})
    with pytest.raises(ValueError, match="prior: expected one, as the classes are edited"):
        colorize(coffee(), chelsea(), engine=bare, edits=edits)
    assert colorize(coffee(), chelsea(), engine=bare, prior="none", edits=edits).rgb.any()
