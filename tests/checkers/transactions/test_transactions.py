"""Transactions: every level is decided as trying all orders would, and proofs hold."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import pytest

from squall.checkers.history import History, Op, OpType
from squall.checkers.text.lanes import parse
from squall.checkers.transactions.checker import check_isolation
from squall.checkers.transactions.dependencies import PROCESS, REALTIME, Circle
from squall.checkers.transactions.isolation import LEVELS, level_of
from squall.checkers.transactions.list_append import ListAppend
from squall.checkers.transactions.operations import transactions
from squall.checkers.transactions.rw_register import RwRegister
from squall.checkers.verdict import Budget, Validity
from tests.checkers.seeds import SEEDS


class Plan:
    """One transaction: who, when, what, how it ended."""

    def __init__(self, process: int, call: int, ret: int, outcome: OpType) -> None:
        self.process, self.call, self.ret, self.outcome = process, call, ret, outcome
        self.asked: list[Any] = []
        self.answered: list[Any] = []


def drawn(random: Random, *, appends: bool, noise: float) -> list[Plan]:
    """Transactions that act at one instant each; some reads are falsified."""
    clients = random.choice([2, 3])
    free = [0] * clients
    plans = []
    for _ in range(random.randint(2, 6)):
        client = random.randrange(clients)
        call = free[client] + random.randrange(3)
        ret = call + 1 + random.randrange(6)
        free[client] = ret + 1
        draw = random.random()
        outcome = OpType.INFO if draw < 0.1 else OpType.FAIL if draw < 0.2 else OpType.OK
        plan = Plan(client, call, ret, outcome)
        if outcome is OpType.INFO:
            free[client] = 10**6  # never speaks again
        if call < 10**6:
            plans.append((random.uniform(call, ret), plan))
    state: dict[str, Any] = {}
    past: dict[str, list[Any]] = {}
    values = itertools.count(1)
    for _, plan in sorted(plans, key=lambda one: one[0]):
        happens = plan.outcome is OpType.OK or (
            plan.outcome is OpType.INFO and random.random() < 0.5
        )
        after = dict(state)
        for _ in range(random.randint(1, 3)):
            key = random.choice("xy")
            if random.random() < 0.5:
                seen = after.get(key, [] if appends else None)
                if random.random() < noise:
                    seen = random.choice([*past.get(key, []), [] if appends else None])
                plan.asked.append(["r", key, None])
                plan.answered.append(["r", key, seen])
                continue
            value = next(values)
            mop = ["append" if appends else "w", key, value]
            plan.asked.append(mop)
            plan.answered.append(mop)
            after[key] = [*after.get(key, []), value] if appends else value
            past.setdefault(key, []).append(after[key])
        if happens:
            state = after
    return [plan for _, plan in plans]


def history(plans: list[Plan]) -> History:
    """The same as events."""
    events: list[tuple[int, int, int]] = []
    for at, plan in enumerate(plans):
        events.append((plan.call, 0, at))
        if plan.outcome is not OpType.INFO:
            events.append((plan.ret, 1, at))
    events.sort()
    return History(
        [
            Op(
                index=index,
                time_ns=time,
                process=plans[at].process,
                type=plans[at].outcome if done else OpType.INVOKE,
                f="txn",
                value=plans[at].answered if done else plans[at].asked,
            )
            for index, (time, done, at) in enumerate(events)
        ]
    )


def brute_force(
    plans: list[Plan],
    *,
    appends: bool,
    realtime: bool,
    process: bool = True,
    start: dict[str, Any] | None = None,
) -> bool:
    """Try every order of every set of transactions that may have happened.

    `start` is what keys hold at first, where that is not an empty list or nil.
    """
    done = frozenset(at for at, plan in enumerate(plans) if plan.outcome is OpType.OK)
    maybe = frozenset(at for at, plan in enumerate(plans) if plan.outcome is OpType.INFO)

    def precedes(one: int, other: int) -> bool:
        a, b = plans[one], plans[other]
        if one not in done:
            return False
        if realtime and a.ret < b.call:
            return True
        return process and a.process == b.process and a.call < b.call

    def run(state: dict[str, Any], plan: Plan) -> dict[str, Any] | None:
        after = dict(state)
        for f, key, value in plan.answered:
            if f == "r":
                if plan.outcome is OpType.OK and after.get(key, [] if appends else None) != value:
                    return None
            else:
                after[key] = [*after.get(key, []), value] if appends else value
        return after

    def explore(state: dict[str, Any], left: frozenset[int]) -> bool:
        if not left & done:
            return True
        for at in left:
            if any(precedes(other, at) for other in left if other != at):
                continue
            after = run(state, plans[at])
            if after is not None and explore(after, left - {at}):
                return True
        return any(explore(state, left - {at}) for at in left & maybe)

    return explore(start or {}, done | maybe)


@pytest.mark.parametrize("chunk", range(4))
@pytest.mark.parametrize("level", ["serializable", "strict-serializable"])
def test_lists_are_judged_as_by_trying_all_orders(level: str, chunk: int) -> None:
    """In both directions: nothing that has an order is rejected, nothing without one accepted."""
    outcomes = set()
    realtime = level == "strict-serializable"
    for seed in range(chunk, SEEDS, 4):
        random = Random(seed)
        plans = drawn(random, appends=True, noise=random.choice([0.0, 0.2, 0.5]))
        truth = brute_force(plans, appends=True, realtime=realtime, process=realtime)
        verdict = check_isolation(history(plans), Budget(), level=level)
        if (verdict.reason or "").startswith("vacuous: "):
            assert truth, seed
            continue
        outcomes.add((truth, verdict.validity))
        assert (verdict.validity is Validity.VALID) is truth, (seed, verdict.anomalies)
    assert outcomes == {(True, Validity.VALID), (False, Validity.INVALID)}


def mutated(random: Random) -> tuple[list[Plan], str]:
    """Valid transactions; then a read is old, an append is lost to its readers, two are swapped."""
    plans = drawn(random, appends=True, noise=0.0)
    damage = random.choice(["stale", "lost", "swapped"])
    reads = [mop for plan in plans for mop in plan.answered if mop[0] == "r"]
    full = [mop for mop in reads if mop[2]]
    if damage == "stale" and full:
        mop = random.choice(full)
        mop[2] = mop[2][: random.randrange(len(mop[2]))]
    elif damage == "lost" and full:
        lost = random.choice(random.choice(full)[2])
        for mop in full:
            mop[2] = [value for value in mop[2] if value != lost]
    elif damage == "swapped" and len(reads) > 1:
        one, other = random.sample(reads, 2)
        if one[1] == other[1]:
            one[2], other[2] = other[2], one[2]
    return plans, damage


def test_a_stale_read_a_lost_append_and_a_swapped_pair_are_caught_where_they_are_wrong() -> None:
    """Wherever no order is left, and nowhere else."""
    wrong: dict[str, int] = {}
    for seed in range(SEEDS):
        plans, damage = mutated(Random(seed))
        if not any(plan.outcome is OpType.OK for plan in plans):
            continue
        truth = brute_force(plans, appends=True, realtime=True)
        verdict = check_isolation(history(plans), Budget())
        if (verdict.reason or "").startswith("vacuous"):
            continue
        assert (verdict.validity is Validity.VALID) is truth, (seed, damage)
        wrong[damage] = wrong.get(damage, 0) + (not truth)
    assert len(wrong) == 3, wrong
    assert all(wrong.values()), wrong


@pytest.mark.parametrize("chunk", range(4))
@pytest.mark.parametrize("level", ["serializable", "strict-serializable"])
def test_registers_are_never_accused_wrongly(level: str, chunk: int) -> None:
    """Every accusation is confirmed by trying all orders; most of what is wrong is found."""
    found = missed = 0
    realtime = level == "strict-serializable"
    for seed in range(chunk, SEEDS, 4):
        random = Random(seed)
        plans = drawn(random, appends=False, noise=random.choice([0.0, 0.2, 0.5]))
        truth = brute_force(plans, appends=False, realtime=realtime, process=realtime)
        verdict = check_isolation(history(plans), Budget(), data="rw-register", level=level)
        if verdict.validity is Validity.INVALID:
            assert not truth, (seed, verdict.anomalies)
            found += 1
        elif not truth:
            missed += 1
    assert found > 9 * missed, (found, missed)


def edge_holds(story: Any, before: int, kind: int, after: int) -> bool:
    txns = story.txns
    if kind == REALTIME:
        return bool(txns.ret[before] < txns.call[after])
    if kind == PROCESS:
        return bool(
            txns.operations[before].process == txns.operations[after].process
            and txns.call[before] < txns.call[after]
        )
    return next(iter(story.reasons(before, kind, after)), None) is not None


def test_every_edge_of_every_circle_that_is_told_was_seen() -> None:
    """A circle is a proof: each of its edges can be pointed at, and its name fits its edges."""
    told = 0
    names = set()
    for seed in range(6000):
        random = Random(seed)
        appends = bool(seed % 2)
        plans = drawn(random, appends=appends, noise=0.3)
        txns = transactions(history(plans).operations, "append" if appends else "w")
        story = ListAppend(txns) if appends else RwRegister(txns)
        processes = [one.process for one in txns.operations]
        story.graph.add_process_order(processes, story.happened)
        for circle in story.graph.circles({PROCESS, REALTIME}):
            told += 1
            names.add(circle.name)
            assert len(set(circle.nodes)) == len(circle.nodes) >= 2
            for at, kind in enumerate(circle.kinds):
                after = circle.nodes[(at + 1) % len(circle.nodes)]
                assert edge_holds(story, circle.nodes[at], kind, after), (seed, circle)
            assert fits(circle), (seed, circle)
    assert told > 400
    assert {"G-single", "G-single-realtime", "G2-item", "G1c"} <= names, names


def fits(circle: Circle) -> bool:
    swaps = circle.kinds.count(2)
    base = circle.name.removesuffix("-process").removesuffix("-realtime")
    allowed: dict[str, set[int]] = {"": set(), "process": {PROCESS}, "realtime": {REALTIME}}
    means = circle.name.removeprefix(base).strip("-")
    if not set(circle.kinds) <= {0, 1, 2} | allowed[means]:
        return False
    return {
        "G0": swaps == 0 and 1 not in circle.kinds,
        "G1c": swaps == 0,
        "G-single": swaps == 1,
        "G-nonadjacent": swaps > 1,
        "G2-item": swaps > 1,
    }[base]


def test_what_is_told_as_lanes_is_itself_wrong() -> None:
    """The lanes of an anomaly paste into a test that fails for the same reason, or a worse one."""
    lanes = (
        "p0: |-txn append:x:1-|\n"
        "p1:                    |-txn append:x:2-|\n"
        "p2:                                       |-txn r:x:[1]-|\n"
        "p3:                                                       |-txn r:x:[1,2]-|\n"
    )
    verdict = check_isolation(parse(lanes), Budget())
    assert verdict.validity is Validity.INVALID
    again = check_isolation(parse(verdict.anomalies[0].lanes), Budget())
    assert again.validity is Validity.INVALID


def test_a_level_allows_what_it_says() -> None:
    """Write skew is serializability's business, not snapshot isolation's."""
    skew = parse(
        "p0: |-txn r:x:[] append:y:1-|\n"
        "p1: |-txn r:y:[] append:x:2-|\n"
        "p2:                            |-txn r:x:[2] r:y:[1]-|\n"
    )
    verdicts = {
        level: check_isolation(skew, Budget(), level=level).validity
        for level in ("read-committed", "snapshot-isolation", "serializable")
    }
    assert verdicts == {
        "read-committed": Validity.VALID,
        "snapshot-isolation": Validity.VALID,
        "serializable": Validity.INVALID,
    }
    judged = check_isolation(skew, Budget(), level="read-committed")
    assert judged.stats["still_possible"] == "snapshot-isolation"


@pytest.mark.parametrize("appends", [True, False])
def test_what_breaks_a_level_breaks_every_level_that_includes_it(appends: bool) -> None:
    """Levels are ordered by their base and by the orders that count; names lead to them."""
    assert all(level_of(name).name == name for name in LEVELS)
    broken: set[str] = set()
    for seed in range(SEEDS // 8):
        random = Random(seed)
        ops = history(drawn(random, appends=appends, noise=random.choice([0.2, 0.5])))
        data = "list-append" if appends else "rw-register"
        invalid = {
            level_of(name)
            for name in LEVELS
            if check_isolation(ops, Budget(), data=data, level=name).validity is Validity.INVALID
        }
        broken |= {level.name for level in invalid}
        for level in map(level_of, LEVELS):
            assert level in invalid or not any(level.includes(one) for one in invalid), seed
    assert broken >= {name for name in LEVELS if "uncommitted" not in name}
