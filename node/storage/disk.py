"""Disk operations as data: what to write, in which order, and when it must be durable.

The replica never touches a file. It passes a `Batch` of operations to its shell, which executes
them in order (on a real disk in a worker thread, or on the simulator's disk after some virtual
time) and then calls `replica.persisted(batch.id)`. Files are read only at start-up, directly.

Appended data is volatile until the `Sync` of its file: the real disk keeps it in the process's
memory until then, so that a SIGKILL loses exactly what was never synced. Paths are relative to the
node's data directory, with forward slashes.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Create(msgspec.Struct, frozen=True, array_like=True):
    """Make a file of `size` zero bytes (preallocated), truncating what was there."""

    path: str
    size: int = 0


class Append(msgspec.Struct, frozen=True, array_like=True):
    """Write `data` at `offset`."""

    path: str
    offset: int
    data: bytes


class Sync(msgspec.Struct, frozen=True, array_like=True):
    """fdatasync: everything appended to the file so far is durable."""

    path: str


class SyncDir(msgspec.Struct, frozen=True, array_like=True):
    """fsync the directory: created, renamed and removed names are durable."""

    path: str


class Rename(msgspec.Struct, frozen=True, array_like=True):
    """Atomically rename."""

    source: str
    target: str


class Remove(msgspec.Struct, frozen=True, array_like=True):
    """Unlink; a missing file is no error."""

    path: str


class Truncate(msgspec.Struct, frozen=True, array_like=True):
    """Cut the file to `size` bytes."""

    path: str
    size: int


DiskOp = Create | Append | Sync | SyncDir | Rename | Remove | Truncate


class Batch(msgspec.Struct, frozen=True):
    """Operations that become durable together, in order."""

    id: int
    ops: tuple[DiskOp, ...]


class DiskError(Exception):
    """A write or a sync failed (ENOSPC, EIO). The node must stop: it cannot make state durable."""


class Disk(Protocol):
    """A data directory."""

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, sorted; empty when it does not exist."""
        ...

    def read(self, path: str) -> bytes:
        """The whole file."""
        ...

    def makedirs(self, path: str) -> None:
        """Create a directory and its parents, durably."""
        ...

    def execute(self, ops: tuple[DiskOp, ...]) -> None:
        """Execute them in order; raises DiskError. Blocks: call it outside the event loop."""
        ...
