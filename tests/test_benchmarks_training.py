"""The benchmarks of training: what is swapped and clocked, comparisons, statistics, curves."""

import csv
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("omegaconf")

from benchmarks.machine import Neighbours
from benchmarks.peers import LOOP, OPERATOR, ROW_LOOP, row_loop
from benchmarks.problem import Outputs, Way
from benchmarks.training import forward, matching, overfit, problems, steps, verify
from benchmarks.training.matching import matching_by
from benchmarks.training.overfit import Record
from benchmarks.training.times import Times, Turn
from spcolor_model.networks import warp_net
from spcolor_ops import segment_correspondence

TINY = ("data.image_size=64", "network.channels=16", "network.color_width=4")
TINY += ("network.discriminator_width=4",)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return problems.photos(tmp_path_factory.mktemp("training")).train


@pytest.fixture(scope="module")
def problem(manifest):
    return problems.full(manifest, TINY)


def outcome(problem):
    """Warped and the gradients of WarpNet, without any clock."""
    one = problem.passed(0)
    reference = (one.batch.reference_luminance, one.batch.reference_ab)
    classes = (one.classes, one.reference_classes)
    warped = problem.model(one.batch.luminance, *reference, *classes).warped
    return warped, *torch.autograd.grad(warped.sum(), list(problem.model.warp_net.parameters()))


def test_the_clocked_operator_changes_nothing_and_is_taken_away_again(problem):
    wanted = outcome(problem)
    with matching_by(OPERATOR) as clock:
        assert warp_net.segment_correspondence is not segment_correspondence
        found = outcome(problem)
    assert warp_net.segment_correspondence is segment_correspondence
    assert all(map(torch.equal, found, wanted))
    assert clock.forward.seconds > 0
    assert clock.backward.seconds > 0


@pytest.mark.parametrize("way", [LOOP, ROW_LOOP], ids=lambda way: way.name)
def test_the_loops_agree_with_the_operator(problem, way):
    warped, gradient = verify.errors(problem, way)
    assert 0 < warped < verify.WARPED_TOLERANCE
    assert 0 < gradient < verify.GRADIENT_TOLERANCE


def test_a_way_that_warps_otherwise_is_refused(problem):
    def scaled(inputs):
        out = row_loop(inputs)
        return Outputs(out.warped, 1.01 * out.similarity)

    with pytest.raises(AssertionError, match="scaled: warped differs"):
        verify.errors(problem, Way("scaled", scaled))


def test_a_way_of_wrong_gradients_is_refused(problem):
    def cut_off(inputs):
        return row_loop(inputs._replace(key=inputs.key.detach() + 0 * inputs.key))

    with pytest.raises(AssertionError, match="cut off: gradient differs"):
        verify.errors(problem, Way("cut off", cut_off))


def test_ways_of_another_temperature_are_refused(problem, monkeypatch):
    monkeypatch.setitem(problem.model.options, "temperature", 0.1)
    with matching_by(LOOP), pytest.raises(ValueError, match="boolean-mask loop: expected"):
        outcome(problem)


class Slow(torch.autograd.Function):
    """The identity, which takes some seconds of a pretended time in each pass."""

    @staticmethod
    def forward(ctx, now, forward, backward, x):
        ctx.now, ctx.backward_seconds = now, backward
        now.seconds += forward
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        ctx.now.seconds += ctx.backward_seconds
        return None, None, None, grad


def test_the_clock_counts_the_matching_alone(problem, monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(matching, "time", SimpleNamespace(perf_counter=lambda: now.seconds))

    def slow_matching(inputs):
        out = row_loop(inputs._replace(query=Slow.apply(now, 1, 2, inputs.query)))
        return Outputs(Slow.apply(now, 4, 8, out.warped), Slow.apply(now, 16, 32, out.similarity))

    def elsewhere(_module, _inputs, output):
        return Slow.apply(now, 100, 1000, output)

    net = problem.model.warp_net
    with (
        net.theta_class.register_forward_hook(elsewhere),
        net.phi_class.register_forward_hook(elsewhere),
        net.register_forward_hook(elsewhere),
        matching_by(Way("slow", slow_matching)) as clock,
    ):
        outcome(problem)
    assert clock.forward.seconds == 1 + 4 + 16
    assert clock.backward.seconds == 2 + 8 + 32
    assert now.seconds == 3 * 1100 + 63


def test_statistics_of_turns():
    own = [Turn(10.0, 1.0, 1.0), Turn(20.0, 1.0, 3.0), Turn(40.0, 2.0, 2.0)]
    loop = [Turn(11.0, 2.0, 2.0), Turn(30.0, 10.0, 10.0), Turn(48.0, 12.0, 12.0)]
    times = Times(loop, own)
    assert times.ms("whole") == 30_000
    assert times.ms("forward", 0.0) == 2_000
    assert times.ratio("whole") == 1.2  # of 1.1, 1.5 and 1.2
    assert times.ratio("matching") == 5  # of 2, 5 and 6
    assert times.share == 0.5  # of 4 / 11, 2 / 3 and 1 / 2
    assert Times(own, own).share == 0.2


def test_tables_of_a_tiny_run(problem):
    neighbours = Neighbours()
    lines = steps.measure(problem, 1, neighbours)
    assert [line["way"] for line in lines] == [OPERATOR.name, LOOP.name, ROW_LOOP.name]
    assert lines[0]["step_ratio"] == lines[0]["matching_ratio"] == 1
    assert all(0 < line["matching_share"] < 1 for line in lines)
    assert len(steps.table(lines)) == 2 + len(lines)
    lines = forward.measure(problem, (1, 22), 1, neighbours)
    assert [line["k"] for line in lines] == 3 * [1] + 3 * [22]
    assert lines[0]["density"] == 1
    assert 0.02 < lines[3]["density"] < 0.08
    assert len(forward.table(lines)) == 2 + 2


def test_a_run_is_recorded_and_learns(tmp_path):
    options = [*TINY, *overfit.COMMON, *overfit.ALL_LOSSES, "prior.num_segments=2"]
    run = problems.trainer(tmp_path, overfit.four_photos(tmp_path), options)
    first, *_, last = records = list(overfit.train(run, 12, stride=4))
    assert [record.step for record in records] == [0, 4, 8, 12]
    assert not first.terms
    names = {"total", "discriminator", "l1", "perceptual", "adversarial"}
    assert last.terms.keys() == names | {"smoothness", "contextual", "warp"}
    assert last.error < first.error
    curves = {"L1 alone": [first._replace(terms={}), last._replace(terms={"l1": 1.0})]}
    overfit._save(curves | {"all losses": records}, tmp_path)
    assert (tmp_path / "overfit.png").stat().st_size > 10_000
    with (tmp_path / "overfit.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["run"] for line in lines] == 2 * ["L1 alone"] + 4 * ["all losses"]
    assert float(lines[-1]["contextual"]) == last.terms["contextual"]


def test_a_run_ends_at_its_target():
    records = [Record(step, error, {}) for step, error in enumerate((1.0, 0.5, 0.2, 0.1))]
    assert overfit.until(iter(records), 0.2) == records[:3]
    assert overfit.until(iter(records), 0.0) == records


def test_the_table_holds_first_and_last():
    records = [Record(0, 1.0, {}), *(Record(s, 1 / s, {"l1": s / 2}) for s in range(1, 101))]
    header, _, first, *_, last = overfit.table(records)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (header, first, last)]
    assert cells == [
        ["step", "ab error / gray's", "l1"],
        ["0", "1.000", ""],
        ["100", "0.010", "50"],
    ]
    assert len(overfit.table(records)) == 2 + overfit.TABLE_LINES
    assert len(overfit.table(records[:2])) == 2 + 2
