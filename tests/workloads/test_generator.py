"""Generators: what they answer follows from their streams and contexts, and from nothing else."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from squall.checkers.history import Op, OpType
from squall.workloads.generator import (
    PENDING,
    Answer,
    Context,
    Drain,
    Generator,
    Invocation,
    Pending,
    Pinned,
    Rotation,
    Stagger,
    TimeLimit,
)
from tests.workloads.generators import Repeat

SECOND = 1_000_000_000


class Free(NamedTuple):
    process: int
    node: str = "n1"


def do(f: str, key: str | None = None, count: float = float("inf")) -> Repeat:
    return Repeat(lambda context: Invocation(context.free[0].process, f, key), count)


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


def test_a_time_limit_counts_from_the_first_question():
    """And wakes the asker when it is over, not later."""
    limit = TimeLimit(SECOND, Repeat(lambda context: PENDING))
    assert limit.next(context(3 * SECOND)) == Pending(4 * SECOND)
    assert limit.next(context(4 * SECOND)) is None


def test_a_rotation_replaces_a_spent_key_and_keeps_the_number_in_use():
    """Keys come and go; never more than three at a time."""
    rotation = Rotation(Random(1), 3, lambda n: (f"k{n}", do("a", f"k{n}", 4)))
    drawn = [answer.key for _, answer in drive(Repeat(rotation.next, 100), SECOND)]
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
