"""The register workload: unique values, bounded keys, and honest answers."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, NamedTuple

import pytest

from squall.checkers.history import Op, OpType
from squall.workloads.client import (
    Compare,
    Definite,
    KeyValue,
    Put,
    PutAnswer,
    Range,
    RangeAnswer,
    Request,
    Txn,
    TxnAnswer,
)
from squall.workloads.generator import Context, Invocation
from squall.workloads.register import WORKLOAD, Register
from squall.workloads.workload import ScriptConfig

NODES = ("n1", "n2", "n3")


class Free(NamedTuple):
    process: int
    node: str = "n1"


CONTEXT = Context(0, tuple(Free(at, NODES[at % 3]) for at in range(6)))


def register(**options: Any) -> Register:
    return Register(Random, ScriptConfig(nodes=NODES, prefix="run/", options=options))


def completed(invocation: Invocation, outcome: OpType, value: Any = None) -> Op:
    return Op(
        index=0,
        time_ns=0,
        process=invocation.process,
        type=outcome,
        f=invocation.f,
        key=invocation.key,
        value=value,
    )


def drawn(script: Register, count: int, outcome: OpType = OpType.OK) -> list[Invocation]:
    """Draw operations, completing each at once as a store with one client would."""
    load, store, found = script.load(), {}, []
    for _ in range(count):
        invocation = load.next(CONTEXT)
        assert isinstance(invocation, Invocation)
        found.append(invocation)
        key, value = invocation.key, invocation.value
        answer: Any = store.get(key)
        if invocation.f == "write":
            answer = store[key] = value
        elif invocation.f == "cas":
            swapped = store.get(key) == value[0]
            answer = {"swapped": True} if swapped else {"swapped": False, "seen": store.get(key)}
            if swapped:
                store[key] = value[1]
        load.update(completed(invocation, outcome, answer))
    return found


def test_no_value_is_written_twice():
    """So every read names its writer."""
    written = [
        op.value if op.f == "write" else op.value[1]
        for op in drawn(register(), 3000)
        if op.f in ("write", "cas")
    ]
    assert len(written) == len(set(written)) > 1000


def test_a_compare_and_set_expects_what_was_last_seen():
    """Alone on a key, every one of them succeeds."""
    store: dict[Any, Any] = {}
    for op in drawn(register(), 2000):
        if op.f == "write":
            store[op.key] = op.value
        elif op.f == "cas":
            assert op.value[0] == store.get(op.key)
            store[op.key] = op.value[1]


def test_a_key_is_retired_after_a_bounded_number_of_operations():
    """What a checker's search grows with has a bound."""
    keys = [op.key for op in drawn(register(ops_per_key=20), 2000)]
    assert max(keys.count(key) for key in set(keys)) <= 25
    assert len(set(keys)) > 60


def test_a_key_is_left_alone_when_too_much_about_it_is_unknown():
    """Each operation of unknown end doubles what may have happened."""
    keys = [op.key for op in drawn(register(infos_per_key=3), 300, OpType.INFO)]
    assert max(keys.count(key) for key in set(keys)) == 3


def test_in_the_end_every_key_is_read_from_every_node_in_both_ways():
    """And the reads say that they are the final ones."""
    script = register()
    keys = {op.key for op in drawn(script, 200)}
    final, seen = script.final(), set()
    while isinstance(answer := final.next(CONTEXT), Invocation):
        node = NODES[answer.process % 3]
        seen.add((answer.key, node, answer.f))
        assert answer.meta == {"final": True}
        final.update(completed(answer, OpType.OK))
    assert seen >= {(k, n, f) for k in keys for n in NODES for f in ("read", "serializable-read")}
    assert final.missing == 0


class Scripted:
    """A connection that keeps what it was asked and gives prepared answers."""

    node = "n1"

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, []

    async def call(self, request: Request) -> Any:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def step(answer: Any, f: str, value: Any = None) -> tuple[Any, Request]:
    kv = Scripted(answer)
    op = Op(index=0, time_ns=0, process=0, type=OpType.INVOKE, f=f, key="r0", value=value)
    completion = asyncio.run(register().invoke(kv, op))
    return completion, kv.asked[0]


HELD = KeyValue(b"run/r0", b"7", 3, 5, 2)


def test_a_read_answers_an_integer_or_none():
    """Absent is None; the revisions are evidence."""
    found, asked = step(RangeAnswer((HELD,), 1, False, 9, 4), "read")
    assert (found.value, found.meta) == (7, {"revision": 9, "mod": 5, "term": 4})
    assert asked == Range(key=b"run/r0")
    found, asked = step(RangeAnswer((), 0, False, 9, 4), "serializable-read")
    assert (found.value, found.meta["mod"]) == (None, 0)
    assert asked == Range(key=b"run/r0", serializable=True)


def test_a_write_puts_the_digits():
    """And its own revision is the key's."""
    found, asked = step(PutAnswer(9, None, 4), "write", 12)
    assert (found.value, found.meta) == (12, {"revision": 9, "mod": 9, "term": 4})
    assert asked == Put(key=b"run/r0", value=b"12")


def test_a_refused_compare_and_set_is_ok_and_says_what_it_saw():
    """It is an answer, not an error."""
    seen = RangeAnswer((HELD,), 1, False, 0, 0)
    found, asked = step(TxnAnswer(False, 9, (seen,), 4), "cas", [6, 12])
    assert found.type is OpType.OK
    assert found.value == {"swapped": False, "seen": 7}
    assert found.meta["mod"] == 5
    assert isinstance(asked, Txn)
    assert asked.compares == (Compare(b"run/r0", "value", "=", b"6"),)


def test_a_compare_and_set_may_expect_that_nothing_is_there():
    """In etcd's words: it was never created."""
    found, asked = step(TxnAnswer(True, 9, (PutAnswer(9),), 4), "cas", [None, 12])
    assert found.value == {"swapped": True}
    assert isinstance(asked, Txn)
    assert asked.compares == (Compare(b"run/r0", "create", "=", 0),)


def test_errors_pass_through_to_whoever_classifies():
    """The workload does not guess what an error means."""
    with pytest.raises(Definite):
        step(Definite("etcdserver: no leader"), "write", 1)


def test_the_workload_says_what_it_is():
    """Name, sentence, options, and which operations have no effect."""
    assert WORKLOAD.name == "register"
    assert WORKLOAD.reads == {"read", "serializable-read"}
    assert {checker.name for checker in WORKLOAD.checkers(("kill",))} >= {"coverage"}
