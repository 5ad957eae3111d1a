"""From what a run left to a verdict, an exit code and a report, for `run` and `check` alike.

Judging needs the history and the evidence, nothing else; it can be repeated at any time and always
gives the same answer, short of a larger budget.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from checkers.evidence import Evidence
from checkers.history import History
from checkers.judge import judge
from checkers.run import Run
from checkers.verdict import Budget, Checker, Validity, Verdict
from harness.store import EVIDENCE, VERDICT, RunFolder, VerdictFile
from harness.vocabulary import (
    CHECK_MEMORY_BYTES,
    CHECK_TIME_S,
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_INVALID,
    EXIT_UNKNOWN,
    EXIT_VALID,
)
from reports import render_all


def budget(time_s: float = CHECK_TIME_S, memory_bytes: int = CHECK_MEMORY_BYTES) -> Budget:
    """Return what the checkers may spend, with this process's clock and size."""
    return Budget(
        time_s=time_s,
        memory_bytes=memory_bytes,
        now_s=time.monotonic,
        rss_bytes=_resident_size(),
    )


def _resident_size() -> Callable[[], int] | None:
    """Return a function that measures this process, where the system has one."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return None
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return lambda: int(statm.read_text().split()[1]) * page_bytes


def pass_judgement(
    checkers: tuple[Checker, ...],
    history: History,
    evidence: Evidence,
    allowed: Budget,
    *,
    interrupted: bool = False,
) -> Verdict:
    """Hear every checker. A run that was cut short is no pass, whatever they say."""
    verdict = judge(checkers, history, evidence, allowed)
    if interrupted and verdict.validity is Validity.VALID:
        reason = "the run was interrupted before its time"
        return msgspec.structs.replace(verdict, validity=Validity.UNKNOWN, reason=reason)
    return verdict


def exit_code(verdict: Verdict, evidence: Evidence, *, interrupted: bool = False) -> int:
    """Return what the process says in the end.

    A proved violation comes before everything; then that the run was cut short, then trouble of our
    own, then doubt.
    """
    if verdict.validity is Validity.INVALID:
        return EXIT_INVALID
    if interrupted:
        return EXIT_INTERRUPTED
    if evidence.trouble:
        return EXIT_ERROR
    return EXIT_UNKNOWN if verdict.validity is Validity.UNKNOWN else EXIT_VALID


def word(code: int) -> str:
    """Return the one word that goes with an exit code."""
    return {EXIT_VALID: "VALID", EXIT_INVALID: "INVALID", EXIT_ERROR: "ERROR"}.get(code, "UNKNOWN")


def file_verdict(folder: RunFolder, verdict: Verdict, evidence: Evidence, code: int) -> None:
    """Write the verdict and what it rests on."""
    folder.write_json(EVIDENCE, evidence)
    folder.write_json(VERDICT, verdict_file(verdict, code))


def verdict_file(verdict: Verdict, code: int) -> VerdictFile:
    """Return what verdict.json holds."""
    return VerdictFile(word=word(code), exit_code=code, verdict=verdict)


def write_reports(
    folder: RunFolder, run: Run, history: History, verdict: Verdict, evidence: Evidence
) -> None:
    """Write every view of the run into its folder."""
    files = render_all(run, history, verdict, evidence, folder.node_logs(), folder=str(folder))
    for name, content in files.items():
        folder.write(name, content)
