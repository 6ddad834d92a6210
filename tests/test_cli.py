"""The command line: files, folders, exit codes and messages."""

import os

import numpy as np
import pytest
from model_photos import chelsea, coffee, small_area  # noqa: F401
from PIL import Image
from subprocesses import ROOT, run_python
from typer.testing import CliRunner

from spcolor_model.cli import app
from spcolor_model.color import lab_to_rgb
from spcolor_model.engine import has_color

pytestmark = pytest.mark.usefixtures("small_area")


@pytest.fixture
def photos(tmp_path):
    """A folder with target.png, reference.png and two masks."""
    Image.fromarray(coffee()).save(tmp_path / "target.png")
    Image.fromarray(chelsea()).save(tmp_path / "reference.png")
    mask = np.zeros((90, 120), np.uint8)
    mask[:, 60:] = 255
    Image.fromarray(mask).save(tmp_path / "mask_t.png")
    Image.fromarray(mask[:, ::-1].copy()).save(tmp_path / "mask_r.png")
    return tmp_path


def run(*arguments) -> tuple[int, str]:
    """Run `spcolor colorize`; return exit code, and output with its line breaks taken out."""
    result = CliRunner().invoke(app, ["colorize", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_a_file(photos):
    out = photos / "out" / "result.png"
    code, output = run(photos / "target.png", photos / "reference.png", "-o", out, "--sheet")
    assert code == 0, output
    assert Image.open(out).size == (120, 90)
    assert Image.open(out).mode == "RGB"
    assert (photos / "out" / "result_sheet.png").is_file()
    assert "result.png" in output


def test_orientation_is_applied(photos):
    image = Image.fromarray(coffee())
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(photos / "turned.jpg", exif=exif)
    out = photos / "turned_result.png"
    code, output = run(
        photos / "turned.jpg", photos / "reference.png", "-o", out, "--prior", "none"
    )
    assert code == 0, output
    assert Image.open(out).size == (90, 120)


def test_a_folder_with_a_broken_file_keeps_the_others(photos):
    folder = photos / "many"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        Image.fromarray(coffee((60, 40))).save(folder / name)
    (folder / "b.png").write_text("broken")
    out = photos / "done"
    code, output = run(folder, photos / "reference.png", "-o", out, "--prior", "none")
    assert code == 1
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"]
    assert "b.png: expected an image" in output
    assert "1 of 3 photos were not coloured" in output


def test_masks_and_clusters_and_none_differ(photos):
    options = {
        "masks": [
            "--target-mask",
            photos / "mask_t.png",
            "--reference-mask",
            photos / "mask_r.png",
        ],
        "clusters": ["--num-segments", 4],
        "none": [],
    }
    pictures = []
    for prior, more in options.items():
        out = photos / f"{prior}.png"
        code, output = run(
            photos / "target.png", photos / "reference.png", "-o", out, "--prior", prior, *more
        )
        assert code == 0, output
        pictures.append(np.array(Image.open(out)).astype(int))
    assert abs(pictures[0] - pictures[1]).mean() > 0.3
    assert abs(pictures[0] - pictures[2]).mean() > 0.3


@pytest.mark.parametrize("name", ["target.png", "reference.png"])
def test_an_input_is_never_replaced(photos, name):
    before = (photos / name).read_bytes()
    code, output = run(photos / "target.png", photos / "reference.png", "-o", photos / name)
    assert code == 2
    assert "--output: expected a path that is no input" in output
    assert (photos / name).read_bytes() == before


def test_a_folder_is_not_written_onto_itself(photos):
    code, output = run(photos, photos / "reference.png", "-o", photos)
    assert code == 2
    assert "--output: expected a path that is no input" in output


@pytest.mark.parametrize(
    ("target", "output", "message"),
    [
        ("missing.png", "o.png", "TARGET: expected an existing path"),
        ("target.png", "o.xyz", "--output: expected a file with a suffix of"),
        ("empty", "o", "TARGET: expected a folder with photos, got none"),
        ("empty", "o.png", "--output: expected a folder, as TARGET is one"),
        ("empty", "mask_t", "--output: expected a folder, as TARGET is one"),
        ("target.png", "done.png", "--output: expected a file, as TARGET is one, got"),
        ("pair", "done.png", "--output: expected a path that is no input"),
    ],
)
def test_wrong_paths(photos, target, output, message):
    (photos / "empty").mkdir()
    (photos / "done.png").mkdir()
    (photos / "pair").mkdir()
    (photos / "pair" / "a.png").symlink_to(photos / "target.png")
    (photos / "done.png" / "a.png").symlink_to(photos / "target.png")
    (photos / "mask_t").write_text("a file")
    code, text = run(photos / target, photos / "reference.png", "-o", photos / output)
    assert code == 2
    assert message in text


@pytest.mark.parametrize(
    ("names", "options", "result"),
    [(("a.bmp", "a.png"), (), "a.png"), (("a.png", "a_sheet.bmp"), ("--sheet",), "a_sheet.png")],
)
def test_two_results_of_one_name(photos, names, options, result):
    folder = photos / "twins"
    folder.mkdir()
    for name in names:
        Image.fromarray(coffee((20, 20))).save(folder / name)
    code, text = run(folder, photos / "reference.png", "-o", photos / "o", *options)
    assert code == 2
    # A long path is broken over lines.
    text = text.replace(" ", "")
    assert f"got{folder / names[0]}and{folder / names[1]},whichwouldbothbe" in text
    assert str(photos / "o" / result) in text
    assert not (photos / "o").exists()


def test_sheets_that_are_not_asked_for_collide_with_nothing(photos):
    folder = photos / "twins"
    folder.mkdir()
    for name in ("a.png", "a_sheet.bmp"):
        Image.fromarray(coffee((20, 20))).save(folder / name)
    assert run(folder, photos / "reference.png", "-o", photos / "o")[0] == 0
    assert sorted(x.name for x in (photos / "o").iterdir()) == ["a.png", "a_sheet.png"]


def test_a_folder_as_reference(photos):
    code, text = run(photos / "target.png", photos, "-o", photos / "o.png")
    assert code == 2
    assert "REFERENCE: expected a photo, got the folder" in text


def test_what_may_disappoint_is_said(photos):
    Image.fromarray(coffee()).convert("L").save(photos / "gray.png")
    code, text = run(photos / "target.png", photos / "gray.png", "-o", photos / "o.png")
    assert code == 0
    assert "gray.png: has hardly any colour to give" in text
    pair = [photos / "target.png", photos / "reference.png", "-o", photos / "o.png"]
    for columns, share in ((120, "100%"), (66, "54%"), (54, None)):  # that the reference lacks
        mask = np.zeros((90, 120), np.uint8)
        mask[:, :columns] = 1
        Image.fromarray(mask).save(photos / "mask.png")
        Image.fromarray(0 * mask).save(photos / "none.png")
        masks = ["--target-mask", photos / "mask.png", "--reference-mask", photos / "none.png"]
        code, text = run(*pair, "--prior", "masks", *masks, "--engine", "match")
        assert code == 0
        said = "target.png: the reference has nothing for"
        assert (said in text) == (share is not None)
        assert share is None or f"{said} {share} of it" in text
    assert "warning" not in run(*pair)[1]


@pytest.mark.parametrize(
    ("chroma", "share", "expected"),
    [(0, 1, False), (4, 1, False), (9, 1, True), (60, 0.03, True), (60, 0.005, False)],
)
def test_traces_of_colour_are_not_colour(chroma, share, expected):
    ab = np.zeros((300, 400, 2))
    ab[: round(300 * share), :, 0] = chroma
    assert has_color(lab_to_rgb(np.full((300, 400), 60.0), ab)) == expected


def test_masks_without_mask_prior(photos):
    code, text = run(
        photos / "target.png",
        photos / "reference.png",
        "-o",
        photos / "o.png",
        "--target-mask",
        photos / "mask_t.png",
    )
    assert code == 2
    assert 'target_mask: expected none unless prior="masks"' in text


def test_a_broken_reference_stops_before_any_work(photos):
    (photos / "words.png").write_text("no picture")
    code, text = run(photos / "target.png", photos / "words.png", "-o", photos / "o.png")
    assert code == 2
    assert "words.png: expected an image" in text
    assert not (photos / "o.png").exists()


def test_a_sheet_replaces_no_input_either(photos):
    (photos / "target.png").rename(photos / "o_sheet.png")
    code, text = run(
        photos / "o_sheet.png", photos / "reference.png", "-o", photos / "o.png", "--sheet"
    )
    assert code == 2
    assert "--output: expected a path that is no input" in text


@pytest.mark.parametrize("program", ["-m spcolor_model", "train.py"])
def test_without_typer_it_is_said_what_to_install(tmp_path, program):
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('No module named typer')")
    arguments = [str(ROOT / x) if x.endswith(".py") else x for x in program.split()]
    done = run_python(*arguments, "--help", PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    assert done.returncode == 1
    assert "No module named typer; `pip install" in done.stderr
    assert "Traceback" not in done.stderr
