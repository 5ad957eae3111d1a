"""Locks and leases: accused exactly when no order of what happened explains what was answered."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from squall.checkers.collections.leases import check_leases
from squall.checkers.collections.locks import check_locks
from squall.checkers.history import History, Op, OpType
from squall.checkers.linearizability.models import UNKNOWN, Given
from squall.checkers.linearizability.registers import FOREVER
from squall.checkers.linearizability.search import Call
from squall.checkers.verdict import Validity
from tests.checkers.oracle import brute_force
from tests.checkers.seeds import SEEDS


class OwnedLock:
    """A lock that knows its holder. State: who holds it."""

    name = "owned-lock"
    init = None

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Any]:
        f, process = given
        if f == "acquire":
            return (state is None, process) if answer is not UNKNOWN else (True, state or process)
        if state == process:
            return True, None
        return answer is UNKNOWN, state

    def read_only(self, given: Given, answer: Any) -> bool:
        return False

    def describe(self, given: Given, answer: Any) -> str:
        return given[0]


class Step(NamedTuple):
    """One operation of a process. `ret` FOREVER: never answered."""

    process: int
    call: int
    ret: int
    f: str
    input: Any = None
    output: Any = None


def recorded(steps: list[Step], key: str | None) -> History:
    """The same as a history; equal times are concurrent."""
    events = [(one.call, 0, at, one) for at, one in enumerate(steps)]
    events += [(one.ret, 1, at, one) for at, one in enumerate(steps) if one.ret != FOREVER]
    # A process may call in the instant in which it was answered: then it is answered first.
    events.sort(key=lambda event: (event[0], event[2], event[1]))
    return History(
        [
            Op(
                index=index,
                time_ns=time,
                process=one.process,
                type=OpType.OK if answered else OpType.INVOKE,
                f=one.f,
                key=key,
                value=one.output if answered else one.input,
            )
            for index, (time, answered, _, one) in enumerate(events)
        ]
    )


def locking(random: Random) -> list[Step]:
    """Clients take and release a lock; how well it excludes them is drawn."""
    steps = []
    for process in range(random.randint(2, 4)):
        now = random.randrange(6)
        for _ in range(random.randint(1, 2)):
            got = now + random.randrange(4)
            if random.random() < 0.1:
                steps.append(Step(process, now, FOREVER, "acquire"))
                break
            steps.append(Step(process, now, got, "acquire"))
            if random.random() < 0.15:
                break
            let_go = got + random.randrange(4)
            gone = let_go + random.randrange(3)
            if random.random() < 0.15:
                steps.append(Step(process, let_go, FOREVER, "release"))
                break
            steps.append(Step(process, let_go, gone, "release"))
            now = gone + 1 + random.randrange(6)
    return steps


def calls_of(steps: list[Step]) -> Iterator[Call]:
    """Calls on a lock that knows its holder; who never released may have lost it any time."""
    for at, one in enumerate(steps):
        answer = UNKNOWN if one.ret == FOREVER else None
        yield Call(one.call, one.ret, (one.f, one.process), answer)
        released = any(
            s.process == one.process and s.f == "release" for s in steps[at + 1 : at + 2]
        )
        if one.f == "acquire" and one.ret != FOREVER and not released:
            yield Call(one.ret, FOREVER, ("release", one.process), UNKNOWN)


def test_a_lock_is_judged_as_by_trying_all_orders() -> None:
    """In both directions."""
    outcomes = set()
    for seed in range(SEEDS):
        steps = locking(Random(seed))
        if not any(one.f == "acquire" and one.ret != FOREVER for one in steps):
            continue
        verdict = check_locks(recorded(steps, "door"))
        truth = brute_force(OwnedLock(), list(calls_of(steps)))
        assert (verdict.validity is Validity.VALID) is truth, (seed, steps)
        outcomes.add(truth)
    assert outcomes == {True, False}


def fencing(random: Random) -> list[Step]:
    """Tokens that mostly rise, and uses of what they guard."""
    steps, token = [], 0
    for process in range(random.randint(2, 4)):
        now = random.randrange(8)
        got = now + random.randrange(3)
        token += random.choice([1, 1, 1, 0, 2])
        steps.append(Step(process, now, got, "acquire", None, token))
        steps.append(Step(process, got + 1, got + 1, "release"))
        for _ in range(random.randint(0, 2)):
            call = got + 2 + random.randrange(8)
            got = call + random.randrange(3)
            steps.append(Step(process, call, got, "guarded", [token, process]))
    return steps


def backwards(steps: list[Step], f: str, token: Any) -> list[tuple[Step, Step]]:
    """Every pair in which the later one has the smaller token, straight from the definition."""
    mine = [one for one in steps if one.f == f]
    return [
        (one, other)
        for one, other in itertools.product(mine, mine)
        if one.ret < other.call and token(one, other)
    ]


def test_tokens_and_their_uses_are_judged_as_by_comparing_all_pairs() -> None:
    """One pass over them says the same."""
    outcomes = set()
    for seed in range(SEEDS):
        steps = fencing(Random(seed))
        kinds = {one.kind for one in check_locks(recorded(steps, "door")).anomalies}
        tokens = backwards(steps, "acquire", lambda one, other: other.output <= one.output)
        uses = backwards(steps, "guarded", lambda one, other: other.input[0] < one.input[0])
        assert ("token-not-greater" in kinds) is bool(tokens), seed
        assert ("late-holder" in kinds) is bool(uses), seed
        given = [one.output for one in steps if one.f == "acquire"]
        shared = len(set(given)) < len(given)
        assert bool({"token-not-greater", "token-shared"} & kinds) is (bool(tokens) or shared), seed
        outcomes.add((bool(tokens), bool(uses)))
    assert len(outcomes) == 4


MS = 1_000_000
TTL_MS = 4


def leasing(random: Random) -> list[Step]:
    """One lease with one key, granted, kept alive, revoked or left to end; some probes lie."""
    moments = sorted(random.sample(range(1, 30), random.randint(2, 5)))
    grant = Step(0, 0, random.randrange(3), "grant", {}, {"id": 1, "ttl_ms": TTL_MS})
    attached = grant.ret + 1 + random.randrange(2)
    steps = [grant, Step(0, attached, attached + random.randrange(2), "attach", KEYED)]
    ends, gone = grant.call + TTL_MS + random.randrange(5), None
    for process, moment in enumerate(moments, 1):
        f = random.choice(["probe", "probe", "probe", "keepalive", "revoke"])
        call, ret = moment + attached, moment + attached + random.randrange(3)
        act = random.randint(call, ret)
        alive = act < ends and (gone is None or act < gone)
        if f == "keepalive" and alive:
            steps.append(Step(process, call, ret, f, {"id": 1}, {"ttl_ms": TTL_MS}))
            ends = act + TTL_MS + random.randrange(3)
        elif f == "revoke" and alive:
            steps.append(Step(process, call, ret, f, {"id": 1}))
            gone = act
        elif f == "probe":
            found = alive != (random.random() < 0.15)
            steps.append(Step(process, call, ret, f, {"key": "k"}, found))
    return steps


KEYED = {"id": 1, "key": "k"}


class Lease(NamedTuple):
    """What a lease is at one moment of one possible course of events."""

    now: int = 0
    alive: bool = False
    attached: bool = False
    until: int = 0  # it may not end before

    def after(self, one: Step) -> Lease | None:
        """Let an operation take effect as early as it can; None where its answer is impossible."""
        now = max(self.now, one.call)
        if now > one.ret:
            return None
        if one.f == "probe":
            return self._replace(now=now) if (self.alive and self.attached) is one.output else None
        if one.f == "grant":
            return Lease(now, alive=True, until=now + TTL_MS)
        if not self.alive:
            return None
        if one.f == "keepalive":
            return self._replace(now=now, until=now + TTL_MS)
        return self._replace(now=now, attached=True, alive=one.f == "attach")

    def ended(self) -> Lease:
        """Let it run out as early as it can."""
        return self._replace(now=max(self.now, self.until), alive=False)


def explained(state: Lease, left: frozenset[Step]) -> bool:
    """Try every order in which the rest may take effect, and every moment for the lease to end."""
    if not left:
        return True
    first = min(one.ret for one in left)
    for one in left:
        after = state.after(one) if one.call <= first else None
        if after is not None and explained(after, left - {one}):
            return True
    return state.alive and explained(state.ended(), left)


def test_a_lease_is_accused_exactly_when_nothing_explains_its_probes() -> None:
    """By trying every order of every effect and every moment at which it may end."""
    outcomes, kinds = set(), set()
    for seed in range(SEEDS):
        steps = leasing(Random(seed))
        truth = explained(
            Lease(),
            frozenset(
                one._replace(input=None, output=one.output if one.f == "probe" else None)
                for one in steps
            ),
        )
        timed = [one._replace(call=one.call * MS, ret=one.ret * MS) for one in steps]
        verdict = check_leases(recorded(timed, None))
        assert (verdict.validity is not Validity.INVALID) is truth, (seed, steps)
        outcomes.add(truth)
        kinds |= {one.kind for one in verdict.anomalies}
    assert outcomes == {True, False}
    assert kinds == {
        *("lease-ended-early", "lease-outlived-revoke"),
        *("lease-key-returned", "lease-kept-after-its-end"),
    }
