"""Own snapshots, written beside the log instead of in front of it.

A snapshot of a large store takes a while to encode and to write, and nobody should wait for it: the
versions in it never change, so they are encoded a few hundred at a time between other turns of the
event loop, and a thread writes them to the temporary file while the log goes on. Only the renaming
goes into a batch of the log, which names the snapshot in turn. What other members may need of it is
then read from the file: it is not kept in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from squall.node.replica import Draft
from squall.node.storage import snapshot
from squall.node.storage.real import RealDisk

Done = Callable[[bytes, BaseException | None], None]
"""Told of a draft that is durable, with its data, or of what went wrong."""


class Drafting:
    """Writes one draft at a time; `done` is called in the loop."""

    def __init__(self, disk: RealDisk, done: Done) -> None:
        self._disk = disk
        self._done = done
        self._task: asyncio.Task[None] | None = None

    def begin(self, draft: Draft | None) -> None:
        """Begin to write a draft."""
        assert draft is not None
        assert self._task is None, "a second draft before the first was durable"
        self._task = asyncio.ensure_future(self._write(draft))

    async def close(self) -> None:
        """Leave a draft alone; what there is of it is removed at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _write(self, draft: Draft) -> None:
        data = b""
        failure: BaseException | None = None
        try:
            machine = []
            for piece in draft.machine:
                machine.append(piece)
                await asyncio.sleep(0)  # others' turn
            path = snapshot.path_of(draft.term, draft.index) + snapshot.TEMPORARY
            pieces = snapshot.encode_pieces(draft.at, draft.sessions, machine)
            del machine
            await asyncio.to_thread(self._disk.write_apart, path, pieces)
            stored = snapshot.StoredState(self._disk.mapped(path), draft.at)
            data = cast("bytes", stored)  # Raft slices it and asks for its length
        except Exception as error:  # noqa: BLE001 - the node's to judge
            failure = error
        self._task = None
        self._done(data, failure)
