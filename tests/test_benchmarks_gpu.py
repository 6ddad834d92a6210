"""The GPU benchmark, as far as it goes without a GPU: plan, checks, statistics, report, verdict."""

import csv
import itertools
import json

import pytest
import torch

from benchmarks.gpu import device, measure, plan, report, verdict
from benchmarks.gpu.clock import matching_kernel
from benchmarks.gpu.entrants import BACKENDS, COMPILED, FLEX, FLEX_MASK, Entrant, operator
from benchmarks.gpu.problem import Problem, make_inputs
from benchmarks.gpu.verify import (
    PEER_TOLERANCES,
    Expected,
    WrongResultError,
    relative_error,
    verify,
)
from benchmarks.peers import DENSE, LOOP, SDPA, SORTED
from benchmarks.problem import Way, forward

CPU = torch.device("cpu")
PEAKS = {"fp16": 800e12, "bf16": 700e12, "tf32": 300e12, "fp32": 50e12, "copy": 3e12}
SMALL = Problem(2, 256, 3, "fp32")
OWN = operator("reference", "ieee")
PEERS = tuple(map(Entrant, (LOOP, SORTED, DENSE, SDPA)))


class FakeClock:
    """Runs every call once, and says that it took as many microseconds as there were calls."""

    def __init__(self):
        self.calls = 0

    def call(self, call):
        call()
        self.calls += 1
        return [1e-6 * self.calls * factor for factor in (1, 2, 3)]

    def graph(self, call, *, cold):
        return [2 * sample for sample in self.call(call)] if cold else self.call(call)

    def kernel(self, call, pattern):
        return "_correspondence_kernel", self.call(call)

    def extra_memory(self, call):
        call()
        return 3_000_000


def run(jobs, clock=None, deadline=100.0, now=lambda: 0.0):
    return measure.run(
        jobs, clock or FakeClock(), CPU, PEAKS, deadline=deadline, now=now, progress=lambda _: None
    )


def row(entrant, mode, batch, k, median_us, *, backend="", kernel="", fraction=None):
    return measure.Row(
        *(batch, 4096, k, "fp16", 1.0, entrant, backend, "fp16" if backend else "", mode),
        *(median_us, median_us, median_us, 10),
        **{"tflops": None, "peak_fraction": fraction, "extra_mb": 1.0, "kernel": kernel},
    )


def test_plan_begins_with_the_targets_and_has_each_job_once():
    jobs, few = plan.jobs(BACKENDS), plan.jobs(BACKENDS, quick=True)
    assert jobs[: len(few)] == few
    assert len({(job.problem, job.entrant.name) for job in jobs}) == len(jobs)
    assert {job.problem.num_segments for job in jobs} == set(plan.SEGMENTS)
    assert {job.problem.batch for job in jobs} == set(plan.BATCHES)
    assert {job.problem.length for job in jobs} == set(plan.LENGTHS)
    assert {job.entrant.precision for job in jobs} == {"", "fp16", *plan.PRECISIONS}
    names = {job.entrant.name for job in jobs if not job.entrant.backend}
    peers = (*PEERS, FLEX, FLEX_MASK, COMPILED)
    assert names == {peer.name for peer in peers}


def test_plan_measures_all_that_the_verdict_asks_for():
    rows = []
    for job in plan.jobs(BACKENDS, quick=True):
        for mode in job.modes:
            problem, entrant = job.problem, job.entrant
            kernel = "hopper" if entrant.backend == "cuda" else "triton"
            line = (entrant.name, mode, problem.batch, problem.num_segments, 1.0)
            rows.append(row(*line, backend=entrant.backend, kernel=kernel, fraction=0.6))
    missing = [line for line in verdict.lines(rows) if line.startswith("  --")]
    assert len(missing) == 1  # the one of mma.sync, where the Hopper path ran
    assert "cuda: forward kernel, B=8" in missing[0]


def test_a_run_verifies_and_times_every_mode():
    peer_modes = (plan.CALL, plan.TRAIN)
    jobs = [plan.Job(SMALL, OWN), *(plan.Job(SMALL, peer, peer_modes) for peer in PEERS)]
    results = run(jobs)
    assert results.failures == []
    assert [(r.entrant, r.mode) for r in results.rows] == [
        (job.entrant.name, mode) for job in jobs for mode in job.modes
    ]
    first = results.rows[0]
    assert (first.q20_us, first.median_us, first.q80_us) == pytest.approx((1.4, 2, 2.6))
    assert first.kernel == "_correspondence_kernel"
    rate = make_inputs(SMALL, CPU).pairs * 2 * 256 / 2e-6
    assert first.tflops == pytest.approx(rate / 1e12)
    assert first.peak_fraction == pytest.approx(rate / PEAKS["fp32"])
    by_mode = {r.mode: r for r in results.rows[:5]}
    assert by_mode[plan.TRAIN].peak_fraction is None
    assert by_mode[plan.CALL].extra_mb == by_mode[plan.TRAIN].extra_mb == 3.0
    assert by_mode[plan.KERNEL].extra_mb is None


def test_a_wrong_result_is_not_timed():
    def doubled(inputs):
        out = LOOP.run(inputs)
        return out._replace(warped=2 * out.warped)

    liar = Entrant(Way("liar", doubled))
    broken = Entrant(Way("broken", lambda inputs: 1 / 0), "triton", "ieee")
    results = run([plan.Job(SMALL, liar), plan.Job(SMALL, broken), plan.Job(SMALL, OWN)])
    assert {r.entrant for r in results.rows} == {OWN.name}
    liar_failure, broken_failure = results.failures
    assert liar_failure.mode == broken_failure.mode == "verify"
    assert "warped is off by 1" in liar_failure.reason
    assert "ZeroDivisionError" in broken_failure.reason
    assert (liar_failure.is_ours, broken_failure.is_ours) == (False, True)


def test_wrong_gradients_are_found():
    def with_dropped_gradient(inputs):
        return LOOP.run(inputs._replace(key=inputs.key.detach() + 0 * inputs.key))

    inputs = make_inputs(SMALL, CPU)
    entrant = Entrant(Way("half", with_dropped_gradient))
    expected = Expected(inputs)
    verify(entrant, inputs, "fp32", expected, backward=False)
    with pytest.raises(WrongResultError, match="grad_key is off by 1"):
        verify(entrant, inputs, "fp32", expected, backward=True)


def test_a_mode_that_fails_leaves_the_others():
    class WithoutProfiler(FakeClock):
        def kernel(self, call, pattern):
            raise LookupError("no kernel")

    results = run([plan.Job(SMALL, OWN)], WithoutProfiler())
    assert [r.mode for r in results.rows] == [mode for mode in plan.MODES if mode != plan.KERNEL]
    (failure,) = results.failures
    assert (failure.mode, failure.reason) == (plan.KERNEL, "LookupError: no kernel")
    assert failure.is_ours


def test_what_the_time_does_not_suffice_for_is_left_out():
    jobs = [plan.Job(SMALL, OWN, (plan.CALL,), seconds) for seconds in (5, 5, 80, 5)]
    seconds = itertools.count(0, 10)
    results = run(jobs, deadline=60, now=lambda: next(seconds))
    assert results.left_out == [jobs[2]]
    assert len(results.rows) == 3


@pytest.mark.parametrize("features", ["fp16", "bf16"])
def test_peers_in_16_bits_are_within_their_tolerance(features):
    """By a factor of two, so that the numbers' choice does not decide."""
    inputs = make_inputs(Problem(1, 1024, 2, features), CPU)
    expected = Expected(inputs)
    for peer in PEERS:
        verify(peer, inputs, features, expected, backward=True)
        error = relative_error(forward(peer.way, inputs).warped, expected.outputs(True)[0])
        assert 0 < error < PEER_TOLERANCES[features] / 2, peer.name


def test_inputs_are_the_same_numbers_in_every_type():
    for x, y in zip(
        make_inputs(SMALL, CPU)[:3], make_inputs(Problem(2, 256, 3, "bf16"), CPU)[:3], strict=True
    ):
        assert torch.equal(x.bfloat16(), y)


def test_the_kernel_is_found_by_name_and_time():
    events = [
        {"cat": "kernel", "name": "_unit_vectors_kernel", "dur": 50.0},
        *({"cat": "kernel", "name": "_correspondence_kernel", "dur": d} for d in (9.0, 11.0)),
        {"cat": "kernel", "name": "fill of the correspondence_kernel", "dur": 1.0},
        {"cat": "cpu_op", "name": "_correspondence_kernel", "dur": 99.0},
        {"name": "metadata"},
    ]
    name, times = matching_kernel({"traceEvents": events}, measure.FORWARD_KERNEL)
    assert name == "_correspondence_kernel"
    assert times == pytest.approx([9e-6, 11e-6])
    with pytest.raises(LookupError, match="saw no kernel"):
        matching_kernel({"traceEvents": events[:1]}, measure.FORWARD_KERNEL)


@pytest.mark.parametrize(
    ("precision", "center", "features", "expected"),
    [
        ("fp16", True, "fp16", "fp16"),
        ("fp16", True, "fp32", "fp16"),
        ("ieee", True, "fp16", "fp32"),
        ("ieee", False, "bf16", "bf16"),
        ("ieee", False, "fp32", "fp32"),
        ("tf32", True, "fp32", "tf32"),
    ],
)
def test_peak_of_a_precision(precision, center, features, expected):
    entrant = operator("triton", precision, center=center)
    assert device.matrix_peak(PEAKS, entrant, features) == PEAKS[expected]


def test_peak_of_three_products_and_of_a_peer():
    assert device.matrix_peak(PEAKS, operator("triton", "tf32x3"), "fp32") == PEAKS["tf32"] / 3
    assert device.matrix_peak(PEAKS, PEERS[0], "bf16") == PEAKS["bf16"]


def test_verdict():
    name = operator("triton", "fp16").name
    rows = [
        row(name, plan.KERNEL, 8, 1, 100, backend="triton", fraction=0.51),
        row(name, plan.CALL, 8, 1, 150, backend="triton", fraction=0.44),
        row(name, plan.GRAPH, 8, 1, 120, backend="triton"),
        row(name, plan.GRAPH, 8, 22, 60, backend="triton"),
        row(name, plan.GRAPH, 8, 27, 61, backend="triton"),
        row(name, plan.TRAIN, 8, 22, 100, backend="triton"),
        row(LOOP.name, plan.CALL, 8, 22, 3001),
        row(LOOP.name, plan.TRAIN, 8, 22, 1499),
    ]
    lines = [line for line in verdict.lines(rows) if "triton:" in line]
    assert [line[2:6] for line in lines] == [
        *("met ", "MISS", "met ", "met "),
        *("MISS", "--  ", "MISS"),
    ]
    assert lines[0] == (
        "  met  triton: forward kernel, B=8, k=1: >= 0.5 of peak, measured 0.51 of peak"
    )
    assert all("not measured" in line for line in verdict.lines(rows) if "cuda:" in line)


def test_report_saves_everything(tmp_path):
    results = run([plan.Job(SMALL, OWN), plan.Job(SMALL, PEERS[0], (plan.CALL, plan.TRAIN))])
    results.failures.append(measure.Failure("P", "FlexAttention", plan.CALL, "no", False))
    results.left_out.append(plan.Job(SMALL, COMPILED))
    described = {"gpu": "none, a test", "torch": torch.__version__}
    lines = report.write(results, described, PEAKS, tmp_path)
    text = "\n".join(lines)
    assert "a test" in text
    assert "FlexAttention, forward: no" in text
    assert "1 combinations were left out" in text
    assert "Targets:" in text

    with (tmp_path / "correspondence_gpu.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(results.rows) == 7
    assert table[0]["gpu"] == "none, a test"
    saved = json.loads((tmp_path / "correspondence_gpu.json").read_text())
    assert saved["rows"][0]["median_us"] == results.rows[0].median_us
    assert saved["peaks"] == PEAKS
    assert saved["left_out"] == [f"{SMALL.name}: {COMPILED.name}"]
    assert OWN.name in (tmp_path / "correspondence_gpu.md").read_text()


def test_report_of_nothing_saves_nothing(tmp_path):
    results = measure.Results(failures=[measure.Failure("P", "triton", "verify", "no", True)])
    lines = list(report.write(results, {}, PEAKS, tmp_path))
    assert lines[0] == "Nothing was timed."
    assert "  P, triton, verify: no" in lines
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_fails(capsys, monkeypatch):
    from benchmarks.gpu.__main__ import main

    monkeypatch.setattr("sys.argv", ["benchmarks.gpu"])
    assert main() == 1
    assert "sees no GPU" in capsys.readouterr().out
