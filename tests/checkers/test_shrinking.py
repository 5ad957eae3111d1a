"""No removal that makes a counterexample smaller makes a valid history invalid."""

from __future__ import annotations

from random import Random

import pytest

from squall.checkers.history import History, Operation, OpType
from squall.checkers.linearizability.checker import calls_of, check_linearizability, choices_of
from squall.checkers.linearizability.models import MODELS
from squall.checkers.linearizability.shrink import cut_behind, without_reads
from squall.checkers.proof_check import check_verdict
from squall.checkers.text.lanes import parse
from squall.checkers.transactions.checker import LIST_APPEND, RW_REGISTER, check_isolation
from squall.checkers.transactions.list_append import ListAppend
from squall.checkers.transactions.operations import APPEND, WRITE, transactions
from squall.checkers.transactions.rw_register import RwRegister
from squall.checkers.transactions.shrink import Part
from squall.checkers.verdict import Budget, Validity
from tests.checkers import oracle
from tests.checkers.linearizability import test_objects
from tests.checkers.seeds import SEEDS
from tests.checkers.transactions import test_transactions


@pytest.mark.parametrize("data", [LIST_APPEND, RW_REGISTER])
def test_what_is_erased_from_valid_transactions_leaves_them_valid(data: str) -> None:
    """Keys, transactions with all that was seen of them, reads, values: in any number."""
    appends = data == LIST_APPEND
    tried = 0
    for seed in range(SEEDS):
        random = Random(seed)
        plans = test_transactions.drawn(random, appends=appends, noise=0.0)
        whole = test_transactions.history(plans)
        assert check_isolation(whole, Budget(), data=data).validity is not Validity.INVALID
        txns = transactions(whole.operations, APPEND if appends else WRITE)
        writers = ListAppend(txns).writer if appends else RwRegister(txns, realtime=True).writer
        nodes = {node for node in range(len(txns)) if random.random() < 0.8}
        part = Part(txns, writers, nodes, set(random.sample("xy", random.randint(1, 2))))
        for node in nodes:
            for at, (f, key, value) in enumerate(txns.mops[node]):
                if random.random() < 0.2:
                    read, written = ((node, at), None) if f == "r" else (None, (key, value))
                    part = part.without(read=read, value=written)
        left = part.operations()
        if left:
            tried += 1
            again = check_isolation(OfOperations(left), Budget(), data=data)
            assert again.validity is not Validity.INVALID, seed
    assert tried > SEEDS // 2


class OfOperations(History):
    """A history made of operations."""

    def __init__(self, operations: list[Operation]) -> None:
        super().__init__([])
        self.__dict__["operations"] = tuple(operations)


@pytest.mark.parametrize("name", test_objects.DRAWS)
def test_what_is_cut_from_a_valid_use_of_an_object_leaves_it_valid(name: str) -> None:
    """What came after an answer, and what changes nothing."""
    model, tried = MODELS[name](), 0
    for seed in range(SEEDS):
        calls = test_objects.drawn(name, seed)
        if not oracle.brute_force(model, calls):
            continue
        operations = oracle.operations(calls)
        answered = [one for one in operations if one.outcome is OpType.OK]
        if not answered:
            continue
        tried += 1
        if not choices_of(model):
            cut = cut_behind(operations, Random(seed).choice(answered))
            assert oracle.brute_force(model, calls_of(cut)), seed
        bare = without_reads(operations, model, lambda _left: True)
        assert oracle.brute_force(model, calls_of(bare)), seed
    assert tried > SEEDS // 4


EMPTY_AGAIN = """
p0: |-enqueue q 1-|                      |-enqueue q 2-|
p1:     |-dequeue q 1-------------------------------------------------------------------------|
p2:                 |-dequeue q nil-|                     |-dequeue q nil-|
"""


def test_what_a_later_answer_took_out_of_an_unordered_queue_is_not_forgotten() -> None:
    """That dequeue explains the first answer that it was empty, and no proof leaves it out."""
    history = parse(EMPTY_AGAIN)
    verdict = check_linearizability(history, Budget(), MODELS["unordered-queue"])
    assert verdict.validity is Validity.INVALID
    assert "dequeue q 1" in verdict.anomalies[0].lanes
    assert check_verdict(history, verdict) == ()


def test_what_a_dequeue_without_an_answer_took_out_of_an_unordered_queue_is_open() -> None:
    """It may have taken what an answer that the queue was empty lacks."""
    history = parse(
        """
        p0: |-enqueue q 1-|
        p1:     |-dequeue q?
        p2:                 |-dequeue q nil-|
        """.replace("\n        ", "\n")
    )
    verdict = check_linearizability(history, Budget(), MODELS["unordered-queue"])
    assert verdict.validity is Validity.UNKNOWN
    assert "unanswered dequeues" in (verdict.reason or "")
