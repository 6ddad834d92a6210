"""`tune`: the choice among tiles, with times that are made up."""

import pytest

from spcolor_ops import tune, tuning


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_without_a_gpu_it_refuses(device, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(RuntimeError, match=f"device: expected a GPU .*, got {device}"):
        tune(device=device)


def choose(monkeypatch, times, candidates):
    """Return the table after `_use_fastest`; an exception stands for a tile that is refused."""
    table = {"half": "before", "tf32": "other"}

    def milliseconds(_call):
        time = times[table["half"]]
        if isinstance(time, BaseException):
            raise time
        return time

    monkeypatch.setattr(tuning, "_milliseconds", milliseconds)
    try:
        found = tuning._use_fastest(table, "half", candidates, lambda: None)
    except KeyboardInterrupt:
        found = None
    return table, found


def test_the_fastest_stays_in_the_table(monkeypatch):
    times = {"before": 3.0, "a": 2.0, "b": 1.0, "c": 4.0}
    table, found = choose(monkeypatch, times, ["a", "b", "c"])
    assert table == {"half": "b", "tf32": "other"}
    assert found == "b"


def test_what_was_there_stays_where_nothing_is_faster(monkeypatch):
    times = {"before": 1.0, "a": 2.0, "b": RuntimeError("out of shared memory")}
    assert choose(monkeypatch, times, ["a", "b"])[0]["half"] == "before"


def test_a_refused_tile_is_passed_over(monkeypatch):
    times = {"before": 3.0, "a": RuntimeError("out of registers"), "b": 2.0}
    assert choose(monkeypatch, times, ["a", "b"])[1] == "b"


def test_an_interruption_restores_the_table(monkeypatch):
    times = {"before": 3.0, "a": 1.0, "b": KeyboardInterrupt()}
    assert choose(monkeypatch, times, ["a", "b"])[0]["half"] == "before"


def test_no_tile_is_searched_for_where_the_call_itself_fails(monkeypatch):
    with pytest.raises(RuntimeError, match="broken"):
        choose(monkeypatch, {"before": RuntimeError("broken"), "a": 1.0}, ["a"])
