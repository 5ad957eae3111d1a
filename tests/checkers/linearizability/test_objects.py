"""Every model's path agrees with trying all orders, and a wrong answer is caught."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from squall.checkers.budget import Meter
from squall.checkers.linearizability.checker import check_linearizability
from squall.checkers.linearizability.models import MODELS, UNKNOWN, Given
from squall.checkers.linearizability.registers import FOREVER
from squall.checkers.linearizability.search import Call, search
from squall.checkers.verdict import Budget, Validity
from tests.checkers.oracle import brute_force, history, intervals
from tests.checkers.seeds import SEEDS


def kv(random: Random, state: Any, fresh: int) -> tuple[Given, Any, Any]:
    text = f"<{fresh}>"
    draw = random.random()
    if draw < 0.5:
        return ("get", None), state or "", state
    if draw < 0.85:
        return ("append", text), None, (state or "") + text
    return ("put", text), None, text


def a_set(random: Random, state: Any, _fresh: int) -> tuple[Given, Any, Any]:
    state = state or frozenset()
    element = random.randrange(3)
    draw = random.random()
    if draw < 0.4:
        return ("read", None), sorted(state), state
    if draw < 0.8:
        return ("add", element), None, state | {element}
    return ("remove", element), None, state - {element}


def counter(random: Random, state: Any, _fresh: int) -> tuple[Given, Any, Any]:
    amount = random.choice([-1, 1, 2])
    if random.random() < 0.5:
        return ("read", None), state or 0, state
    return ("add", amount), None, (state or 0) + amount


def queue(random: Random, state: Any, fresh: int) -> tuple[Given, Any, Any]:
    state = state or ()
    if random.random() < 0.5:
        return ("enqueue", fresh), None, (*state, fresh)
    return ("dequeue", None), state[0] if state else None, state[1:]


def unordered(random: Random, state: Any, fresh: int) -> tuple[Given, Any, Any]:
    state = state or ()
    if random.random() < 0.5:
        return ("enqueue", fresh), None, (*state, fresh)
    if not state:
        return ("dequeue", None), None, state
    taken = random.choice(state)
    return ("dequeue", None), taken, tuple(one for one in state if one != taken)


def mutex(random: Random, state: Any, _fresh: int) -> tuple[Given, Any, Any]:
    return ("release" if state else "acquire", None), None, not state


def fenced(random: Random, state: Any, fresh: int) -> tuple[Given, Any, Any]:
    held, last = state or (False, 0)
    if held:
        return ("release", None), None, (False, last)
    return ("acquire", None), last + 1, (True, last + 1)


def multi(random: Random, state: Any, fresh: int) -> tuple[Given, Any, Any]:
    state = dict(state or {"x": 0, "y": 0})
    asked, answered = [], []
    for key in random.sample("xy", random.randint(1, 2)):
        if random.random() < 0.5:
            asked.append(["r", key, None])
            answered.append(["r", key, state[key]])
        else:
            state[key] = fresh
            asked.append(["w", key, fresh])
            answered.append(["w", key, fresh])
    return ("txn", asked), answered, state


DRAWS = {
    "kv": kv,
    "set": a_set,
    "counter": counter,
    "fifo-queue": queue,
    "unordered-queue": unordered,
    "mutex": mutex,
    "fenced-mutex": fenced,
    "multi-register": multi,
}


def drawn(name: str, seed: int, begun: Any = None) -> list[Call]:
    """Use an object that holds `begun`; some answers are exchanged, some never come."""
    random = Random(f"{name}{seed}")
    free = [0] * 3
    plan = []
    for _ in range(random.randint(2, 6)):
        client = random.randrange(3)
        call = free[client] + random.randrange(3)
        ret = call + random.randrange(5)
        free[client] = ret + 1
        plan.append((random.uniform(call, ret), call, ret, random.random() < 0.15))
    state: Any = begun
    calls: list[Call] = []
    for fresh, (_, call, ret, crashed) in enumerate(sorted(plan), 1):
        given, answer, after = DRAWS[name](random, state, fresh)
        if crashed:
            calls.append(Call(call, FOREVER, given, UNKNOWN))
        else:
            calls.append(Call(call, ret, given, answer))
        if not crashed or random.random() < 0.5:
            state = after
    if random.random() < 0.5:
        answered = [at for at, one in enumerate(calls) if one.ret != FOREVER]
        if answered:
            at, other = random.choice(answered), random.choice(answered)
            if calls[at].given[0] == calls[other].given[0] != "txn":
                one, two = calls[at], calls[other]
                calls[at] = one._replace(answer=two.answer)
                calls[other] = two._replace(answer=one.answer)
            elif calls[at].given[0] in {"acquire", "release"}:
                calls[at] = calls[at]._replace(given=("acquire", None), answer=1)
            else:
                calls[at] = calls[at]._replace(call=calls[at].ret)
    return calls


@pytest.mark.parametrize("name", DRAWS)
def test_every_model_is_judged_as_by_trying_all_orders(name: str) -> None:
    """In both directions, through the search and through whatever path is chosen."""
    outcomes = set()
    for seed in range(SEEDS):
        calls = drawn(name, seed)
        model = MODELS[name]()
        truth = brute_force(model, calls)
        outcomes.add(truth)
        assert search(model, calls, Meter(Budget())).valid is truth, seed
        verdict = check_linearizability(history(calls), Budget(), MODELS[name])
        if (verdict.reason or "").startswith("vacuous"):
            continue
        assert (verdict.validity is Validity.VALID) is truth, (seed, verdict.method)
    assert outcomes == {True, False}


DAMAGE = ("stale", "lost", "swapped")


def mutated(name: str, seed: int) -> tuple[list[Call], str]:
    """A valid use of an object with one answer that is old, one update lost, or two swapped."""
    random = Random(f"{name} mutated {seed}")
    damage = random.choice(DAMAGE)
    plan = intervals(random, random.randint(3, 7), crash=0.1)
    state: Any = None
    calls: list[Call] = []
    earlier: dict[str, list[Any]] = {}
    lose = random.randrange(len(plan)) if damage == "lost" else None
    for fresh, (call, ret, happens) in enumerate(plan, 1):
        given, answer, after = DRAWS[name](random, state, fresh)
        calls.append(Call(call, ret, given, UNKNOWN if ret == FOREVER else answer))
        if happens and fresh - 1 != lose:
            state = after
    told = [at for at, one in enumerate(calls) if one.ret != FOREVER and one.answer is not None]
    if damage == "stale" and told:
        at = random.choice(told)
        for one in calls[:at]:
            if one.answer is not UNKNOWN:
                earlier.setdefault(one.given[0], []).append(one.answer)
        old = earlier.get(calls[at].given[0]) if name != "multi-register" else None
        calls[at] = calls[at]._replace(answer=random.choice(old)) if old else calls[at]
    if damage == "swapped" and len(calls) > 1:
        at = random.randrange(len(calls) - 1)
        one, two = calls[at : at + 2]
        calls[at] = one._replace(call=two.call, ret=two.ret) if FOREVER not in one else one
        calls[at + 1] = two._replace(call=one.call, ret=one.ret) if FOREVER not in one else two
        if FOREVER in (one.ret, two.ret):
            calls[at : at + 2] = [one, two]
    return calls, damage


@pytest.mark.parametrize("name", DRAWS)
def test_a_stale_answer_a_lost_update_and_a_swapped_pair_are_caught_where_they_are_wrong(
    name: str,
) -> None:
    """Wherever no order is left, and nowhere else."""
    wrong = dict.fromkeys(DAMAGE, 0)
    for seed in range(SEEDS):
        calls, damage = mutated(name, seed)
        truth = brute_force(MODELS[name](), calls)
        verdict = check_linearizability(history(calls), Budget(), MODELS[name])
        if not (verdict.reason or "").startswith("vacuous"):
            assert (verdict.validity is Validity.VALID) is truth, (seed, damage)
            wrong[damage] += not truth
    assert all(wrong[damage] for damage in DAMAGE if (name, damage) not in HARMLESS), wrong


HARMLESS = {
    ("mutex", "stale"),  # nothing is answered that could be old
    ("multi-register", "stale"),  # answers belong to what was asked
}
"""Damage that cannot make a history of a model wrong."""


class Bell:
    """A model of a user's own: how often a bell was rung since it was last heard."""

    name = "bell"
    init = 0

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Any]:
        if given[0] == "ring":
            return True, state + 1
        return answer is UNKNOWN or answer == state, 0

    def read_only(self, given: Given, answer: Any) -> bool:
        return False

    def describe(self, given: Given, answer: Any) -> str:
        return f"{given[0]} {answer}"


def test_a_model_of_a_users_own_is_all_it_takes() -> None:
    """Fifteen lines are judged like those that come with the house, and explained."""
    rung = [Call(0, 1, ("ring", None), None), Call(2, 3, ("hear", None), 1)]
    assert check_linearizability(history(rung), Budget(), Bell).validity is Validity.VALID
    twice = [*rung, Call(4, 5, ("hear", None), 1)]
    verdict = check_linearizability(history(twice), Budget(), Bell)
    assert verdict.validity is Validity.INVALID
    assert "is 0 just before" in verdict.anomalies[0].explanation
