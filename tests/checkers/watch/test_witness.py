"""What watches tell of unanswered requests: true in every run, and enough to judge most of them."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import msgspec
import pytest

from squall.checkers.etcd.model import Store
from squall.checkers.etcd.order import check_etcd_order, check_watched_order
from squall.checkers.history import History, Op, OpType
from squall.checkers.verdict import Validity
from squall.checkers.watch.coverage import check_watch_coverage
from squall.checkers.watch.end_state import check_watch_end
from squall.checkers.watch.rules import check_watches
from squall.checkers.watch.witness import witnessed

MS = 1_000_000


def op(time: int, process: int, kind: OpType, f: str, value: Any, **more: Any) -> Op:
    fields = {"time_ns": time * MS, "process": process, "type": kind, "f": f, "value": value}
    return Op(index=0, **fields, **more)


def request(random: Random, value: Any) -> tuple[str, dict[str, Any]]:
    draw, keys = random.random(), random.sample("abc", 2)
    if draw < 0.35:
        return "put", {"key": keys[0], "value": next(value)}
    if draw < 0.5:
        return "delete", {"key": keys[0]}
    if draw < 0.6:
        return "range", {"key": "a", "end": "d"}
    second = ["delete", {"key": keys[1]}]
    if random.random() < 0.6:
        second = ["put", {"key": keys[1], "value": next(value)}]
    txn = {"then": [["put", {"key": keys[0], "value": next(value)}], second]}
    if random.random() < 0.4:
        txn |= {"if": [[keys[0], "version", random.choice("=>"), 0]], "else": []}
    return "txn", txn


def events_of(store: Store, before: dict[str, Any]) -> list[list[Any]]:
    changed = sorted({key for key, _ in store.undo})
    found = []
    for key in changed:
        now = store.keys.get(key)
        if now is not None:
            found.append(["put", key, now[1], store.revision, before.get(key)])
        elif key in before:
            found.append(["delete", key, None, store.revision, before[key]])
    return found


def drawn(seed: int, count: int = 30) -> History:
    """A store under requests of which many are never answered, foreign writes, and one watch."""
    random, value = Random(seed), itertools.count(1)
    store, ops, story, late = Store(), [], [], []
    process = itertools.count()
    for at in range(count):
        f, asked = request(random, value)
        who, begun = next(process), at * 10
        ops.append(op(begun, who, OpType.INVOKE, f, asked))
        before = {key: kv[1] for key, kv in store.keys.items()}
        if random.random() < 0.3 and f != "range":
            late.append(op(begun + 9, who, OpType.INFO, f, None))
            ops.append(late.pop())
            if random.random() < 0.5:
                continue  # it never happens
            answer, changed = store.apply(f, asked)
        else:
            answer, changed = store.apply(f, asked)
            ops.append(op(begun + 5, who, OpType.OK, f, answer))
        if changed:
            story += [[store.revision, events_of(store, before)]]
        if random.random() < 0.1:
            store.revision += 1  # somebody changes what is no business of ours
    asked = {"key": "a", "end": "d", "start": 2, "prev": True}
    held = {"key": "a", "end": "d"}
    responses = [{"revision": mod, "events": events} for mod, events in story if events]
    told = {"created": 1, "responses": [*responses, {"revision": store.revision, "progress": True}]}
    last, final = count * 10, {"final": True}
    ops.append(op(last, 1000, OpType.INVOKE, "range", held, node="n1", meta=final))
    found = store.apply("range", held)[0]
    ops.append(op(last + 1, 1000, OpType.OK, "range", found, node="n1"))
    ops.append(op(last + 2, 1000, OpType.INVOKE, "watch", asked, node="n1", meta=final))
    ops.append(op(last + 3, 1000, OpType.OK, "watch", told, node="n1"))
    return History([msgspec.structs.replace(one, index=at) for at, one in enumerate(ops)])


@pytest.mark.parametrize("seed", range(60))
def test_a_right_store_is_never_accused_and_mostly_proved_right(seed: int) -> None:
    """Whoever was never answered is found by what it wrote."""
    history = drawn(seed)
    assert check_watches(history).validity is Validity.VALID
    assert check_watch_end(history).validity is Validity.VALID
    assert check_etcd_order(witnessed(history)).validity is not Validity.INVALID


@pytest.mark.parametrize("seed", range(120))
def test_a_right_store_is_not_accused_by_a_watch_that_was_not_sent_everything(seed: int) -> None:
    """What watches tell explains answers; where it contradicts them, the watch may be wrong."""
    random, history = Random(seed), drawn(seed)
    ops = list(history)
    answer = ops[-1].value
    sent = [one for one in answer["responses"] if one.get("events")]
    if not sent:
        return
    gone = random.sample(sent, random.randint(1, min(3, len(sent))))
    responses = [one for one in answer["responses"] if one not in gone]
    ops[-1] = msgspec.structs.replace(ops[-1], value={**answer, "responses": responses})
    verdict = check_watched_order(History(ops))
    assert verdict.validity is not Validity.INVALID
    assert not verdict.anomalies


def test_most_histories_are_decided_that_would_be_open_without_their_watch() -> None:
    """That is what it is for."""
    decided = without = 0
    for seed in range(60):
        history = drawn(seed)
        plain = History([one for one in history if one.f != "watch"])
        decided += check_etcd_order(witnessed(history)).validity is Validity.VALID
        without += check_etcd_order(plain).validity is Validity.VALID
    assert decided == 60
    assert without < decided


def simple(*answers: tuple[Any, OpType, Any], told: list[Any]) -> History:
    """Requests one after the other, and a watch that was told everything at the end."""
    ops = []
    for at, ((f, asked), outcome, answer) in enumerate(answers):
        ops.append(op(10 * at, at, OpType.INVOKE, f, asked))
        ops.append(op(10 * at + 5, at, outcome, f, answer))
    asked = {"key": "a", "end": "z", "start": 2}
    ops.append(op(500, 99, OpType.INVOKE, "watch", asked, meta={"final": True}))
    ops.append(op(510, 99, OpType.OK, "watch", {"created": 1, "responses": told}))
    return History([msgspec.structs.replace(one, index=at) for at, one in enumerate(ops)])


PUT = ("put", {"key": "a", "value": 1})


def test_a_request_that_was_seen_is_answered_at_the_end_of_the_history() -> None:
    """Nobody knows when it happened: its window is widened."""
    events = [["put", "a", 1, 2]]
    told = [{"revision": 2, "events": events}, {"revision": 2, "progress": True}]
    (one,) = witnessed(simple((PUT, OpType.INFO, None), told=told)).operations
    assert (one.outcome, one.output, one.completed_ns) == (OpType.OK, {"revision": 2}, 510 * MS)


def test_a_request_that_a_whole_history_does_not_show_had_no_part_in_it() -> None:
    """What was told up to the end does not hold it."""
    told = [{"revision": 1, "progress": True}]
    assert witnessed(simple((PUT, OpType.INFO, None), told=told)).operations == ()


def test_a_request_stays_open_where_the_history_was_compacted() -> None:
    """It may have happened before the first change that was told."""
    told = [{"revision": 9, "progress": True}]
    history = simple((PUT, OpType.INFO, None), told=told)
    late = [
        msgspec.structs.replace(one, value={**one.value, "start": 5})
        if one.f == "watch" and one.type is OpType.INVOKE
        else one
        for one in history
    ]
    assert [one.outcome for one in witnessed(History(late)).operations if one.process == 0] == [
        OpType.INFO
    ]


def test_a_deletion_was_made_by_one_of_those_who_asked_for_it() -> None:
    """The other one had no part in it."""
    delete = ("delete", {"key": "a"})
    acknowledged = (PUT, OpType.OK, {"revision": 2})
    told = [
        {"revision": 2, "events": [["put", "a", 1, 2]]},
        {"revision": 3, "events": [["delete", "a", None, 3]]},
    ]
    history = simple(
        acknowledged, (delete, OpType.INFO, None), (delete, OpType.INFO, None), told=told
    )
    deletes = [one for one in witnessed(history).operations if one.f == "delete"]
    assert [one.output for one in deletes] == [{"revision": 3, "deleted": 1}]


def test_what_a_transaction_deleted_is_said_only_where_all_was_told() -> None:
    """A watch of one key does not know what happened to another."""
    txn = ("txn", {"then": [["put", {"key": "a", "value": 1}], ["delete", {"key": "b"}]]})
    events = [{"revision": 2, "events": [["put", "a", 1, 2]]}]
    (whole,) = witnessed(simple((txn, OpType.INFO, None), told=events)).operations
    assert whole.output == {"revision": 2, "succeeded": True, "answers": [{}, {"deleted": 0}]}
    part = [
        op(1, 7, OpType.INVOKE, "watch", {"key": "a", "start": 2}),
        op(400, 7, OpType.OK, "watch", {"created": 1, "responses": events}),
    ]
    late = simple((txn, OpType.INFO, None), told=[{"revision": 9, "progress": True}])
    ops = sorted([*late, *part], key=lambda one: one.time_ns)
    ops = [
        msgspec.structs.replace(one, value={**one.value, "start": 5})
        if one.process == 99 and one.type is OpType.INVOKE
        else one
        for one in ops
    ]
    history = History([msgspec.structs.replace(one, index=at) for at, one in enumerate(ops)])
    (seen,) = [one for one in witnessed(history).operations if one.process == 0]
    assert seen.output == {"revision": 2, "succeeded": True, "answers": [{}, {}]}


def test_a_revision_that_nobody_tells_of_is_somebody_elses() -> None:
    """The store is not ours alone."""
    put = ("put", {"key": "b", "value": 2})
    told = [{"revision": 3, "events": [["put", "b", 2, 3]]}]
    found = witnessed(simple((put, OpType.OK, {"revision": 3}), told=told))
    assert [one.output["revision"] for one in found.operations] == [2, 3]
    assert check_etcd_order(found).validity is Validity.VALID


def test_watches_that_were_told_nothing_cover_nothing() -> None:
    """However many there were."""
    asked = {"key": "a", "lasts_ms": 100}
    quiet = [
        op(0, 1, OpType.INVOKE, "watch", asked),
        op(9, 1, OpType.OK, "watch", {"created": 1, "responses": [], "ended": "time"}),
        op(10, 2, OpType.INVOKE, *PUT),
        op(12, 2, OpType.OK, "put", {"revision": 2}),
    ]
    found = check_watch_coverage(History(quiet))
    assert found.validity is Validity.UNKNOWN
    assert found.reason == "no watch was told anything, while 1 change happened"


def fault(since: int, until: int) -> list[Op]:
    begun = {"kind": "kill", "intent": {}}
    ended = {"healed": True, "effective": True, "effect": "seen dead"}
    nemesis = "nemesis/kill"
    return [
        Op(index=0, time_ns=since * MS, process=nemesis, type=kind, f=f, key="kill-1", value=value)
        for since, kind, f, value in (
            (since, OpType.INVOKE, "start", begun),
            (since, OpType.OK, "start", {"targets": ["n1"]}),
            (until, OpType.INVOKE, "stop", {}),
            (until, OpType.OK, "stop", ended),
        )
    ]


@pytest.mark.parametrize(("since", "reason"), [(5, None), (50, "lasted into a fault")])
def test_a_watch_must_have_lasted_into_a_fault(since: int, reason: str | None) -> None:
    """Peace proves nothing."""
    asked = {"key": "a", "start": 2, "asks": True}
    responses = [{"revision": 2, "events": [["put", "a", 1, 2]]}, {"revision": 2, "progress": True}]
    told = {"created": 2, "responses": responses, "ended": "time"}
    watch = [op(1, 1, OpType.INVOKE, "watch", asked), op(9, 1, OpType.OK, "watch", told)]
    ops = sorted([*watch, *fault(since, since + 10)], key=lambda one: one.time_ns)
    found = check_watch_coverage(History(ops))
    assert found.validity is (Validity.UNKNOWN if reason else Validity.VALID)
    assert reason is None or reason in (found.reason or "")
