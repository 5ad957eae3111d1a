"""The append workload: unique elements, guarded writes, and no second try behind the history."""

from __future__ import annotations

import asyncio
import re
from random import Random
from typing import Any

import pytest

from squall.checkers.evidence import Evidence
from squall.checkers.history import History, Op, OpType
from squall.checkers.judge import judge
from squall.checkers.verdict import Budget, Validity, Verdict
from squall.harness.sim.sweep.sweep import Result, Sweep, run_seed
from squall.workloads.append import WORKLOAD, Append
from squall.workloads.client import (
    Compare,
    Definite,
    Indefinite,
    KeyValue,
    Put,
    Range,
    Txn,
    TxnAnswer,
)
from squall.workloads.workload import Completion, ScriptConfig
from tests.workloads.one_store import NODES, OneStore, record

OWN = {"statistics", "revisions", "read-back", "list-append"}
RECOVERED = Evidence(recovery={"recovered": True})


def append(**options: Any) -> Append:
    return Append(Random, ScriptConfig(nodes=NODES, prefix="run/", options=options))


def judged(history: History) -> dict[str, Verdict]:
    own = [checker for checker in WORKLOAD.checkers(()) if checker.name in OWN]
    verdict = judge(own, history, RECOVERED, Budget())
    return {child.checker: child for child in verdict.children}


def do(store: OneStore, *mops: list[Any]) -> Completion:
    op = Op(index=0, time_ns=0, process=0, type=OpType.INVOKE, f="txn", value=list(mops))
    return asyncio.run(append().invoke(store, op))


def test_a_store_in_one_piece_is_strictly_serializable():
    """And what was appended is read back from every node, in both ways."""
    found = judged(record(append(), OneStore(), 1500))
    assert {name: verdict.validity for name, verdict in found.items()} == dict.fromkeys(
        OWN, Validity.VALID
    )


def test_no_element_is_appended_twice():
    """So a list tells the order of its appends."""
    history = record(append(), OneStore(), 1000)
    elements = [element for op in history.operations for f, _, element in op.input if f == "append"]
    assert len(elements) == len(set(elements)) > 500


def test_a_key_is_retired_after_a_bounded_number_of_appends():
    """A list that is read costs what it is long."""
    history = record(append(appends_per_key=10), OneStore(), 1000)
    keys = [key for op in history.operations for f, key, _ in op.input if f == "append"]
    assert max(keys.count(key) for key in set(keys)) <= 12 + 4  # the last one may append often
    assert len(set(keys)) > 60


def test_a_key_is_left_alone_when_too_much_about_it_is_unknown():
    """Each append of unknown end doubles what may have happened."""
    lost = OneStore(lambda request, answer: answer if reads(request) else Indefinite("lost"))
    history = record(append(infos_per_key=3, micro_ops=1), lost, 300)
    unknown = [op.input[0][1] for op in history.operations if op.outcome is OpType.INFO]
    assert {unknown.count(key) for key in unknown} <= {1, 2, 3}
    assert len(set(unknown)) > 20


def reads(request: Any) -> bool:
    return all(isinstance(one, Range) for one in request.success)


def test_reads_are_one_transaction_and_see_what_their_own_appends_left():
    """An append reads, computes, and writes under guards that nothing has changed."""
    store = OneStore()
    done = do(store, ["append", "x", 1], ["r", "x", None], ["r", "y", None], ["append", "x", 2])
    assert done.value == [["append", "x", 1], ["r", "x", [1]], ["r", "y", []], ["append", "x", 2]]
    x, y = b"run/x", b"run/y"
    assert store.asked == [
        Txn(success=(Range(key=x), Range(key=y))),
        Txn(
            compares=(Compare(x, "mod", "=", 0), Compare(y, "mod", "=", 0)),
            success=(Put(key=x, value=b"1 2"),),
        ),
    ]
    assert do(store, ["r", "x", None]).value == [["r", "x", [1, 2]]]
    assert len(store.asked) == 3


def test_a_lost_guard_is_a_failure_and_is_not_tried_again():
    """It certainly did nothing."""
    store = OneStore()
    do(store, ["append", "x", 1])

    def overtaken(request: Any, answer: Any) -> Any:
        if reads(request):  # somebody else appends between this read and the write that follows
            held = store.past[-1][b"run/x"]
            mine = KeyValue(held.key, b"1 9", held.create_revision, held.mod_revision + 1, 2)
            store.past.append({held.key: mine})
        return answer

    store.lie = overtaken
    store.asked.clear()
    done = do(store, ["append", "x", 2])
    assert (done.type, done.error) == (OpType.FAIL, "conflict")
    assert len(store.asked) == 2
    assert store.past[-1][b"run/x"].value == b"1 9"


def test_what_is_lost_before_anything_was_written_certainly_did_not_happen():
    """A read has no effect; a write of unknown end has one, perhaps."""
    deaf = OneStore(lambda _request, _answer: Indefinite("timed out"))
    with pytest.raises(Definite, match="nothing was written: timed out"):
        do(deaf, ["append", "x", 1])
    half = OneStore(lambda request, answer: answer if reads(request) else Indefinite("timed out"))
    with pytest.raises(Indefinite):
        do(half, ["append", "x", 1])


def test_a_write_that_is_acknowledged_and_lost_is_found_by_the_final_reads():
    """Nobody else needs to have seen it."""
    store = OneStore()

    def forgetful(request: Any, answer: Any) -> Any:
        if not reads(request) and answer.succeeded and store.revision == 300:
            store.past[-1] = store.past[-2]
        return answer

    store.lie = forgetful
    found = judged(record(append(), store, 1000))
    assert found["list-append"].validity is Validity.INVALID


def test_a_stale_read_is_found():
    """The lists as they were some changes ago, answered to transactions that only read."""
    store = OneStore()

    def late(request: Any, answer: Any) -> Any:
        if reads(request) and 1000 <= len(store.asked) < 1010:
            return store.at(store.revision - 20, request)
        return answer

    store.lie = late
    found = judged(record(append(), store, 1000))
    assert found["revisions"].validity is Validity.INVALID
    assert found["list-append"].validity is Validity.INVALID


def test_a_run_without_appends_or_without_final_reads_is_no_pass():
    """What never happened was not tested."""
    refusing = OneStore(lambda request, answer: answer if reads(request) else Definite("no"))
    found = judged(record(append(), refusing, 200))
    assert found["statistics"].reason == "no txn append ever succeeded"
    whole = record(append(), OneStore(), 200)
    cut = History([op for op in whole if not (op.meta or {}).get("final") and op.index < 400])
    assert judged(cut)["read-back"].reason == "nothing was read back at the end"


def test_a_node_whose_own_word_differs_has_diverged():
    """At one revision all nodes hold the same."""
    store = OneStore()

    def odd(request: Any, answer: Any) -> Any:
        local = any(isinstance(one, Range) and one.serializable for one in request.success)
        nothing = store.at(0, request).answers
        return TxnAnswer(True, answer.revision, nothing, 1) if local else answer

    store.lie = odd
    found = judged(record(append(), store, 300))
    first = found["read-back"].anomalies[0]
    assert first.kind == "replica-diverged"
    assert re.fullmatch(
        r"At the end n\d holds \[\] for l0, while the cluster serves \[[0-9, ]+\]\.", first.summary
    )
    assert found["list-append"].validity is Validity.VALID


def test_a_node_that_is_behind_while_the_last_questions_are_asked_is_no_anomaly():
    """What was never answered may still be applied, here sooner than there."""
    store = OneStore()

    def behind(request: Any, answer: Any) -> Any:
        local = any(isinstance(one, Range) and one.serializable for one in request.success)
        return store.at(store.revision - 5, request) if local else answer

    store.lie = behind
    assert judged(record(append(), store, 300))["read-back"].validity is Validity.VALID


def test_the_workload_says_what_it_is():
    """Name, sentence, options, and which operations have no effect."""
    assert WORKLOAD.name == "append"
    assert WORKLOAD.reads == {"serializable-read"}
    assert {checker.name for checker in WORKLOAD.checkers(("kill",))} > OWN | {"coverage"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_simulated_storm_is_survived(seed: int):
    """The whole way: swarm, storm, recovery, final reads, verdict."""
    row = run_seed(seed, Sweep(workload="append", time_s=3.0))
    assert (row.result, row.text) == (Result.OK, "")
    assert row.ok > 100
