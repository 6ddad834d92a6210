"""Joins the rounds of bench_correspondence.py and reports them at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import report
from .results import Results

RESULTS = pytest.StashKey[Results]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("correspondence benchmark")
    group.addoption("--quick", action="store_true", help="a smoke test of under a minute")
    group.addoption("--out", type=Path, default=Path("out/bench"), help="folder of the results")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = Results()


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> Results:
    return request.config.stash[RESULTS]


def _heading(item: pytest.Item | None) -> str | None:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if "case" in parameters:
        return parameters["case"].name
    return "peak memory" if "memory_run" in parameters else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None):
    """Show progress: one line for each case instead of a dot for each turn."""
    outcome = yield
    if _heading(item) not in (None, _heading(nextitem)):
        item.config.pluginmanager.get_plugin("terminalreporter").write_line(_heading(item))
    return outcome


def pytest_report_teststatus(report: pytest.TestReport):
    return ("passed", "", "PASSED") if report.passed else None


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    results = config.stash[RESULTS]
    if results.is_empty:
        return
    for line in report.write(results, config.getoption("out")):
        terminalreporter.write_line(line)
