"""Random histories, and a judge too simple to be wrong."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import msgspec

from squall.checkers.history import History, Op, Operation, OpType
from squall.checkers.linearizability.models import UNKNOWN, Model
from squall.checkers.linearizability.registers import FOREVER
from squall.checkers.linearizability.search import Call


def brute_force(model: Model, calls: list[Call]) -> bool:
    """Try every order of every set of calls that may have happened."""
    done = frozenset(i for i, call in enumerate(calls) if call.ret != FOREVER)
    seen = set()

    def explore(state: Any, left: frozenset[int]) -> bool:
        if not left & done:
            return True
        if (state, left) in seen:
            return False
        seen.add((state, left))
        earliest = min(calls[i].ret for i in left)
        for i in left:
            if calls[i].call <= earliest:  # nothing that is left returned before it was called
                fits, after = model.step(state, calls[i].given, calls[i].answer)
                if fits and explore(after, left - {i}):
                    return True
        # A call that never answered need not have happened.
        return any(calls[i].ret == FOREVER and explore(state, left - {i}) for i in left)

    return explore(model.init, frozenset(range(len(calls))))


def random_calls(
    random: Random,
    *,
    ops_max: int = 7,
    clients: int = 3,
    values: int | None = None,
    crash: float = 0.2,
    noise: float = 0.15,
    opaque: bool = False,
    grain: int = 12,
) -> list[Call]:
    """Use a register: ops take effect within their interval, then some answers are falsified.

    `values` None: every written value is new. Times are few (`grain`), so that ties abound.
    """
    fresh = itertools.count(1)
    free = [0] * clients
    plan = []
    for _ in range(random.randint(1, ops_max)):
        client = random.randrange(clients)
        call = free[client] + random.randrange(3)
        ret = call + random.randrange(max(1, grain // 3))
        free[client] = ret + 1
        plan.append((call + random.random() * (ret - call), call, ret, random.random() < crash))
    state = None
    calls = []
    known: list[Any] = [None]
    for _, call, ret, crashed in sorted(plan):
        f = random.choice(["read", "read", "write", "cas"])
        happened = not crashed or random.random() < 0.5
        value = next(fresh) if values is None else random.randrange(values)
        if f == "read":
            if crashed:
                continue
            answer: Any = state if random.random() > noise else random.choice([*known, 99])
            calls.append(Call(call, ret, ("read", None), answer))
            continue
        if f == "write":
            given: tuple[str, Any] = ("write", value)
            answer, after = None, value
        else:
            expected = state if random.random() < 0.6 else random.choice(known)
            given = ("cas", [expected, value])
            swap = (expected == state) != (random.random() < noise / 2)
            after = value if swap else state
            answer = {"swapped": swap} if swap or opaque else {"swapped": False, "seen": state}
        known.append(value)
        if crashed:
            calls.append(Call(call, FOREVER, given))
        else:
            calls.append(Call(call, ret, given, answer))
        if happened:
            state = after
    return calls


def operations(calls: list[Call], key: str = "x") -> list[Operation]:
    """The same as operations of a history, one process each."""
    return [
        Operation(
            index=2 * i,
            completion_index=2 * i + 1,
            process=i,
            f=call.given[0],
            key=key,
            input=call.given[1],
            output=None if call.answer is UNKNOWN else call.answer,
            outcome=OpType.INFO if call.ret == FOREVER else OpType.OK,
            invoked_ns=call.call,
            completed_ns=None if call.ret == FOREVER else call.ret,
        )
        for i, call in enumerate(calls)
    ]


def history(calls: list[Call], key: str | None = "x") -> History:
    """The same as a history, one process each."""
    events: list[tuple[int, int, int, Call]] = []
    for i, call in enumerate(calls):
        events.append((call.call, 0, i, call))
        if call.ret != FOREVER:
            events.append((call.ret, 1, i, call))
    events.sort(key=lambda event: event[:3])
    return History(
        [
            Op(
                index=at,
                time_ns=time,
                process=i,
                type=OpType.OK if answered else OpType.INVOKE,
                f=call.given[0],
                key=key,
                value=call.answer if answered else call.given[1],
            )
            for at, (time, answered, i, call) in enumerate(events)
        ]
    )


def two_keys(one: list[Call], other: list[Call]) -> History:
    """Two registers in one history, each with processes of its own."""
    return merged([(history(one, "x"), 0), (history(other, "y"), len(one))])


def merged(parts: list[tuple[History, int]]) -> History:
    """Put histories together in order of time; each comes with what is added to its processes."""
    events = [
        (op.time_ns, op.type is not OpType.INVOKE, part, op)
        for part, (ops, _) in enumerate(parts)
        for op in ops
    ]
    events.sort(key=lambda event: event[:3])
    return History(
        [
            msgspec.structs.replace(op, index=at, process=int(op.process) + parts[part][1])
            for at, (_, _, part, op) in enumerate(events)
        ]
    )


def intervals(
    random: Random, count: int, *, clients: int = 3, crash: float = 0.15
) -> list[tuple[int, int, bool]]:
    """Draw (call, return, whether it happens), in the order of the instants at which it does.

    What never returns, FOREVER, happens every other time. Times are few, so that ties abound.
    """
    free = [0] * clients
    plan = []
    for _ in range(count):
        client = random.randrange(clients)
        call = free[client] + random.randrange(3)
        ret = call + random.randrange(5)
        free[client] = ret + 1
        crashed = random.random() < crash
        happens = not crashed or random.random() < 0.5
        plan.append((random.uniform(call, ret), call, FOREVER if crashed else ret, happens))
    return [one[1:] for one in sorted(plan)]
