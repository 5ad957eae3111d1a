"""A disk in memory that keeps what is durable apart from what is not, and can lose the latter.

Names and contents are volatile until their syncs, as on a real disk at its worst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from random import Random


class File:
    """One file: what is durable, and what was written behind it."""

    def __init__(self, size: int) -> None:
        self.durable = bytearray(size)
        self.content = bytearray(size)
        self.unsynced: list[tuple[int, bytes]] = []


class MemoryDisk:
    """Durable and volatile names, each name a file."""

    def __init__(self) -> None:
        self.names: dict[str, File] = {}
        self.durable_names: dict[str, File] = {}
        self.fail_next: str | None = None
        self.syncs = 0

    def listdir(self, path: str) -> list[str]:
        prefix = path + "/"
        return sorted(name.removeprefix(prefix) for name in self.names if name.startswith(prefix))

    def read(self, path: str) -> bytes:
        return bytes(self.names[path].content)

    def makedirs(self, path: str) -> None:
        pass

    def execute(self, ops: tuple[DiskOp, ...]) -> None:
        for operation in ops:
            self.do(operation)

    def do(self, operation: DiskOp) -> None:
        if self.fail_next is not None:
            raise DiskError(self.fail_next)
        match operation:
            case Create(path, size):
                self.names[path] = File(size)
            case Append(path, offset, data):
                file = self.names[path]
                _write(file.content, offset, data)
                file.unsynced.append((offset, data))
            case Sync(path):
                self.syncs += 1
                file = self.names[path]
                file.durable = bytearray(file.content)
                file.unsynced = []
            case SyncDir(path):
                prefix = path + "/"
                kept = {k: v for k, v in self.durable_names.items() if not k.startswith(prefix)}
                self.durable_names = kept | {
                    k: v for k, v in self.names.items() if k.startswith(prefix)
                }
            case Rename(source, target):
                self.names[target] = self.names.pop(source)
            case Remove(path):
                self.names.pop(path, None)
            case Truncate(path, size):
                del self.names[path].content[size:]

    def crash(self, rng: Random | None = None) -> None:
        """Lose what was not synced; with `rng` a random part of the last write survives, torn."""
        for file in self.durable_names.values():
            file.content = bytearray(file.durable)
            if rng is not None and file.unsynced:
                for offset, data in file.unsynced[: rng.randrange(len(file.unsynced) + 1)]:
                    _write(file.content, offset, data)
                offset, data = rng.choice(file.unsynced)
                if offset <= len(file.content) and offset == file.unsynced[0][0]:
                    _write(file.content, offset, data[: rng.randrange(len(data) + 1)])
            file.unsynced = []
            file.durable = bytearray(file.content)
        self.names = dict(self.durable_names)


def _write(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset + len(data):
        content.extend(bytes(offset + len(data) - len(content)))
    content[offset : offset + len(data)] = data
