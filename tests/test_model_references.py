"""Many references: which one was taken, those that share nothing, and ranked folders."""

import numpy as np
import pytest
import torch
from model_photos import chelsea, coffee, small_area  # noqa: F401
from PIL import Image
from typer.testing import CliRunner

from spcolor_model import colorize
from spcolor_model.cli import app
from spcolor_model.prior import ClusterPrior
from spcolor_model.ranking import Folder, Ranking
from spcolor_model.references import as_list, taken

pytestmark = pytest.mark.usefixtures("small_area")


@pytest.mark.parametrize("engine", ["trained", "match"])
def test_each_half_takes_the_reference_of_its_own_object(engine):
    cat, cup = chelsea((128, 96)), coffee((128, 128))
    target = np.concatenate([cat, coffee((128, 96))], axis=1)
    found = colorize(target, [cat, cup], engine=engine)
    took = found.match.taken
    half = took.shape[1] // 2
    assert took.shape == found.match.confidence.shape
    assert (took[:, :half] == 0).float().mean() > 0.7
    assert (took[:, half:] == 1).float().mean() > 0.7
    assert [x.shape[:2] for x in found.references] == [(96, 128), (128, 128)]
    assert len(found.labels_of_references) == 2
    np.testing.assert_array_equal(found.reference, cat)


@pytest.mark.parametrize("engine", ["trained", "match"])
def test_one_reference_in_a_list_is_that_reference(engine):
    target, reference = coffee(), chelsea()
    one, listed = (colorize(target, x, engine=engine) for x in (reference, [reference]))
    np.testing.assert_array_equal(one.rgb, listed.rgb)
    assert ((one.match.taken == -1) == one.match.unrelated).all()
    assert one.match.taken.max() == 0


@pytest.mark.parametrize("engine", ["trained", "match"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_reference_without_a_shared_class_changes_nothing(engine, place):
    target, reference, other = coffee(), chelsea(), coffee((64, 100))[::-1].copy()
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 1
    references, masks = [reference], [mask]
    references.insert(place, other)
    masks.insert(place, np.full((8, 8), 2, np.uint8))
    options = {"engine": engine, "prior": "masks", "target_mask": mask}
    alone = colorize(target, reference, reference_mask=mask, **options)
    joined = colorize(target, references, reference_mask=masks, **options)
    torch.testing.assert_close(joined.match.ab, alone.match.ab, atol=1e-3, rtol=0)
    assert abs(joined.rgb.astype(int) - alone.rgb).max() <= 1
    assert joined.match.taken.unique().tolist() == [1 - place]


def test_clusters_are_of_all_photos():
    photos = [coffee(), chelsea(), coffee((64, 100))]
    found = colorize(photos[0], photos[1:], engine="match", prior=ClusterPrior(4))
    assert not found.match.unrelated.any()  # the second reference is the target again
    assert (found.match.taken == 1).float().mean() > 0.8


def test_which_was_taken_counts_positions():
    index = torch.tensor([[0, 3, 4, 8, -1]])
    assert taken(index, [4, 0, 5]).tolist() == [[0, 0, 2, 2, -1]]


def test_what_is_one_reference():
    photo = np.zeros((2, 3, 3), np.uint8)
    assert len(as_list(photo)) == 1
    assert as_list("a.png") == ["a.png"]
    assert len(as_list(np.stack([photo, photo]))) == 2
    with pytest.raises(ValueError, match="reference: expected at least one, got none"):
        as_list([])


def test_the_most_alike_is_the_best():
    target = chelsea((160, 120))
    others = [coffee(), np.full((50, 50, 3), 90, np.uint8), target[10:, 10:]]
    best = Ranking(others).best(target, 3)
    assert best[0].number == 2
    assert [x.score for x in best] == sorted((x.score for x in best), reverse=True)
    with pytest.raises(ValueError, match="photos: expected at least one, got none"):
        Ranking([])


@pytest.fixture
def folder(tmp_path):
    """A folder of references beside target.png."""
    (tmp_path / "many").mkdir()
    Image.fromarray(coffee()).save(tmp_path / "many/cup.png")
    Image.fromarray(chelsea()).save(tmp_path / "many/cat.png")
    Image.fromarray(chelsea((150, 100))).save(tmp_path / "target.png")
    return tmp_path


def run(*arguments) -> tuple[int, str]:
    """Run `spcolor colorize`; return exit code, and output with its line breaks taken out."""
    result = CliRunner().invoke(app, ["colorize", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_a_target_is_no_reference_of_itself(folder):
    found = Folder(folder / "many").best(chelsea(), 5, without=folder / "many" / "cat.png")
    assert [path.name for path, _ in found] == ["cup.png"]


def test_a_folder_of_references_on_the_command_line(folder):
    out = folder / "out.png"
    code, output = run(folder / "target.png", "--references", folder / "many", "-o", out)
    assert code == 0, output
    assert "cat.png, score 1." in output
    assert "cup.png" not in output
    chosen = np.array(Image.open(out))
    code, _ = run(folder / "target.png", folder / "many/cat.png", "-o", folder / "given.png")
    assert code == 0
    np.testing.assert_array_equal(chosen, np.array(Image.open(folder / "given.png")))


def test_several_references_with_sheets(folder):
    paths = sorted((folder / "many").iterdir())
    arguments = ["-o", folder / "out.png", "--sheet", "--each"]
    code, output = run(folder / "target.png", *paths, *arguments)
    assert code == 0, output
    sheet, each = (Image.open(folder / f"out_{name}.png") for name in ("sheet", "each"))
    assert sheet.size == (4 * 360, 3 * 324)  # eleven panels
    assert each.size == (3 * 360, 2 * 324)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "REFERENCE: expected at least one, or --references, got none"),
        (["--references", "absent"], "--references: expected a folder, got absent"),
        (["--references", "empty"], "--references: expected a folder with photos"),
        (["many/cat.png", "--top", 2], "--top: expected with --references alone, got 2"),
        (["many/cat.png", "many"], "REFERENCE: expected a photo, got the folder many"),
        (["many/cat.png", "gone.png"], "REFERENCE: expected an existing path, got gone.png"),
        (
            ["--references", "many", "--prior", "masks", "--reference-mask", "target.png"],
            "--reference-mask: expected with REFERENCE alone",
        ),
    ],
)
def test_wrong_references_end_before_any_work(folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    code, output = run("target.png", *arguments, "-o", "out.png")
    assert code == 2
    assert message in output
    assert not (folder / "out.png").exists()


def test_a_folder_of_references_is_never_written_into(folder):
    code, output = run(
        folder / "target.png", "--references", folder / "many", "-o", folder / "many/cat.png"
    )
    assert code == 2
    assert "--output: expected a path that is no input" in output
