"""A client of one simulated node: one request at a time, one attempt each.

The request travels to the node and the answer back, each with a delay from the client's stream. A
node that does not run refuses the connection, which is certain; one that dies while it has the
request leaves the outcome unknown; with one that is frozen or cut off the request times out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from squall.harness.sim.judge.trace import Kind
from squall.harness.sim.runtime import SimRuntime, SimTask, park
from squall.harness.sim.world.loop import Loop
from squall.harness.sim.world.node import SimNode
from squall.harness.sim.world.watches import SimStream, WatchExchange
from squall.harness.sim.world.world import SimWorld
from squall.workloads.client import Answer, Definite, Indefinite, Request, Watch

DELAY_US = 150
"""The least delay each way between a client and its node; up to three times that is drawn."""

_REQUEST, _REPLY = Kind.REQUEST, Kind.REPLY


class _Call:
    """One request in progress."""

    __slots__ = ("node", "outcome", "request", "task", "token")

    def __init__(self, node: SimNode, request: Request, task: SimTask[Any]) -> None:
        self.node = node
        self.request = request
        self.task = task  # that waits ...
        self.token = task.token  # ... for nothing but this
        self.outcome: Answer | Exception | None = None


class Exchange:
    """Carries requests and answers between clients and nodes."""

    def __init__(self, world: SimWorld, runtime: SimRuntime) -> None:
        self.runtime = runtime
        self._world = world
        self._append_trace = world.trace.append
        self._loop: Loop = world.loop
        self._clients = 0
        self._arrive = self._loop.register(self._on_arrive)
        self._return = self._loop.register(self._on_return)
        self.watches = WatchExchange(world, runtime, DELAY_US)

    def client(self, node: SimNode, timeout_ns: int) -> SimKv:
        """Open a connection to a node, with a stream of chance of its own."""
        self._clients += 1
        random = self._world.seeds.of("client", self._clients).random
        return SimKv(self, node, random, timeout_ns)

    def send(self, call: _Call, random: Callable[[], float]) -> None:
        """Put a request on its way."""
        self._loop.after(DELAY_US + int(2 * DELAY_US * random()), self._arrive, call, random)

    def _on_arrive(self, call: _Call, random: Callable[[], float]) -> None:
        node = call.node
        self._append_trace((self._loop.now_us, _REQUEST, node.number, 0, 0, call.request))

        def answered(outcome: Answer | Exception) -> None:
            delay_us = DELAY_US + int(2 * DELAY_US * random())
            self._loop.after(delay_us, self._return, call, outcome)

        if node.replica is not None:
            node.request(call.request, answered)
        else:
            answered(Definite("connection refused"))

    def _on_return(self, call: _Call, outcome: Any) -> None:
        revision = getattr(outcome, "revision", -1)
        now_us = self._loop.now_us
        self._append_trace((now_us, _REPLY, call.node.number, revision, 0, outcome))
        call.outcome = outcome
        self.runtime.resume(call.task, call.token)


class SimKv:
    """One connection to one node: `squall.workloads.client.Kv`."""

    def __init__(
        self, exchange: Exchange, node: SimNode, random: Callable[[], float], timeout_ns: int
    ) -> None:
        self.node = node.name
        self._exchange = exchange
        self._target = node
        self._random = random
        self._timeout_ns = timeout_ns

    async def call(self, request: Request) -> Answer:
        """Send one request and await its one answer; raises Definite or Indefinite."""
        runtime = self._exchange.runtime
        call = _Call(self._target, request, runtime.running())
        self._exchange.send(call, self._random)
        runtime.wake_late(call.task, call.token, self._timeout_ns)
        if not await park():
            raise Indefinite("timed out")
        outcome = call.outcome
        assert outcome is not None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def watch(self, request: Watch) -> SimStream:
        """Ask for a watch on a stream of its own."""
        return SimStream(self._exchange.watches, self._target, request, self._random)

    async def close(self) -> None:
        """Close the connection."""
