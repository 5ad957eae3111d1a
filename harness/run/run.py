"""A trial: one run as the command line asks for it, from its folder to its exit code.

Here everything that was left open is settled (seed, names, defaults) and written down before the
first container starts; the run is executed on a backend, and its results are filed in an
order that survives an end at any moment: history while it happens, then evidence, then the verdict,
then the reports, which are only views.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from squall.checkers.evidence import Evidence
from squall.checkers.history import History, Op
from squall.checkers.run import Run
from squall.checkers.verdict import Verdict
from squall.harness import version
from squall.harness.nemesis import Executed
from squall.harness.run.controller import Findings
from squall.harness.run.judging import (
    budget,
    exit_code,
    judge_history,
    verdict_file,
    write_reports,
    write_verdict,
)
from squall.harness.run.options import NS_PER_S, Options
from squall.harness.run.progress import Progress
from squall.harness.store import RUN, SCHEDULE, RunFolder, Store, StoreError, pretty
from squall.reports.output.terminal import heading
from squall.reports.view.reproduce import NODE_SOURCE
from squall.workloads import WORKLOADS

SCHEDULE_FORMAT = 1


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, with every default filled in."""

    workload: str
    cluster: str
    nodes: int
    faults: tuple[str, ...]
    seed: int
    options: Options
    store: Path
    node_source: Path | None = None
    keep: bool = False
    start_timeout_s: float = 60.0
    check_time_s: float = 120.0
    argv: tuple[str, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a trial ended."""

    run: Run
    folder: RunFolder
    history: Any  # History
    evidence: Evidence
    verdict: Verdict
    exit_code: int

    def verdict_json(self) -> bytes:
        """Return what verdict.json holds, also where a full disk kept it from being written."""
        return pretty(verdict_file(self.verdict, self.exit_code))


class BackendResult(msgspec.Struct, kw_only=True):
    """What a backend returns: findings, versions that ran, faults it does not support."""

    findings: Findings
    versions: dict[str, str]
    unsupported: dict[str, str]
    interrupted: bool = False


Backend = Callable[[Request, RunFolder, Progress, Callable[[Op], None]], BackendResult]
"""Executes a run and returns its findings; containers and the simulator have one each."""


def carry_out(request: Request, backend: Backend, progress: Progress) -> Outcome:
    """Do one run from beginning to end; raises HarnessError if it never came to one.

    A run that failed before anything happened (no engine, no image) leaves no folder behind.
    """
    now = datetime.now(UTC)
    store = Store(request.store)
    folder = store.create(request.workload, request.seed, now)
    run = identify(request, folder, now)
    recording = Recording(store, folder, run)
    try:
        folder.write_json(RUN, run)
        progress.say(heading(run, str(folder)))
        result = backend(request, folder, Flushing(progress, folder), recording.record)
        recording.begin()
    except BaseException:
        with contextlib.suppress(StoreError):  # it must not hide what ended the run
            folder.end_history()
        if folder.has_history:
            progress.say(f"what was recorded is kept: squall check {folder} judges it")
        else:
            folder.discard()
        raise
    run = msgspec.structs.replace(
        run, versions=run.versions | result.versions, unsupported=result.unsupported
    )
    history = History(result.findings.history, header=recording.header)
    result.findings = msgspec.structs.replace(result.findings, history=history)
    return conclude(request, run, folder, result, progress)


class Recording:
    """The history on disk, begun by its first op: until then, nothing has happened."""

    def __init__(self, store: Store, folder: RunFolder, run: Run) -> None:
        self._store, self._folder, self._run = store, folder, run
        self.begun = False
        self.header: dict[str, Any] = {}

    def begin(self, at_ns: int = 0) -> None:
        """Write the header, and let `latest` point here; `at_ns` is the history's time now."""
        if not self.begun:
            self.begun = True
            run = self._run
            zero = datetime.now(UTC) - timedelta(microseconds=at_ns // 1000)
            self.header = {
                "run": run.id,
                "workload": run.workload,
                "seed": run.seed,
                "started_at": zero.isoformat(timespec="microseconds"),
            }
            self._folder.begin_history(**self.header)
            self._store.publish(self._folder)

    def record(self, op: Op) -> None:
        """Append one op."""
        if not self.begun:
            self.begin(op.time_ns)
        self._folder.record(op)


def conclude(
    request: Request, run: Run, folder: RunFolder, result: BackendResult, progress: Progress
) -> Outcome:
    """File what a run left, judge it, and write its reports.

    A store that fills up now is trouble, and takes neither a proof nor its exit code away.
    """
    findings = result.findings
    progress.phase("judge")
    checkers = WORKLOADS[run.workload].checkers(run.faults, run.parameters["workload"])
    history, evidence = findings.history, findings.evidence
    unfiled = file_all(
        folder.end_history,
        lambda: folder.write_json(RUN, run),
        lambda: folder.write_json(SCHEDULE, schedule_file(run, findings.schedule)),
    )
    evidence = msgspec.structs.replace(evidence, trouble=(*evidence.trouble, *unfiled))
    verdict = judge_history(
        checkers,
        history,
        evidence,
        budget(request.check_time_s),
        interrupted=result.interrupted,
    )
    code = exit_code(verdict, evidence, interrupted=result.interrupted)
    unfiled = file_all(lambda: write_verdict(folder, verdict, evidence, code))
    try:
        write_reports(folder, run, history, verdict, evidence)
    except StoreError as error:
        unfiled = tuple(dict.fromkeys((*unfiled, str(error))))
    except Exception as error:  # noqa: BLE001 - a verdict must not be lost to its own rendering
        unfiled = (*unfiled, f"the report could not be written: {type(error).__name__}: {error}")
        progress.say(unfiled[-1])
    if unfiled:
        trouble = tuple(dict.fromkeys((*evidence.trouble, *unfiled)))
        evidence = msgspec.structs.replace(evidence, trouble=trouble)
        code = exit_code(verdict, evidence, interrupted=result.interrupted)
        file_all(lambda: write_verdict(folder, verdict, evidence, code))
    if code == 0 and not request.keep:
        folder.discard_nodes()
    return Outcome(
        run=run, folder=folder, history=history, evidence=evidence, verdict=verdict, exit_code=code
    )


def file_all(*acts: Callable[[], object]) -> tuple[str, ...]:
    """Write several things to the store; return why it took some of them not, each reason once."""
    refusals: dict[str, None] = {}
    for act in acts:
        try:
            act()
        except StoreError as error:
            refusals.setdefault(str(error))
    return tuple(refusals)


class Flushing:
    """A listener that makes the history durable at the end of every phase, and passes all on."""

    def __init__(self, inner: Progress, folder: RunFolder) -> None:
        self._inner = inner
        self._folder = folder

    def phase(self, name: str) -> None:
        """Sync what the phase before has recorded."""
        self._folder.sync_history()
        self._inner.phase(name)

    def say(self, line: str) -> None:
        """Pass it on."""
        self._inner.say(line)

    def op(self, op: Op) -> None:
        """Pass it on."""
        self._inner.op(op)


def identify(request: Request, folder: RunFolder, now: datetime) -> Run:
    """Write down everything that identifies the run and suffices to repeat it."""
    commit, dirty = version.commit()
    options = request.options
    workload = WORKLOADS[request.workload]
    return Run(
        id=f"{request.workload}/{folder.path.name}",
        workload=request.workload,
        cluster=request.cluster,
        seed=request.seed,
        nodes=tuple(f"n{at + 1}" for at in range(request.nodes)),
        faults=request.faults,
        time_limit_s=options.time_limit_ns / NS_PER_S,
        argv=request.argv,
        parameters={
            "rate": options.rate,
            "concurrency": options.concurrency,
            "op_timeout_s": options.op_timeout_ns / NS_PER_S,
            "recovery_timeout_s": options.recovery_timeout_ns / NS_PER_S,
            "start_timeout_s": request.start_timeout_s,
            "check_time_s": request.check_time_s,
            "node_source": str(request.node_source or ""),
            "key_prefix": options.prefix,
            "workload": workload.options,
        },
        versions={"squall": version.version(), "python": platform.python_version()},
        commit=commit,
        dirty=dirty,
        host={"platform": platform.platform(), "machine": platform.machine()},
        started_at=now.isoformat(timespec="seconds"),
    )


def schedule_file(run: Run, schedule: tuple[Executed, ...]) -> dict[str, Any]:
    """Return schedule.json: the faults as they were executed, with the seed they came from."""
    return {"format": SCHEDULE_FORMAT, "run": run.id, "seed": run.seed, "faults": schedule}


def command_line() -> tuple[str, ...]:
    """Return how this process was called, with the program's bare name."""
    return ("squall", *relative(sys.argv[1:], Path.cwd()))


def relative(words: Sequence[str], here: Path) -> list[str]:
    """Write absolute paths as seen from `here`, so that the line says nothing of this machine.

    A store elsewhere is left as it is: it has no part in what a run does.
    """
    found: list[str] = []
    for at, word in enumerate(words):
        option, assigned, value = word.partition("=") if word.startswith("--") else ("", "", word)
        named = option if assigned else (words[at - 1] if at else "")
        if value.startswith("/") and (Path(value).is_relative_to(here) or named == NODE_SOURCE):
            value = os.path.relpath(value, here)
        found.append(f"{option}{assigned}{value}" if option else value)
    return found
