"""Queues: each discipline's monitor agrees with trying all orders, and accounts with their sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from squall.checkers.collections.queues import (
    FIFO,
    TOTAL,
    UNNAMED,
    UNORDERED,
    check_queues,
    check_total_queue,
)
from squall.checkers.history import History
from squall.checkers.linearizability.models import UNKNOWN
from squall.checkers.linearizability.registers import FOREVER
from squall.checkers.linearizability.search import Call
from squall.checkers.registry import judge_of
from squall.checkers.verdict import Budget, Validity
from tests.checkers.oracle import history, intervals
from tests.checkers.seeds import SEEDS

State = tuple[Any, ...]
Steps = Callable[[State, Call], list[State]]


def fifo_steps(state: State, call: Call) -> list[State]:
    """What a call may leave behind; nothing if its answer is wrong."""
    if call.given[0] == "enqueue":
        return [(*state, call.given[1])]
    if call.answer is UNKNOWN or call.answer == (state[0] if state else None):
        return [state[1:]]
    return []


def unordered_steps(state: State, call: Call) -> list[State]:
    if call.given[0] == "enqueue":
        return [tuple(sorted((*state, call.given[1])))]
    if call.answer is UNKNOWN:
        return [state, *(state[:at] + state[at + 1 :] for at in range(len(state)))]
    if call.answer is None:
        return [] if state else [state]
    if call.answer not in state:
        return []
    at = state.index(call.answer)
    return [state[:at] + state[at + 1 :]]


def explained(steps: Steps, calls: list[Call], begun: State) -> bool:
    """Try every order, and every choice within it."""
    done = frozenset(i for i, call in enumerate(calls) if call.ret != FOREVER)
    seen = set()

    def explore(state: State, left: frozenset[int]) -> bool:
        if not left & done:
            return True
        if (state, left) in seen:
            return False
        seen.add((state, left))
        earliest = min(calls[i].ret for i in left)
        return any(
            calls[i].call <= earliest
            and any(explore(after, left - {i}) for after in steps(state, calls[i]))
            for i in left
        ) or any(calls[i].ret == FOREVER and explore(state, left - {i}) for i in left)

    return explore(begun, frozenset(range(len(calls))))


def drawn(random: Random, steps: Steps, begun: State) -> list[Call]:
    """Use a queue; then, half of the time, falsify an answer or a time."""
    state = begun
    calls = []
    values = random.choice([2, 100])  # few: elements are enqueued again
    crash = random.choice([0.0, 0.2])
    for fresh, (call, ret, happens) in enumerate(
        intervals(random, random.randint(1, 8), crash=crash), 1
    ):
        if random.random() < 0.5:
            given, answer = ("enqueue", fresh % values), None
        else:
            given = ("dequeue", None)
            at = 0 if steps is fifo_steps else random.randrange(max(1, len(state)))
            answer = state[at] if state else None
        one = Call(call, ret, given, UNKNOWN if ret == FOREVER else answer)
        if happens:
            state = random.choice(
                steps(state, one._replace(answer=answer if given[0] == "dequeue" else None))
            )
        calls.append(one)
    took = [at for at, one in enumerate(calls) if one.given[0] == "dequeue" and one.ret != FOREVER]
    if took and random.random() < 0.5:
        at, other = random.choice(took), random.choice(took)
        one, two = calls[at], calls[other]
        if random.random() < 0.3:
            calls[at] = one._replace(answer=random.choice([None, 1, 2, 99]))
        else:
            calls[at], calls[other] = (
                one._replace(answer=two.answer),
                two._replace(answer=one.answer),
            )
    return calls


@pytest.mark.parametrize(
    ("discipline", "steps"), [(FIFO, fifo_steps), (UNORDERED, unordered_steps)]
)
def test_a_queue_is_judged_as_by_trying_all_orders(discipline: str, steps: Steps) -> None:
    """Unanswered enqueues and dequeues, answers of "empty", repeated and initial elements."""
    outcomes: Counter[tuple[bool, Validity]] = Counter()
    for seed in range(SEEDS):
        random = Random(f"{discipline} {seed}")
        begun = random.choice([(), (), (101,), (101, 102)])
        calls = drawn(random, steps, begun)
        truth = explained(steps, calls, begun)
        verdict = check_queues(history(calls), Budget(), discipline, begun)
        outcomes[truth, verdict.validity] += 1
        if (verdict.reason or "").startswith("vacuous"):
            assert truth, seed
            continue
        if verdict.validity is Validity.UNKNOWN:
            assert "unanswered dequeues" in str(verdict.reason), (seed, verdict.reason)
            continue
        assert (verdict.validity is Validity.VALID) is truth, (seed, verdict.method, calls)
    assert outcomes[True, Validity.VALID] > SEEDS // 4
    assert outcomes[False, Validity.INVALID] > SEEDS // 10
    unknown = outcomes[True, Validity.UNKNOWN] + outcomes[False, Validity.UNKNOWN]
    assert unknown < SEEDS // 3


def test_a_queue_of_no_named_discipline_is_judged_by_what_holds_of_both() -> None:
    """Never invalid where a queue without order explains it, never valid where a FIFO does not."""
    judge = judge_of(UNNAMED)
    for seed in range(SEEDS // 4):
        random = Random(f"unnamed {seed}")
        calls = drawn(random, random.choice([fifo_steps, unordered_steps]), ())
        verdict = judge(history(calls), Budget())
        if verdict.validity is Validity.INVALID:
            assert not explained(unordered_steps, calls, ()), seed
        elif verdict.validity is Validity.VALID:
            assert explained(fifo_steps, calls, ()), seed
        elif "discipline" in str(verdict.reason):
            assert explained(unordered_steps, calls, ()), seed
            assert not explained(fifo_steps, calls, ()), seed


def test_the_accounts_of_a_total_queue_add_up() -> None:
    """Lost is what no order of events can excuse: acknowledged, then drained without it."""
    outcomes = set()
    for seed in range(SEEDS):
        random = Random(f"total {seed}")
        state: list[int] = []
        calls = []
        lost = False
        acked_lost: set[int] = set()
        for fresh in range(1, random.randint(2, 9)):
            call, ret = 10 * fresh, 10 * fresh + 5
            draw = random.random()
            if draw < 0.6:
                answered = random.random() < 0.8
                calls.append(Call(call, ret if answered else FOREVER, ("enqueue", fresh), None))
                if not answered:
                    calls[-1] = calls[-1]._replace(answer=UNKNOWN)
                if answered or random.random() < 0.5:
                    if random.random() < 0.9:
                        state.append(fresh)
                    elif answered:
                        acked_lost.add(fresh)
            elif state:
                taken = state.pop(random.randrange(len(state)))
                calls.append(Call(call, ret, ("dequeue", None), taken))
                if random.random() < 0.2:
                    state.append(taken)  # delivered again
        phantom = random.random() < 0.2
        drained = random.random() < 0.8
        random.shuffle(state)
        if drained:
            calls.append(Call(500, 510, ("drain", None), [*state, *([99] if phantom else [])]))
            lost = bool(acked_lost)
        verdict = check_total_queue(history(calls))
        if not calls or (verdict.reason or "").startswith("vacuous"):
            continue
        if lost or (phantom and drained):
            assert verdict.validity is Validity.INVALID, (seed, verdict)
        elif drained:
            assert verdict.validity is Validity.VALID, (seed, verdict)
        else:
            assert verdict.validity is not Validity.INVALID, (seed, verdict)
        outcomes.add(verdict.validity)
    assert outcomes == set(Validity)


def test_many_thousand_operations_of_a_fifo_queue_need_no_search() -> None:
    """Sorted pairs decide."""
    random = Random(1)
    calls, state, now = [], [], 0
    for fresh in range(20_000):
        now += 3
        if random.random() < 0.5 or not state:
            calls.append(Call(now, now + random.randrange(30), ("enqueue", fresh), None))
            state.append(fresh)
        else:
            calls.append(Call(now, now + random.randrange(30), ("dequeue", None), state.pop(0)))
    for discipline in (FIFO, UNORDERED):
        verdict = check_queues(history(calls), Budget(), discipline)
        assert (verdict.validity, verdict.method) == (Validity.VALID, "pairs: 1 key")


def test_an_operation_that_a_queue_has_not_is_named() -> None:
    for discipline in (FIFO, UNORDERED, TOTAL):
        verdict = judge_of(discipline)(history([Call(0, 1, ("peek", None), 1)]), Budget())
        assert verdict.validity is Validity.UNKNOWN
    assert judge_of(FIFO)(History([]), Budget()).validity is Validity.UNKNOWN
