"""The process's entry point: interrupts are handled before slow modules are imported."""

from __future__ import annotations

import sys

from squall.harness.cli.interrupts import loading


def main() -> None:
    """Run the command line with the process's arguments; the console script's entry point."""
    with loading():
        from squall.harness.cli import main as cli
    sys.exit(cli.run_process())


if __name__ == "__main__":
    main()
