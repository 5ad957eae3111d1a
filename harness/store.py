"""The store: one folder a run, and the folder is the product.

    store/<workload>/<UTC time>-<seed>/
      run.json        what suffices to repeat it       schedule.json  the faults as executed
      history.jsonl   one Op a line, as it happens     evidence.json  what the nodes left behind
      verdict.json    report.html  junit.xml  summary.md              nodes/  logs and data
    store/latest      the newest run of all; store/<workload>/latest the newest of its kind

Each Op reaches the operating system before its recording returns, so a controller that is killed
loses nothing it had recorded; a machine that loses power may lose what came after the last phase.
Everything but the history is written beside its place and renamed into it.
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

from checkers.evidence import Evidence
from checkers.history import Op
from checkers.jsonl import Reading, encode_header, encode_op, read_history
from checkers.run import Run
from checkers.verdict import Verdict
from harness.cluster import HarnessError

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
"""Of each node's log the report reads the last lines only; the folder has them all."""

RUNS_A_SECOND_MAX = 100
VERDICT_FORMAT = 1


class StoreError(HarnessError):
    """The store could not be written: full, read-only, or not there."""


class VerdictFile(msgspec.Struct, frozen=True, kw_only=True):
    """verdict.json: the verdict, the one word for it, and the exit code that went with it."""

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
        """Open the history for appending and write its header line; raises StoreError.

        A history without its header would be none: then there is no file either.
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
        """Append one Op; when this returns the operating system has it. Raises StoreError.

        After one failure every further Op is refused, so that none is missing in between, and the
        history ends with the last line that was written whole.
        """
        self._append(encode_op(op))

    def sync_history(self) -> None:
        """Make what was recorded so far durable; raises StoreError."""
        if self._history is not None:
            try:
                os.fsync(self._history)
            except OSError as error:
                raise explained(error, self.path) from error

    def end_history(self) -> None:
        """Make the history durable and close it; raises StoreError once it is closed."""
        if self._history is not None:
            try:
                self.sync_history()
            finally:
                os.close(self._history)
                self._history = None

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole, or not at all."""
        beside = self.path / f".{name}.new"
        try:
            beside.write_bytes(content)
            beside.replace(self.path / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise explained(error, self.path) from error

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as JSON that people can read."""
        self.write(name, pretty(value))

    def discard(self) -> None:
        """Remove a folder in which nothing was recorded."""
        assert not (self.path / HISTORY).exists(), "what happened is kept"
        shutil.rmtree(self.path, ignore_errors=True)

    def discard_nodes(self) -> None:
        """Drop the nodes' logs and data: nobody will need them."""
        shutil.rmtree(self.nodes, ignore_errors=True)

    def read_run(self) -> Run | None:
        """Return what identifies the run, if it was written."""
        found: Run | None = _read(self.path / RUN, Run)
        return found

    def read_evidence(self) -> Evidence | None:
        """Return the evidence, if the run lived to gather it."""
        found: Evidence | None = _read(self.path / EVIDENCE, Evidence)
        return found

    def read_verdict(self) -> VerdictFile | None:
        """Return the verdict, if there was one."""
        found: VerdictFile | None = _read(self.path / VERDICT, VerdictFile)
        return found

    def read_history(self) -> Reading:
        """Read the history; raises MalformedHistory, FileNotFoundError."""
        return read_history_file(self.path / HISTORY)

    def node_logs(self) -> dict[str, list[str]]:
        """Return the last lines of each node's log, where logs were kept."""
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
    """Encode a value as JSON that people can read."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def read_history_file(path: Path) -> Reading:
    """Read a history from any file; raises MalformedHistory, FileNotFoundError."""
    with path.open("rb") as lines:
        return read_history(lines, name=str(path))


class Store:
    """All runs, in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, workload: str, seed: int, now: datetime) -> RunFolder:
        """Make a new run's folder; raises StoreError."""
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
        """Let `latest` point at a run: it has begun to happen."""
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
    """Let a symbolic link point at a run; never at one moment is there none."""
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(os.path.relpath(target, link.parent))
    beside.replace(link)


def _read(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def explained(error: OSError, where: Path) -> StoreError:
    """Return the StoreError that says what a failed write to the store means, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"no space left for the store at {where}: free some, or choose another with --store"
        )
    return StoreError(f"the store at {where} cannot be written: {error.strerror}")
