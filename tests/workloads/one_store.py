"""A store in one piece that answers a workload's clients, and the history that they then record.

No network, no faults, one request after the other: what a workload says of it must be valid. `lies`
are functions that may change an answer; what a workload says of those must not be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from squall.checkers.history import History, Op, OpType
from squall.workloads.client import (
    Compact,
    CompactAnswer,
    Compare,
    Definite,
    Delete,
    DeleteAnswer,
    Indefinite,
    KeyValue,
    Put,
    PutAnswer,
    Range,
    RangeAnswer,
    Txn,
    TxnAnswer,
)
from squall.workloads.generator import Context, Drain, Generator, Invocation
from squall.workloads.workload import Script

NODES = ("n1", "n2", "n3")

Lie = Callable[[Any, Any], Any]
"""(request, answer) -> the answer that the client gets, or an exception to raise."""


class Free(NamedTuple):
    process: int
    node: str


class OneStore:
    """An etcd of one node: keys, revisions, the past, compactions."""

    node = "n1"

    def __init__(self, lie: Lie | None = None) -> None:
        self.past: list[dict[bytes, KeyValue]] = [{}, {}]  # what each revision left
        self.compacted = 0
        self.asked: list[Any] = []
        self.lie = lie

    @property
    def revision(self) -> int:
        return len(self.past) - 1

    def at(self, revision: int, request: Any) -> Any:
        """Answer a request as it would have been answered long ago; change nothing."""
        past = OneStore()
        past.past = self.past[: revision + 1] or [{}]
        return past._apply(request, dict(past.past[-1]))[0]

    def apply(self, request: Any) -> Any:
        """Do a request; raises Definite where etcd refuses."""
        keys = dict(self.past[-1])
        answer, changed = self._apply(request, keys)
        if changed:
            self.past.append(keys)
        return answer

    async def call(self, request: Any) -> Any:
        self.asked.append(request)
        answer = self.apply(request)
        answer = self.lie(request, answer) if self.lie else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _apply(self, request: Any, keys: dict[bytes, KeyValue]) -> tuple[Any, bool]:
        now, new = self.revision, self.revision + 1
        if isinstance(request, Range):
            if 0 < request.revision < self.compacted or request.revision > now:
                raise Definite("etcdserver: mvcc: required revision is not there")
            held = self.past[request.revision] if request.revision else keys
            found = [held[key] for key in sorted(held) if within(key, request)]
            shown = tuple(found[: request.limit or None])
            return RangeAnswer(shown, len(found), len(shown) < len(found), now, 1), False
        if isinstance(request, Put):
            old = keys.get(request.key)
            created, version = (old.create_revision, old.version + 1) if old else (new, 1)
            keys[request.key] = KeyValue(request.key, request.value, created, new, version)
            return PutAnswer(new, None, 1), True
        if isinstance(request, Delete):
            gone = [key for key in keys if within(key, request)]
            for key in gone:
                del keys[key]
            return DeleteAnswer(len(gone), new if gone else now, (), 1), bool(gone)
        if isinstance(request, Compact):
            if request.revision <= self.compacted:
                raise Definite("etcdserver: mvcc: required revision has been compacted")
            self.compacted = request.revision
            return CompactAnswer(now, 1), False
        assert isinstance(request, Txn)
        held_all = all(holds(compare, keys) for compare in request.compares)
        done = [
            self._apply(one, keys) for one in (request.success if held_all else request.failure)
        ]
        changed = any(did for _, did in done)
        answers = tuple(answer for answer, _ in done)
        return TxnAnswer(held_all, new if changed else now, answers, 1), changed


def within(key: bytes, request: Range | Delete) -> bool:
    if request.range_end == b"\0":
        return key >= request.key
    if request.range_end:
        return request.key <= key < request.range_end
    return key == request.key


def holds(compare: Compare, keys: dict[bytes, KeyValue]) -> bool:
    found = keys.get(compare.key)
    if found is None and compare.target == "value":
        return False
    names = {"value": "value", "mod": "mod_revision", "create": "create_revision"}
    held: Any = getattr(found, names.get(compare.target, "version")) if found else 0
    operand: Any = compare.operand
    if compare.op in "<>":
        return bool(held < operand if compare.op == "<" else held > operand)
    return (held == operand) is (compare.op == "=")


def record(script: Script, store: OneStore, count: int, seed: int = 0) -> History:
    """Draw and do operations one after the other, then the final reads; return the history."""
    ops: list[Op] = []
    random = Random(seed)
    processes = [0, 1, 2]

    def drive(generator: Generator, most: int) -> None:
        for _ in range(most):
            free = tuple(Free(process, NODES[process % 3]) for process in processes)
            now_ns = ops[-1].time_ns if ops else 0
            answer = generator.next(Context(now_ns, free))
            if not isinstance(answer, Invocation):
                return
            invoke = Op(
                index=len(ops),
                time_ns=now_ns + 1 + random.randrange(1000),
                process=answer.process,
                type=OpType.INVOKE,
                f=answer.f,
                key=answer.key,
                value=answer.value,
                node=NODES[answer.process % 3],
                meta=answer.meta,
            )
            ops.append(invoke)
            ops.append(completion := _complete(script, store, invoke))
            generator.update(completion)
            if completion.type is OpType.INFO:
                processes[processes.index(answer.process)] += 3

    drive(script.load(), count)
    final = script.final()
    assert isinstance(final, Drain)
    drive(final, 10_000)
    return History(ops)


def _complete(script: Script, store: OneStore, invoke: Op) -> Op:
    value: Any = None
    error, meta = None, None
    try:
        done = asyncio.run(script.invoke(store, invoke))
        kind, value, error, meta = done.type, done.value, done.error, done.meta
    except Definite as refusal:
        kind, error = OpType.FAIL, str(refusal)
    except Indefinite as doubt:
        kind, error = OpType.INFO, str(doubt)
    return Op(
        index=invoke.index + 1,
        time_ns=invoke.time_ns + 500,
        process=invoke.process,
        type=kind,
        f=invoke.f,
        key=invoke.key,
        value=value,
        error=error,
        node=invoke.node,
        meta=meta,
    )
