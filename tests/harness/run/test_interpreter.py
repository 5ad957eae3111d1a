"""The interpreter keeps the rules on which every verdict rests."""

from __future__ import annotations

from typing import Any

from squall.checkers.history import History, Op, OpType
from squall.harness.run.context import RunContext
from squall.harness.run.interpreter import Interpreter
from squall.harness.run.options import NS_PER_S, Options
from squall.harness.run.recorder import Recorder, Sink
from squall.harness.run.seeds import Seeds
from squall.workloads.client import Definite, Indefinite
from squall.workloads.generator import Answer, Context, Invocation
from squall.workloads.workload import Completion
from tests.harness.fake import MS, FakeCluster
from tests.harness.virtual import virtual_runtime
from tests.workloads.generators import Repeat


class Rig:
    """An interpreter over a fake cluster, with a client step given as a function."""

    def __init__(
        self,
        step: Any,
        *,
        concurrency: int = 2,
        count: int = 6,
        f: str = "write",
        extra_time_ns: int = 0,
        sink: Sink | None = None,
        unreachable: str = "",
    ) -> None:
        self.runtime = virtual_runtime()
        self.cluster = FakeCluster(self.runtime, nodes=3)
        if unreachable:
            self.cluster.client = self._refuse(unreachable)  # type: ignore[method-assign]
        self.context = RunContext(
            runtime=self.runtime,
            cluster=self.cluster,
            recorder=Recorder(self.runtime, sink),
            seeds=Seeds(1),
            options=Options(prefix="", concurrency=concurrency, op_timeout_ns=NS_PER_S),
            stop=self.runtime.event(),
            load_over=self.runtime.event(),
        )

        async def perform(kv: Any, op: Op) -> Completion:
            return await step(self.runtime, kv, op)

        self.interpreter = Interpreter(self.context, perform, frozenset({"read"}))

        def ask(context: Context) -> Answer:
            value = len(self.context.recorder.ops)
            return Invocation(context.free[0].process, f, "k", value, extra_time_ns=extra_time_ns)

        self.runtime.run(self.interpreter.run(Repeat(ask, count)))

    @staticmethod
    def _refuse(why: str) -> Any:
        async def client(node: str) -> Any:
            raise Indefinite(why)

        return client

    @property
    def ops(self) -> list[Op]:
        return self.context.recorder.ops


async def fine(runtime: Any, kv: Any, op: Op) -> Completion:
    await runtime.sleep_ns(10 * MS)
    return Completion(type=OpType.OK, value=op.value)


def test_workers_are_spread_over_all_nodes():
    """Every node is somebody's."""
    rig = Rig(fine, concurrency=6, count=12)
    assert {op.node for op in rig.ops} == {"n1", "n2", "n3"}


def test_a_process_has_one_operation_outstanding_at_most():
    """Invocations and completions of a process take turns, whatever the load."""
    rig = Rig(fine, concurrency=3, count=50)
    for process in range(3):
        types = [op.type for op in rig.ops if op.process == process]
        assert types == [OpType.INVOKE, OpType.OK] * (len(types) // 2)
    assert len(rig.ops) == 100


def test_an_invocation_is_recorded_before_its_request_leaves():
    """A request that nobody wrote down would be a write out of nowhere."""
    events: list[tuple[str, int]] = []

    async def step(runtime: Any, kv: Any, op: Op) -> Completion:
        events.append(("sent", op.index))
        return await fine(runtime, kv, op)

    def sink(op: Op) -> None:
        if op.type is OpType.INVOKE:
            events.append(("recorded", op.index))

    rig = Rig(step, concurrency=3, count=20, sink=sink)
    sent = [index for what, index in events if what == "sent"]
    assert sent == [op.index for op in rig.ops if op.type is OpType.INVOKE]
    assert all(events.index(("recorded", at)) < events.index(("sent", at)) for at in sent)


def test_after_info_the_process_retires_with_its_connection():
    """What nobody knows the end of stays open; its process never speaks again."""

    async def step(runtime: Any, kv: Any, op: Op) -> Completion:
        if op.index == 0:
            raise Indefinite("connection reset")
        return await fine(runtime, kv, op)

    rig = Rig(step, concurrency=1, count=4)
    processes = [op.process for op in rig.ops if op.type is OpType.INVOKE]
    assert processes == [0, 1, 1, 1]
    assert len(rig.cluster.doors) == 2
    assert rig.cluster.doors[0].closed


def test_a_refusal_is_a_fail_and_the_process_goes_on():
    """It never happened and never will."""

    async def step(runtime: Any, kv: Any, op: Op) -> Completion:
        raise Definite("etcdserver: no leader")

    rig = Rig(step, concurrency=1, count=3)
    assert [op.process for op in rig.ops] == [0] * 6
    assert [op.type for op in rig.ops[1::2]] == [OpType.FAIL] * 3
    assert rig.ops[1].error == "etcdserver: no leader"


def test_a_failed_read_is_a_fail_whatever_the_error():
    """A read has no effect that could come later."""

    async def step(runtime: Any, kv: Any, op: Op) -> Completion:
        raise Indefinite("deadline exceeded")

    rig = Rig(step, concurrency=1, count=2, f="read")
    assert [op.type for op in rig.ops[1::2]] == [OpType.FAIL] * 2


def test_an_error_nobody_foresaw_is_info_and_trouble_of_ours():
    """The safe side for the database, and no pass for us."""

    async def step(runtime: Any, kv: Any, op: Op) -> Completion:
        raise KeyError("oops")

    rig = Rig(step, concurrency=1, count=1)
    assert rig.ops[-1].type is OpType.INFO
    assert "unclassified KeyError" in (rig.ops[-1].error or "")
    assert "unclassified KeyError" in rig.context.trouble[0]


def test_an_answer_after_the_deadline_is_dropped():
    """Its window may not be narrowed by it: the operation stays info."""

    async def step(runtime: Any, kv: Any, op: Op) -> Completion:
        await runtime.sleep_ns(3 * NS_PER_S if op.index == 0 else 10 * MS)
        return Completion(type=OpType.OK)

    rig = Rig(step, concurrency=2, count=200)
    first = next(op for op in rig.ops if op.process == 0 and op.type is not OpType.INVOKE)
    assert first.type is OpType.INFO
    assert first.time_ns == NS_PER_S
    assert [op.type for op in rig.ops if op.process == 0] == [OpType.INVOKE, OpType.INFO]
    assert len(History(rig.ops).operations) == 200


def test_an_operation_that_lasts_by_its_nature_may_take_longer_but_not_for_ever():
    """A watch says how long it will take; the deadline comes after that."""

    async def step(runtime: Any, kv: Any, op: Op) -> Completion:
        await runtime.sleep_ns((100 if op.index == 0 else 3) * NS_PER_S)
        return Completion(type=OpType.OK)

    rig = Rig(step, concurrency=2, count=4, extra_time_ns=4 * NS_PER_S)
    endings = [op for op in rig.ops if op.type is not OpType.INVOKE]
    assert [op.type for op in endings].count(OpType.OK) == 3
    (late,) = [op for op in endings if op.type is OpType.INFO]
    assert late.time_ns == 5 * NS_PER_S
    assert late.error == "no answer within 5000 ms"


def test_clients_of_a_dead_node_do_not_take_the_whole_rate():
    """They fail at once, and rest before they ask again."""

    async def step(runtime: Any, kv: Any, op: Op) -> Completion:
        if op.node == "n1":
            raise Definite("connection refused")
        return await fine(runtime, kv, op)

    rig = Rig(step, concurrency=3, count=300)
    failed = sum(op.type is OpType.FAIL for op in rig.ops)
    assert 0 < failed < 30


def test_a_connection_that_cannot_be_opened_proves_that_nothing_was_sent():
    """So the operation failed; nobody needs to wonder."""
    sent: list[Op] = []

    async def step(runtime: Any, kv: Any, op: Op) -> Completion:
        sent.append(op)
        return await fine(runtime, kv, op)

    rig = Rig(step, concurrency=1, count=2, unreachable="no route to host")
    assert [op.type for op in rig.ops] == [OpType.INVOKE, OpType.FAIL] * 2
    assert rig.ops[-1].error == "no connection: no route to host"
    assert not sent
    assert not rig.context.trouble
