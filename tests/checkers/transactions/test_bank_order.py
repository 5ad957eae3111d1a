"""A bank judged linearizably agrees with trying all orders, and is quick where those are many."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import pytest

from squall.checkers.assumptions import Initial
from squall.checkers.budget import Meter
from squall.checkers.linearizability.models import UNKNOWN
from squall.checkers.linearizability.registers import FOREVER
from squall.checkers.linearizability.search import Call
from squall.checkers.registry import UnknownModel, judge_of
from squall.checkers.transactions.bank_order import _Bank as Bare
from squall.checkers.transactions.bank_order import check_bank_order
from squall.checkers.verdict import Budget, Validity
from tests.checkers.oracle import brute_force, history, intervals
from tests.checkers.seeds import SEEDS

ACCOUNTS = ("a", "b", "c")


class Bank:
    """The definition: all balances in one state. What they are at first the first read finds out.

    State: (what was moved so far, the balances at first or None).
    """

    name = "bank"

    def __init__(self, opening: dict[str, int] | None = None) -> None:
        known = None if opening is None else tuple(opening[one] for one in ACCOUNTS)
        self.init: Any = ((0,) * len(ACCOUNTS), known)

    def step(self, state: Any, given: Any, answer: Any) -> tuple[bool, Any]:
        moved, opening = state
        f, asked = given
        if f == "read":
            if answer is UNKNOWN:
                return True, state
            begun = tuple(answer[one] - by for one, by in zip(ACCOUNTS, moved, strict=True))
            return opening in {None, begun}, (moved, begun)
        after = list(moved)
        after[ACCOUNTS.index(asked["from"])] -= asked["amount"]
        after[ACCOUNTS.index(asked["to"])] += asked["amount"]
        return True, (tuple(after), opening)

    def read_only(self, given: Any, answer: Any) -> bool:
        return False

    def describe(self, given: Any, answer: Any) -> str:
        return str(given)


def drawn(random: Random, opening: dict[str, int]) -> list[Call]:
    """Use a bank; then, more often than not, let a read show other balances of the same total."""
    state = dict(opening)
    calls, past = [], [dict(opening)]
    crash = random.choice([0.0, 0.2])
    for call, ret, happens in intervals(random, random.randint(2, 8), crash=crash):
        if random.random() < 0.5:
            calls.append(
                Call(call, ret, ("read", None), UNKNOWN if ret == FOREVER else dict(state))
            )
            continue
        giver, taker = random.sample(ACCOUNTS, 2)
        amount = random.choice([1, 1, 2])
        asked = {"from": giver, "to": taker, "amount": amount}
        calls.append(Call(call, ret, ("transfer", asked), UNKNOWN if ret == FOREVER else None))
        if happens:
            state = {**state, giver: state[giver] - amount, taker: state[taker] + amount}
            past.append(state)
    reads = [at for at, one in enumerate(calls) if isinstance(one.answer, dict)]
    if reads and random.random() < 0.6:
        at = random.choice(reads)
        shown = dict(random.choice([*past, calls[at].answer]))
        if random.random() < 0.3:
            giver, taker = random.sample(ACCOUNTS, 2)
            shown = {**shown, giver: shown[giver] - 1, taker: shown[taker] + 1}
        calls[at] = calls[at]._replace(answer=shown)
    return calls


@pytest.mark.parametrize("told", [True, False])
def test_a_bank_is_judged_as_by_trying_all_orders(told: bool) -> None:
    """Whether or not it is known what the accounts held at first."""
    outcomes = {True: 0, False: 0}
    for seed in range(SEEDS):
        random = Random(f"bank {told} {seed}")
        opening = {one: random.randrange(3) for one in ACCOUNTS}
        calls = drawn(random, opening)
        if not any(isinstance(one.answer, dict) for one in calls):
            continue
        given = opening if told else None
        truth = brute_force(Bank(given), calls)
        outcomes[truth] += 1
        verdict = check_bank_order(history(calls), Budget(), opening=given, overdraft=True)
        assert (verdict.validity is Validity.VALID) is truth, (seed, verdict.reason)
        assert (verdict.validity is Validity.INVALID) is not truth, seed
        totals = {sum(one.answer.values()) for one in calls if isinstance(one.answer, dict)}
        if totals == {sum(opening.values())}:  # else the sums have decided
            searched = Bare(history(calls), given).search(Meter(Budget()))
            assert (searched is None) is truth, seed
    assert min(outcomes.values()) > SEEDS // 10


def busy(seed: int, operations: int, clients: int) -> list[Call]:
    """Many clients on few accounts, some of whose transfers are never answered."""
    random = Random(seed)
    state = dict.fromkeys("abcde", 100)
    free = [random.randrange(500) for _ in range(clients)]
    plan = []
    for _ in range(operations):
        client = min(range(clients), key=free.__getitem__)
        call = free[client]
        ret = call + 200 + random.randrange(1500)
        free[client] = ret + 1 + random.randrange(100)
        plan.append((random.uniform(call, ret), call, ret))
    calls = []
    for _, call, ret in sorted(plan):
        if random.random() < 0.3:
            calls.append(Call(call, ret, ("read", None), dict(state)))
            continue
        giver, taker = random.sample("abcde", 2)
        amount = random.randint(1, 9)
        asked = {"from": giver, "to": taker, "amount": amount}
        crashed = random.random() < 0.02
        calls.append(Call(call, FOREVER if crashed else ret, ("transfer", asked), None))
        if crashed:
            calls[-1] = calls[-1]._replace(answer=UNKNOWN)
        if not crashed or random.random() < 0.5:
            state[giver] -= amount
            state[taker] += amount
    return calls


def test_thousands_of_operations_of_twenty_clients_are_decided() -> None:
    """In either direction, within the time a budget gives; orders are not tried one by one."""
    calls = busy(3, 2500, 20)
    budget = Budget(time_s=60, now_s=time.monotonic)
    valid = check_bank_order(history(calls), budget, overdraft=True)
    assert valid.validity is Validity.VALID, valid.reason
    reads = [at for at, one in enumerate(calls) if one.given[0] == "read"]
    old = calls[reads[len(reads) // 3]]
    late = reads[len(reads) // 2]
    calls[late] = calls[late]._replace(answer=old.answer)
    stale = check_bank_order(history(calls), budget, overdraft=True)
    assert stale.validity is Validity.INVALID, stale.reason


def test_what_is_said_of_a_bank_is_checked() -> None:
    """A word that is none, balances that are none."""
    with pytest.raises(UnknownModel, match="all that may follow is bank:negative"):
        judge_of("bank:positive")
    with pytest.raises(UnknownModel, match="a bank cannot begin with 3"):
        judge_of("bank", initial=Initial.of(3))
