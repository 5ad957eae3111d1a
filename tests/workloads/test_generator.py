"""Generators: what they answer follows from their streams and contexts, and from nothing else."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from squall.checkers.history import Op, OpType
from squall.workloads.generator import (
    PENDING,
    Answer,
    Context,
    Drain,
    Draw,
    Generator,
    Invocation,
    Limit,
    Mix,
    Pending,
    Phases,
    Pinned,
    Rotation,
    Stagger,
    TimeLimit,
)

SECOND = 1_000_000_000


class Free(NamedTuple):
    process: int
    node: str = "n1"


def do(f: str, key: str | None = None) -> Draw:
    return Draw(lambda context: Invocation(context.free[0].process, f, key))


def context(now_ns: int = 0, busy: int = 0, free: tuple[Free, ...] = (Free(0),)) -> Context:
    return Context(now_ns, free, busy)


def drive(generator: Generator, until_ns: int, late_ns: int = 0) -> list[tuple[int, Invocation]]:
    """Ask as the interpreter does, completing everything at once; `late_ns` late at every wait."""
    now, done = 0, []
    while now < until_ns:
        answer: Answer = generator.next(context(now))
        if answer is None:
            break
        if isinstance(answer, Invocation):
            done.append((now, answer))
            generator.update(completion(answer, now))
        else:
            assert answer.until_ns is not None
            now = answer.until_ns + late_ns
    return done


def completion(invocation: Invocation, now_ns: int, outcome: OpType = OpType.OK) -> Op:
    return Op(
        index=0,
        time_ns=now_ns,
        process=invocation.process,
        type=outcome,
        f=invocation.f,
        key=invocation.key,
    )


def test_stagger_keeps_the_rate_on_average():
    """A hundred a second is a thousand in ten seconds, give or take."""
    done = drive(Stagger(Random(1), 100, do("a")), 10 * SECOND)
    assert 900 < len(done) < 1100


def test_stagger_makes_good_for_being_asked_late():
    """An asker who is a millisecond late every time still gets the rate."""
    done = drive(Stagger(Random(1), 200, do("a")), 10 * SECOND, late_ns=1_000_000)
    assert 1800 < len(done) < 2200


def test_stagger_does_not_burst_after_a_long_standstill():
    """Time in which all clients were busy is gone, but for a moment of it."""
    stagger = Stagger(Random(1), 100, do("a"))
    stagger.next(context(0))
    burst = 0
    while isinstance(stagger.next(context(20 * SECOND)), Invocation):
        burst += 1
    assert burst < 20


def test_a_limit_is_exact():
    """Five is five."""
    assert len(drive(Limit(5, do("a")), SECOND)) == 5


def test_a_time_limit_counts_from_the_first_question():
    """And wakes the asker when it is over, not later."""
    limit = TimeLimit(SECOND, Draw(lambda context: PENDING))
    assert limit.next(context(3 * SECOND)) == Pending(4 * SECOND)
    assert limit.next(context(4 * SECOND)) is None


@given(st.integers(min_value=0, max_value=2**32))
def test_a_mix_draws_by_weight(seed: int):
    """Nine to one, within what chance allows."""
    mix = Mix(Random(seed), [(9, do("often")), (1, do("rarely"))])
    drawn = [answer.f for _, answer in drive(Limit(1000, mix), SECOND)]
    assert 840 < drawn.count("often") < 960


def test_a_mix_goes_on_without_what_is_exhausted():
    """It ends when the last of its children does."""
    mix = Mix(Random(1), [(1, Limit(2, do("a"))), (1, Limit(3, do("b")))])
    drawn = [answer.f for _, answer in drive(mix, SECOND)]
    assert sorted(drawn) == ["a", "a", "b", "b", "b"]


def test_a_phase_begins_when_the_one_before_is_over_and_quiet():
    """What is outstanding belongs to the phase that began it."""
    phases = Phases(Limit(1, do("a")), Limit(1, do("b")))
    assert isinstance(phases.next(context()), Invocation)
    assert phases.next(context(busy=1)) == PENDING
    answer = phases.next(context(busy=0))
    assert isinstance(answer, Invocation)
    assert answer.f == "b"
    assert phases.next(context()) is None


def test_a_rotation_replaces_a_spent_key_and_keeps_the_number_in_use():
    """Keys come and go; never more than three at a time."""
    rotation = Rotation(Random(1), 3, lambda n: (f"k{n}", Limit(4, do("a", f"k{n}"))))
    drawn = [answer.key for _, answer in drive(Limit(100, rotation), SECOND)]
    assert {key: drawn.count(key) for key in set(drawn)}.keys() >= {f"k{n}" for n in range(24)}
    assert max(drawn.count(key) for key in set(drawn)) == 4
    alive: set[str | None] = set()
    for at, key in enumerate(drawn):
        alive.add(key)
        alive -= {each for each in alive if each not in drawn[at + 1 :]}
        assert len(alive) <= 3


def test_a_drain_asks_every_node_what_is_pinned_to_it():
    """An operation for n2 waits for a client of n2."""
    drain = Drain([Pinned(node="n2", f="read", key="x")], 3)
    assert drain.next(context(free=(Free(0, "n1"),))) == PENDING
    answer = drain.next(context(free=(Free(0, "n1"), Free(1, "n2"))))
    assert answer == Invocation(1, "read", "x")


def test_a_drain_tries_again_in_the_open_and_counts_what_is_missing():
    """Each attempt is an operation of its own; after the last, it stays missing."""
    drain = Drain([Pinned(node="n1", f="read", key=key) for key in ("x", "y")], 3)
    attempts, now = [], 0
    while (answer := drain.next(context(now))) is not None:
        if isinstance(answer, Invocation):
            attempts.append(answer.key)
            outcome = OpType.OK if answer.key == "x" else OpType.FAIL
            drain.update(completion(answer, now, outcome))
        else:
            assert answer.until_ns is not None
            now = answer.until_ns
    assert (attempts.count("x"), attempts.count("y")) == (1, 3)
    assert (drain.succeeded, drain.missing) == (1, 1)
