"""The command `spcolor`, also as `python -m spcolor_model`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say how to install what it needs."""
    try:
        from .cli import app
    except ModuleNotFoundError as error:
        sys.exit(f'spcolor: {error}; `pip install ".[model]"` in the checkout installs it')
    app(prog_name="spcolor")


if __name__ == "__main__":
    main()
