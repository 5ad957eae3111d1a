"""The interpreter: turns a generator's answers into requests to a cluster, and both into history.

It keeps the rules on which every verdict rests. A logical process has at most one operation
outstanding. Its invocation is recorded before the request leaves, its completion after the answer
arrived. An operation of unknown outcome is `info`: its process invokes nothing further, and a new
process with a new connection takes its place at the same node. Each operation has a deadline on
this side; an answer that arrives after it is dropped, never used to narrow the window. An operation
that lasts by its nature, as a watch does, states how much longer it may take.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Awaitable, Callable

from squall.checkers.history import Op, OpType
from squall.harness.cluster import Client
from squall.harness.run.context import RunContext
from squall.harness.run.options import NS_PER_MS
from squall.workloads.client import Definite, Indefinite, Kv
from squall.workloads.generator import PENDING, Answer, Context, Generator, Invocation, Pending
from squall.workloads.workload import Completion

REST_NS = 250 * NS_PER_MS
"""How long a client pauses that was refused or not answered.

The clients of a dead node fail at once; were they free again at once, they would use up the rate
and leave none for the running nodes.
"""

STOP_POLL_NS = 100 * NS_PER_MS
"""How long an idle interpreter may take to notice that `stop` is set."""

Step = Callable[[Kv, Op], Awaitable[Completion]]


class Worker:
    """A slot for one logical process after another; it lasts as long as the run."""

    __slots__ = ("client", "node", "op", "process")

    def __init__(self, process: int, node: str) -> None:
        self.process = process
        self.node = node
        self.client: Client | None = None
        self.op: Op | None = None


class Interpreter:
    """Drives generators over a fixed set of workers, spread over all nodes in turn."""

    def __init__(self, context: RunContext, step: Step, reads: frozenset[str]) -> None:
        self._context = context
        self._step = step
        self._reads = reads
        nodes = context.cluster.nodes
        self._concurrency = context.options.concurrency
        self._workers = [Worker(at, nodes[at % len(nodes)]) for at in range(self._concurrency)]
        self._free = list(self._workers)
        self._generator_context = Context(free=self._free)
        self._deadlines: deque[tuple[int, Worker, Op]] = deque()
        self._late_deadlines: list[tuple[int, int, Worker, Op]] = []  # a heap of later deadlines
        self._wake = context.runtime.event()
        self._firm = False  # whether it waits for a time that no completion brings forward
        self._generator: Generator | None = None

    async def run(self, generator: Generator, *, heed_stop: bool = True) -> None:
        """Drive a generator until it is exhausted, or `stop` is set; then wait for what is open."""
        self._generator = generator
        while not (heed_stop and self._context.stop.is_set()):
            answer = self._ask(generator)
            if answer is None:
                break
            if type(answer) is Invocation:
                self._launch(answer)
            else:
                assert type(answer) is Pending
                await self._wait(answer.until_ns, firm=answer.firm)
        while len(self._free) < len(self._workers):
            await self._wait(None)
        self._generator = None

    async def hang_up(self) -> None:
        """Close every connection; the next operation of a worker opens a new one."""
        for worker in self._workers:
            client, worker.client = worker.client, None
            if client is not None:
                await client.close()

    def _ask(self, generator: Generator) -> Answer:
        if not self._free:
            return PENDING
        asked = self._generator_context
        asked.now_ns = self._context.runtime.now_ns()
        asked.busy = len(self._workers) - len(self._free)
        return generator.next(asked)

    async def _wait(self, until_ns: int | None, *, firm: bool = False) -> None:
        """Wait for a completion (unless firm), a deadline or a time; expire what is overdue."""
        now_ns = self._context.runtime.now_ns()
        wake_ns = now_ns + STOP_POLL_NS
        if until_ns is not None:
            wake_ns = min(wake_ns, until_ns)
        deadlines = self._deadlines
        while deadlines and deadlines[0][1].op is not deadlines[0][2]:
            deadlines.popleft()  # completed in time
        if deadlines:
            wake_ns = min(wake_ns, deadlines[0][0])
        if self._late_deadlines:
            wake_ns = min(wake_ns, self._late_deadlines[0][0])
        if wake_ns > now_ns:
            self._firm = firm
            await self._wake.wait(wake_ns - now_ns)
            self._firm = False
        self._wake.clear()
        self._expire()

    def _launch(self, invocation: Invocation) -> None:
        context = self._context
        worker = self._take(invocation.process)
        op = context.recorder.invoke(
            worker.process,
            invocation.f,
            key=invocation.key,
            value=invocation.value,
            node=worker.node,
            meta=invocation.meta,
        )
        worker.op = op
        until_ns = op.time_ns + context.options.op_timeout_ns
        if invocation.extra_time_ns:
            until_ns += invocation.extra_time_ns
            heapq.heappush(self._late_deadlines, (until_ns, op.index, worker, op))
        else:
            self._deadlines.append((until_ns, worker, op))
        context.runtime.spawn(self._perform(worker, op), "op")

    def _take(self, process: int) -> Worker:
        for at, worker in enumerate(self._free):
            if worker.process == process:
                return self._free.pop(at)
        raise AssertionError(f"process {process} is not free")

    async def _perform(self, worker: Worker, op: Op) -> None:
        """Do one operation; every error becomes one of the three outcomes."""
        client = worker.client
        completion: Completion
        try:
            if client is None:
                client = await self._connect(worker, op)
            completion = await self._step(client, op)
        except Definite as error:
            completion = Completion(type=OpType.FAIL, error=str(error))
        except Indefinite as error:
            completion = Completion(type=OpType.INFO, error=str(error))
        except Exception as error:  # noqa: BLE001 - unclassified: unknown outcome, and trouble of ours
            words = f"unclassified {type(error).__name__}: {error}"
            completion = Completion(type=OpType.INFO, error=words)
            self._context.note_trouble(f"op {op.index} ({op.f}): {words}")
        if worker.op is op:  # otherwise its deadline passed: the answer came too late to count
            self._complete(worker, op, completion)

    async def _connect(self, worker: Worker, op: Op) -> Client:
        """Open a connection; a failure proves that no request was sent."""
        try:
            client = await self._context.cluster.client(worker.node)
        except Indefinite as error:
            raise Definite(f"no connection: {error}") from error
        if worker.op is op:
            worker.client = client
        else:
            await client.close()
        return client

    def _complete(self, worker: Worker, op: Op, completion: Completion) -> None:
        outcome = completion.type
        unknown = outcome is OpType.INFO
        if unknown and op.f in self._reads:
            outcome = OpType.FAIL  # a read has no effect: it certainly did not happen
        context = self._context
        completed = context.recorder.complete(
            op, outcome, value=completion.value, error=completion.error, meta=completion.meta
        )
        worker.op = None
        if outcome is OpType.OK:
            context.oks += 1
        if unknown:
            self._hang_up(worker)
        if self._generator is not None:
            self._generator.update(completed)
        if outcome is OpType.INFO:
            worker.process += self._concurrency
        context.progress.op(completed)
        if outcome is OpType.OK:
            self._release(worker)
        else:
            context.runtime.spawn(self._rest(worker), "rest")

    async def _rest(self, worker: Worker) -> None:
        await self._context.runtime.sleep_ns(REST_NS)
        self._release(worker)

    def _release(self, worker: Worker) -> None:
        self._free.append(worker)
        if not self._firm:
            self._wake.set()

    def _expire(self) -> None:
        now_ns = self._context.runtime.now_ns()
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now_ns:
            self._give_up(*deadlines.popleft())
        late = self._late_deadlines
        while late and (late[0][0] <= now_ns or late[0][2].op is not late[0][3]):
            until_ns, _, worker, op = heapq.heappop(late)
            self._give_up(until_ns, worker, op)

    def _give_up(self, until_ns: int, worker: Worker, op: Op) -> None:
        """Complete an operation whose deadline has passed, if it is still open."""
        if worker.op is op:
            words = f"no answer within {(until_ns - op.time_ns) // NS_PER_MS} ms"
            self._complete(worker, op, Completion(type=OpType.INFO, error=words))

    def _hang_up(self, worker: Worker) -> None:
        client, worker.client = worker.client, None
        if client is not None:
            self._context.runtime.spawn(client.close(), "hang up")
