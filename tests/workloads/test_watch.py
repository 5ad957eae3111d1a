"""The watch workload: what its clients ask for, and what they make of a stream."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any, NamedTuple

import pytest

from squall.checkers.etcd.model import misshapen
from squall.checkers.history import Op, OpType
from squall.workloads.client import (
    Definite,
    DeleteAnswer,
    Indefinite,
    KeyValue,
    PutAnswer,
    RangeAnswer,
    TxnAnswer,
    Watch,
    WatchAnswer,
    WatchEvent,
)
from squall.workloads.generator import Context, Invocation
from squall.workloads.watch import WORKLOAD, WatchScript
from squall.workloads.workload import ScriptConfig

NODES = ("n1", "n2", "n3")
MS = 1_000_000


class Free(NamedTuple):
    process: int
    node: str = "n1"


CONTEXT = Context(0, tuple(Free(at, NODES[at % 3]) for at in range(6)))


def script(**options: Any) -> WatchScript:
    return WatchScript(Random, ScriptConfig(nodes=NODES, prefix="run/", options=options))


def completed(invocation: Invocation, value: Any, outcome: OpType = OpType.OK) -> Op:
    fields = {"index": 0, "time_ns": 0, "process": invocation.process, "type": outcome}
    return Op(**fields, f=invocation.f, key=invocation.key, value=value)


def drawn(load: Any, count: int) -> list[Invocation]:
    """Draw operations; changes succeed one after the other, watches end when the next begins."""
    found: list[Invocation] = []
    revision = 1
    for _ in range(count):
        invocation = load.next(CONTEXT)
        found.append(invocation)
        if invocation.f == "watch":
            answer = {"created": revision, "responses": [{"revision": revision, "progress": True}]}
        else:
            revision += invocation.f in ("put", "txn")
            answer = {"revision": revision}
        load.update(completed(invocation, answer))
    return found


def test_every_request_has_the_shape_that_the_checkers_read():
    ops = drawn(script().load(), 3000)
    assert {op.f for op in ops} == {"put", "delete", "txn", "range", "compact", "watch"}
    for op in ops:
        if op.f != "watch":
            assert misshapen(op.f, op.value) is None


def test_no_value_is_written_twice():
    values = []
    for op in drawn(script().load(), 3000):
        changes = [["put", op.value]] if op.f == "put" else op.value.get("then", [])
        values += [asked["value"] for f, asked in changes if f == "put"]
    assert len(values) == len(set(values)) > 1500


def test_a_transaction_changes_several_keys_and_puts_one_at_least():
    txns = [op.value for op in drawn(script().load(), 3000) if op.f == "txn"]
    for txn in txns:
        keys = [asked["key"] for _, asked in txn["then"]]
        assert len(keys) == len(set(keys)) >= 2
        assert any(f == "put" for f, _ in txn["then"])
    assert any("if" in txn for txn in txns)


def test_watches_ask_for_everything_that_can_be_asked_for():
    watches = [op.value for op in drawn(script().load(), 3000) if op.f == "watch"]
    for name in ("end", "start", "filters", "prev", "progress", "asks", "rest_ms"):
        having = sum(name in asked for asked in watches)
        assert 0 < having < len(watches), name


def test_a_watch_may_take_as_long_as_it_lasts():
    for op in drawn(script().load(), 300):
        assert op.extra_time_ns == op.value.get("lasts_ms", 0) * MS


def test_a_watch_goes_on_behind_what_an_earlier_one_was_sent_at_another_node():
    load = script(watchers=1.0, resumed=1.0).load()
    first = load.next(CONTEXT)
    while first.f != "watch":
        first = load.next(CONTEXT)
    events = [["put", "k01", 1, 5], ["put", "k02", 2, 7]]
    load.update(completed(first, {"created": 4, "responses": [{"revision": 9, "events": events}]}))
    second = load.next(CONTEXT)
    while second.f != "watch":
        second = load.next(CONTEXT)
    assert second.value["key"] == first.value["key"]
    assert second.value["start"] == max(8, first.value.get("start", 0))
    assert NODES[second.process % 3] != NODES[first.process % 3]


def test_clients_that_hold_watches_leave_others_to_write():
    load = script(watchers=0.5).load()
    busy = [load.next(CONTEXT) for _ in range(200)]
    assert sum(op.f == "watch" for op in busy) == 3, "of six clients"


def test_in_the_end_every_node_is_asked_for_all_keys_and_for_the_whole_history():
    run = script(compactions=0.0)
    drawn(run.load(), 50)
    drain, asked = run.final(), []
    while isinstance(found := drain.next(CONTEXT), Invocation):
        asked.append((NODES[found.process % 3], found.f, found.value.get("start")))
        drain.update(completed(found, {}))
    for node in NODES:
        assert [f for at, f, _ in asked if at == node] == ["range", "range", "watch"]
    assert {start for _, f, start in asked if f == "watch"} == {2}


class Stream:
    """A stream that gives what it was given, and then breaks or stays silent."""

    def __init__(self, *answers: WatchAnswer, broken: Exception | None = None) -> None:
        self.answers = list(answers)
        self.broken = broken
        self.elapsed_ns = 0
        self.asked = self.rested_ns = 0
        self.closed = False

    async def next(self, timeout_ns: int) -> WatchAnswer | None:
        if self.answers:
            self.elapsed_ns += MS
            return self.answers.pop(0)
        if self.broken is not None:
            raise self.broken
        self.elapsed_ns += timeout_ns
        return None

    async def ask_progress(self) -> None:
        self.asked += 1

    async def rest(self, duration_ns: int) -> None:
        self.elapsed_ns += duration_ns
        self.rested_ns += duration_ns

    async def close(self) -> None:
        self.closed = True


class Kv:
    """Answers every call alike, and has one stream."""

    node = "n1"

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.requests: list[Any] = []

    async def call(self, request: Any) -> Any:
        self.requests.append(request)
        return self.answer

    async def watch(self, request: Watch) -> Any:
        self.requests.append(request)
        return self.answer


def done(f: str, value: dict[str, Any], kv: Kv) -> Any:
    op = Op(index=0, time_ns=0, process=0, type=OpType.INVOKE, f=f, value=value)
    return asyncio.run(script().invoke(kv, op))


CREATED = WatchAnswer(4, created=True)


def put(key: bytes, value: bytes, mod: int, prev: bytes | None = None) -> WatchEvent:
    before = KeyValue(key, prev, 1, 1, 1) if prev is not None else None
    return WatchEvent(deleted=False, kv=KeyValue(key, value, mod, mod, 1), prev_kv=before)


def test_a_watch_ends_as_one_operation_with_all_it_was_sent():
    gone = WatchEvent(deleted=True, kv=KeyValue(b"run/k2", b"", 0, 6, 0))
    stream = Stream(CREATED, WatchAnswer(6, (put(b"run/k1", b"1", 5), gone)), WatchAnswer(7))
    kv = Kv(stream)
    ended = done("watch", {"key": "k", "end": "l", "start": 2, "lasts_ms": 50}, kv)
    assert kv.requests == [Watch(b"run/k", b"run/l", 2)]
    assert ended.type is OpType.OK
    assert ended.value == {
        "created": 4,
        "responses": [
            {"revision": 6, "events": [["put", "k1", 1, 5], ["delete", "k2", None, 6]]},
            {"revision": 7, "progress": True},
        ],
        "ended": "time",
    }
    assert stream.closed


def test_the_value_before_is_told_where_it_was_asked_for():
    stream = Stream(
        CREATED, WatchAnswer(6, (put(b"run/k1", b"2", 5, b"1"), put(b"run/k2", b"3", 6)))
    )
    ended = done("watch", {"key": "k", "end": "l", "prev": True, "lasts_ms": 50}, Kv(stream))
    (response,) = ended.value["responses"]
    assert response["events"] == [["put", "k1", 2, 5, 1], ["put", "k2", 3, 6, None]]


def test_a_broken_stream_is_what_it_was_sent_until_then():
    stream = Stream(CREATED, WatchAnswer(5, (put(b"run/k1", b"1", 5),)), broken=Indefinite("reset"))
    ended = done("watch", {"key": "k1", "lasts_ms": 9000}, Kv(stream))
    assert (ended.type, ended.value["ended"]) == (OpType.OK, "broken: reset")
    assert len(ended.value["responses"]) == 1


def test_a_watch_that_the_compaction_overtook_says_where_it_may_go_on():
    stream = Stream(CREATED, WatchAnswer(9, canceled=True, compact_revision=8))
    ended = done("watch", {"key": "k1", "start": 3, "lasts_ms": 50}, Kv(stream))
    assert (ended.value["ended"], ended.value["compacted"]) == ("compacted", 8)


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (Stream(broken=Definite("connection refused")), Definite),
        (Stream(), Indefinite),
        (Stream(WatchAnswer(4, created=True, canceled=True, cancel_reason="no")), Definite),
    ],
)
def test_a_watch_that_was_never_confirmed_is_none(stream, error):
    with pytest.raises(error):
        done("watch", {"key": "k1", "lasts_ms": 50}, Kv(stream))
    assert stream.closed


def test_a_slow_client_rests_and_one_that_wants_to_know_asks():
    answers = [WatchAnswer(at, (put(b"run/k1", b"1", at),)) for at in range(5, 13)]
    stream = Stream(CREATED, *answers)
    done("watch", {"key": "k1", "lasts_ms": 300, "rest_ms": 20, "asks": True}, Kv(stream))
    assert stream.rested_ns == 8 * 20 * MS
    assert stream.asked >= 3


def test_requests_are_answered_in_the_checkers_words():
    row = KeyValue(b"run/k1", b"7", 2, 3, 2)
    answer = done("range", {"key": "k", "end": "l"}, Kv(RangeAnswer((row,), 1, False, 9)))
    assert answer.value == {"revision": 9, "kvs": [["k1", 7, 2, 3, 2]], "count": 1}
    assert done("put", {"key": "k1", "value": 1}, Kv(PutAnswer(5))).value == {"revision": 5}
    gone = done("delete", {"key": "k1"}, Kv(DeleteAnswer(1, 6)))
    assert gone.value == {"revision": 6, "deleted": 1}
    txn = {"then": [["put", {"key": "k1", "value": 2}], ["delete", {"key": "k2"}]]}
    both = (PutAnswer(0), DeleteAnswer(0, 0))
    assert done("txn", txn, Kv(TxnAnswer(True, 7, both))).value == {
        "revision": 7,
        "succeeded": True,
        "answers": [{}, {"deleted": 0}],
    }


def test_watches_and_ranges_have_no_effect():
    assert WORKLOAD.reads == {"watch", "range"}
