"""The order of revisions: accepted only as a proof, rejected only for what is certain."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from squall.checkers.budget import Meter
from squall.checkers.etcd.model import EtcdKv, Store
from squall.checkers.etcd.order import check_etcd_order
from squall.checkers.history import History, Op, OpType
from squall.checkers.linearizability.checker import calls_of
from squall.checkers.linearizability.search import search
from squall.checkers.verdict import Budget, Validity
from tests.checkers.oracle import brute_force
from tests.checkers.seeds import SEEDS


def request(random: Random, key: Any, value: int) -> tuple[str, dict[str, Any]]:
    """Draw a request."""
    draw = random.random()
    if draw < 0.3:
        return "put", {"key": key(), "value": value}
    if draw < 0.45:
        return "range", {"key": key()}
    if draw < 0.55:
        return "range", {"key": "a", "end": "c"}
    if draw < 0.7:
        return "delete", {"key": key()}
    one = key()
    return "txn", {
        "if": [[one, "version", random.choice("=<>"), random.randrange(3)]],
        "then": [["put", {"key": one, "value": value}], ["delete", {"key": key()}]],
        "else": [["range", {"key": one}]],
    }


def drawn(
    seed: int, *, ops: int = 7, clients: int = 3, keys: str = "ab", crash: float = 0.2
) -> list[Op]:
    """A store under concurrent requests, each acting within its interval."""
    random = Random(seed)
    free = [0] * clients
    plan = []
    for _ in range(ops):
        client = min(range(clients), key=lambda c: (free[c], random.random()))
        call = free[client] + random.randrange(3)
        ret = call + random.randrange(8)
        crashed = random.random() < crash
        free[client] = 10**9 if crashed else ret + 1
        plan.append((random.uniform(call, ret), call, ret, client, crashed))
    store = Store()
    events: list[tuple[int, int, int, int, OpType, str, Any]] = []
    for value, (_, call, ret, client, crashed) in enumerate(sorted(plan)):
        f, asked = request(random, lambda: random.choice(keys), value)
        events.append((call, 0, value, client, OpType.INVOKE, f, asked))
        answer = None
        if not crashed or random.random() < 0.5:
            answer, _ = store.apply(f, asked)
        if crashed:
            events.append((10**9, 1, value, client, OpType.INFO, f, None))
        else:
            events.append((ret, 1, value, client, OpType.OK, f, answer))
    events = [one for one in events if one[0] < 10**9 or one[4] is OpType.INFO]
    asked = {one[2] for one in events if one[4] is OpType.INVOKE}
    events = sorted((one for one in events if one[2] in asked), key=lambda one: one[:3])
    return [
        Op(index=at, time_ns=time, process=client, type=kind, f=f, value=value)
        for at, (time, _, _, client, kind, f, value) in enumerate(events)
    ]


def falsify(random: Random, ops: list[Op]) -> list[Op]:
    """Exchange the answers of two operations of the same kind, or shift a revision."""
    answers = [at for at, op in enumerate(ops) if op.type is OpType.OK]
    if not answers:
        return ops
    at = random.choice(answers)
    same = [one for one in answers if ops[one].f == ops[at].f]
    other = random.choice(same)
    ops = list(ops)
    if other != at and random.random() < 0.6:
        a, b = ops[at], ops[other]
        ops[at], ops[other] = changed(a, b.value), changed(b, a.value)
    else:
        value = dict(ops[at].value)
        value["revision"] += random.choice([-1, 1])
        ops[at] = changed(ops[at], value)
    return ops


def changed(op: Op, value: Any) -> Op:
    return Op(
        index=op.index, time_ns=op.time_ns, process=op.process, type=op.type, f=op.f, value=value
    )


@pytest.mark.parametrize("chunk", range(4))
def test_what_the_revisions_accept_has_an_order_and_what_they_reject_broke_them(chunk: int) -> None:
    """With revisions part of every answer, both verdicts are those of trying all orders."""
    model = EtcdKv()
    outcomes: dict[tuple[bool, str], int] = {}
    for seed in range(chunk, SEEDS, 4):
        random = Random(seed)
        ops = drawn(seed, ops=random.choice([4, 6]), crash=random.choice([0.0, 0.25]))
        if seed // 4 % 2:
            ops = falsify(random, ops)
        history = History(ops)
        verdict = check_etcd_order(history)
        kept = [
            one
            for one in history.operations
            if one.outcome is OpType.OK or one.f not in {"range", "compact"}
        ]
        calls = calls_of(kept)
        truth = brute_force(model, calls)
        if seed % 16 < 4:
            assert search(model, calls, Meter(Budget())).valid is truth, seed
        outcomes[truth, verdict.validity] = outcomes.get((truth, verdict.validity), 0) + 1
        if verdict.validity is Validity.VALID:
            assert truth, seed
        elif verdict.validity is Validity.INVALID:
            assert not truth, (seed, verdict.anomalies)
    assert outcomes[True, Validity.VALID] > 20 * outcomes.get((True, Validity.UNKNOWN), 0)
    assert outcomes[False, Validity.INVALID] > 3 * outcomes.get((False, Validity.UNKNOWN), 0)


@pytest.mark.parametrize(
    ("ops", "keys", "crash"), [(200, "abcdef", 0.05), (400, "abcdefghij", 0.1), (1000, "ab", 0.02)]
)
def test_unanswered_requests_leave_no_honest_history_undecided(
    ops: int, keys: str, crash: float
) -> None:
    """Who filled which gap is worked out from what was seen later; and a false answer still shows.

    A falsified history is accepted only if the exchange made no difference: with an order as proof.
    """
    outcomes: dict[tuple[bool, str], int] = {}
    resolved = 0
    for seed in range(30):
        random = Random(seed)
        honest = drawn(seed, ops=ops, clients=6 + int(ops * crash), keys=keys, crash=crash)
        for false in (False, True):
            verdict = check_etcd_order(History(falsify(random, honest) if false else honest))
            if not false:
                assert verdict.validity is Validity.VALID, (seed, verdict.reason)
                resolved += verdict.stats["resolved"]
            outcomes[false, verdict.validity] = outcomes.get((false, verdict.validity), 0) + 1
    assert outcomes[True, Validity.INVALID] > 20
    assert resolved > 60
