"""Judging again what is on disk: a whole run's folder, or a bare history from anywhere.

A folder brings its evidence and is judged as it was. A run whose controller was killed has a
history and no verdict: it is judged on what there is, and gets its verdict and reports now. A bare
history (written by hand, cut out of a run, made by another tool) is judged on what it contains:
nobody asks it for logs.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final

import click
import msgspec

from squall.checkers.assumptions import NOTHING_SAID, Assumptions
from squall.checkers.budget import Meter, OutOfBudget
from squall.checkers.campaign.lost_commits import lost_commits
from squall.checkers.etcd.revisions import revisions
from squall.checkers.evidence import Evidence
from squall.checkers.faults import fault_windows
from squall.checkers.files import accounted, judge_file, read_file, settled
from squall.checkers.formats.foreign import Foreign, load_report
from squall.checkers.history import History
from squall.checkers.linearizability.checker import linearizability
from squall.checkers.linearizability.models import CasRegister
from squall.checkers.registry import judge_of, undecided
from squall.checkers.run import Run
from squall.checkers.verdict import Budget, Checker, Verdict
from squall.harness.cli.user_code import is_path, judge_by
from squall.harness.cluster import HarnessError
from squall.harness.run.judging import (
    budget,
    exit_code,
    file_verdict,
    pass_judgement,
    word,
    write_reports,
)
from squall.harness.run.options import NS_PER_S
from squall.harness.store import HISTORY, RunFolder, StoreError
from squall.workloads import WORKLOADS, model_of


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A history with its verdict.

    `cut_line` is the number of a last line that was cut; `warning` is one line about what could not
    be done beside judging.
    """

    run: Run
    history: History
    evidence: Evidence
    verdict: Verdict
    exit_code: int
    cut_line: int | None = None
    warning: str | None = None


FOREIGN: Final = (
    "history.edn",
    "history.json",
    "history.jsonl.gz",
    "history.edn.gz",
    "history.txt",
)
"""Histories of other tools by their name in a folder, the best first."""

REPORT_FILES: Final = ("operations.json", "watch.json")
"""What etcd's robustness tests write for each client."""


def recheck(
    path: Path,
    stdin: BinaryIO,
    allowed: Budget,
    model: str | None = None,
    assume: Assumptions = NOTHING_SAID,
    *,
    strict: bool = False,
) -> Judged:
    """Judge what is at `path`, against `model` if one is named.

    `assume` is what the user said of a file's values beside that. `strict`: a file of which any
    operation is left out is no pass. Raises MalformedHistory, UnknownModel, BrokenModel, OSError,
    click.UsageError.
    """
    if is_run(path) and model is None:
        if assume != NOTHING_SAID:
            raise click.UsageError(
                f"{path} is judged by what its run was given; --initial, --nil and --independent "
                f"are for files, or for a run's history with --model"
            )
        return _folder(RunFolder(path), allowed)
    own = judge_by(model) if model and is_path(model) else None
    if model and own is None:
        judge_of(
            model, initial=assume.initial
        )  # a name that is none is answered before a long file is read
    meter = Meter(allowed)
    name = "standard input" if str(path) == "-" else str(path)
    try:
        name, found = read_any(path, stdin, model, meter, assume)
    except OutOfBudget as spent:
        found = Foreign(History([]), model or "", "")
        verdict = undecided(model or "none", f"{name}: {spent}")
        return _judged(found, name, verdict)
    left = msgspec.structs.replace(allowed, time_s=meter.remaining_s)
    plain = model is None and assume.initial is None
    if plain and found.format == "jsonl" and found.model == CasRegister.name:
        checkers = _by_contents(found.history)
        verdict = pass_judgement(checkers, found.history, Evidence(), left)
        return _judged(found, name, accounted(found, verdict, strict=strict))
    return _judged(found, name, judge_file(name, found, left, own, assume, strict=strict))


def is_run(path: Path) -> bool:
    """Whether a path is the folder of a run of ours."""
    return path.is_dir() and (path / HISTORY).exists()


def read_any(
    path: Path,
    stdin: BinaryIO,
    model: str | None,
    meter: Meter,
    assume: Assumptions = NOTHING_SAID,
) -> tuple[str, Foreign]:
    """Read the history at a path; return what messages call it, and what was read.

    A path may be a file, `-`, a run's folder, a folder of Jepsen's store, or one of the reports of
    etcd's robustness tests. Raises as `recheck` does, and OutOfBudget.
    """
    reports = sorted(path.glob("client-*/")) if path.is_dir() else []
    files = [one / name for one in [path, *reports] for name in REPORT_FILES]
    files = [file for file in files if file.is_file()]
    if path.is_dir() and not is_run(path) and files:
        data = [(str(file), file.read_bytes()) for file in files]
        read = settled(
            str(path), lambda base: load_report(data, base, meter=meter), model, model_of
        )
        return str(path), read
    name, content = read_bytes(path, stdin)
    return name, read_file(name, content, model, meter, assume, by_workload=model_of)


def read_bytes(path: Path, stdin: BinaryIO) -> tuple[str, bytes]:
    """Return what messages call a history, and its content; `path` may be a folder that has one."""
    if str(path) == "-":
        return "standard input", stdin.read()
    if path.is_dir():
        there = [path / name for name in (HISTORY, *FOREIGN) if (path / name).is_file()]
        if not there:
            raise click.UsageError(
                f"{path} is no run's folder: it has no {HISTORY}, nor another tool's history "
                f"({', '.join(FOREIGN)}, or client-*/operations.json)"
            )
        path = there[0]
    if not path.exists():
        raise click.UsageError(f"{path} does not exist")
    return str(path), path.read_bytes()


def rebuild(path: Path, time_s: float) -> None:
    """Write a run's reports anew, from its folder; judges it first if nobody has."""
    folder = RunFolder(path)
    run, judged = folder.read_run(), folder.read_verdict()
    if run is None:
        raise click.UsageError(f"{path} is no run's folder: it has no run.json")
    if judged is None:
        found = _folder(folder, budget(time_s))
        if found.warning is not None:
            raise StoreError(f"judged {word(found.exit_code)}, but {found.warning}")
        return
    evidence = folder.read_evidence() or Evidence()
    write_reports(folder, run, folder.read_history().history, judged.verdict, evidence)


def _folder(folder: RunFolder, allowed: Budget) -> Judged:
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
    checkers = workload.checkers(run.faults, run.parameters.get("workload", {}))
    verdict = pass_judgement(checkers, reading.history, evidence, allowed)
    code = exit_code(verdict, evidence)
    warning = None
    if folder.read_verdict() is None:
        try:
            file_verdict(folder, verdict, evidence, code)
            write_reports(folder, run, reading.history, verdict, evidence)
        except StoreError as error:
            warning = f"the verdict is not stored: {error}"
    return Judged(
        run=run,
        history=reading.history,
        evidence=evidence,
        verdict=verdict,
        exit_code=code,
        cut_line=reading.cut_line,
        warning=warning,
    )


def _judged(found: Foreign, name: str, verdict: Verdict) -> Judged:
    return Judged(
        run=_stand_in(found.history, name),
        history=found.history,
        evidence=Evidence(),
        verdict=verdict,
        exit_code=exit_code(verdict, Evidence()),
        cut_line=found.history.header.get("cut_line"),
    )


def _by_contents(history: History) -> tuple[Checker, ...]:
    """Choose the checkers for which a history brings what they look at."""
    metas = [operation.meta or {} for operation in history.operations]
    chosen = [linearizability()]
    if any("revision" in meta for meta in metas):
        chosen.append(revisions())
    if any(meta.get("final") for meta in metas):
        chosen.append(lost_commits())
    return tuple(chosen)


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
