"""How to do it again: the commands, and every value that was chosen or drawn.

`check` judges the recorded history again and always gives the same answer. Running the same seed
on real containers repeats the inputs but not the interleaving; the simulation repeats everything.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from squall.checkers.run import Run
from squall.reports import words


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
    exact = run.cluster == "sim"
    note = (
        "the same seed gives the same run, to the last byte"
        if exact
        else "same seed and parameters; real clusters interleave differently each time"
    )
    return [
        Command("check", f"squall check {shlex.quote(folder)}", "judges the same history again"),
        Command("repeat", repeat_line(run), note),
    ]


def repeat_line(run: Run) -> str:
    """Rebuild the command line of the run, with its seed and the kind of cluster spelled out.

    Where it was left to the machine (`--cluster auto`), another machine would choose otherwise.
    """
    words_typed = list(run.argv)
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
