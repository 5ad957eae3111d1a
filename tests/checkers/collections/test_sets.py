"""A set that only grows is judged as trying all orders would, without trying any."""

from __future__ import annotations

from random import Random

from squall.checkers.collections.sets import check_sets
from squall.checkers.history import History, Operation
from squall.checkers.linearizability.models import UNKNOWN, Set
from squall.checkers.linearizability.registers import FOREVER
from squall.checkers.linearizability.search import Call
from squall.checkers.verdict import Validity
from tests.checkers.oracle import brute_force, history, intervals
from tests.checkers.seeds import SEEDS


def drawn(seed: int) -> tuple[list[Call], str]:
    """Add and read under concurrency; then, by name, something is made wrong. Or not."""
    random = Random(seed)
    plan = intervals(random, random.randint(2, 7), clients=4, crash=0.15)
    damage = random.choice(["", "stale", "lost", "swapped", "forked"])
    lost = random.randrange(len(plan)) if damage == "lost" else None
    state: frozenset[int] = frozenset()
    calls: list[Call] = []
    past = [state]
    for at, (call, ret, happens) in enumerate(plan):
        if random.random() < 0.5:
            value = random.randrange(3) if random.random() < 0.1 else 10 + at
            calls.append(Call(call, ret, ("add", value), UNKNOWN if ret == FOREVER else None))
            if happens and at != lost:
                state |= {value}
                past.append(state)
        elif ret != FOREVER:
            shown = random.choice(past) if damage == "stale" and random.random() < 0.3 else state
            if damage == "forked" and shown and random.random() < 0.5:
                shown -= {random.choice(sorted(shown))}
            calls.append(Call(call, ret, ("read", None), sorted(shown)))
    reads = [at for at, one in enumerate(calls) if one.given[0] == "read"]
    if damage == "swapped" and len(reads) > 1:
        one, other = random.sample(reads, 2)
        calls[one], calls[other] = (
            calls[one]._replace(answer=calls[other].answer),
            calls[other]._replace(answer=calls[one].answer),
        )
    return calls, damage


def judged(calls: list[Call]) -> History:
    """The same as a history of one set."""
    return history(calls, "s")


def test_a_set_is_judged_as_by_trying_all_orders() -> None:
    """In both directions; every kind of damage is caught exactly where it made something wrong."""
    wrong: dict[str, int] = {}
    kinds: set[str] = set()
    for seed in range(SEEDS):
        calls, damage = drawn(seed)
        verdict = check_sets(judged(calls))
        truth = brute_force(Set(), calls)
        assert (verdict.validity is not Validity.INVALID) is truth, (seed, damage, calls)
        if not truth:
            wrong[damage] = wrong.get(damage, 0) + 1
            kinds |= {one.kind for one in verdict.anomalies}
    assert set(wrong) == {"stale", "lost", "swapped", "forked"}, wrong
    assert kinds == {
        *("lost-element", "stale-set-read", "future-read"),
        *("set-reads-disagree", "set-out-of-order"),
    }


def restricted(one: Operation, elements: set[int]) -> Call:
    """An operation as a call, with an eye on some elements only."""
    if one.completed_ns is None:
        return Call(one.invoked_ns, FOREVER, (one.f, one.input), UNKNOWN)
    answer = [value for value in one.output if value in elements] if one.f == "read" else None
    return Call(one.invoked_ns, one.completed_ns, (one.f, one.input), answer)


def test_what_is_told_of_a_set_is_itself_wrong() -> None:
    """The lanes of a counterexample, judged by trying all orders, have none either."""
    told = 0
    for seed in range(0, SEEDS, 7):
        calls, _ = drawn(seed)
        made = judged(calls)
        of = {one.index: one for one in made.operations}
        for anomaly in check_sets(made).anomalies:
            shown = [of[index] for index in anomaly.ops]
            mine = {one.input for one in shown if one.f == "add"}
            if mine:  # else the only witnesses of an element are reads
                told += 1
                assert not brute_force(Set(), [restricted(one, mine) for one in shown]), seed
    assert told
