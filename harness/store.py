"""The store: one folder for each run, with everything that is known of the run.

    store/<workload>/<UTC time>-<seed>/
      run.json        what is needed to repeat it      schedule.json  the faults as executed
      history.jsonl   one Op a line, as it happens     evidence.json  from logs and data
      verdict.json    report.html  junit.xml  summary.md              nodes/  logs and data
    store/latest      the newest run; store/<workload>/latest the newest of its workload

Each Op is written to the operating system before `record` returns, so a killed controller loses no
recorded Op; a power failure may lose the Ops since the last phase ended (the history is fsynced
then). Every other file is written under a temporary name and renamed. `squall.harness.retention`
says which runs `squall prune` removes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from squall.checkers.evidence import Evidence
from squall.checkers.formats.jsonl import Reading, encode_header, encode_op, read_history
from squall.checkers.history import Op
from squall.checkers.run import Run
from squall.checkers.verdict import Verdict
from squall.harness.cluster import HarnessError

HISTORY, RUN, VERDICT, EVIDENCE, SCHEDULE, REPORT, NODES = (
    "history.jsonl",
    "run.json",
    "verdict.json",
    "evidence.json",
    "schedule.json",
    "report.html",
    "nodes",
)
LATEST = "latest"
NODE_LOG = "node.log"
LOG_LINES_MAX = 20_000
"""The report reads only so many last lines of each node's log; the folder has them all."""

RUNS_A_SECOND_MAX = 100
VERDICT_FORMAT = 1


class StoreError(HarnessError):
    """The store could not be written: full, read-only, or missing."""


class VerdictFile(msgspec.Struct, frozen=True, kw_only=True):
    """verdict.json: the verdict, the word for it, and the exit code."""

    word: str
    exit_code: int
    verdict: Verdict
    format: int = VERDICT_FORMAT


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._history: int | None = None
        self._whole_bytes = 0  # of the history: up to the end of its last whole line
        self._failure: StoreError | None = None

    def __str__(self) -> str:
        return str(self.path)

    @property
    def nodes(self) -> Path:
        """Where each node's logs and data go."""
        return self.path / NODES

    @property
    def has_history(self) -> bool:
        """Whether anything was recorded."""
        return (self.path / HISTORY).exists()

    def begin_history(self, **header: Any) -> None:
        """Create the history and write its header line; raises StoreError.

        If the header cannot be written, no file is left: a history begins with its header.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        try:
            self._history = os.open(self.path / HISTORY, flags, 0o644)
        except OSError as error:
            raise explained(error, self.path) from error
        try:
            self._append(encode_header(**header))
        except StoreError:
            os.close(self._history)
            self._history = None
            (self.path / HISTORY).unlink()
            raise

    def record(self, op: Op) -> None:
        """Append one Op; on return the operating system has it. Raises StoreError.

        After a failure every further Op is refused, so that the history is a prefix of what was
        recorded; it ends with the last line that was written completely.
        """
        self._append(encode_op(op))

    def sync_history(self) -> None:
        """Fsync the history; raises StoreError."""
        if self._history is not None:
            try:
                os.fsync(self._history)
            except OSError as error:
                raise explained(error, self.path) from error

    def end_history(self) -> None:
        """Fsync and close the history; raises StoreError, after closing it."""
        if self._history is not None:
            try:
                self.sync_history()
            finally:
                os.close(self._history)
                self._history = None

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically; raises StoreError."""
        temporary = self.path / f".{name}.new"
        try:
            temporary.write_bytes(content)
            temporary.replace(self.path / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise explained(error, self.path) from error

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as indented JSON; raises StoreError."""
        self.write(name, pretty(value))

    def discard(self) -> None:
        """Remove a folder in which nothing was recorded."""
        assert not (self.path / HISTORY).exists(), "recorded operations are kept"
        shutil.rmtree(self.path, ignore_errors=True)

    def discard_nodes(self) -> None:
        """Remove the nodes' logs and data, which a valid run does not need."""
        shutil.rmtree(self.nodes, ignore_errors=True)

    def read_run(self) -> Run | None:
        """Return run.json; None if there is none. Raises StoreError."""
        found: Run | None = _read(self.path / RUN, Run)
        return found

    def read_evidence(self) -> Evidence | None:
        """Return the evidence; None if the run ended before collecting it. Raises StoreError."""
        found: Evidence | None = _read(self.path / EVIDENCE, Evidence)
        return found

    def read_verdict(self) -> VerdictFile | None:
        """Return the verdict; None if the run was not judged. Raises StoreError."""
        found: VerdictFile | None = _read(self.path / VERDICT, VerdictFile)
        return found

    def read_history(self) -> Reading:
        """Read the history; raises MalformedHistory, FileNotFoundError."""
        return read_history_file(self.path / HISTORY)

    def node_logs(self) -> dict[str, list[str]]:
        """Return the last LOG_LINES_MAX lines of each node's log that was kept."""
        logs: dict[str, list[str]] = {}
        for log in sorted(self.nodes.glob(f"*/{NODE_LOG}")):
            lines = log.read_text(errors="replace").splitlines()
            logs[log.parent.name] = lines[-LOG_LINES_MAX:]
        return logs

    def _append(self, line: bytes) -> None:
        assert self._history is not None, "the history is open"
        if self._failure is not None:
            raise self._failure
        left = line
        try:
            while left:
                left = left[os.write(self._history, left) :]
        except OSError as error:
            self._failure = explained(error, self.path)
            with contextlib.suppress(OSError):
                os.ftruncate(self._history, self._whole_bytes)
            raise self._failure from error
        self._whole_bytes += len(line)


def pretty(value: Any) -> bytes:
    """Encode a value as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def read_history_file(path: Path) -> Reading:
    """Read a history from any file; raises MalformedHistory, FileNotFoundError."""
    with path.open("rb") as lines:
        return read_history(lines, name=str(path))


class Store:
    """The directory of all runs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, workload: str, seed: int, now: datetime) -> RunFolder:
        """Create a new run's folder; raises StoreError."""
        stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        parent = self.root / workload
        try:
            parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(1, RUNS_A_SECOND_MAX + 1):
                again = f".{attempt}" if attempt > 1 else ""
                path = parent / f"{stamp}-{seed}{again}"
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                return RunFolder(path)
        except OSError as error:
            raise explained(error, self.root) from error
        raise StoreError(f"{parent} holds {RUNS_A_SECOND_MAX} runs of this second and seed already")

    def publish(self, folder: RunFolder) -> None:
        """Point both `latest` links at a run that has begun; raises StoreError."""
        try:
            _point(folder.path.parent / LATEST, folder.path)
            _point(self.root / LATEST, folder.path)
        except OSError as error:
            raise explained(error, self.root) from error

    def runs(self) -> Iterator[RunFolder]:
        """Yield every run, oldest first."""
        for run in sorted(self.root.glob(f"*/*/{RUN}"), key=lambda path: path.parent.name):
            if not run.parent.is_symlink():
                yield RunFolder(run.parent)


def _point(link: Path, target: Path) -> None:
    """Point a symbolic link at a run, atomically."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(target, link.parent))
    temporary.replace(link)


def _read(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def explained(error: OSError, where: Path) -> StoreError:
    """Return the StoreError for a failed write: the cause, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"no space left for the store at {where}: free some, or choose another with --store"
        )
    return StoreError(f"the store at {where} cannot be written: {error.strerror}")
