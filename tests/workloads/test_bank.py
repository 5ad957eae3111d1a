"""The bank workload: money is moved, never made."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import pytest

from squall.checkers.evidence import Evidence
from squall.checkers.history import History, Op, OpType
from squall.checkers.judge import judge
from squall.checkers.registry import judge_of, model_of_workload
from squall.checkers.run import Run
from squall.checkers.verdict import Budget, Validity, Verdict
from squall.harness.run.judging import budget, check_path
from squall.harness.sim.sweep.sweep import Result, Sweep, run_seed
from squall.harness.store import RUN, RunFolder
from squall.workloads.bank import OPTIONS, WORKLOAD, Bank
from squall.workloads.client import Compare, Definite, Indefinite, KeyValue, Put, Range, Txn
from squall.workloads.workload import Completion, ScriptConfig
from tests.workloads.one_store import NODES, OneStore, record

OWN = {"statistics", "revisions", "read-back", "bank"}


def bank(**options: Any) -> Bank:
    return Bank(Random, ScriptConfig(nodes=NODES, prefix="run/", options=options))


def judged(history: History, options: dict[str, Any] | None = None) -> dict[str, Verdict]:
    own = [checker for checker in WORKLOAD.checkers((), options) if checker.name in OWN]
    verdict = judge(own, history, Evidence(recovery={"recovered": True}), Budget())
    return {child.checker: child for child in verdict.children}


def transfer(store: OneStore, amount: int) -> Completion:
    asked = {"from": "a0", "to": "a1", "amount": amount}
    op = Op(index=0, time_ns=0, process=0, type=OpType.INVOKE, f="transfer", value=asked)
    return asyncio.run(bank().invoke(store, op))


def reads(request: Any) -> bool:
    return all(isinstance(one, Range) for one in request.success)


def test_a_store_in_one_piece_keeps_the_total():
    """And the file is judged as the run is."""
    history = record(bank(), OneStore(), 1000)
    found = judged(history)
    assert {name: verdict.validity for name, verdict in found.items()} == dict.fromkeys(
        OWN, Validity.VALID
    )
    assert judge_of(model_of_workload("bank"))(history, Budget()).validity is Validity.VALID
    moved = [op for op in history.operations if op.f == "transfer" and op.outcome is OpType.OK]
    assert len(moved) > 300


def test_accounts_are_judged_by_what_the_run_opened_them_with():
    """Not by the defaults; and where that is not known any more, by what was read first."""
    history = record(bank(accounts=3, opening=7), OneStore(), 300)
    given = OPTIONS | {"accounts": 3, "opening": 7}
    assert judged(history, given)["bank"].validity is Validity.VALID
    assert judged(history, {})["bank"].validity is Validity.VALID
    found = judged(history, given | {"opening": 8})["bank"]
    assert {one.kind for one in found.anomalies} == {"wrong-total"}


@pytest.mark.parametrize(("opening", "wrong"), [(7, False), (8, True), (None, False)])
def test_a_folder_is_judged_by_the_options_in_its_run(
    opening: int | None, wrong: bool, tmp_path: Path
):
    """A run that began with other balances than the defaults keeps its total all the same."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.begin_history(run="bank/run", workload="bank", seed=1)
    for op in record(bank(accounts=3, opening=7), OneStore(), 300):
        folder.record(op)
    folder.end_history()
    if opening is not None:
        given = OPTIONS | {"accounts": 3, "opening": opening}
        run = Run(
            id="bank/run",
            workload="bank",
            cluster="sim",
            seed=1,
            nodes=NODES,
            faults=(),
            time_limit_s=1.0,
            parameters={"workload": given},
        )
        folder.write_json(RUN, run)
    verdict = check_path(folder.path, BytesIO(), budget(20.0)).verdict
    judged_sums = next(child for child in verdict.children if child.checker == "bank")
    assert {one.kind for one in judged_sums.anomalies} == ({"wrong-total"} if wrong else set())


def test_a_transfer_writes_both_accounts_under_guards():
    """An account nobody has touched holds the opening balance."""
    store = OneStore()
    assert transfer(store, 30).type is OpType.OK
    a0, a1 = b"run/a0", b"run/a1"
    assert store.asked == [
        Txn(success=(Range(key=a0), Range(key=a1))),
        Txn(
            compares=(Compare(a0, "mod", "=", 0), Compare(a1, "mod", "=", 0)),
            success=(Put(key=a0, value=b"70"), Put(key=a1, value=b"130")),
        ),
    ]


def test_what_would_overdraw_or_was_overtaken_fails_without_a_write():
    """And is not tried again."""
    store = OneStore()
    assert transfer(store, 101).error == "too little"
    assert len(store.asked) == 1

    def overtaken(request: Any, answer: Any) -> Any:
        if reads(request):
            store.past.append({b"run/a0": KeyValue(b"run/a0", b"1", 2, 2, 1)})
        return answer

    store.lie = overtaken
    done = transfer(store, 30)
    assert (done.type, done.error) == (OpType.FAIL, "conflict")
    assert len(store.asked) == 3
    with pytest.raises(Definite, match="nothing was written"):
        transfer(OneStore(lambda _request, _answer: Indefinite("timed out")), 30)


def test_half_a_transfer_is_found():
    """Taken from one, never given to the other."""
    store = OneStore()

    def half(request: Any, answer: Any) -> Any:
        if not reads(request) and answer.succeeded and store.revision == 100:
            del store.past[-1][request.success[1].key]
        return answer

    store.lie = half
    found = judged(record(bank(), store, 600))["bank"]
    assert "wrong-total" in {one.kind for one in found.anomalies}
    assert found.anomalies[0].data["expected"] == OPTIONS["accounts"] * OPTIONS["opening"]


def test_a_run_in_which_nothing_was_moved_is_no_pass():
    """What never happened was not tested."""
    store = OneStore(lambda request, answer: answer if reads(request) else Definite("no"))
    assert judged(record(bank(), store, 100))["statistics"].reason == "no transfer ever succeeded"


def test_the_workload_says_what_it_is():
    """Name, options, and which operations have no effect."""
    assert WORKLOAD.name == "bank"
    assert WORKLOAD.reads == {"read", "serializable-read"}
    assert {checker.name for checker in WORKLOAD.checkers(("kill",))} > OWN | {"coverage"}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_simulated_storm_is_survived(seed: int):
    """The whole way: swarm, storm, recovery, final reads, verdict."""
    row = run_seed(seed, Sweep(workload="bank", time_s=3.0))
    assert (row.result, row.text) == (Result.OK, "")
    assert row.ok > 100
