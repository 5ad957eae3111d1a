"""Writes a node's own snapshots beside its log, as the server's shell does.

The state is encoded after it was taken, while the node goes on applying; the file is written in two
halves and synced, while log batches are written too; only then is the replica informed. A kill at
any point leaves half a file under its temporary name, or a complete one that is not named yet.
`squall.node.server.snapshot_writer` is the counterpart on asyncio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from squall.harness.sim.world.disk import SimDisk
from squall.harness.sim.world.loop import Loop
from squall.node.replica import PendingSnapshot, Replica
from squall.node.storage import snapshot
from squall.node.storage.disk import Append, Create, DiskError, DiskOp, Sync


class SnapshotHost(Protocol):
    """What the writer needs of its node."""

    disk: SimDisk
    epoch: int
    paused: bool
    replica: Replica | None

    def defer(self, handler: Callable[..., Any], *arguments: Any) -> None:
        """Defer an event until the process is resumed."""
        ...

    def fail_by_disk(self, error: DiskError) -> None:
        """End by a failure of the disk."""
        ...

    def pump(self) -> None:
        """Carry out what the replica has to do."""
        ...


class SnapshotWriter:
    """Writes one snapshot at a time."""

    def __init__(self, node: SnapshotHost, loop: Loop) -> None:
        self._node = node
        self._loop = loop
        self._event = loop.register(self._on_time)

    def begin(self, pending: PendingSnapshot) -> None:
        """Begin to write a snapshot."""
        self._after((), self._encode, pending)

    def _after(self, ops: tuple[DiskOp, ...], step: Callable[..., None], *arguments: Any) -> None:
        node = self._node
        delay_us = 1 + node.disk.duration_us((*ops, Sync("")))
        self._loop.after(delay_us, self._event, (node.epoch, ops, step), arguments)

    def _on_time(
        self, due: tuple[int, tuple[DiskOp, ...], Callable[..., None]], arguments: tuple[Any, ...]
    ) -> None:
        node = self._node
        epoch, ops, step = due
        if epoch != node.epoch or node.replica is None:
            return
        if node.paused:
            node.defer(self._on_time, due, arguments)
            return
        try:
            node.disk.execute(ops)
        except DiskError as error:
            node.fail_by_disk(error)
            return
        step(*arguments)

    def _encode(self, pending: PendingSnapshot) -> None:
        path = snapshot.path_of(pending.term, pending.index) + snapshot.TEMPORARY
        pieces = snapshot.encode_file_in_pieces(pending.at, pending.sessions, list(pending.machine))
        content = b"".join(pieces)
        half = len(content) // 2
        begun = (Create(path, 0), Append(path, 0, content[:half]))
        ended = (Append(path, half, content[half:]), Sync(path))
        self._after(begun, self._after, ended, self._done, pending, path)

    def _done(self, pending: PendingSnapshot, path: str) -> None:
        node = self._node
        assert node.replica is not None
        stored = snapshot.StoredState(node.disk.read(path), pending.at)
        node.replica.snapshot_written(cast("bytes", stored))
        node.pump()
