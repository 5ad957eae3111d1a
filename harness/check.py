"""From a file's path to a verdict, for programs: what `squall check` does, without its report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from squall.checkers.assumptions import Assumptions, Initial
from squall.checkers.budget import Budget, Meter, OutOfBudget
from squall.checkers.files import judge_file, read_file
from squall.checkers.linearizability.models import Model
from squall.checkers.registry import judge_by, undecided
from squall.checkers.verdict import Verdict
from squall.workloads import model_of


def check_file(
    path: str | os.PathLike[str],
    model: str | Callable[[], Model] | None = None,
    *,
    budget: Budget | None = None,
    initial: Initial | None = None,
    strict: bool = False,
) -> Verdict:
    """Judge a recorded history of any format that Squall reads; the format is found by looking.

    `model` is a name of `squall check --models`, or what makes a model of your own; None takes the
    one that the file names, or that its operations look like. `budget` limits reading and judging
    together: `Budget()` if it is not given. `initial` is what every object holds at first;
    `strict` makes unknown what would be valid while any operation was not judged.

    The verdict's `stats["accounting"]` says what became of every operation.

    Raises MalformedHistory (a ValueError that begins with the file and the line), UnknownModel (a
    ValueError) and OSError.
    """
    name = os.fspath(path)
    budget = budget or Budget()
    assume = Assumptions(initial=initial)
    called, own = judge_by(model, initial=initial, file=name) if model is not None else (None, None)
    meter = Meter(budget)
    try:
        found = read_file(
            name, Path(path).read_bytes(), called, meter, assume, by_workload=model_of
        )
    except OutOfBudget as spent:
        return undecided(called or "none", f"{name}: {spent}")
    left = msgspec.structs.replace(budget, time_s=meter.remaining_s)
    return judge_file(name, found, left, own, assume, strict=strict)
