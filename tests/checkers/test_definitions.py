"""Counters, banks and forks: judged as their definitions say, read word by word."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

from squall.checkers.history import History, Op, OpType
from squall.checkers.linearizability.models import UNKNOWN, Counter, Given
from squall.checkers.linearizability.registers import FOREVER
from squall.checkers.linearizability.search import Call
from squall.checkers.registry import judge_of
from squall.checkers.transactions.bank import check_bank
from squall.checkers.transactions.long_fork import check_long_fork
from squall.checkers.verdict import Budget, Validity
from tests.checkers.oracle import brute_force, history, intervals
from tests.checkers.seeds import SEEDS

ACCOUNTS = ("a", "b", "c")


def counting(random: Random) -> list[Call]:
    """Add and read; some answers are old, or of a counter that lost an add."""
    plan = intervals(random, random.randint(2, 7), crash=0.15)
    lost = random.randrange(len(plan)) if random.random() < 0.3 else None
    stale = random.random() < 0.3
    total, past, calls = 0, [0], []
    for at, (call, ret, happens) in enumerate(plan):
        if random.random() < 0.5:
            amount = random.choice([-1, 1, 1, 2])
            calls.append(Call(call, ret, ("add", amount), UNKNOWN if ret == FOREVER else None))
            if happens and at != lost:
                total += amount
                past.append(total)
        elif ret != FOREVER:
            shown = random.choice(past) if stale and random.random() < 0.4 else total
            calls.append(Call(call, ret, ("read", None), shown))
    return calls


def test_a_counter_is_judged_as_by_trying_all_orders() -> None:
    """By bounds or by search, in both directions."""
    outcomes = set()
    methods = set()
    for seed in range(SEEDS):
        calls = counting(Random(seed))
        verdict = judge_of("counter")(history(calls, "c"), Budget())
        truth = brute_force(Counter(), calls)
        assert (verdict.validity is not Validity.INVALID) is truth, (seed, calls)
        outcomes.add(truth)
        if not truth:
            methods.add(verdict.method)
    assert outcomes == {True, False}
    assert methods == {"bounds", "search: 1 key"}


class Bank:
    """Accounts with 10 each; a transfer that was acknowledged took place."""

    name = "accounts"
    init = (10, 10, 10)

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Any]:
        f, asked = given
        if f == "read":
            return answer is UNKNOWN or tuple(answer[one] for one in ACCOUNTS) == state, state
        after = dict(zip(ACCOUNTS, state, strict=True))
        after[asked["from"]] -= asked["amount"]
        after[asked["to"]] += asked["amount"]
        return True, tuple(after.values())

    def read_only(self, given: Given, answer: Any) -> bool:
        return given[0] == "read"

    def describe(self, given: Given, answer: Any) -> str:
        return given[0]


def banking(random: Random) -> list[Call]:
    """Move money and look; some reads see half a transfer, or an account too few."""
    balances = dict.fromkeys(ACCOUNTS, 10)
    calls = []
    torn = random.random() < 0.5
    for call, ret, happens in intervals(random, random.randint(2, 6), crash=0.1):
        if random.random() < 0.5:
            source, target = random.sample(ACCOUNTS, 2)
            asked = {"from": source, "to": target, "amount": random.randint(1, 4)}
            calls.append(Call(call, ret, ("transfer", asked), UNKNOWN if ret == FOREVER else None))
            if happens:
                balances[source] -= asked["amount"]
                balances[target] += asked["amount"]
        elif ret != FOREVER:
            shown = dict(balances)
            if torn and random.random() < 0.4:
                shown[random.choice(ACCOUNTS)] += random.choice([-1, 1, 2])
            calls.append(Call(call, ret, ("read", None), shown))
    return calls


def test_a_bank_is_accused_only_of_what_no_order_explains() -> None:
    """And always where a read has another total than the accounts were given."""
    accused = 0
    for seed in range(SEEDS):
        calls = banking(Random(seed))
        verdict = check_bank(history(calls, "bank"), total=30, overdraft=True)
        reads = [sum(one.answer.values()) for one in calls if one.given[0] == "read"]
        assert (verdict.validity is Validity.INVALID) is any(total != 30 for total in reads), seed
        if verdict.validity is Validity.INVALID:
            accused += 1
            assert not brute_force(Bank(), calls), seed
    assert accused > SEEDS // 20


def forking(random: Random) -> list[frozenset[str]]:
    """What reads of three keys saw written; keys are written one after the other, or not."""
    order = random.sample("xyz", 3)
    seen = []
    for _ in range(random.randint(1, 5)):
        upto = set(order[: random.randint(0, 3)])
        if random.random() < 0.15:
            upto ^= {random.choice("xyz")}
        seen.append(frozenset(upto))
    return seen


def test_a_fork_is_found_exactly_where_two_reads_disagree() -> None:
    """Comparing all pairs says the same as comparing neighbours."""
    outcomes = set()
    for seed in range(SEEDS):
        seen = forking(Random(seed))
        ops = []
        for kind in (OpType.INVOKE, OpType.OK):
            for at, key in enumerate("xyz", 100):
                value: list[Any] = [["w", key, 1]]
                index = len(ops)
                ops.append(
                    Op(index=index, time_ns=index, process=at, type=kind, f="txn", value=value)
                )
        for at, keys in enumerate(seen):
            for kind in (OpType.INVOKE, OpType.OK):
                value = [["r", key, 1 if key in keys else None] for key in "xyz"]
                index = len(ops)
                ops.append(
                    Op(index=index, time_ns=index, process=at, type=kind, f="txn", value=value)
                )
        verdict = check_long_fork(History(ops))
        forked = any(one - other and other - one for one, other in itertools.combinations(seen, 2))
        assert (verdict.validity is Validity.INVALID) is forked, seed
        outcomes.add(forked)
    assert outcomes == {True, False}
