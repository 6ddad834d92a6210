"""What every table asks of its folders, and how each is saved."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.progress import track

from spcolor_model.data import ColorizationPairs, Pair, read_manifest
from spcolor_model.evaluation import (
    PROTOCOLS,
    Evaluation,
    Networks,
    evaluate,
    find_networks,
    match_pictures,
    read_classes,
    save,
    true_pictures,
)
from spcolor_model.evaluation.networks import CHOICES
from spcolor_model.evaluation.report import notes, summary

from .pictures import STDERR
from .sheet import save_sheet


def make_parser(table: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of what every table can be told, for a table to add its own to."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.{table}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("out/tables") / table, help="folder")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="both")
    parser.add_argument("--features", choices=CHOICES, default="auto", help="networks that judge")
    parser.add_argument("--classes", type=Path, help="list of the pictures' ImageNet classes")
    parser.add_argument("--true-answer", action="store_true", help="one colour alone is right")
    return parser


def held_out(options: argparse.Namespace, of_run: ColorizationPairs) -> Sequence[Pair]:
    """Return the pairs of `--held-out`, or those that the run itself held out."""
    return read_manifest(options.held_out) if options.held_out else of_run.pairs


class Judged(NamedTuple):
    """Evaluations, the networks that judged, and how to read what they say."""

    evaluations: list[Evaluation]
    networks: Networks
    reading: dict[str, bool]

    def lines(self, cells: Mapping[str, Mapping[str, str]]) -> list[dict[str, str]]:
        """Return a line for each evaluation, with further cells of its system."""
        true_answer = self.reading["true_answer"]
        return [
            {"protocol": one.protocol}
            | summary(one, self.networks, true_answer=true_answer)
            | dict(cells[one.system])
            for one in self.evaluations
        ]

    def notes(self) -> list[str]:
        """Return the sentences without which the numbers mislead."""
        return notes(self.evaluations, self.networks, **self.reading)

    def publish(self, folder: Path, parts: Iterable[str]) -> None:
        """Print parts of a text, and save it beside the numbers."""
        text = "\n\n".join(parts)
        print(text)
        save(folder, self.evaluations, self.networks, text)


def judge(folders: Mapping[str, Path], truth: Path, options: argparse.Namespace) -> Judged:
    """Evaluate folders by name against the truth's, and save a sheet of their pictures."""
    networks = find_networks(options.features)
    pictures = true_pictures(truth)
    systems = {name: match_pictures(folder, pictures) for name, folder in folders.items()}
    classes = read_classes(options.classes) if options.classes else None
    found = [
        evaluation
        for protocol in PROTOCOLS[options.protocol]
        for evaluation in track(
            evaluate(systems, protocol, networks, classes),
            description=protocol.name,
            total=len(systems),
            console=STDERR,
        )
    ]
    save_sheet(options.out / "pictures.jpg", folders, truth)
    reading = {"classes_given": classes is not None, "true_answer": options.true_answer}
    return Judged(found, networks, reading)
