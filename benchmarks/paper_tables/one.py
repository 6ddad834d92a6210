"""`python -m benchmarks.paper_tables.one DATA`: the paper's Table I on any data.

DATA is a manifest of pairs (`spcolor_model.data.manifest`), whose targets are cropped to squares
and coloured here, or a folder of true pictures, coloured elsewhere. Rows are the ground truth,
gray, every folder of results, the training-free engine and a trained generator:

    python -m benchmarks.paper_tables.one photos/held_out.csv --training-free --ours CHECKPOINT \\
        --results zhang=results/zhang --compare ours training-free

`--compare` says on how many pictures the one is better than the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from spcolor_model.data import read_manifest
from spcolor_model.evaluation import Evaluation, compare
from spcolor_model.evaluation.report import markdown, report
from spcolor_model.trained_engine import TrainedEngine

from .judge import judge, make_parser
from .paper import TABLE_ONE
from .pictures import color, write_gray, write_truth

# Measures of single pictures, and whether higher is better.
COMPARED = {
    "ab_error": False,
    "lpips": False,
    "colorfulness_difference": False,
    "psnr": True,
    "ssim": True,
}


def folders(options: argparse.Namespace) -> tuple[Path, dict[str, Path]]:
    """Write what is to be coloured here; return the truth and the results by name."""
    out = options.out
    truth = options.data
    pairs = []
    if not truth.is_dir():
        pairs = read_manifest(options.data)
        truth = write_truth(out / "truth", pairs, options.size)
    found = {"ground truth": truth, "gray": write_gray(out / "gray", truth)}
    found |= {name: Path(folder) for name, folder in options.results}
    if options.training_free:
        found["training-free"] = color("match", out / "training-free", pairs, options.size)
    if options.ours:
        ours = TrainedEngine.load(options.ours)
        found["ours"] = color(ours, out / "ours", pairs, options.size)
    return truth, found


def comparisons(evaluations: Sequence[Evaluation], one: str, other: str) -> Iterator[dict]:
    """Yield a line for each protocol and measure: how often `one` is better than `other`."""
    for protocol in dict.fromkeys(found.protocol for found in evaluations):
        systems = {x.system: x.pictures for x in evaluations if x.protocol == protocol}
        for measure, higher_is_better in COMPARED.items():
            values = [[getattr(x, measure) for x in systems[name]] for name in (one, other)]
            found = compare(*values, higher_is_better=higher_is_better)
            yield {
                "protocol": protocol,
                "measure": measure,
                f"{one} better than {other}": f"{found.win_rate:.1%}",
                "interval of 95 %": f"{found.low:.1%} to {found.high:.1%}",
                "p": f"{found.p:.2g}",
                "pictures": str(found.pictures),
            }


def main() -> None:
    parser = make_parser("one", __doc__)
    parser.add_argument("data", type=Path, help="manifest of pairs, or folder of true pictures")
    parser.add_argument("--ours", type=Path, help="folder of a checkpoint")
    parser.add_argument("--training-free", action="store_true")
    parser.add_argument("--results", metavar="NAME=FOLDER", type=_named, nargs="*", default=[])
    parser.add_argument("--compare", metavar=("ONE", "OTHER"), nargs=2)
    parser.add_argument("--size", type=int, default=256, help="of the squares")
    options = parser.parse_args()
    if options.data.is_dir() and (options.ours or options.training_free):
        parser.error("data: expected a manifest of pairs for --ours and --training-free")
    truth, found = folders(options)
    if options.compare and not {*options.compare} <= {*found}:
        parser.error(f"--compare: expected two of {', '.join(found)}, got {options.compare}")
    judged = judge(found, truth, options)
    parts = [report(judged.evaluations, judged.networks, **judged.reading)]
    if options.compare:
        parts.append(markdown([*comparisons(judged.evaluations, *options.compare)]))
    paper = [{"system": name} | row.cells() for name, row in TABLE_ONE.items()]
    judged.publish(options.out, [*parts, f"The paper's, of ImageNet 10k:\n\n{markdown(paper)}"])


def _named(text: str) -> tuple[str, str]:
    name, separator, folder = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"expected NAME=FOLDER, got {text}")
    return name, folder


if __name__ == "__main__":
    main()
