"""A data directory on a real file system. The only module of the storage that uses `os`.

Appended data stays in this process's memory until the sync of its file, which writes it and calls
fdatasync: so a SIGKILL loses exactly what was never synced, as a power failure would, and a missing
sync is found by a plain kill. Any failure is final (DiskError): after a failed fsync the kernel may
mark dirty pages clean, and a second fsync would report success for data that was lost.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

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

ZEROS: Final = bytes(1 << 20)
SYNC_EVERY_BYTES: Final = 1 << 20
MAX_OPEN_FILES: Final = 8  # the segment in use and a snapshot or two


class RealDisk:
    """A directory and the appended data in memory. Not for concurrent use.

    `mounts` maps folders of it to directories elsewhere (`--wal-dir`).
    """

    def __init__(self, root: str | Path, mounts: Mapping[str, Path] | None = None) -> None:
        self._root = Path(root)
        self._mounts = dict(mounts or {})
        self._pending: dict[str, list[tuple[int, bytes]]] = {}
        self._open: dict[str, int] = {}
        self._failure: DiskError | None = None
        self._actions: dict[type, Callable[[Any], None]] = {
            Create: self._create,
            Append: self._append,
            Sync: self._sync,
            SyncDir: self._sync_dir,
            Rename: self._rename,
            Remove: self._remove,
            Truncate: self._truncate,
        }

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, sorted; empty when it does not exist."""
        try:
            return sorted(entry.name for entry in self._at(path).iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._failed("list", path, error) from error

    def read(self, path: str) -> bytes:
        """The whole file, as far as it was synced."""
        try:
            return self._at(path).read_bytes()
        except OSError as error:
            raise self._failed("read", path, error) from error

    def makedirs(self, path: str) -> None:
        """Create a directory and its parents, durably."""
        try:
            missing = []
            directory = self._at(path)
            while not directory.is_dir():
                missing.append(directory)
                directory = directory.parent
            for directory in reversed(missing):
                directory.mkdir(mode=0o700, exist_ok=True)
                self._fsync_directory(directory.parent)
        except OSError as error:
            raise self._failed("create", path, error) from error

    def execute(self, ops: tuple[DiskOp, ...]) -> None:
        """Execute them in order; raises DiskError, and after a failure always."""
        if self._failure is not None:
            raise self._failure
        for operation in ops:
            try:
                self._actions[type(operation)](operation)
            except OSError as error:
                named = operation.source if type(operation) is Rename else operation.path  # type: ignore[union-attr]
                raise self._failed(type(operation).__name__.lower(), named, error) from error

    def write_file(self, path: str, pieces: list[bytes]) -> None:
        """Write and sync a file, not its directory; another thread may `execute` meanwhile."""
        try:
            with self._at(path).open("wb", buffering=0) as file:
                unsynced = 0
                for piece in pieces:
                    _write(file.fileno(), file.tell(), piece)
                    file.seek(len(piece), os.SEEK_CUR)
                    unsynced += len(piece)
                    if unsynced >= SYNC_EVERY_BYTES:
                        # In small steps, so that a sync of the WAL does not wait for all of it.
                        os.fdatasync(file.fileno())
                        unsynced = 0
                os.fsync(file.fileno())
        except OSError as error:
            raise self._failed("write", path, error) from error

    def map_file(self, path: str) -> mmap.mmap:
        """Return a file's content as mapped memory: read on access."""
        try:
            with self._at(path).open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise self._failed("map", path, error) from error

    def close(self) -> None:
        """Close all files; data that was not synced is dropped."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        self._pending.clear()

    def _at(self, path: str) -> Path:
        for folder, place in self._mounts.items():
            if path == folder or path.startswith(folder + "/"):
                return place / path[len(folder) + 1 :]
        return self._root / path

    def _failed(self, what: str, path: str, error: OSError) -> DiskError:
        self._failure = DiskError(
            f"cannot {what} {self._at(path)}: {error.strerror or error}. The node stops, "
            "because it cannot keep what it would promise; nothing unsaved was acknowledged. Free "
            "space or repair the disk, then start it again."
        )
        return self._failure

    def _descriptor(self, path: str) -> int:
        descriptor = self._open.get(path)
        if descriptor is None:
            while len(self._open) >= MAX_OPEN_FILES:
                os.close(self._open.pop(next(iter(self._open))))
            descriptor = self._open[path] = os.open(self._at(path), os.O_RDWR)
        return descriptor

    def _forget(self, path: str) -> None:
        self._pending.pop(path, None)
        descriptor = self._open.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)

    def _create(self, operation: Create) -> None:
        self._forget(operation.path)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
        descriptor = os.open(self._at(operation.path), flags, 0o600)
        self._open[operation.path] = descriptor
        # Real zeros, not a hole and not mere allocation: later syncs then move no metadata.
        for start in range(0, operation.size, len(ZEROS)):
            _write(descriptor, start, ZEROS[: operation.size - start])
        if operation.size:
            os.fsync(descriptor)

    def _append(self, operation: Append) -> None:
        self._pending.setdefault(operation.path, []).append((operation.offset, operation.data))

    def _sync(self, operation: Sync) -> None:
        descriptor = self._descriptor(operation.path)
        for offset, data in self._pending.pop(operation.path, ()):
            _write(descriptor, offset, data)
        os.fdatasync(descriptor)

    def _sync_dir(self, operation: SyncDir) -> None:
        self._fsync_directory(self._at(operation.path))

    def _rename(self, operation: Rename) -> None:
        self._forget(operation.source)
        self._forget(operation.target)
        self._at(operation.source).replace(self._at(operation.target))

    def _remove(self, operation: Remove) -> None:
        self._forget(operation.path)
        self._at(operation.path).unlink(missing_ok=True)

    def _truncate(self, operation: Truncate) -> None:
        self._pending.pop(operation.path, None)
        os.ftruncate(self._descriptor(operation.path), operation.size)

    def _fsync_directory(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write(descriptor: int, offset: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written
