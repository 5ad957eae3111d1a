"""Judging again what is on disk: a whole run's folder, or a bare history from anywhere.

A folder brings its evidence and is judged as it was. A run whose controller was killed has a
history and no verdict: it is judged on what there is, and gets its verdict and reports now. A bare
history (written by hand, or cut out of a run) is judged on what it contains: nobody asks it for
logs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from checkers.evidence import Evidence
from checkers.faults import fault_windows
from checkers.history import History
from checkers.jsonl import Reading, read_history
from checkers.linearizability import linearizability
from checkers.lost_commits import lost_commits
from checkers.revisions import revisions
from checkers.run import Run
from checkers.verdict import Checker, Verdict
from harness.cluster import HarnessError
from harness.judgement import (
    budget,
    exit_code,
    file_verdict,
    pass_judgement,
    write_reports,
)
from harness.options import NS_PER_S
from harness.store import HISTORY, RunFolder, read_history_file
from workloads import WORKLOADS


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A history with its verdict. `cut_line` is the number of a last line that was cut."""

    run: Run
    history: Any  # History
    evidence: Evidence
    verdict: Verdict
    exit_code: int
    cut_line: int | None = None


def recheck(path: Path, stdin: BinaryIO, time_s: float) -> Judged:
    """Judge what is at `path`; raises MalformedHistory, FileNotFoundError, click.UsageError."""
    if str(path) == "-":
        return _bare(read_history(stdin, name="standard input"), "-", time_s)
    if path.is_dir():
        return _folder(RunFolder(path), time_s)
    if not path.exists():
        raise click.UsageError(f"{path} does not exist")
    return _bare(read_history_file(path), str(path), time_s)


def rebuild(path: Path, time_s: float) -> None:
    """Write a run's reports anew, from its folder; judges it first if nobody has."""
    folder = RunFolder(path)
    run, judged = folder.read_run(), folder.read_verdict()
    if run is None:
        raise click.UsageError(f"{path} is no run's folder: it has no run.json")
    if judged is None:
        _folder(folder, time_s)
        return
    evidence = folder.read_evidence() or Evidence()
    write_reports(folder, run, folder.read_history().history, judged.verdict, evidence)


def _folder(folder: RunFolder, time_s: float) -> Judged:
    if not (folder.path / HISTORY).exists():
        raise click.UsageError(f"{folder} is no run's folder: it has no {HISTORY}")
    reading = folder.read_history()
    run = folder.read_run() or _stand_in(reading.history, str(folder))
    evidence = folder.read_evidence() or Evidence(
        recovery={"reason": "the controller ended before the final phase did"}
    )
    workload = WORKLOADS.get(run.workload)
    if workload is None:
        raise HarnessError(f"{folder}: this Squall knows no workload called {run.workload!r}")
    judged = _judge(run, reading, evidence, workload.checkers(run.faults), time_s)
    if folder.read_verdict() is None:
        file_verdict(folder, judged.verdict, evidence, judged.exit_code)
        write_reports(folder, run, reading.history, judged.verdict, evidence)
    return judged


def _bare(reading: Reading, name: str, time_s: float) -> Judged:
    history = reading.history
    run = _stand_in(history, name)
    return _judge(run, reading, Evidence(), _by_contents(history), time_s)


def _by_contents(history: History) -> tuple[Checker, ...]:
    """Choose the checkers for which a history brings what they look at."""
    metas = [operation.meta or {} for operation in history.operations]
    chosen = [linearizability()]
    if any("revision" in meta for meta in metas):
        chosen.append(revisions())
    if any(meta.get("final") for meta in metas):
        chosen.append(lost_commits())
    return tuple(chosen)


def _judge(
    run: Run,
    reading: Reading,
    evidence: Evidence,
    checkers: tuple[Checker, ...],
    time_s: float,
) -> Judged:
    verdict = pass_judgement(checkers, reading.history, evidence, budget(time_s))
    return Judged(
        run=run,
        history=reading.history,
        evidence=evidence,
        verdict=verdict,
        exit_code=exit_code(verdict, evidence),
        cut_line=reading.cut_line,
    )


def _stand_in(history: History, name: str) -> Run:
    """Make up what identifies a run for a history that came without."""
    header = history.header
    return Run(
        id=str(header.get("run", name)),
        workload=str(header.get("workload", "register")),
        cluster="docker",
        seed=int(header.get("seed", 0)),
        nodes=tuple(sorted({op.node for op in history if op.node})),
        faults=tuple(dict.fromkeys(window.kind for window in fault_windows(history))),
        time_limit_s=history.duration_ns / NS_PER_S,
        argv=("squall", "check", name),
    )
