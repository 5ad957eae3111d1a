"""`squall check` and `squall export`: histories recorded by Squall or by other tools.

A run's folder is judged with its evidence, as when it ran. Any other file is judged on its
contents: its format is detected, and its model too unless --model or --workload names one. Exports
are for other tools: Knossos and Elle read the EDN, Porcupine's visualiser shows the intervals.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from squall.checkers.assumptions import Assumptions, Initial, Nil, NoValue, read_value
from squall.checkers.budget import Meter, OutOfBudget
from squall.checkers.formats import edn_writer, jsonl
from squall.checkers.formats.foreign import Foreign
from squall.checkers.linearizability.porcupine import visualise
from squall.checkers.linearizability.search import Misfit
from squall.checkers.linearizability.specifications import MODELS
from squall.checkers.registry import ENTRIES, model_of_workload
from squall.checkers.verdict import Budget
from squall.harness.cli.broken_pipe import printing
from squall.harness.cli.terminal import Results
from squall.harness.cli.types import OneOf, Size, judging_time
from squall.harness.run.judging import budget, check_path, is_run, read_any
from squall.harness.run.options import NS_PER_S
from squall.harness.vocabulary import CHECK_MEMORY_BYTES
from squall.reports.output import terminal


def _to_porcupine(found: Foreign, allowed: Budget) -> Iterator[bytes]:
    name = found.model.partition(":")[0]
    if name not in MODELS:
        raise click.UsageError(
            f"Porcupine shows operations on an object, and {name or 'this history'} has none that "
            f"it could; name one of {', '.join(MODELS)} with --model"
        )
    try:
        data = visualise(found.history, MODELS[name], allowed)
    except Misfit as misfit:
        raise click.UsageError(f"a {name} cannot make sense of this history: {misfit}") from None
    yield msgspec.json.encode(data) + b"\n"


EXPORTS: Final[dict[str, Callable[[Foreign, Budget], Iterable[bytes]]]] = {
    "edn": lambda found, _allowed: map(str.encode, edn_writer.encode_history(found.history)),
    "porcupine": _to_porcupine,
    "jsonl": lambda found, _allowed: jsonl.encode_history(found.history),
}
"""Export formats by name: functions that yield lines of bytes."""


def _show_models(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    """Print the models and exit."""
    if asked:
        width = max(map(len, ENTRIES))
        for name, entry in sorted(ENTRIES.items()):
            click.echo(f"{name:<{width}}  {entry.judges}; decided by {entry.decided_by}")
        context.exit()


@click.command()
@click.argument("path", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--model",
    help="What the history is judged against: a name of --models, list-append:LEVEL for another "
    "level of isolation, or a model of your own as path/to/file.py:Name.",
)
@click.option("--workload", help="The same, by the name of the workload that made the history.")
@click.option(
    "--models",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_models,
    help="List the models and leave.",
)
@judging_time
@click.option(
    "--memory",
    "memory_bytes",
    type=Size(),
    default=f"{CHECK_MEMORY_BYTES >> 30}GiB",
    show_default=True,
    help="How much memory the process may take up while they do.",
)
@click.option(
    "--strict", is_flag=True, help="Call a history unknown of which any operation is not judged."
)
@click.option(
    "--initial",
    help="What every object holds at first, as JSON or EDN: 0, nil, [1 2], {x 1}. The same as "
    "--model cas-register:0.",
)
@click.option(
    "--nil",
    type=OneOf("reading", tuple(Nil)),
    help="What a read answered nil says: that nothing was there (absent), or nothing (unknown). "
    "Not given, it is what the file's format means by it.",
)
@click.option(
    "--independent/--no-independent",
    default=None,
    help="Whether values are [key value] of independent keys, where that cannot be seen.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def check(
    path: Path,
    model: str | None,
    workload: str | None,
    initial: str | None,
    nil: str | None,
    independent: bool | None,
    check_time_ns: int,
    memory_bytes: int,
    strict: bool,
    as_json: bool,
) -> int:
    """Judge a recorded history: a run's folder, a file, or - for standard input.

    Files are read as Jepsen, Knossos and Elle write them (EDN, history.txt, jepsen.log), as
    elle-cli reads them (JSON), as Porcupine's logs or operations, or as Squall's own
    history.jsonl; folders also as Jepsen's store and the reports of etcd's robustness tests have
    them.

    Exits 0 if it is valid, 1 if it is invalid, 2 if that stays unknown, 4 if it cannot be read.
    """
    if model and workload:
        raise click.UsageError("--model and --workload say the same thing; name one of them")
    if workload:
        model = model_of_workload(workload)
    allowed = budget(check_time_ns / NS_PER_S, memory_bytes)
    assume = Assumptions(_initial(initial), Nil(nil) if nil else None, independent)
    found = check_path(path, sys.stdin.buffer, allowed, model, assume, strict=strict)
    if found.cut_line is not None:
        click.echo(f"{path}: line {found.cut_line} was cut; what precedes it is judged", err=True)
    if found.warning is not None:
        click.echo(f"{path}: {found.warning}", err=True)
    if as_json:
        with printing():
            click.echo(msgspec.json.format(msgspec.json.encode(found.verdict), indent=2).decode())
    else:
        console = Results()
        text = terminal.final_lines(
            found.run,
            found.verdict,
            str(path) if is_run(path) and not model else None,
            found.evidence,
            operations=len(found.history.operations),
            width=console.width if console.is_terminal else None,
        )
        with printing():
            console.print(terminal.styled(text), end="", highlight=False, soft_wrap=True)
    return found.exit_code


def _initial(text: str | None) -> Initial | None:
    """Read --initial; raises click.UsageError."""
    if text is None:
        return None
    try:
        return Initial.of(read_value(text))
    except NoValue as error:
        raise click.UsageError(f"--initial: {error}") from None


@click.command()
@click.argument("path", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--to",
    "form",
    type=OneOf("format", tuple(EXPORTS)),
    required=True,
    help="edn: for Jepsen's tools. porcupine: the data its visualiser shows. jsonl: our own.",
)
@click.option("--model", help="What the history is about, if that cannot be seen.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Standard output if not given."
)
@judging_time
def export(
    path: Path, form: str, model: str | None, output: Path | None, check_time_ns: int
) -> int:
    """Write a history for another tool: a run's folder, a file, or - for standard input."""
    allowed = budget(check_time_ns / NS_PER_S)
    try:
        _, found = read_any(path, sys.stdin.buffer, model, Meter(allowed))
    except OutOfBudget as spent:
        raise click.UsageError(f"{path}: {spent}") from None
    for reason, count in found.accounting.left_out.items():
        click.echo(f"{path}: {count} left out: {reason}", err=True)
    lines = EXPORTS[form](found, allowed)
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(output.open("wb")) if output else sys.stdout.buffer
        for line in lines:
            stream.write(line)
        stream.flush()
    return 0
