"""Whole training steps, and the part of the matching in them."""

from __future__ import annotations

from ..machine import Neighbours
from ..tables import markdown
from .problems import Problem
from .times import WAYS, Times, take_turns
from .verify import errors


def measure(problem: Problem, rounds: int, neighbours: Neighbours) -> list[dict[str, object]]:
    """Return a line for each way; each is compared with the operator first.

    Raises:
        AssertionError: a way warps otherwise than the operator.
    """
    found = {way.name: errors(problem, way) for way in WAYS[1:]}
    return [
        _line(problem, name, times, *found.get(name, (0.0, 0.0)))
        for name, times in take_turns(problem.step, rounds, neighbours).items()
    ]


def table(lines: list[dict[str, object]]) -> list[str]:
    """Return the Markdown table: one row for each way."""
    header = ["way to match", "s/step", "images/s", "step", "matching forward, ms"]
    header += ["backward, ms", "share of the step", "matching"]
    has_memory = "peak_mb" in lines[0]
    rows = []
    for line in lines:
        row = [str(line["way"]), "{step_s:.3f} ({step_q20_s:.3f}-{step_q80_s:.3f})".format(**line)]
        row += ["{images_per_second:.2f}".format(**line), "{step_ratio:.3f}x".format(**line)]
        row += ["{forward_ms:.1f}".format(**line), "{backward_ms:.1f}".format(**line)]
        row += ["{matching_share:.1%}".format(**line), "{matching_ratio:.1f}x".format(**line)]
        rows.append(row + (["{peak_mb:.0f}".format(**line)] if has_memory else []))
    return markdown(header + (["peak memory, MB"] if has_memory else []), rows)


def _line(
    problem: Problem, way: str, times: Times, warped_error: float, gradient_error: float
) -> dict[str, object]:
    median = times.ms("whole") / 1e3
    return {
        "step": problem.name,
        "way": way,
        "rounds": len(times.turns),
        "images": problem.images,
        "step_s": median,
        "step_q20_s": times.ms("whole", 0.2) / 1e3,
        "step_q80_s": times.ms("whole", 0.8) / 1e3,
        "images_per_second": problem.images / median,
        "step_ratio": times.ratio("whole"),
        "forward_ms": times.ms("forward"),
        "backward_ms": times.ms("backward"),
        "matching_share": times.share,
        "matching_ratio": times.ratio("matching"),
        "warped_error": warped_error,
        "gradient_error": gradient_error,
    }
