"""`python -m benchmarks.paper_tables.two [name=value ...]`: Table II, SPC and SMP left out.

Three runs of `train.py` that differ in nothing else, each evaluated on the held-out pairs:

    non-local, perceptual loss    prior.kind=none prior.num_segments=1 loss.masked=false
    SPC, perceptual loss          loss.masked=false
    SPC, SMP loss                 loss.masked=true

An interrupted run goes on where it was when it is started again; SIGTERM saves first.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from spcolor_model.evaluation.report import markdown
from spcolor_model.trained_engine import TrainedEngine
from spcolor_model.training import checkpoint
from spcolor_model.training.config import load_config
from spcolor_model.training.distributed import process
from spcolor_model.training.trainer import Trainer

from .judge import held_out, judge, make_parser
from .paper import TABLE_TWO
from .pictures import color, write_truth

ROWS = dict(
    zip(
        TABLE_TWO,
        (
            ("prior.kind=none", "prior.num_segments=1", "loss.masked=false"),
            ("loss.masked=false",),
            ("loss.masked=true",),
        ),
        strict=True,
    )
)


def train(options: argparse.Namespace, name: str) -> Trainer:
    """Train a row until its last step, or until it is asked to stop."""
    given = [f"out={json.dumps(str(run_folder(options, name)))}", f"max_steps={options.max_steps}"]
    config = load_config(options.config, [*options.overrides, *ROWS[name], *given])
    with process() as own:
        trainer = Trainer(config, own)
        trainer.run()
    return trainer


def run_folder(options: argparse.Namespace, name: str) -> Path:
    """Return the folder of a row."""
    return options.out / name.replace(",", "").replace(" ", "_")


def main() -> None:
    parser = make_parser("two", __doc__)
    parser.add_argument("overrides", nargs="*", metavar="name=value", help="as of train.py")
    parser.add_argument("--config", default="small", help="as of train.py")
    parser.add_argument("--max-steps", type=int, default=2000, help="of each run")
    parser.add_argument("--held-out", type=Path, help="manifest; the run's own unless given")
    options = parser.parse_args()
    folders: dict[str, Path] = {}
    for name in ROWS:
        trainer = train(options, name)
        if trainer.stop_requested:
            return
        pairs = held_out(options, trainer.validation_pairs)
        size = trainer.config.data.image_size
        engine = TrainedEngine.load(checkpoint.find(trainer.folder)[-1].folder)
        engine.area, engine.filler = size**2, None
        folders[name] = color(engine, run_folder(options, name) / "pictures", pairs, size)
    truth = write_truth(options.out / "truth", pairs, size)
    judged = judge(folders, truth, options)
    table = markdown(judged.lines({name: row.cells() for name, row in TABLE_TWO.items()}))
    described = f"{options.max_steps} steps, {len(pairs)} held-out pairs"
    judged.publish(options.out, [described, table, *judged.notes()])


if __name__ == "__main__":
    main()
