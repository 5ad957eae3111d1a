"""How to reproduce a run: the commands, and every value that was chosen or drawn.

`check` judges the recorded history again and always gives the same verdict. The same seed on real
containers repeats what was drawn and nothing else; in the simulation it repeats everything. The
command works on any machine: it holds no absolute path.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from squall.checkers.run import Run
from squall.reports import formatting

REPEAT = "repeat"
STORE, NODE_SOURCE = "--store", "--node-source"

SAME_DRAWS = (
    "repeats what the seed drew: operations, kinds and lengths of faults. Not repeated: "
    "scheduling, timing, who leads or is free, and so whom a fault hits; the verdict may differ"
)
SAME_RUN = (
    "the same seed gives the same run, to the last byte, with the same Squall, node and Python"
)
ITS_NODE = "add --node-source with the node that this run tested"


@dataclass(frozen=True, slots=True)
class Command:
    """A command to paste, and what it repeats."""

    name: str
    line: str
    note: str


def folder_of(run: Run) -> str:
    """Return the run's folder in the default store."""
    return f"store/{run.id}" if "/" in run.id else f"store/{run.workload}/{run.id}"


def commands(run: Run, folder: str) -> list[Command]:
    """Return the commands to judge the run again and to repeat it."""
    note = SAME_RUN if run.cluster == "sim" else SAME_DRAWS
    line = repeat_line(run)
    if run.parameters.get("node_source") and NODE_SOURCE not in line:
        note = f"{ITS_NODE}; {note}"
    return [
        Command(
            "check",
            f"squall check {shlex.quote(folder)}",
            "judges the same history again, and always the same",
        ),
        Command(REPEAT, line, note),
    ]


def repeat_line(run: Run) -> str:
    """Return the command line of the run, with its seed and the kind of cluster made explicit.

    `--cluster auto` is replaced by what it chose, as another machine may choose otherwise. Absolute
    paths are left out: where a run is stored does not change it, and a node's source is elsewhere
    on another machine (the note says so).
    """
    arguments = _without_absolute_paths(run.argv)
    for at, argument in enumerate(arguments):
        if argument == "--cluster=auto" or (
            argument == "auto" and arguments[at - 1] == "--cluster"
        ):
            arguments[at] = argument.replace("auto", run.cluster)
    if arguments and arguments[0].rpartition("/")[2].startswith("squall"):
        arguments = arguments[1:]
    if not arguments:
        arguments = ["run", run.workload, "--cluster", run.cluster]
        arguments += ["--nodes", str(len(run.nodes)), "--time", f"{run.time_limit_s:g}s"]
        if run.faults:
            arguments += ["--faults", ",".join(run.faults)]
    if not any(argument == "--seed" or argument.startswith("--seed=") for argument in arguments):
        arguments += ["--seed", str(run.seed)]
    return shlex.join(["squall", *arguments])


def _without_absolute_paths(argv: Sequence[str]) -> list[str]:
    """Return the arguments without options whose value is an absolute path."""
    kept: list[str] = []
    remaining = iter(argv)
    for argument in remaining:
        name, assigned, value = argument.partition("=")
        if name not in (STORE, NODE_SOURCE):
            kept.append(argument)
        elif assigned:
            kept += [] if value.startswith("/") else [argument]
        else:
            value = next(remaining, "")
            kept += [] if value.startswith("/") else [argument, value]
    return kept


def parameter_groups(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return every recorded value, in groups (name, rows)."""
    commit = f"{run.commit}{' (dirty)' if run.dirty else ''}" if run.commit else "unknown"
    chosen = [
        ("seed", str(run.seed)),
        ("workload", run.workload),
        ("faults", ", ".join(run.faults) or "none"),
        ("nodes", ", ".join(run.nodes)),
        ("cluster", run.cluster),
        ("time limit", f"{run.time_limit_s:g} s"),
        ("started at", run.started_at or "unknown"),
        ("commit", commit),
    ]
    groups = [
        ("Run", chosen),
        ("Parameters, drawn or chosen", formatting.facts(run.parameters)),
        ("Versions", formatting.facts(run.versions)),
        ("Host", formatting.facts(run.host)),
        ("Left out, and why", formatting.facts(run.unsupported)),
    ]
    return [(name, rows) for name, rows in groups if rows]
