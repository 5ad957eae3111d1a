"""The kv workload: every kind of request, recorded as its judge reads it."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from squall.checkers.evidence import Evidence
from squall.checkers.history import History, Op, OpType
from squall.checkers.judge import judge
from squall.checkers.registry import judge_of, model_of_workload
from squall.checkers.verdict import Budget, Validity, Verdict
from squall.harness.sim.sweep.sweep import Result, Sweep, run_seed
from squall.workloads.client import (
    Compact,
    Compare,
    Definite,
    Delete,
    Indefinite,
    Put,
    Range,
    RangeAnswer,
    Txn,
)
from squall.workloads.kv import KINDS, WORKLOAD, KvScript
from squall.workloads.workload import ScriptConfig
from tests.workloads.one_store import NODES, OneStore, record

OWN = {"statistics", "read-back", "etcd-order"}


def store_run(**options: Any) -> KvScript:
    return KvScript(Random, ScriptConfig(nodes=NODES, prefix="run/", options=options))


def judged(history: History) -> dict[str, Verdict]:
    own = [checker for checker in WORKLOAD.checkers(()) if checker.name in OWN]
    verdict = judge(own, history, Evidence(recovery={"recovered": True}), Budget())
    return {child.checker: child for child in verdict.children}


def told(lie: Any, count: int = 1500) -> Verdict:
    """Judge the order of revisions of a run whose answers were lied about."""
    return judged(record(store_run(), OneStore(lie), count))["etcd-order"]


def test_a_store_in_one_piece_keeps_its_contract():
    """Every kind of request succeeds, and every answer comes out of one order."""
    history = record(store_run(), OneStore(), 2000)
    found = judged(history)
    assert {name: verdict.validity for name, verdict in found.items()} == dict.fromkeys(
        OWN, Validity.VALID
    )
    kinds = {(op.meta or {}).get("kind") for op in history.operations if op.outcome is OpType.OK}
    assert kinds == {*KINDS, None}


def test_guards_hold_and_fail_and_both_branches_change_things():
    """A transaction that always did the same would say little."""
    history = record(store_run(), OneStore(), 2000)
    txns = [op for op in history.operations if op.f == "txn"]
    held = [op.output["succeeded"] for op in txns]
    assert 0.3 < sum(held) / len(held) < 0.9
    ran = [op.input["then" if op.output["succeeded"] else "else"] for op in txns]
    assert {f for branch in ran for f, _ in branch} == {"put", "delete", "range"}
    assert any(not op.output["succeeded"] and len(op.output["answers"][-1]) == 0 for op in txns)


def test_the_file_is_judged_as_the_run_is():
    """By the name of the workload, from what is on disk alone."""
    history = record(store_run(), OneStore(), 500)
    verdict = judge_of(model_of_workload("kv"))(history, Budget())
    assert (verdict.checker, verdict.validity) == ("etcd-order", Validity.VALID)


@pytest.mark.parametrize(
    ("f", "given", "sent"),
    [
        ("range", {"key": "k1"}, Range(key=b"run/k1")),
        (
            "range",
            {"key": "k1", "end": "k4", "limit": 2, "revision": 7},
            Range(key=b"run/k1", range_end=b"run/k4", limit=2, revision=7),
        ),
        ("range", {"key": "k1", "serializable": True}, Range(key=b"run/k1", serializable=True)),
        ("put", {"key": "k1", "value": "v1"}, Put(key=b"run/k1", value=b"v1")),
        ("delete", {"key": "k1", "end": "l"}, Delete(key=b"run/k1", range_end=b"run/l")),
        ("compact", {"revision": 7}, Compact(7)),
        (
            "txn",
            {
                "if": [["k1", "mod", "<", 4], ["k2", "value", "=", "v1"]],
                "then": [["put", {"key": "k1", "value": "v2"}], ["delete", {"key": "k2"}]],
                "else": [["range", {"key": "k1"}]],
            },
            Txn(
                (Compare(b"run/k1", "mod", "<", 4), Compare(b"run/k2", "value", "=", b"v1")),
                (Put(key=b"run/k1", value=b"v2"), Delete(key=b"run/k2")),
                (Range(key=b"run/k1"),),
            ),
        ),
    ],
)
def test_a_request_is_sent_once_and_under_the_run_s_prefix(f: str, given: Any, sent: Any):
    """The history has texts without the prefix, the store bytes with it."""
    store = OneStore()
    store.past += [{}] * 10
    op = Op(index=0, time_ns=0, process=0, type=OpType.INVOKE, f=f, value=given)
    done = asyncio.run(store_run().invoke(store, op))
    assert store.asked == [sent]
    assert done.type is OpType.OK
    assert done.meta == {"term": 1}


def test_an_answer_says_everything_that_the_store_said():
    """Keys and values as texts, and a key's three numbers."""
    store = OneStore()
    run = store_run()

    def ask(f: str, given: Any) -> Any:
        op = Op(index=0, time_ns=0, process=0, type=OpType.INVOKE, f=f, value=given)
        return asyncio.run(run.invoke(store, op)).value

    assert ask("put", {"key": "k1", "value": "a"}) == {"revision": 2}
    txn = {"if": [], "then": [["put", {"key": "k1", "value": "b"}], ["range", {"key": "k1"}]]}
    assert ask("txn", txn | {"else": []}) == {
        "revision": 3,
        "succeeded": True,
        "answers": [{}, {"kvs": [["k1", "b", 2, 3, 2]], "count": 1}],
    }
    assert ask("delete", {"key": "k1"}) == {"revision": 4, "deleted": 1}
    assert ask("range", {"key": "k", "end": "l"}) == {"revision": 4, "kvs": [], "count": 0}


def test_what_was_never_answered_is_told_apart_by_reads_of_the_past():
    """However many requests have no answer, done or not, their revisions are explained."""
    random = Random(7)

    def deaf(request: Any, answer: Any) -> Any:
        change = not isinstance(request, Range | Compact)
        return Indefinite("timed out") if change and random.random() < 0.3 else answer

    verdict = told(deaf)
    assert (verdict.validity, verdict.reason) == (Validity.VALID, None)
    assert verdict.stats["resolved"] > 100


def test_a_compaction_leaves_what_nobody_has_looked_at():
    """Nor is the past asked for that somebody may have compacted."""
    store = OneStore()
    history = record(store_run(compact=0.1), store, 2000)
    assert store.compacted > 100
    refused = [op for op in history.operations if op.outcome is OpType.FAIL]
    assert {op.f for op in refused} <= {"compact"}


def test_a_stale_answer_is_found():
    """Of the present, asked linearizably, as it was a change ago."""
    store = OneStore()

    def late(request: Any, answer: Any) -> Any:
        fresh = isinstance(request, Range) and not request.serializable and not request.revision
        return (
            store.at(store.revision - 1, request) if fresh and len(store.asked) > 1400 else answer
        )

    store.lie = late
    verdict = judged(record(store_run(), store, 1500))["etcd-order"]
    assert "stale-revision" in {one.kind for one in verdict.anomalies}


def test_a_past_that_changes_is_found():
    """What a revision left is what it left, whenever and whomever one asks."""

    def rewritten(request: Any, answer: Any) -> Any:
        if isinstance(request, Range) and request.revision and answer.kvs:
            return RangeAnswer(answer.kvs[1:], answer.count - 1, False, answer.revision, 1)
        return answer

    assert told(rewritten).validity is Validity.INVALID


def test_half_a_transaction_is_found():
    """All of a transaction's changes share its revision, or none of them happened."""
    store = OneStore()

    def half(request: Any, answer: Any) -> Any:
        puts = [one for one in request.success if isinstance(one, Put)] if is_txn(request) else []
        if len(puts) > 1 and answer.succeeded:
            lost = puts[-1].key
            before = store.past[-2].get(lost)
            if before is None:
                store.past[-1].pop(lost, None)
            else:
                store.past[-1][lost] = before
        return answer

    store.lie = half
    verdict = judged(record(store_run(), store, 800))["etcd-order"]
    assert verdict.validity is Validity.INVALID


def is_txn(request: Any) -> bool:
    return isinstance(request, Txn)


def test_a_node_whose_own_word_differs_has_diverged():
    """At one revision all nodes hold the same."""

    def odd(request: Any, answer: Any) -> Any:
        if isinstance(request, Range) and request.serializable and len(answer.kvs) > 1:
            return RangeAnswer(answer.kvs[1:], answer.count - 1, False, answer.revision, 1)
        return answer

    found = judged(record(store_run(), OneStore(odd), 300))["read-back"]
    assert found.anomalies[0].kind == "replica-diverged"
    assert "holds nil for k" in found.anomalies[0].summary


def test_a_run_in_which_a_kind_never_succeeded_is_no_pass():
    """What never happened was not tested."""

    def refusing(request: Any, answer: Any) -> Any:
        return Definite("no") if isinstance(request, Delete) else answer

    found = judged(record(store_run(), OneStore(refusing), 1000))
    assert found["statistics"].reason == (
        "no delete delete and no delete delete interval ever succeeded"
    )


def test_the_workload_says_what_it_is():
    """Name, sentence, options, and which operations have no effect."""
    assert WORKLOAD.name == "kv"
    assert WORKLOAD.reads == {"range"}
    assert {checker.name for checker in WORKLOAD.checkers(("kill",))} > OWN | {"coverage"}


@pytest.mark.parametrize("seed", [1, 3, 17])
def test_a_simulated_storm_is_survived(seed: int):
    """The whole way, with many requests that were never answered: nothing is left open."""
    row = run_seed(seed, Sweep(workload="kv", time_s=3.0))
    assert (row.result, row.text) == (Result.OK, "")
    assert row.ok > 100
