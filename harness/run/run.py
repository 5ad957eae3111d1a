"""One run as requested on the command line, from its folder to its exit code.

The run's identity and every default (seed, names) are written to run.json before the first
container starts. The run is executed on a backend. Its results are stored in an order that leaves a
usable folder whenever the process ends: the history while it happens, then the evidence, the
verdict, and the reports, which can be rebuilt from the rest.
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
    """The requested run, with every default filled in."""

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
    """The results of a run."""

    run: Run
    folder: RunFolder
    history: History
    evidence: Evidence
    verdict: Verdict
    exit_code: int

    def verdict_json(self) -> bytes:
        """Return the contents of verdict.json, even if a full disk prevented its writing."""
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
    """Execute, judge and report one run; raises HarnessError if it could not be started.

    A run that failed before its first operation (no engine, no image) leaves no folder behind.
    """
    now = datetime.now(UTC)
    store = Store(request.store)
    folder = store.create(request.workload, request.seed, now)
    run = describe_run(request, folder, now)
    recording = Recording(store, folder, run)
    try:
        folder.write_json(RUN, run)
        progress.say(heading(run, str(folder)))
        result = backend(request, folder, SyncedProgress(progress, folder), recording.record)
        recording.begin()
    except BaseException:
        with contextlib.suppress(StoreError):  # it must not replace the error that ended the run
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
    return judge_and_report(request, run, folder, result, progress)


class Recording:
    """The history on disk; the file is created when the first op is recorded."""

    def __init__(self, store: Store, folder: RunFolder, run: Run) -> None:
        self._store, self._folder, self._run = store, folder, run
        self.begun = False
        self.header: dict[str, Any] = {}

    def begin(self, at_ns: int = 0) -> None:
        """Write the header and point `latest` here; `at_ns` is the current time of the history."""
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


def judge_and_report(
    request: Request, run: Run, folder: RunFolder, result: BackendResult, progress: Progress
) -> Outcome:
    """Store a run's results, judge it, and write its reports.

    A store that is full by now is trouble; it changes neither a proof nor its exit code.
    """
    findings = result.findings
    progress.phase("judge")
    checkers = WORKLOADS[run.workload].checkers(run.faults, run.parameters["workload"])
    history, evidence = findings.history, findings.evidence
    unwritten = write_all(
        folder.end_history,
        lambda: folder.write_json(RUN, run),
        lambda: folder.write_json(SCHEDULE, schedule_file(run, findings.schedule)),
    )
    evidence = msgspec.structs.replace(evidence, trouble=(*evidence.trouble, *unwritten))
    verdict = judge_history(
        checkers,
        history,
        evidence,
        budget(request.check_time_s),
        interrupted=result.interrupted,
    )
    code = exit_code(verdict, evidence, interrupted=result.interrupted)
    unwritten = write_all(lambda: write_verdict(folder, verdict, evidence, code))
    try:
        write_reports(folder, run, history, verdict, evidence)
    except StoreError as error:
        unwritten = tuple(dict.fromkeys((*unwritten, str(error))))
    except Exception as error:  # noqa: BLE001 - a failed rendering must not lose the verdict
        unwritten = (
            *unwritten,
            f"the report could not be written: {type(error).__name__}: {error}",
        )
        progress.say(unwritten[-1])
    if unwritten:
        trouble = tuple(dict.fromkeys((*evidence.trouble, *unwritten)))
        evidence = msgspec.structs.replace(evidence, trouble=trouble)
        code = exit_code(verdict, evidence, interrupted=result.interrupted)
        write_all(lambda: write_verdict(folder, verdict, evidence, code))
    if code == 0 and not request.keep:
        folder.discard_nodes()
    return Outcome(
        run=run, folder=folder, history=history, evidence=evidence, verdict=verdict, exit_code=code
    )


def write_all(*acts: Callable[[], object]) -> tuple[str, ...]:
    """Call every function; return the texts of the StoreErrors they raised, each once."""
    refusals: dict[str, None] = {}
    for act in acts:
        try:
            act()
        except StoreError as error:
            refusals.setdefault(str(error))
    return tuple(refusals)


class SyncedProgress:
    """A progress listener that fsyncs the history at the end of every phase, and forwards all."""

    def __init__(self, inner: Progress, folder: RunFolder) -> None:
        self._inner = inner
        self._folder = folder

    def phase(self, name: str) -> None:
        """Fsync what the previous phase recorded, and forward."""
        self._folder.sync_history()
        self._inner.phase(name)

    def say(self, line: str) -> None:
        """Forward to the inner listener."""
        self._inner.say(line)

    def op(self, op: Op) -> None:
        """Forward to the inner listener."""
        self._inner.op(op)


def describe_run(request: Request, folder: RunFolder, now: datetime) -> Run:
    """Return run.json: what identifies the run and is needed to repeat it."""
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
    """Return schedule.json: the executed faults, with the seed they were drawn from."""
    return {"format": SCHEDULE_FORMAT, "run": run.id, "seed": run.seed, "faults": schedule}


def command_line() -> tuple[str, ...]:
    """Return the command line of this process, with the program's bare name."""
    return ("squall", *relative(sys.argv[1:], Path.cwd()))


def relative(words: Sequence[str], here: Path) -> list[str]:
    """Rewrite absolute paths relative to `here`, so that the line works on other machines.

    A store outside `here` is left as it is: it has no influence on the run.
    """
    found: list[str] = []
    for at, word in enumerate(words):
        option, assigned, value = word.partition("=") if word.startswith("--") else ("", "", word)
        named = option if assigned else (words[at - 1] if at else "")
        if value.startswith("/") and (Path(value).is_relative_to(here) or named == NODE_SOURCE):
            value = os.path.relpath(value, here)
        found.append(f"{option}{assigned}{value}" if option else value)
    return found
