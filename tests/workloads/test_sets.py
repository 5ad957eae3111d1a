"""The set workload: elements once added are in every later read."""

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
from squall.workloads.client import Definite, Put, Range
from squall.workloads.sets import WORKLOAD, Sets
from squall.workloads.workload import ScriptConfig
from tests.workloads.one_store import NODES, OneStore, record

OWN = {"statistics", "revisions", "read-back", "set"}


def sets(**options: Any) -> Sets:
    return Sets(Random, ScriptConfig(nodes=NODES, prefix="run/", options=options))


def judged(history: History) -> dict[str, Verdict]:
    own = [checker for checker in WORKLOAD.checkers(()) if checker.name in OWN]
    verdict = judge(own, history, Evidence(recovery={"recovered": True}), Budget())
    return {child.checker: child for child in verdict.children}


def test_a_store_in_one_piece_loses_nothing():
    """And the file is judged as the run is."""
    history = record(sets(), OneStore(), 1000)
    found = judged(history)
    assert {name: verdict.validity for name, verdict in found.items()} == dict.fromkeys(
        OWN, Validity.VALID
    )
    assert judge_of(model_of_workload("set"))(history, Budget()).validity is Validity.VALID


def test_an_element_is_a_key_of_its_own_and_a_set_an_interval():
    """One request each; the answer is in the order of the numbers."""
    store, script = OneStore(), sets()

    def do(f: str, key: str, value: Any = None) -> Any:
        op = Op(index=0, time_ns=0, process=0, type=OpType.INVOKE, f=f, key=key, value=value)
        return asyncio.run(script.invoke(store, op)).value

    assert [do("add", "s1", 10), do("add", "s1", 9), do("add", "s10", 8)] == [10, 9, 8]
    assert do("read", "s1") == do("serializable-read", "s1") == [9, 10]
    assert do("read", "s0") == []
    assert store.asked[0] == Put(key=b"run/s1/000000000010", value=b"000000000010")
    assert store.asked[3] == Range(key=b"run/s1/", range_end=b"run/s10")
    assert len(store.asked) == 6


def test_an_element_that_is_lost_is_found():
    """By the final reads, if by nobody else."""
    store = OneStore()

    def forgetful(request: Any, answer: Any) -> Any:
        if isinstance(request, Put) and store.revision == 200:
            store.past[-1] = store.past[-2]
        return answer

    store.lie = forgetful
    found = judged(record(sets(), store, 600))["set"]
    assert [one.kind for one in found.anomalies] == ["lost-element"]


def test_a_stale_read_is_found():
    """An element that comes back was not lost, but was not shown."""
    store = OneStore()

    def late(request: Any, answer: Any) -> Any:
        fresh = isinstance(request, Range) and not request.serializable
        return store.at(store.revision - 9, request) if fresh and len(store.asked) < 300 else answer

    store.lie = late
    found = judged(record(sets(), store, 600))
    assert "stale-set-read" in {one.kind for one in found["set"].anomalies}
    assert found["revisions"].validity is Validity.INVALID


def test_a_run_in_which_nothing_was_added_is_no_pass():
    """What never happened was not tested."""
    store = OneStore(lambda request, answer: Definite("no") if isinstance(request, Put) else answer)
    assert judged(record(sets(), store, 100))["statistics"].reason == "no add ever succeeded"


def test_the_workload_says_what_it_is():
    """Name, options, and which operations have no effect."""
    assert WORKLOAD.name == "set"
    assert WORKLOAD.reads == {"read", "serializable-read"}
    assert {checker.name for checker in WORKLOAD.checkers(("kill",))} > OWN | {"coverage"}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_simulated_storm_is_survived(seed: int):
    """The whole way: swarm, storm, recovery, final reads, verdict."""
    row = run_seed(seed, Sweep(workload="set", time_s=3.0))
    assert (row.result, row.text) == (Result.OK, "")
    assert row.ok > 100
