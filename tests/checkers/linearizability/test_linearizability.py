"""The paths agree with each other and with brute force; certificates are proofs."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from squall.checkers.budget import Meter
from squall.checkers.history import History, Operation
from squall.checkers.linearizability.checker import calls_of, check_linearizability
from squall.checkers.linearizability.models import CasRegister, Register
from squall.checkers.linearizability.registers import FOREVER, register_history
from squall.checkers.linearizability.search import Call, search
from squall.checkers.linearizability.shrink import around, shrink
from squall.checkers.linearizability.zones import certificate, decide
from squall.checkers.text.lanes import parse
from squall.checkers.verdict import Budget, Validity
from tests.checkers.oracle import brute_force, history, operations, random_calls
from tests.checkers.seeds import SEEDS

MODEL = CasRegister()


def drawn(seed: int) -> list[Call]:
    """A third each: unique values, repeated values, repeated values with opaque refusals."""
    random = Random(seed)
    style = seed % 3
    return random_calls(
        random,
        ops_max=random.choice([4, 6, 8]),
        clients=random.choice([2, 3, 4]),
        values=None if style == 0 else 3,
        opaque=style == 2,
        crash=random.choice([0.0, 0.2, 0.5]),
        noise=random.choice([0.0, 0.1, 0.3]),
        grain=random.choice([6, 12, 30]),
    )


def in_real_time(order: list[int], calls: list[Call]) -> bool:
    """Nothing is ordered before something that had returned when it was called."""
    return not any(
        calls[later].ret < calls[earlier].call
        for at, later in enumerate(order)
        for earlier in order[:at]
    )


def legal(order: list[int], calls: list[Call]) -> bool:
    """One after the other, every answer is right."""
    state = MODEL.init
    for row in order:
        fits, state = MODEL.step(state, calls[row].given, calls[row].answer)
        if not fits:
            return False
    return True


def complete(order: list[int], calls: list[Call]) -> bool:
    """Everything that answered is in it, and nothing twice."""
    answered = {row for row, call in enumerate(calls) if call.ret != FOREVER}
    return answered <= set(order) and len(order) == len(set(order))


@pytest.mark.parametrize("chunk", range(8))
def test_zones_search_and_brute_force_agree_in_both_directions(chunk: int) -> None:
    """On every history each path that decides says what trying all orders says, with a proof."""
    outcomes = set()
    for seed in range(chunk, SEEDS, 8):
        calls = drawn(seed)
        truth = brute_force(MODEL, calls)
        found = search(MODEL, calls, Meter(Budget()))
        assert found.valid is truth, (seed, calls)
        if found.valid:
            order = list(found.order)
            assert legal(order, calls), (seed, order)
            assert in_real_time(order, calls), (seed, order)
            assert complete(order, calls), (seed, order)
        register = register_history(operations(calls))
        if register.opaque or register.contradictions:
            continue
        decision = decide(register.columns)
        outcomes.add((decision.valid, truth))
        if decision.valid is None:
            continue
        assert decision.valid is truth, (seed, calls)
        if decision.valid:
            rows = calls_of(register.rows)
            order = certificate(register.columns, decision)
            assert legal(order, rows), (seed, order)
            assert in_real_time(order, rows), (seed, order)
            assert complete(order, rows), (seed, order)
    assert outcomes == {(True, True), (False, False), (None, True), (None, False)}


def test_unique_values_are_always_decided_without_search() -> None:
    """The near-linear path covers what the register workload records."""
    for seed in range(0, 3000, 3):
        register = register_history(operations(drawn(seed)))
        if not register.contradictions:
            assert decide(register.columns).valid is not None, seed


def test_every_counterexample_is_itself_invalid_and_small() -> None:
    """What is shown as lanes pastes into a test that fails for the same reason."""
    shown = 0
    for seed in range(0, 9000, 3):
        verdict = check_linearizability(history(drawn(seed)), Budget())
        for anomaly in verdict.anomalies:
            if anomaly.kind == "aborted-read":
                continue
            shown += 1
            again = check_linearizability(parse(anomaly.lanes), Budget())
            assert again.validity is Validity.INVALID, (seed, anomaly.lanes)
            assert len(anomaly.ops) <= 6, (seed, anomaly.lanes)
    assert shown > 200


def invalid_by_search(candidate: list[Operation]) -> bool:
    return search(MODEL, calls_of(candidate), Meter(Budget())).valid is False


def test_shrinking_keeps_an_invalid_history_invalid_and_makes_it_small() -> None:
    """The smaller history is still wrong, and is a part of the larger one."""
    for seed in range(6000):
        calls = drawn(seed)
        if brute_force(MODEL, calls):
            continue
        whole = operations(calls)
        smaller = shrink(whole, invalid_by_search)
        assert invalid_by_search(smaller), seed
        assert {one.index for one in smaller} <= {one.index for one in whole}


def test_no_removal_that_shrinking_may_try_breaks_a_valid_history() -> None:
    """Removals are sound: whatever part is tried of a valid history is valid."""
    tried = 0

    def check(candidate: list[Operation]) -> bool:
        nonlocal tried
        tried += 1
        assert brute_force(MODEL, calls_of(candidate))
        return tried % 3 == 0  # pretend, so that removals pile up

    for seed in range(2000):
        calls = drawn(seed)
        if brute_force(MODEL, calls):
            whole = operations(calls)
            shrink(whole, check)
            register = register_history(whole)
            if not register.opaque:
                for row in register.rows:
                    assert brute_force(MODEL, calls_of(around(whole, [row]).operations))
    assert tried > 3000


def busy(n: int, clients: int, seed: int, *, unique: bool, crash: float = 0.05) -> list[Call]:
    """A linearizable register under load: all clients always busy, some never answered."""
    random = Random(seed)
    free = [0.0] * clients
    plan = []
    for _ in range(n):
        client = min(range(clients), key=free.__getitem__)
        call = free[client]
        ret = call + 100 + random.expovariate(1 / 1000)
        free[client] = ret + 1
        point = call + random.random() * (ret - call)
        plan.append((point, int(call), int(ret) + 1, random.random() < crash))
    state, calls, values = None, [], itertools.count(1)
    for _, call, ret, crashed in sorted(plan):
        draw = random.random()
        value = next(values) if unique else random.randrange(1, 6)
        if draw < 0.5:
            if not crashed:
                calls.append(Call(call, ret, ("read", None), state))
            continue
        given = ("write", value) if draw < 0.75 else ("cas", [state, value])
        answer = None if draw < 0.75 else {"swapped": True}
        if crashed:
            calls.append(Call(call, FOREVER, given))
        else:
            calls.append(Call(call, ret, given, answer))
        if not crashed or random.random() < 0.5:
            state = value
    calls.sort(key=lambda one: one.call)
    return calls


@pytest.mark.parametrize("seed", range(4))
def test_thirty_clients_on_one_key_are_decided_at_once(seed: int) -> None:
    """The history on which search explodes is nothing to the zones, valid or with a stale read."""
    calls = busy(1000, 30, seed, unique=True)
    verdict = check_linearizability(history(calls), Budget())
    assert verdict.validity is Validity.VALID
    assert verdict.method == "zones: 1 key"
    reads = [row for row, call in enumerate(calls) if call.given[0] == "read"]
    late = reads[len(reads) * 4 // 5]
    old = next(calls[row].answer for row in reads[20:] if calls[row].answer is not None)
    calls[late] = calls[late]._replace(answer=old)
    verdict = check_linearizability(history(calls), Budget())
    assert verdict.validity is Validity.INVALID
    assert verdict.anomalies[0].kind == "stale-read"
    assert str(old) in verdict.anomalies[0].summary


def mutated(calls: list[Call], random: Random) -> list[Call]:
    """Falsify one answer: a stale read, or one of a value that is yet to be written."""
    reads = [row for row, call in enumerate(calls) if call.given[0] == "read"]
    row = random.choice(reads)
    other = random.choice(reads)
    changed = list(calls)
    changed[row] = calls[row]._replace(answer=calls[other].answer)
    return changed


def test_a_falsified_read_is_caught_exactly_when_it_is_wrong() -> None:
    """Mutants of valid histories too large for brute force: the two paths agree on each."""
    random = Random(7)
    verdicts = set()
    for seed in range(150):
        calls = mutated(busy(60, 4, seed, unique=True), random)
        decision = decide(register_history(operations(calls)).columns)
        found = search(MODEL, calls, Meter(Budget()))
        assert decision.valid is found.valid, seed
        verdicts.add(found.valid)
    assert verdicts == {True, False}


class Clock:
    """A clock that moves a little each time somebody looks."""

    def __init__(self, step_s: float) -> None:
        self.s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.s += self.step_s
        return self.s


def exploding() -> History:
    """Repeated values, many open writes at once, and no order that explains the last read."""
    calls = [Call(0, 1000 + i, ("write", i % 9), None) for i in range(24)]
    calls += [Call(1, 2000 + i, ("read", None), 100) for i in range(1)]
    calls.append(Call(0, FOREVER, ("write", 100)))
    calls.append(Call(3000, 3001, ("read", None), 77))
    calls.append(Call(2500, FOREVER, ("write", 77)))
    calls.append(Call(0, 2, ("write", 77), None))
    calls.append(Call(4000, 4001, ("read", None), 78))
    calls.append(Call(5000, FOREVER, ("write", 78)))
    calls.append(Call(6000, FOREVER, ("write", 78)))
    return history(calls)


def test_the_time_budget_is_honoured_inside_the_search() -> None:
    """When the time is up the verdict is unknown, and says what to do."""
    clock = Clock(0.01)
    verdict = check_linearizability(exploding(), Budget(time_s=1.0, now_s=clock))
    assert verdict.validity is Validity.UNKNOWN
    assert "gave up after 0.97 s" in (verdict.reason or "")
    assert "searched because the value" in (verdict.reason or "")
    assert clock.s < 1.2


def test_the_memory_budget_is_honoured_inside_the_search() -> None:
    """When the memory is used up the verdict is unknown, and says what to do."""
    budget = Budget(memory_bytes=1 << 30, rss_bytes=lambda: 2 << 30)
    verdict = check_linearizability(exploding(), budget)
    assert verdict.validity is Validity.UNKNOWN
    assert "1.0 GiB of memory" in (verdict.reason or "")


def test_a_bounded_number_of_states_bounds_a_search_without_a_clock() -> None:
    """Nothing is unbounded, even where nobody handed in a clock."""
    calls = calls_of(exploding().operations)
    found = search(MODEL, calls, Meter(Budget(), states_max=10_000))
    assert found.valid is None
    assert found.visited < 11_000


def test_an_invalid_key_outweighs_one_that_was_given_up() -> None:
    """A proved violation stays proved, and a key that explodes starves no other."""
    bad = parse("p90: |-write y 1-| |-write y 2-| |-read y 1-|")
    verdict = check_linearizability(
        History([*exploding(), *bad]), Budget(time_s=0.5, now_s=Clock(0.01))
    )
    assert verdict.validity is Validity.INVALID
    assert (verdict.stats["undecided_keys"], verdict.stats["invalid_keys"]) == (1, 1)


def test_an_empty_history_is_no_pass() -> None:
    """Nothing was judged."""
    verdict = check_linearizability(History([]), Budget())
    assert verdict.validity is Validity.UNKNOWN


def test_true_is_not_one() -> None:
    """Values that Python takes for equal are told apart."""
    calls = [Call(0, 1, ("write", 1), None), Call(2, 3, ("read", None), True)]
    assert check_linearizability(history(calls), Budget()).validity is Validity.INVALID
    assert search(Register(), calls, Meter(Budget())).valid is False
