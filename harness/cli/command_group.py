"""The command group: commands whose modules are slow to import are loaded on demand."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any, Final

import click

from squall.harness.cli.broken_pipe import reader_is_gone
from squall.harness.cli.interrupts import loading

LAZY: Final = {
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
"""Commands that are loaded on demand: their module, and the first line of their help."""


class OutputClosed(Exception):
    """The reader of the output has ended. click would turn BrokenPipeError into exit code 1."""


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
    """A click group, some of whose commands are loaded on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the name of every command, sorted."""
        return sorted({*super().list_commands(ctx), *LAZY})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing its module if necessary."""
        if cmd_name not in LAZY:
            return super().get_command(ctx, cmd_name)
        with loading():
            module = importlib.import_module(LAZY[cmd_name][0])
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        names = self.list_commands(ctx)
        width = formatter.width - 6 - max(map(len, names))
        rows = []
        for name in names:
            known = self.commands.get(name) or click.Command(name, help=LAZY[name][1])
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
