"""Sequential consistency agrees with trying all orders that keep each client's own."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

from squall.checkers.history import History, Op, OpType
from squall.checkers.linearizability.checker import check_linearizability
from squall.checkers.linearizability.models import CasRegister
from squall.checkers.linearizability.sequential import check_sequential
from squall.checkers.verdict import Budget, Validity
from tests.checkers.seeds import SEEDS

Asked = tuple[str, str, Any, Any, bool]  # function, key, argument, answer, whether it answered


def explained(clients: list[list[Asked]]) -> bool:
    """Try every interleaving, and every choice of the unanswered."""
    seen = set()

    def step(values: dict[str, Any], one: Asked) -> dict[str, Any] | None:
        f, key, given, answer, answered = one
        held = values.get(key)
        if f == "read":
            return values if not answered or held == answer else None
        if f == "write":
            return {**values, key: given}
        if not answered:
            return {**values, key: given[1]} if held == given[0] else values
        if answer["swapped"]:
            return {**values, key: given[1]} if held == given[0] else None
        fits = held != given[0] and answer.get("seen", held) == held
        return values if fits else None

    def explore(places: tuple[int, ...], values: dict[str, Any]) -> bool:
        mark = (places, tuple(sorted(values.items())))
        if mark in seen:
            return False
        seen.add(mark)
        if not any(one[4] for lane, at in zip(clients, places, strict=True) for one in lane[at:]):
            return True
        for client, lane in enumerate(clients):
            if places[client] == len(lane):
                continue
            one = lane[places[client]]
            further = tuple(at + (n == client) for n, at in enumerate(places))
            after = step(values, one)
            if after is not None and explore(further, after):
                return True
            if not one[4] and explore(further, values):
                return True
        return False

    return explore(tuple([0] * len(clients)), {})


def drawn(random: Random) -> list[list[Asked]]:
    """Clients of a store that may answer late; then an answer may be falsified."""
    fresh = itertools.count(1)
    unique = random.random() < 0.6
    clients: list[list[Asked]] = [[] for _ in range(random.randint(1, 4))]
    keys = "xy"[: random.randint(1, 2)]
    values: dict[str, Any] = {}
    for _ in range(random.randint(2, 9)):
        lane = random.choice(clients)
        if lane and not lane[-1][4]:
            continue  # its process is gone
        key = random.choice(keys)
        held = values.get(key)
        value = next(fresh) if unique else random.randrange(3)
        answered = random.random() < 0.85
        draw = random.random()
        if draw < 0.5:
            lane.append(("read", key, None, held if random.random() < 0.8 else 1, True))
            continue
        happens = answered or random.random() < 0.5
        if draw < 0.8:
            lane.append(("write", key, value, None, answered))
            values = {**values, key: value} if happens else values
            continue
        expected = held if random.random() < 0.7 else 1
        swapped = expected == held
        answer: dict[str, Any] = {"swapped": swapped}
        if not swapped and random.random() < 0.7:
            answer["seen"] = held
        lane.append(("cas", key, [expected, value], answer if answered else None, answered))
        values = {**values, key: value} if swapped and happens else values
    return clients


def recorded(clients: list[list[Asked]]) -> History:
    """All that a client did came before what the next did: in real time most answers are stale."""
    ops = []
    for process, lane in enumerate(clients):
        for f, key, given, answer, answered in lane:
            for done in (False, True):
                kind = OpType.INVOKE if not done else OpType.OK if answered else OpType.INFO
                at = len(ops)
                value = answer if done else given
                ops.append(
                    Op(index=at, time_ns=at, process=process, type=kind, f=f, key=key, value=value)
                )
    return History(ops)


def test_registers_are_judged_as_by_trying_all_orders_of_each_clients_own() -> None:
    """Over one key and two, values written once and more often, compare-and-sets, lost answers."""
    outcomes = {True: 0, False: 0}
    paths = set()
    for seed in range(SEEDS):
        clients = drawn(Random(f"sequential {seed}"))
        truth = explained(clients)
        verdict = check_sequential(recorded(clients), Budget())
        if (verdict.reason or "").startswith("vacuous"):
            continue
        outcomes[truth] += 1
        paths.add(verdict.method)
        assert (verdict.validity is Validity.VALID) is truth, (seed, clients, verdict.anomalies)
        assert (verdict.validity is Validity.INVALID) is not truth, seed
    assert min(outcomes.values()) > SEEDS // 20
    assert paths == {"graph", "search", "values"}


def test_what_is_linearizable_is_sequential() -> None:
    """Real time only forbids more."""
    for seed in range(SEEDS // 4):
        clients = drawn(Random(f"both {seed}"))
        history = recorded(clients[:1])
        if check_linearizability(history, Budget(), CasRegister).validity is Validity.VALID:
            assert check_sequential(history, Budget()).validity is not Validity.INVALID, seed
