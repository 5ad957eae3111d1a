"""`squall sweep` and `squall trace`: many simulated runs, and the transcript of one of them.

Failing seeds are printed on standard output as they are found, and a table at the end. Progress
goes to standard error: a bar on a terminal, a plain line every ten seconds elsewhere.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from squall.harness.cli.broken_pipe import printing
from squall.harness.cli.terminal import Notices
from squall.harness.sim.chaos.effects import words
from squall.harness.sim.judge.trace import Filter
from squall.harness.sim.sweep.summary import FAILURES_SHOWN, Summary, failure_lines
from squall.harness.sim.sweep.sweep import Result, Row, Sweep, retrace, sweep
from squall.harness.vocabulary import EXIT_INTERRUPTED

PLAIN_EVERY_S = 10.0
_EXIT_CODES = {Result.OK: 0, Result.ALARM: 1, Result.IDLE: 2, Result.TROUBLE: 3}


def run_sweep(seeds: range, what: Sweep, jobs: int | None, *, first: bool) -> int:
    """Run every seed; print failing ones at once and a table at the end; returns the exit code."""
    summary = Summary(what)
    interrupted = False
    with _progress_display(Notices(), len(seeds)) as display:
        rows = sweep(seeds, what, jobs or len(os.sched_getaffinity(0)))
        try:
            for row in rows:
                summary.add(row)
                if row.result in (Result.ALARM, Result.TROUBLE):
                    if len(summary.failures) <= FAILURES_SHOWN:
                        display.print_result("\n".join(failure_lines(row, what)))
                    if first:
                        break
                display.show(summary)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            rows.close()
    click.echo("\n".join(summary.lines()))
    if interrupted:
        left = len(seeds) - sum(summary.results.values())
        click.echo(f"squall: interrupted; {left:,} seeds were not run", err=True)
        return EXIT_INTERRUPTED
    return summary.exit_code


def run_trace(
    seed: int, what: Sweep, between_ns: tuple[int | None, int | None], node: int | None
) -> int:
    """Print a seed's transcript; returns the exit code of its result."""
    from_ns, to_ns = between_ns
    shown = Filter(
        from_us=None if from_ns is None else from_ns // 1000,
        until_us=None if to_ns is None else to_ns // 1000,
        node=-1 if node is None else node,
    )
    row, lines = retrace(seed, what, shown)
    with printing():
        for line in lines:
            sys.stdout.write(line + "\n")
    click.echo("\n".join(_ending(row)), err=True)
    return _EXIT_CODES[row.result]


def _ending(row: Row) -> Iterator[str]:
    text = f": {row.text}" if row.text else ""
    yield f"seed {row.seed}: {row.result}{text}"
    yield f"    drew: {row.swarm}"
    yield (
        f"    {row.operations:,} operations ({row.ok:,} ok), {row.events:,} events in "
        f"{row.simulated_s:.3f} s; {words(row.effects)}"
    )
    yield f"    digest {row.digest}, of the history {row.history_digest}"


class _ProgressDisplay(Protocol):
    """Shows the progress of a sweep."""

    def show(self, summary: Summary) -> None:
        """Show the current counts."""
        ...

    def print_result(self, text: str) -> None:
        """Print a result on standard output, above the progress."""
        ...


@contextmanager
def _progress_display(console: Console, total: int) -> Iterator[_ProgressDisplay]:
    if not console.is_terminal:
        yield _Lines(total)
        return
    columns = (
        TextColumn("sweep"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress, total)


class _Bar:
    """A progress bar on the last line of a terminal."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total)

    def show(self, summary: Summary) -> None:
        self._progress.update(
            self._task,
            completed=sum(summary.results.values()),
            description=_counts(summary),
        )

    def print_result(self, text: str) -> None:
        if sys.stdout.isatty():
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(text)


class _Lines:
    """Plain lines on standard error, every PLAIN_EVERY_S seconds."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._printed_s = time.monotonic()

    def show(self, summary: Summary) -> None:
        now_s = time.monotonic()
        if now_s - self._printed_s >= PLAIN_EVERY_S:
            self._printed_s = now_s
            done = sum(summary.results.values())
            click.echo(f"{done:,} of {self._total:,} seeds: {_counts(summary)}", err=True)

    def print_result(self, text: str) -> None:
        click.echo(text)


def _counts(summary: Summary) -> str:
    return ", ".join(f"{summary.results[result]:,} {result}" for result in Result)
