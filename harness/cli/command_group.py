"""The group of commands: those that cost much to define are loaded when they are asked for."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any, Final

import click

from squall.harness.cli.broken_pipe import reader_is_gone
from squall.harness.cli.interrupts import loading

ELSEWHERE: Final = {
    "check": (
        "squall.harness.cli.check",
        "Judge a recorded history: a run's folder, a file, or - for standard input.",
    ),
    "export": (
        "squall.harness.cli.check",
        "Write a history for another tool: a run's folder, a file, or - for standard input.",
    ),
    "prune": (
        "squall.harness.cli.prune",
        "Remove old runs, images of patched nodes and copies of broken nodes.",
    ),
}
"""Commands that are defined beside what they need: their module, and how their help begins."""


class OutputClosed(Exception):
    """The reader of the output has ended. Of a BrokenPipeError click makes exit code 1: invalid."""


@contextlib.contextmanager
def _output_may_close() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        if reader_is_gone():
            raise OutputClosed from error
        from squall.harness.cluster import HarnessError

        raise HarnessError(f"a connection was closed by its other end: {error}") from error


class Commands(click.Group):
    """The commands, of which some are loaded only when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every command, sorted."""
        return sorted({*super().list_commands(ctx), *ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, loaded if need be."""
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        with loading():
            module = importlib.import_module(ELSEWHERE[cmd_name][0])
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading any."""
        names = self.list_commands(ctx)
        width = formatter.width - 6 - max(map(len, names))
        rows = []
        for name in names:
            known = self.commands.get(name) or click.Command(name, help=ELSEWHERE[name][1])
            rows.append((name, known.get_short_help_str(width)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def make_context(self, *words: Any, **more: Any) -> click.Context:
        """Parse a command line."""
        with _output_may_close():
            return super().make_context(*words, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with _output_may_close():
            return super().invoke(ctx)
