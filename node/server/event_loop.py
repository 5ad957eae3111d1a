"""The event loop of a node, and the thread that waits for the disk.

uvloop where it is installed: a message between members then costs about half as much as on
asyncio's own loop. Nothing depends on it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from squall.node.storage.disk import Batch, Disk

try:
    from uvloop import new_event_loop as new_loop
except ImportError:
    from asyncio import new_event_loop as new_loop

__all__ = ["DiskThread", "new_loop"]

Done = Callable[[Batch, BaseException | None], None]


class DiskThread:
    """Executes batches in order; `done` is called in the loop, `observe` gets each one's seconds.

    A thread of its own, because an executor's overhead (a future in the thread, one in the loop,
    the chain between them) costs as much as the fsync itself.
    """

    def __init__(self, disk: Disk, observe: Callable[[float], None], done: Done) -> None:
        self._disk = disk
        self._observe = observe
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._busy = False
        self._idle = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    def write(self, batch: Batch) -> None:
        """Execute a batch; then `done` is called with what it raised, or None."""
        assert not self._busy, "the replica gave a second batch before the first was durable"
        self._busy = True
        self._idle.clear()
        self._batches.put(batch)

    async def close(self) -> None:
        """Wait until the batch in progress is durable, and end the thread."""
        if self._busy:
            await self._idle.wait()
        self._batches.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            error: BaseException | None = None
            began_s = time.perf_counter()
            try:
                self._disk.execute(batch.ops)
            except BaseException as raised:  # noqa: BLE001 - passed to `done`
                error = raised
            self._observe(time.perf_counter() - began_s)
            self._loop.call_soon_threadsafe(self._written, batch, error)

    def _written(self, batch: Batch, error: BaseException | None) -> None:
        self._busy = False
        self._idle.set()
        self._done(batch, error)
