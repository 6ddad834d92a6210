"""Train SPColor: `python train.py --config small`, or under torchrun for several processes.

Presets: "paper" has the paper's settings, "official" those of its published code, "small" needs
neither a GPU nor a download. Single values follow as name=value:

    python train.py --config small --max-steps 200 loss.weights.adversarial=0
    torchrun --nproc-per-node 2 train.py --config paper data.manifest=photos/train.csv

A run that was interrupted goes on from its last checkpoint when it is started again.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated

try:
    import typer
except ModuleNotFoundError as error:
    sys.exit(f'train.py: {error}; `pip install ".[model,train]"` installs it')

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command(help=__doc__)
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="name=value ...")] = None,
    config: Annotated[str, typer.Option(help="paper, official, small, or a YAML file.")] = "paper",
    max_steps: Annotated[int | None, typer.Option(help="Updates of the whole run.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of checkpoints and logs.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in out.")] = True,
) -> None:
    """Train until the last step, or until SIGTERM, which saves first."""
    # There is nothing to save before the first step.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Loading torch takes seconds that --help should not.
    from spcolor_model.training.config import load_config
    from spcolor_model.training.distributed import process
    from spcolor_model.training.trainer import Trainer, TrainingStoppedError

    given = {"max_steps": max_steps, "out": out}
    # Quotes keep a folder such as 2024_01 from being read as a number.
    options = [f"{name}={json.dumps(str(x))}" for name, x in given.items() if x is not None]
    try:
        with process() as own:
            try:
                settings = load_config(config, [*(overrides or []), *options])
                trainer = Trainer(settings, own, resume=resume)
            except (FileExistsError, FileNotFoundError, TypeError, ValueError) as error:
                raise typer.BadParameter(str(error)) from None
            trainer.run()
    except (OSError, TrainingStoppedError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
