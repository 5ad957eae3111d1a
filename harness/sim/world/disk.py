"""A disk that loses what was not synced.

Durable and volatile content are kept apart, per file and per directory entry. A write is pending
until its file is synced; a created, renamed or removed name is pending until its directory is
synced. A crash decides about everything pending: of a file's writes none, a prefix or any subset
survives, and the last survivor may be torn at any byte, followed by what was there before or by
garbage; of a directory's changes a prefix survives, as with a journal. What was synced survives
always, except for `rot`.

This is stricter than most file systems on purpose: what holds here holds on them.
"""

from __future__ import annotations

from random import Random

import msgspec

from squall.node.storage.disk import (
    Append,
    Create,
    DiskError,
    DiskOp,
    Remove,
    Rename,
    Sync,
    SyncDir,
    Truncate,
)

_CREATE, _WRITE, _CUT = 0, 1, 2


UNBOUNDED = 1 << 40
"""More bytes than any simulated disk holds."""


class DiskFaults(msgspec.Struct, frozen=True, kw_only=True):
    """How a disk misbehaves. Times in microseconds; probabilities are per sync or per crash."""

    sync_us: int = 1_000
    sync_tail_us: int = 500
    stall_p: float = 0.0
    stall_us: int = 0
    error_p: float = 0.0
    capacity_bytes: int = UNBOUNDED
    tear_p: float = 0.5
    garbage_p: float = 0.0
    lose_p: float = 0.4


class _File:
    """A file's durable bytes, and the changes since."""

    __slots__ = ("durable", "pending", "size")

    def __init__(self) -> None:
        self.durable = bytearray()
        self.pending: list[tuple[int, int, bytes]] = []
        self.size = 0

    def content(self) -> bytes:
        if not self.pending:
            return bytes(self.durable)
        content = bytearray(self.durable)
        for change in self.pending:
            _change(content, change)
        return bytes(content)

    def sync(self) -> None:
        durable = self.durable
        for change in self.pending:
            kind, at, data = change
            if kind == _WRITE and at <= len(durable):
                durable[at : at + len(data)] = data
            else:
                _change(durable, change)
        self.pending.clear()

    def crash(self, rng: Random, faults: DiskFaults) -> str:
        """Decide which pending changes survive; returns a description of what did not, or ""."""
        pending = self.pending
        if not pending:
            return ""
        total = len(pending)
        if rng.random() < faults.lose_p:
            survivors = []
        elif rng.random() < 0.5:
            survivors = pending[: int(rng.random() * (total + 1))]
        else:
            survivors = [change for change in pending if rng.random() < 0.5]
        torn = ""
        if survivors and rng.random() < faults.tear_p:
            kind, at, data = survivors[-1]
            if kind == _WRITE and data:
                cut = int(rng.random() * len(data))
                rest = b""
                if rng.random() < faults.garbage_p:
                    rest = rng.randbytes(len(data) - cut)
                survivors = [*survivors[:-1], (kind, at, data[:cut] + rest)]
                garbage = ", with garbage behind" if rest else ""
                torn = f", the last torn after {cut} of {len(data)} bytes{garbage}"
        for change in survivors:
            _change(self.durable, change)
        self.pending = []
        self.size = len(self.durable)
        return f"{len(survivors)} of {total} unsynced writes survived{torn}"


class SimDisk:
    """One node's data directory: the `Disk` of `squall.node.storage.disk`, with a crash."""

    def __init__(self, rng: Random, faults: DiskFaults) -> None:
        self.faults = faults
        self.failed: DiskError | None = None
        self._rng = rng
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._pending_names: dict[str, list[tuple[str, str, _File | None]]] = {}
        self._fail_next: str | None = None

    # The node's interface.

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, sorted; empty when it does not exist."""
        prefix = path.rstrip("/") + "/" if path not in ("", ".") else ""
        below = {name[len(prefix) :] for name in self._names if name.startswith(prefix)}
        return sorted({name.split("/", 1)[0] for name in below})

    def read(self, path: str) -> bytes:
        """Return the whole file; raises FileNotFoundError."""
        try:
            return self._names[path].content()
        except KeyError:
            raise FileNotFoundError(path) from None

    def makedirs(self, path: str) -> None:
        """Do nothing: a directory exists as soon as a name is in it."""

    def execute(self, ops: tuple[DiskOp, ...]) -> None:
        """Carry out operations in order; raises DiskError, and after a failure always."""
        faults = self.faults
        if self.failed is not None:
            raise self.failed
        if self._fail_next is None and not faults.error_p and faults.capacity_bytes >= UNBOUNDED:
            for op in ops:
                self._apply(op)
            return
        for op in ops:
            self._do(op)

    def duration_us(self, ops: tuple[DiskOp, ...]) -> int:
        """Draw how long a batch takes: only syncs take time."""
        faults, random, total = self.faults, self._rng.random, 0
        for op in ops:
            kind = type(op)
            if kind is Sync or kind is SyncDir:
                total += faults.sync_us + int(random() * faults.sync_tail_us)
                if faults.stall_p and random() < faults.stall_p:
                    total += int(random() * faults.stall_us)
        return total

    # Faults.

    def crash(self, in_flight: tuple[DiskOp, ...] = ()) -> str:
        """Lose power: a random prefix of the batch in flight was done, and nothing pending is safe.

        Returns a description of what was lost or torn, "" if nothing was pending.
        """
        rng = self._rng
        done = int(rng.random() * (len(in_flight) + 1)) if in_flight else 0
        if self.failed is None:
            for op in in_flight[:done]:
                self._apply(op)
        words = [f"{done} of {len(in_flight)} operations in flight were done"] if in_flight else []
        for directory, changes in self._pending_names.items():
            kept = int(rng.random() * (len(changes) + 1))
            for change in changes[:kept]:
                _rename(self._durable_names, change)
            words.append(f"{kept} of {len(changes)} names in {directory} survived")
        self._pending_names = {}
        for name, file in self._durable_names.items():
            lost = file.crash(rng, self.faults)
            if lost:
                words.append(f"{name}: {lost}")
        self._names = dict(self._durable_names)
        self.failed = None
        self._fail_next = None
        return "; ".join(words)

    def fail_next_sync(self, reason: str) -> None:
        """Make the next sync fail (EIO, ENOSPC): the disk stays failed until a crash."""
        self._fail_next = reason

    def set_faults(self, faults: DiskFaults) -> None:
        """Set the faults from now on; a failure that was scheduled does not occur."""
        self.faults = faults
        self._fail_next = None

    def rot(self, path: str, offset: int, bit: int) -> None:
        """Flip one bit of the durable content: the one fault against which a sync does not help."""
        self._durable_names[path].durable[offset] ^= 1 << bit

    def files(self) -> dict[str, bytes]:
        """Everything as a reader would find it now, sorted by name: for the evidence."""
        return {name: self._names[name].content() for name in sorted(self._names)}

    def used_bytes(self) -> int:
        """Bytes in files, preallocated ones included."""
        return sum(file.size for file in self._names.values())

    # Implementation.

    def _do(self, op: DiskOp) -> None:
        faults = self.faults
        if type(op) is Sync or type(op) is SyncDir:
            if self._fail_next is not None:
                self._fail(self._fail_next)
            if faults.error_p and self._rng.random() < faults.error_p:
                self._fail("EIO: input/output error")
        elif faults.capacity_bytes < UNBOUNDED:
            grows = op.size if type(op) is Create else 0
            if type(op) is Append:
                file = self._names.get(op.path)
                grows = max(0, op.offset + len(op.data) - (file.size if file else 0))
            if grows and self.used_bytes() + grows > faults.capacity_bytes:
                self._fail("ENOSPC: no space left on device")
        self._apply(op)

    def _fail(self, reason: str) -> None:
        self.failed = DiskError(reason)
        raise self.failed

    def _apply(self, op: DiskOp) -> None:
        if type(op) is Append:  # almost everything is an Append or a Sync
            file, offset, data = self._names[op.path], op.offset, op.data
            file.pending.append((_WRITE, offset, data))
            if offset + len(data) > file.size:
                file.size = offset + len(data)
            return
        if type(op) is Sync:
            self._names[op.path].sync()
            return
        match op:
            case Create(path, size):
                file = self._names.get(path) or _File()
                file.size = size
                file.pending.append((_CREATE, size, b""))
                if path not in self._names:
                    self._rename_now(("link", path, file))
            case Rename(source, target):
                assert _directory(source) == _directory(target), (source, target)
                self._rename_now((source, target, self._names[source]))
            case Remove(path):
                if path in self._names:
                    self._rename_now(("unlink", path, None))
            case Truncate(path, size):
                file = self._names[path]
                file.pending.append((_CUT, size, b""))
                file.size = size
            case SyncDir(path):
                for change in self._pending_names.pop(path.rstrip("/"), []):
                    _rename(self._durable_names, change)
            case _:
                raise TypeError(f"the simulated disk knows no {op!r}")

    def _rename_now(self, change: tuple[str, str, _File | None]) -> None:
        _rename(self._names, change)
        self._pending_names.setdefault(_directory(change[1]), []).append(change)


def _rename(names: dict[str, _File], change: tuple[str, str, _File | None]) -> None:
    source, target, file = change
    if file is None:
        names.pop(target, None)
        return
    names[target] = file
    if source != "link":
        names.pop(source, None)


def _directory(path: str) -> str:
    return path.rpartition("/")[0]


def _change(content: bytearray, change: tuple[int, int, bytes]) -> None:
    kind, at, data = change
    if kind == _WRITE:
        if len(content) < at:
            content.extend(bytes(at - len(content)))
        content[at : at + len(data)] = data
    elif kind == _CREATE:
        content[:] = bytes(at)
    elif at <= len(content):
        del content[at:]
    else:
        content.extend(bytes(at - len(content)))
