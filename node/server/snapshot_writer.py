"""Writes this node's own snapshots beside the log, without blocking requests.

The versions in a snapshot are immutable, so they are encoded a few hundred at a time between other
work of the event loop, and a thread writes them to a temporary file while the log goes on. Only the
rename is part of a batch of the log, which then names the snapshot. What other members need of it
is read from the file; it is not kept in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from squall.node.replica import PendingSnapshot
from squall.node.storage import snapshot
from squall.node.storage.real import RealDisk

Done = Callable[[bytes, BaseException | None], None]
"""Called with a durable draft's data, or with the error that prevented it."""


class SnapshotWriter:
    """Writes one draft at a time; `done` is called in the event loop."""

    def __init__(self, disk: RealDisk, done: Done) -> None:
        self._disk = disk
        self._done = done
        self._task: asyncio.Task[None] | None = None

    def begin(self, draft: PendingSnapshot | None) -> None:
        """Start writing a draft."""
        assert draft is not None
        assert self._task is None, "a second draft before the first was durable"
        self._task = asyncio.ensure_future(self._write(draft))

    async def close(self) -> None:
        """Abandon the draft; the next start removes its temporary file."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _write(self, draft: PendingSnapshot) -> None:
        data = b""
        failure: BaseException | None = None
        try:
            machine = []
            for piece in draft.machine:
                machine.append(piece)
                await asyncio.sleep(0)  # lets other tasks run
            path = snapshot.path_of(draft.term, draft.index) + snapshot.TEMPORARY
            pieces = snapshot.encode_file_in_pieces(draft.at, draft.sessions, machine)
            del machine
            await asyncio.to_thread(self._disk.write_file, path, pieces)
            stored = snapshot.StoredState(self._disk.map_file(path), draft.at)
            data = cast("bytes", stored)  # Raft slices it and asks for its length
        except Exception as error:  # noqa: BLE001 - passed to the node, which stops
            failure = error
        self._task = None
        self._done(data, failure)
