"""How to do it again: the commands, and every value that was chosen or drawn.

`check` judges the recorded history again and always gives the same answer. Running the same seed
on real containers repeats what was drawn and nothing else; the simulation repeats everything. The
line that repeats a run is for any machine: it holds no absolute path.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from checkers.run import Run
from reports import words

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
    """A line to paste, and what to expect of it."""

    name: str
    line: str
    note: str


def folder_of(run: Run) -> str:
    """Where the store keeps a run unless told otherwise."""
    return f"store/{run.id}" if "/" in run.id else f"store/{run.workload}/{run.id}"


def commands(run: Run, folder: str) -> list[Command]:
    """List what a reader may want to type next."""
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
    """Rebuild the command line of the run, with its seed and the kind of cluster spelled out.

    Where it was left to the machine (`--cluster auto`), another machine would choose otherwise.
    Absolute paths are left out: where a run is stored does not change it, and a node's source is
    somewhere else on another machine (the note says so).
    """
    words_typed = _without_absolute_paths(run.argv)
    for at, word in enumerate(words_typed):
        if word == "--cluster=auto" or (word == "auto" and words_typed[at - 1] == "--cluster"):
            words_typed[at] = word.replace("auto", run.cluster)
    if words_typed and words_typed[0].rpartition("/")[2].startswith("squall"):
        words_typed = words_typed[1:]
    if not words_typed:
        words_typed = ["run", run.workload, "--cluster", run.cluster]
        words_typed += ["--nodes", str(len(run.nodes)), "--time", f"{run.time_limit_s:g}s"]
        if run.faults:
            words_typed += ["--faults", ",".join(run.faults)]
    if not any(word == "--seed" or word.startswith("--seed=") for word in words_typed):
        words_typed += ["--seed", str(run.seed)]
    return shlex.join(["squall", *words_typed])


def _without_absolute_paths(argv: Sequence[str]) -> list[str]:
    """Leave out options whose value is an absolute path."""
    kept: list[str] = []
    words_left = iter(argv)
    for word in words_left:
        name, assigned, value = word.partition("=")
        if name not in (STORE, NODE_SOURCE):
            kept.append(word)
        elif assigned:
            kept += [] if value.startswith("/") else [word]
        else:
            value = next(words_left, "")
            kept += [] if value.startswith("/") else [word, value]
    return kept


def parameter_groups(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """Every recorded value, grouped for reading."""
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
        ("Parameters, drawn or chosen", words.facts(run.parameters)),
        ("Versions", words.facts(run.versions)),
        ("Host", words.facts(run.host)),
        ("Left out, and why", words.facts(run.unsupported)),
    ]
    return [(name, rows) for name, rows in groups if rows]
