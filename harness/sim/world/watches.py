"""Watches in the simulator: a client's stream, the node's end of it, and the connection between.

The node's end is the node's own `WatchStream`, used as the API uses it: it is woken by writes and
takes its next answer only while the window has room. The window counts answers on the way to the
client or not yet taken by it; so a slow client holds its node back, its watch falls behind and
catches up from the history. Within one direction everything arrives in the order in which it was
sent. The streams of a killed node break; those of a frozen one fall silent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any

from squall.harness.sim.judge.trace import Kind
from squall.harness.sim.runtime import SimRuntime, SimTask, park
from squall.harness.sim.world.api import NodeApi, to_key_value
from squall.harness.sim.world.loop import Loop
from squall.harness.sim.world.node import SimNode
from squall.harness.sim.world.world import SimWorld
from squall.node.mvcc.watch.stream import WatchAnswer, WatchStream
from squall.node.mvcc.watch.watchers import Event, Interest
from squall.workloads import client

MAX_REQUEST_BYTES = 1_572_864
"""The node's own limit: a larger answer would travel in fragments, if a client asked for them."""


class ClientMessage(Enum):
    """What a client may send on its stream after the first request."""

    TAKEN = 1  # one answer: there is room for another
    PROGRESS = 2
    CLOSE = 3


class Channel:
    """One direction of a connection: what is sent arrives later, in order."""

    __slots__ = ("_delay_us", "_kind", "_last_us", "_loop", "_random")

    def __init__(self, loop: Loop, kind: int, delay_us: int, random: Callable[[], float]) -> None:
        self._loop, self._kind, self._delay_us, self._random = loop, kind, delay_us, random
        self._last_us = 0

    def send(self, stream: SimStream, what: Any) -> None:
        """Put something on its way."""
        least = self._delay_us
        at_us = self._loop.now_us + least + int(2 * least * self._random())
        self._last_us = at_us = max(at_us, self._last_us)
        self._loop.at(at_us, self._kind, stream, what)


class NodeStream:
    """Serves one stream in a node's process, as the API's coroutine does."""

    def __init__(self, exchange: WatchExchange, server: NodeApi, stream: SimStream) -> None:
        self._exchange = exchange
        self._client = stream
        self._room = exchange.watch_limits.window
        self._awake = False
        self.closed = False
        self._watches = WatchStream(server.watches, MAX_REQUEST_BYTES, self._wake)
        request = stream.request
        self._watches.create(
            Interest(
                key=request.key,
                range_end=request.range_end,
                start_revision=request.start_revision,
                no_put=request.no_put,
                no_delete=request.no_delete,
                prev_kv=request.prev_kv,
            ),
            progress_notify=request.progress_notify,
        )
        server.streams[self] = None

    def handle(self, server: NodeApi, message: ClientMessage) -> None:
        """Handle a message of the client."""
        if self.closed:
            return
        if message is ClientMessage.CLOSE:
            self.closed = True
            del server.streams[self]
            self._watches.close()
        elif message is ClientMessage.PROGRESS:
            self._watches.request_progress()
        else:
            self._room += 1
            self._wake()

    def flush(self) -> None:
        """Send what is due while there is room."""
        self._awake = False
        while not self.closed and self._room and (answer := self._watches.take()) is not None:
            self._room -= 1
            self._client.to_client.send(self._client, to_watch_answer(answer))

    def notify(self) -> None:
        """Send progress to a watch that asked for notifications and was sent nothing."""
        if not self.closed:
            self._watches.notify_progress()

    def hang_up(self) -> None:
        """Break the stream: the process is gone, and asks the store for nothing more."""
        self.closed = True
        self._client.to_client.send(self._client, client.Indefinite("the connection was reset"))

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            self._exchange.flush_soon(self._client)


class SimStream:
    """A client's watch in progress: `squall.workloads.client.WatchStream`."""

    def __init__(
        self,
        exchange: WatchExchange,
        node: SimNode,
        request: client.Watch,
        random: Callable[[], float],
    ) -> None:
        self.node = node
        self.request = request
        self.random = random
        self.to_node = exchange.to_node(random)
        self.to_client = exchange.to_client(random)
        self.end: NodeStream | None = None
        self._runtime = exchange.runtime
        self._window = exchange.watch_limits.window
        self._begun_ns = self._runtime.now_ns()
        self._arrived: deque[client.WatchAnswer] = deque()
        self._broken: Exception | None = None
        self._closed = False
        self._waiter: SimTask[Any] | None = None
        self._token = 0
        self.to_node.send(self, request)

    @property
    def elapsed_ns(self) -> int:
        """How long ago the watch was asked for."""
        return self._runtime.now_ns() - self._begun_ns

    async def next(self, timeout_ns: int) -> client.WatchAnswer | None:
        """Await the next answer; None if none came in time."""
        if not self._arrived and self._broken is None:
            task = self._runtime.running()
            self._waiter, self._token = task, task.token
            self._runtime.wake_late(task, task.token, timeout_ns)
            await park()
            self._waiter = None
        if self._arrived:
            self.to_node.send(self, ClientMessage.TAKEN)
            return self._arrived.popleft()
        if self._broken is not None:
            raise self._broken
        return None

    async def ask_progress(self) -> None:
        """Ask for a promise of progress."""
        if self._broken is None:
            self.to_node.send(self, ClientMessage.PROGRESS)

    async def rest(self, duration_ns: int) -> None:
        """Take no answer for a while."""
        await self._runtime.sleep_ns(duration_ns)

    async def close(self) -> None:
        """End the watch."""
        if not self._closed:
            self._closed = True
            self._arrived.clear()
            if self._broken is None:
                self._broken = client.Indefinite("the watch was closed by its own side")
                self.to_node.send(self, ClientMessage.CLOSE)

    def receive(self, what: client.WatchAnswer | Exception) -> None:
        """Handle what has arrived from the node."""
        if self._closed:
            return
        if isinstance(what, Exception):
            self._broken = what
        else:
            self._arrived.append(what)
            assert len(self._arrived) <= self._window, "the node sent more than there is room for"
        if self._waiter is not None:
            self._runtime.resume(self._waiter, self._token)


class WatchExchange:
    """Carries the messages of clients and nodes on their streams."""

    def __init__(self, world: SimWorld, runtime: SimRuntime, delay_us: int) -> None:
        self.runtime = runtime
        self.watch_limits = world.watch_limits
        self._loop: Loop = world.loop
        self._note = world.trace.note
        self._delay_us = delay_us
        self._to_node = self._loop.register(self._on_request)
        self._to_client = self._loop.register(self._on_answer)
        self._flush = self._loop.register(self._on_flush)
        self._notify = self._loop.register(self._on_notify)

    def to_node(self, random: Callable[[], float]) -> Channel:
        """Return a line from a client to its node."""
        return Channel(self._loop, self._to_node, self._delay_us, random)

    def to_client(self, random: Callable[[], float]) -> Channel:
        """Return a line from a node to its client."""
        return Channel(self._loop, self._to_client, self._delay_us, random)

    def flush_soon(self, stream: SimStream) -> None:
        """Have a node's end look for answers some time after it was woken, as a process does."""
        delay_us = int(self.watch_limits.wake_us * stream.random())
        self._loop.after(delay_us, self._flush, stream, stream.node.epoch)

    def _attend(self, node: SimNode, act: Callable[[NodeApi], None]) -> bool:
        """Have a node's process do something for a stream; False if there is none."""
        if node.api is None:
            return False
        if node.paused:
            node.defer(self._attend, node, act)
            return True
        try:
            act(node.api)
        except Exception as error:  # noqa: BLE001 - a broken node is what we look for
            node.die(error)
        return True

    def _on_request(self, stream: SimStream, what: Any) -> None:
        node = stream.node
        if isinstance(what, client.Watch):
            self._note(self._loop.now_us, Kind.REQUEST, node.number, 0, 0, what)
            if not self._attend(node, lambda server: self._open(server, stream)):
                stream.to_client.send(stream, client.Definite("connection refused"))
        elif stream.end is not None:
            end = stream.end
            self._attend(node, lambda server: end.handle(server, what))

    def _open(self, server: NodeApi, stream: SimStream) -> None:
        stream.end = NodeStream(self, server, stream)
        self._loop.after(self.watch_limits.progress_us, self._notify, stream, stream.node.epoch)

    def _on_answer(self, stream: SimStream, what: Any) -> None:
        revision = getattr(what, "revision", -1)
        self._note(self._loop.now_us, Kind.REPLY, stream.node.number, revision, 0, what)
        stream.receive(what)

    def _on_flush(self, stream: SimStream, epoch: int) -> None:
        end = stream.end
        if end is not None and epoch == stream.node.epoch:
            self._attend(stream.node, lambda _: end.flush())

    def _on_notify(self, stream: SimStream, epoch: int) -> None:
        end, node = stream.end, stream.node
        if end is None or end.closed or epoch != node.epoch:
            return
        if not node.paused:
            self._attend(node, lambda _: end.notify())
        self._loop.after(self.watch_limits.progress_us, self._notify, stream, epoch)


def to_watch_answer(answer: WatchAnswer) -> client.WatchAnswer:
    """Translate one answer of a watch into the client's struct."""
    return client.WatchAnswer(
        revision=answer.revision,
        events=tuple(map(_event, answer.events)),
        created=answer.created,
        canceled=answer.canceled,
        compact_revision=answer.compact_revision,
        cancel_reason=answer.cancel_reason,
    )


def _event(event: Event) -> client.WatchEvent:
    previous = event.previous
    return client.WatchEvent(
        deleted=not event.kv.version,
        kv=to_key_value(event.kv),
        prev_kv=to_key_value(previous) if previous is not None else None,
    )
