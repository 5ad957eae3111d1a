"""Judges runs and recorded histories: verdict, exit code, and the files that hold them.

`squall run` judges what the run left (`judge_history`), `squall check` and `squall report` what is
on disk (`check_path`, `rebuild_reports`). Judging needs the history and the evidence only;
repeating it gives the same verdict, unless the budget is larger.

A run's folder is judged with its evidence. A run whose controller was killed has a history and no
verdict: it is judged on what there is, and its verdict and reports are written then. A bare history
(written by hand, cut out of a run, made by another tool) is judged on what it contains; missing
logs are no fault of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
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
from squall.checkers.formats.foreign import Foreign, load_report
from squall.checkers.history import History
from squall.checkers.judge import judge
from squall.checkers.linearizability.checker import linearizability
from squall.checkers.linearizability.models import CasRegister
from squall.checkers.registry import accounted, judge_file, judge_of, read_file, settled, undecided
from squall.checkers.run import Run
from squall.checkers.verdict import Budget, Checker, Validity, Verdict
from squall.harness.cluster import HarnessError
from squall.harness.run.user_model import is_path, judge_by
from squall.harness.store import EVIDENCE, HISTORY, VERDICT, RunFolder, StoreError, VerdictFile
from squall.harness.vocabulary import (
    CHECK_MEMORY_BYTES,
    CHECK_TIME_S,
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_INVALID,
    EXIT_UNKNOWN,
    EXIT_VALID,
    NS_PER_S,
)
from squall.reports import render_all
from squall.workloads import WORKLOADS


def budget(time_s: float = CHECK_TIME_S, memory_bytes: int = CHECK_MEMORY_BYTES) -> Budget:
    """Return a budget that is measured by this process's clock and resident size."""
    return Budget(
        time_s=time_s,
        memory_bytes=memory_bytes,
        now_s=time.monotonic,
        rss_bytes=_resident_size(),
    )


def _resident_size() -> Callable[[], int] | None:
    """Return a function that reads this process's resident size in bytes; None without /proc."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return None
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return lambda: int(statm.read_text().split()[1]) * page_bytes


def judge_history(
    checkers: tuple[Checker, ...],
    history: History,
    evidence: Evidence,
    allowed: Budget,
    *,
    interrupted: bool = False,
) -> Verdict:
    """Run every checker. The verdict on a run that was interrupted is never valid."""
    verdict = judge(checkers, history, evidence, allowed)
    if interrupted and verdict.validity is Validity.VALID:
        reason = "the run was interrupted before its time"
        return msgspec.structs.replace(verdict, validity=Validity.UNKNOWN, reason=reason)
    return verdict


def exit_code(verdict: Verdict, evidence: Evidence, *, interrupted: bool = False) -> int:
    """Return the exit code of a verdict.

    A proved violation dominates an interruption, which dominates trouble of the harness, which
    dominates an unknown verdict.
    """
    if verdict.validity is Validity.INVALID:
        return EXIT_INVALID
    if interrupted:
        return EXIT_INTERRUPTED
    if evidence.trouble:
        return EXIT_ERROR
    return EXIT_UNKNOWN if verdict.validity is Validity.UNKNOWN else EXIT_VALID


def verdict_word(code: int) -> str:
    """Return the word that stands for an exit code in verdict.json."""
    return {EXIT_VALID: "VALID", EXIT_INVALID: "INVALID", EXIT_ERROR: "ERROR"}.get(code, "UNKNOWN")


def write_verdict(folder: RunFolder, verdict: Verdict, evidence: Evidence, code: int) -> None:
    """Write verdict.json and the evidence it is based on; raises StoreError."""
    folder.write_json(EVIDENCE, evidence)
    folder.write_json(VERDICT, verdict_file(verdict, code))


def verdict_file(verdict: Verdict, code: int) -> VerdictFile:
    """Return the contents of verdict.json."""
    return VerdictFile(word=verdict_word(code), exit_code=code, verdict=verdict)


def write_reports(
    folder: RunFolder, run: Run, history: History, verdict: Verdict, evidence: Evidence
) -> None:
    """Render every report into the run's folder; raises StoreError."""
    files = render_all(run, history, verdict, evidence, folder.node_logs(), folder=str(folder))
    for name, content in files.items():
        folder.write(name, content)


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A history with its verdict.

    `cut_line` is the number of an incomplete last line, which is not judged; `warning` is one line
    about what could not be stored.
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
"""File names of other tools' histories that are looked for in a folder, in order of preference."""

REPORT_FILES: Final = ("operations.json", "watch.json")
"""What etcd's robustness tests write for each client."""


def check_path(
    path: Path,
    stdin: BinaryIO,
    allowed: Budget,
    model: str | None = None,
    assume: Assumptions = NOTHING_SAID,
    *,
    strict: bool = False,
) -> Judged:
    """Judge what is at `path`, against `model` if one is named.

    `assume` is what the user stated about a file's values. `strict`: a file of which any operation
    is left out is unknown at best. Raises MalformedHistory, UnknownModel, BrokenModel, OSError,
    click.UsageError.
    """
    if is_run(path) and model is None:
        if assume != NOTHING_SAID:
            raise click.UsageError(
                f"{path} is judged by what its run was given; --initial, --nil and --independent "
                f"are for files, or for a run's history with --model"
            )
        return _check_folder(RunFolder(path), allowed)
    own = judge_by(model) if model and is_path(model) else None
    if model and own is None:
        judge_of(model, initial=assume.initial)  # refuses an unknown name before a long read
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
        checkers = _checkers_for(found.history)
        verdict = judge_history(checkers, found.history, Evidence(), left)
        return _judged(found, name, accounted(found, verdict, strict=strict))
    return _judged(found, name, judge_file(name, found, left, own, assume, strict=strict))


def is_run(path: Path) -> bool:
    """Whether a path is the folder of a run of Squall."""
    return path.is_dir() and (path / HISTORY).exists()


def read_any(
    path: Path,
    stdin: BinaryIO,
    model: str | None,
    meter: Meter,
    assume: Assumptions = NOTHING_SAID,
) -> tuple[str, Foreign]:
    """Read the history at a path; return its name for messages, and what was read.

    A path may be a file, `-`, a run's folder, a folder of Jepsen's store, or one of the reports of
    etcd's robustness tests. Raises as `check_path` does, and OutOfBudget.
    """
    reports = sorted(path.glob("client-*/")) if path.is_dir() else []
    files = [one / name for one in [path, *reports] for name in REPORT_FILES]
    files = [file for file in files if file.is_file()]
    if path.is_dir() and not is_run(path) and files:
        data = [(str(file), file.read_bytes()) for file in files]
        read = settled(str(path), lambda base: load_report(data, base, meter=meter), model)
        return str(path), read
    name, content = read_bytes(path, stdin)
    return name, read_file(name, content, model, meter, assume)


def read_bytes(path: Path, stdin: BinaryIO) -> tuple[str, bytes]:
    """Return a history's name for messages, and its content; `path` may be a folder with one."""
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


def rebuild_reports(path: Path, time_s: float) -> None:
    """Write a run's reports again from its folder; judges the run first if it has no verdict."""
    folder = RunFolder(path)
    run, judged = folder.read_run(), folder.read_verdict()
    if run is None:
        raise click.UsageError(f"{path} is no run's folder: it has no run.json")
    if judged is None:
        found = _check_folder(folder, budget(time_s))
        if found.warning is not None:
            raise StoreError(f"judged {verdict_word(found.exit_code)}, but {found.warning}")
        return
    evidence = folder.read_evidence() or Evidence()
    write_reports(folder, run, folder.read_history().history, judged.verdict, evidence)


def _check_folder(folder: RunFolder, allowed: Budget) -> Judged:
    if not (folder.path / HISTORY).exists():
        raise click.UsageError(f"{folder} is no run's folder: it has no {HISTORY}")
    reading = folder.read_history()
    run = folder.read_run() or _placeholder_run(reading.history, str(folder))
    evidence = folder.read_evidence() or Evidence(
        recovery={"reason": "the controller ended before the final phase did"}
    )
    workload = WORKLOADS.get(run.workload)
    if workload is None:
        raise HarnessError(f"{folder}: this Squall knows no workload called {run.workload!r}")
    checkers = workload.checkers(run.faults, run.parameters.get("workload", {}))
    verdict = judge_history(checkers, reading.history, evidence, allowed)
    code = exit_code(verdict, evidence)
    warning = None
    if folder.read_verdict() is None:
        try:
            write_verdict(folder, verdict, evidence, code)
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
        run=_placeholder_run(found.history, name),
        history=found.history,
        evidence=Evidence(),
        verdict=verdict,
        exit_code=exit_code(verdict, Evidence()),
        cut_line=found.history.header.get("cut_line"),
    )


def _checkers_for(history: History) -> tuple[Checker, ...]:
    """Return the checkers for which a history contains what they examine."""
    metas = [operation.meta or {} for operation in history.operations]
    chosen = [linearizability()]
    if any("revision" in meta for meta in metas):
        chosen.append(revisions())
    if any(meta.get("final") for meta in metas):
        chosen.append(lost_commits())
    return tuple(chosen)


def _placeholder_run(history: History, name: str) -> Run:
    """Return a Run for a history without run.json, from its header and contents."""
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
