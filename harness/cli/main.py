"""The commands of `squall`, and its exit codes.

    0 valid   1 invalid   2 unknown   3 the harness or its surroundings failed   4 usage   130
    interrupted   141 the reader of standard output ended before there was a verdict

Results go to standard output, everything else to standard error. An error is one line that says
what is wrong and what to do; only an unexpected error shows a traceback.

Parsing needs names only (`squall.harness.vocabulary`); each command imports its dependencies when
it runs, so that help, usage errors and `--version` cost no more than the parser.
"""

from __future__ import annotations

import contextlib
import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from squall.harness.cli.broken_pipe import discard_the_rest, printing
from squall.harness.cli.command_group import Commands, OutputClosed
from squall.harness.cli.interrupts import loading
from squall.harness.cli.types import (
    NODE_COUNTS,
    Concurrency,
    Duration,
    Faults,
    NodeName,
    OneOf,
    Seeds,
    clients,
    judging_time,
    no_install,
    simulated,
)
from squall.harness.vocabulary import (
    AUTO,
    BACKENDS,
    CHECK_TIME_S,
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_OUTPUT_CLOSED,
    EXIT_USAGE,
    KINDS,
    NS_PER_S,
    PROGRAM,
)
from squall.workloads import WORKLOADS

if TYPE_CHECKING:
    from squall.harness.run.run import Outcome
    from squall.harness.sim.sweep.sweep import Sweep

DEFAULT_STORE = Path("store")

OUT_OF_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Error numbers of a full or failing disk."""


def _show_version(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    """Print version and commit, and exit."""
    if asked and not context.resilient_parsing:
        with loading():
            from squall.harness import version
        click.echo(f"{PROGRAM}, version {version.described()}")
        context.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Put a replicated key-value store through faults, and prove whether it kept its promises."""


@cli.command()
@click.argument("workload", type=OneOf("workload", tuple(WORKLOADS)), default="register")
@click.option("--faults", type=Faults(), default="all", show_default=True, help="Kinds of fault.")
@click.option("--time", "time_ns", type=Duration(), default="60s", show_default=True)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=200.0,
    show_default=True,
    help="Operations a second, all clients together.",
)
@click.option("--concurrency", type=Concurrency(), default="4n", show_default=True)
@click.option("--nodes", type=click.Choice(NODE_COUNTS), default="5", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), help="Drawn, and printed, if not given.")
@click.option(
    "--cluster", type=OneOf("world", (*BACKENDS, AUTO)), default="docker", show_default=True
)
@click.option("--store", type=click.Path(path_type=Path), default=DEFAULT_STORE, show_default=True)
@click.option(
    "--node-source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Test this copy of the node package instead of our own.",
)
@click.option("--op-timeout", "op_timeout_ns", type=Duration(), default="2s", show_default=True)
@click.option(
    "--start-timeout",
    "start_timeout_ns",
    type=Duration(),
    default="60s",
    show_default=True,
    help="How long a node may take to get ready.",
)
@click.option(
    "--recovery-timeout",
    "recovery_timeout_ns",
    type=Duration(),
    default="60s",
    show_default=True,
    help="How long the healed cluster may take to catch up.",
)
@judging_time
@no_install
@click.option("--keep", is_flag=True, help="Keep the nodes' logs and data even of a valid run.")
@click.option("--quiet", is_flag=True, help="Print the last line only.")
@click.option("--json", "as_json", is_flag=True, help="Print verdict.json on standard output.")
def run(workload: str, **asked: Any) -> int:
    """Run WORKLOAD under faults, then judge what happened."""
    with loading():
        from squall.harness.backends import choose, load_backend
        from squall.harness.cli.terminal import Notices, Terminal
        from squall.harness.node_source import is_loaded, node_package, rerun
        from squall.harness.run.options import Options
        from squall.harness.run.progress import Silent
        from squall.harness.run.run import Request, carry_out, command_line
        from squall.harness.run.seeds import draw_seed
    nodes = int(asked["nodes"])
    seed = asked["seed"] if asked["seed"] is not None else draw_seed()
    cluster, why_not_containers = choose(asked["cluster"])
    source = node_package(asked["node_source"])
    if cluster == "sim" and source is not None and not is_loaded(source):
        return rerun(source, click.get_current_context().obj)
    if why_not_containers:
        _fail(f"{why_not_containers}\n*** NO CONTAINERS: this run is SIMULATED in one process ***")
    request = Request(
        workload=workload,
        cluster=cluster,
        nodes=nodes,
        faults=asked["faults"],
        seed=seed,
        options=Options(
            prefix=f"{PROGRAM}/{seed}/",
            time_limit_ns=asked["time_ns"],
            rate=asked["rate"],
            concurrency=clients(asked["concurrency"], nodes),
            op_timeout_ns=asked["op_timeout_ns"],
            recovery_timeout_ns=asked["recovery_timeout_ns"],
        ),
        store=asked["store"],
        node_source=source,
        keep=asked["keep"],
        start_timeout_s=asked["start_timeout_ns"] / NS_PER_S,
        check_time_s=asked["check_time_ns"] / NS_PER_S,
        argv=command_line(),
    )
    with loading():
        backend = load_backend(request.cluster)
    if asked["quiet"]:
        outcome = carry_out(request, backend, Silent())
    else:
        with Terminal(Notices(), asked["time_ns"] / NS_PER_S) as shown:
            outcome = carry_out(request, backend, shown)
    _print_outcome(outcome, quiet=asked["quiet"], as_json=asked["as_json"])
    return outcome.exit_code


def _print_outcome(outcome: Outcome, *, quiet: bool, as_json: bool) -> None:
    """Print the results of a run."""
    with loading():
        from squall.harness.cli.terminal import Results
        from squall.reports.output import terminal
    if as_json:
        with printing():
            click.echo(outcome.verdict_json(), nl=False)
        return
    text = terminal.final_lines(
        outcome.run,
        outcome.verdict,
        str(outcome.folder),
        outcome.evidence,
        operations=len(outcome.history.operations),
    )
    with printing():
        if quiet:
            click.echo(text.rstrip().rpartition("\n")[2])
        else:
            Results().print(terminal.styled(text), end="", highlight=False, soft_wrap=True)


@cli.command()
@click.option(
    "--seeds", type=Seeds(), required=True, help="The seeds, both ends included, as in 1..300."
)
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Processes at a time. One a core if not given."
)
@click.option("--first", is_flag=True, help="Stop at the first failing seed.")
@simulated
def sweep(seeds: range, jobs: int | None, first: bool, **asked: Any) -> int:
    """Simulate many seeds, each with faults of its own, and list those that fail.

    Every seed draws its own network, disks, protocol timeouts and faults, and is judged by the
    same checkers as any run and by invariants that watch every applied entry. A failing seed is
    printed as soon as it is found, with the line that repeats it.

    Exits 0 if no seed failed, 1 if the node broke a promise, 2 if nothing was put to the test, 3 if
    a run could not be judged.
    """
    with loading():
        from squall.harness.node_source import is_loaded, node_package, rerun
    source = node_package(asked["node_source"])
    if source is not None and not is_loaded(source):
        return rerun(source, click.get_current_context().obj)
    with loading():
        from squall.harness.cli.sweep import run_sweep
    return run_sweep(seeds, _sweep_of(asked, source), jobs, first=first)


@cli.command()
@click.argument("seed", type=click.IntRange(min=0))
@click.option("--from", "from_ns", type=Duration(), help="Leave out what happened before.")
@click.option("--to", "to_ns", type=Duration(), help="Leave out what happened after.")
@click.option("--node", type=NodeName(), help="Show one node only, as in n2.")
@simulated
def trace(seed: int, from_ns: int | None, to_ns: int | None, node: int | None, **asked: Any) -> int:
    """Simulate SEED again and print what happened: messages, roles, disks, faults.

    One line an event: simulated seconds, node, what, details. How the run ended goes to standard
    error, and into the exit code as with `sweep`. Give it the options the sweep had; the line that
    the sweep prints for a failing seed has them.
    """
    if node is not None and node >= int(asked["nodes"]):
        raise click.BadParameter(f"there are {asked['nodes']} nodes, so no n{node + 1}")
    with loading():
        from squall.harness.node_source import is_loaded, node_package, rerun
    source = node_package(asked["node_source"])
    if source is not None and not is_loaded(source):
        return rerun(source, click.get_current_context().obj)
    with loading():
        from squall.harness.cli.sweep import run_trace
    return run_trace(seed, _sweep_of(asked, source), (from_ns, to_ns), node)


def _sweep_of(asked: dict[str, Any], source: Path | None) -> Sweep:
    from squall.harness.sim.sweep.sweep import Sweep

    nodes = int(asked["nodes"])
    return Sweep(
        workload=asked["workload"],
        time_s=asked["time_ns"] / NS_PER_S,
        rate=asked["rate"],
        concurrency=clients(asked["concurrency"], nodes),
        size=nodes,
        faults=asked["faults"],
        node_source=str(source or ""),
    )


@cli.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--open", "open_it", is_flag=True, help="Show it in a browser.")
def report(path: Path, open_it: bool) -> int:
    """Rebuild a run's reports from its folder."""
    with loading():
        import webbrowser

        from squall.harness.cluster import HarnessError
        from squall.harness.run.judging import rebuild_reports
        from squall.harness.store import REPORT
    rebuild_reports(path, CHECK_TIME_S)
    page = (path / REPORT).resolve()
    click.echo(str(path / REPORT))
    if open_it and not webbrowser.open(page.as_uri()):
        raise HarnessError(f"no browser could be started; open {page} yourself")
    return 0


@cli.command("list")
@click.option("--store", type=click.Path(path_type=Path), default=DEFAULT_STORE, show_default=True)
def list_runs(store: Path) -> int:
    """List the runs of the store, newest first."""
    with loading():
        from squall.checkers.evidence import Evidence
        from squall.harness.store import Store
        from squall.reports.output import index
    rows = []
    for folder in Store(store).runs():
        described = folder.read_run()
        if described is not None:
            judged = folder.read_verdict()
            name = str(folder.path.relative_to(store))
            trouble = (
                Evidence(trouble=(judged.word,)) if judged and judged.word == "ERROR" else None
            )
            rows.append(
                index.index_row(name, described, judged.verdict if judged else None, trouble)
            )
    if rows:
        click.echo(index.table(index.newest_first(rows)).rstrip())
    else:
        click.echo(f"no runs in {store}")
    return 0


@cli.command()
@click.option("--all", "everything", is_flag=True, help="Also what running controllers own.")
def clean(everything: bool) -> int:
    """Remove containers, networks and volumes that runs left behind."""
    with loading():
        from squall.harness.docker import cleanup
    done = cleanup.clean(all=everything)
    click.echo(
        f"removed what {len(done.runs)} runs left: {done.containers} containers, "
        f"{done.volumes} volumes, {done.networks} networks"
        if done.runs
        else "nothing was left behind"
    )
    return 0


@cli.command()
@click.option("--node-source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@no_install
def image(node_source: Path | None) -> int:
    """Build the node's image, if what is in it has changed."""
    with loading():
        from squall.harness.docker.image.build import ensure_image
        from squall.harness.node_source import node_package
    made = ensure_image(node_package(node_source), lambda line: click.echo(line, err=True))
    click.echo(f"{made.tag}  {made.digest}  {'built' if made.built else 'was there'}")
    return 0


@cli.command()
def doctor() -> int:
    """Say what this machine can do, and how to get what is missing."""
    with loading():
        from squall.harness.cli.doctor import diagnose
    diagnosis = diagnose()
    click.echo(diagnosis.text())
    return 0 if diagnosis.healthy else EXIT_ERROR


@cli.command()
def workloads() -> int:
    """List the workloads."""
    for workload in WORKLOADS.values():
        click.echo(f"{workload.name:<12} {workload.description}")
    return 0


@cli.command()
def faults() -> int:
    """List the kinds of fault."""
    with loading():
        import importlib
    for kind in KINDS:
        theory = importlib.import_module(f"squall.harness.nemesis.{kind}").__doc__ or ""
        click.echo(f"{kind:<12} {theory.partition(': ')[2].partition(chr(10))[0]}")
    return 0


def main() -> None:
    """Run the command line with the process's arguments, and end the process."""
    sys.exit(run_process())


def run_process() -> int:
    """Run the command line with the process's arguments; returns its exit code."""
    code = exit_code_of(sys.argv[1:])
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        discard_the_rest()
    except OSError as error:
        _fail(f"standard output: {error.strerror}")
        discard_the_rest()
        return code or EXIT_ERROR
    return code


def exit_code_of(words: list[str]) -> int:
    """Run one command line and return its exit code; every error becomes one line."""
    try:
        code = cli.main(args=words, prog_name=PROGRAM, standalone_mode=False, obj=words)
    except click.ClickException as error:
        _fail(error.format_message())
        return EXIT_USAGE
    except OutputClosed:
        discard_the_rest()
        return EXIT_OUTPUT_CLOSED
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted")
        return EXIT_INTERRUPTED
    except BaseException as error:  # noqa: BLE001 - classified below, and raised again if unknown
        return _exit_code_for(error)
    return int(code or 0)


def _exit_code_for(error: BaseException) -> int:
    """Print an error as one line; return the exit code that says whose fault it is."""
    import asyncio

    if isinstance(error, asyncio.CancelledError):
        _fail("interrupted")
        return EXIT_INTERRUPTED
    if not isinstance(error, Exception):
        raise error
    from squall.checkers.history import MalformedHistory
    from squall.checkers.registry import UnknownModel
    from squall.harness.cluster import HarnessError
    from squall.harness.run.user_model import BrokenModel

    if isinstance(error, HarnessError):
        _fail(str(error))
        return error.exit_code
    # Errors in what the command line names, not in Squall.
    unreadable = MalformedHistory | UnknownModel | BrokenModel
    if isinstance(error, unreadable | FileNotFoundError | IsADirectoryError | PermissionError):
        _fail(str(error))
        return EXIT_USAGE
    if isinstance(error, OSError) and error.errno in OUT_OF_ROOM:
        where = error.filename or "standard output"
        _fail(f"{where}: {error.strerror}: nothing is said about the database by this")
        return EXIT_ERROR
    import traceback

    traceback.print_exception(error)
    _fail(f"this is a bug of the harness: {type(error).__name__}: {error}")
    return EXIT_ERROR


def _fail(message: str) -> None:
    with contextlib.suppress(OSError):
        click.echo(f"{PROGRAM}: {message}", err=True)


if __name__ == "__main__":
    main()
