"""Sequential consistency of registers: one order of all operations that keeps each client's own.

Lamport ("How to make a multiprocessor computer that correctly executes multiprocess programs",
1979). Real time does not count, so a stale read is allowed if some order explains it. Unlike
linearizability this property is not local: all keys of a history are judged as one store. Deciding
it is NP-complete (Gibbons & Korach, 1997). Two steps, in this order:

* *Refuting*, if each value is written once: a read comes after its write, and any other write of
  the key is before the write or after the read. Edges implied by these rules are added until there
  are no more; a cycle is a proof that there is no order. Quadratic, so only up to `GRAPH_OPS_MAX`
  operations.
* *Searching* for an order, client by client: a read that fits is taken at once, and a value that is
  still to be read is not overwritten if it is written once. What is not found within the budget is
  unknown.

An unanswered operation may have taken effect at any time after its client's earlier operations, or
never.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from squall.checkers.budget import Meter, OutOfBudget
from squall.checkers.history import History, Operation
from squall.checkers.linearizability.registers import (
    FOREVER,
    NOTHING,
    freeze,
    register_history,
    thaw,
)
from squall.checkers.text.proof import LANES_OPS_MAX, Cast, anomaly, phrase, value_phrase, who
from squall.checkers.text.words import counted
from squall.checkers.verdict import Anomaly, Budget, Validity, Verdict

NAME: Final = "sequential-register"
CLAIM: Final = "All operations have one order, which keeps each client's own."

GRAPH_OPS_MAX: Final = 2_000
"""Histories with more operations than this are not refuted by their graph."""

SHRINK_TRIES_MAX: Final = 400
SHRINK_STATES_MAX: Final = 50_000


class _Step(NamedTuple):
    """One operation: what it must see (NOTHING: anything), what it must not, what it installs."""

    key: str | None
    seen: Hashable
    unlike: Hashable
    wrote: Hashable
    answered: bool
    operation: Operation

    @property
    def tells(self) -> bool:
        """Whether its answer says something of the register."""
        return self.answered and (self.seen is not NOTHING or self.unlike is not NOTHING)


def check_sequential(history: History, budget: Budget, initial: Any = None) -> Verdict:
    """Judge all registers of a history together; `initial` is the initial value of each."""
    meter = Meter(budget)
    steps, odd = _steps(history)
    first = freeze(initial)
    anomalies: list[Anomaly] = []
    reason, method = odd, "none"
    if not reason:
        reads = sum(one.tells for one in steps)
        thin = _thin_air(history, steps, first)
        if thin is not None:
            anomalies, method = [thin], "values"
        elif not reads:
            reason = (
                "vacuous: nothing was read" if steps else "vacuous: there is no operation to judge"
            )
        else:
            anomalies, reason, method = _decide(steps, first, meter)
    return Verdict(
        checker=NAME,
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(len(history.by_key), 'key')}, {counted(len(steps), 'operation')}",
        reason=None if anomalies else reason or None,
        method=method,
        anomalies=tuple(anomalies),
        stats={
            "operations": len(steps),
            "anomalies": len(anomalies),
            "states_visited": meter.states,
        },
    )


def _steps(history: History) -> tuple[list[_Step], str]:
    """Return all operations that matter in order of their call, or why they cannot be judged."""
    steps: list[_Step] = []
    for key, operations in history.by_key.items():
        columns = register_history(operations)
        if columns.strangers:
            return [], f"a {NAME} has no operation {', '.join(sorted(columns.strangers))}"
        for one, seen, wrote, ret in zip(
            columns.rows,
            columns.columns.seen,
            columns.columns.wrote,
            columns.columns.ret,
            strict=True,
        ):
            steps.append(_Step(key, seen, NOTHING, wrote, ret != FOREVER, one))
        steps += [
            _Step(key, NOTHING, freeze(one.input[0]), NOTHING, True, one) for one in columns.opaque
        ]
        steps += [
            _Step(key, freeze(one.input[0]), freeze(one.input[0]), NOTHING, True, one)
            for one in columns.contradictions
        ]
    steps.sort(key=lambda one: one.operation.index)
    return steps, ""


def _thin_air(history: History, steps: Sequence[_Step], first: Hashable) -> Anomaly | None:
    """Find an operation that saw a value that no operation can have written."""
    written = {(one.key, one.wrote) for one in steps if one.wrote is not NOTHING}
    for one in steps:
        if not one.answered or one.seen is NOTHING or one.seen == first:
            continue
        if (one.key, one.seen) in written:
            continue
        value = value_phrase(thaw(one.seen))
        failed = register_history(history.by_key[one.key]).failed.get(one.seen, [])
        cast = Cast([*failed, one.operation])
        name = cast.name(one.operation)
        return anomaly(
            "aborted-read" if failed else "unwritten-value",
            f"{who(one.operation)} saw {value} in {one.key}, which "
            + ("certainly was not written." if failed else "nobody wrote."),
            [
                (
                    f"Then somebody wrote {value} to {one.key}, because {name} saw it, and at "
                    f"first {one.key} held {value_phrase(thaw(first))}."
                ),
                f"However, only {', '.join(map(cast.name, failed))} would have written {value} to "
                f"{one.key}, and failed for certain."
                if failed
                else f"However, no operation writes {value} to {one.key}.",
            ],
            cast,
            data={"begun": thaw(first)},
        )
    return None


def _decide(steps: list[_Step], first: Hashable, meter: Meter) -> tuple[list[Anomaly], str, str]:
    unique = _unique(steps, first)
    try:
        if unique and len(steps) <= GRAPH_OPS_MAX and _refuted(steps, first, meter):
            return [_explain(steps, first, meter)], "", "graph"
        if _order(steps, first, meter, unique=unique):
            return [], "", "search"
    except OutOfBudget as spent:
        return [], str(spent), "search"
    return [_explain(steps, first, meter)], "", "search"


def _unique(steps: Sequence[_Step], first: Hashable) -> bool:
    """Whether each value of a key is written once, and none is the initial value."""
    written = [(one.key, one.wrote) for one in steps if one.wrote is not NOTHING]
    return len(set(written)) == len(written) and all(value != first for _, value in written)


def _refuted(steps: Sequence[_Step], first: Hashable, meter: Meter) -> bool:
    """Whether the implied precedence has a cycle."""
    writer = {(one.key, one.wrote): at for at, one in enumerate(steps) if one.wrote is not NOTHING}
    # An unanswered operation counts only if an operation that counts saw its value.
    counts = {at for at, one in enumerate(steps) if one.answered}
    waiting = list(counts)
    while waiting:
        one = steps[waiting.pop()]
        if one.seen is not NOTHING and one.seen != first:
            at = writer.get((one.key, one.seen), -1)
            if at < 0:
                return True  # a compare-and-set that was seen, of a value that no operation wrote
            if at not in counts:
                counts.add(at)
                waiting.append(at)
    after: dict[int, set[int]] = {at: set() for at in counts}
    last: dict[int | str, int] = {}
    writes: dict[str | None, list[int]] = {}
    readers: dict[tuple[str | None, Hashable], list[int]] = {}
    for at in sorted(counts):
        one = steps[at]
        before = last.get(one.operation.process)
        if before is not None:
            after[before].add(at)
        last[one.operation.process] = at
        if one.wrote is not NOTHING:
            writes.setdefault(one.key, []).append(at)
        if one.seen is not NOTHING:
            readers.setdefault((one.key, one.seen), []).append(at)
            if one.seen != first:
                after[writer[one.key, one.seen]].add(at)
    while True:
        meter.look()
        reach = _reach(after)
        if reach is None:
            return True
        grown = False
        for (key, value), mine in readers.items():
            source = None if value == first else writer[key, value]
            for other in writes.get(key, ()):
                if other == source:
                    continue
                meter.spend(len(mine))
                for reader in mine:
                    if other == reader:
                        continue
                    if (
                        source is not None
                        and (reach[other] >> reader & 1)
                        and not (reach[other] >> source & 1)
                    ):
                        after[other].add(source)
                        grown = True
                    if (source is None or reach[source] >> other & 1) and not (
                        reach[reader] >> other & 1
                    ):
                        after[reader].add(other)
                        grown = True
        if not grown:
            return False


def _reach(after: dict[int, set[int]]) -> dict[int, int] | None:
    """Return the successors of each node, as bits; None if there is a cycle."""
    degree = dict.fromkeys(after, 0)
    for later in after.values():
        for node in later:
            degree[node] += 1
    ready = [node for node, count in degree.items() if not count]
    order = []
    while ready:
        node = ready.pop()
        order.append(node)
        for one in after[node]:
            degree[one] -= 1
            if not degree[one]:
                ready.append(one)
    if len(order) < len(after):
        return None
    reach: dict[int, int] = {}
    for node in reversed(order):
        bits = 0
        for one in after[node]:
            bits |= reach[one] | 1 << one
        reach[node] = bits
    return reach


def _order(steps: Sequence[_Step], first: Hashable, meter: Meter, *, unique: bool) -> bool:
    """Whether there is an order: depth first over the position that each client has reached."""
    clients: dict[int | str, list[_Step]] = {}
    for one in steps:
        clients.setdefault(one.operation.process, []).append(one)
    lanes = list(clients.values())
    keys = {key: at for at, key in enumerate(dict.fromkeys(one.key for one in steps))}
    unread: dict[tuple[str | None, Hashable], int] = {}
    for one in steps:
        if one.answered and one.seen is not NOTHING:
            unread[one.key, one.seen] = unread.get((one.key, one.seen), 0) + 1
    goal = tuple(
        next((at + 1 for at in range(len(lane) - 1, -1, -1) if lane[at].answered), 0)
        for lane in lanes
    )
    start = (tuple([0] * len(lanes)), tuple([first] * len(keys)))
    seen = {start}
    stack = [start]
    while stack:
        places, values = stack.pop()
        meter.spend()
        if all(place >= end for place, end in zip(places, goal, strict=True)):
            return True
        for following in _following(lanes, keys, places, values, unread, unique=unique):
            if following not in seen:
                seen.add(following)
                stack.append(following)
    return False


_Place = tuple[tuple[int, ...], tuple[Hashable, ...]]


def _following(
    lanes: Sequence[Sequence[_Step]],
    keys: dict[str | None, int],
    places: tuple[int, ...],
    values: tuple[Hashable, ...],
    unread: dict[tuple[str | None, Hashable], int],
    *,
    unique: bool,
) -> Iterator[_Place]:
    """Yield the next positions of the clients; a read that fits is the only one."""
    moves: list[_Place] = []
    for at, lane in enumerate(lanes):
        if places[at] >= len(lane):
            continue
        one = lane[places[at]]
        further = (*places[:at], places[at] + 1, *places[at + 1 :])
        place = keys[one.key]
        held = values[place]
        if not one.answered:
            moves.append((further, values))  # it never happened
        if (one.seen is not NOTHING and held != one.seen) or (
            one.unlike is not NOTHING and held == one.unlike
        ):
            continue
        if one.wrote is NOTHING:
            yield further, values
            return
        if unique and _still_read(lanes, places, at, one.key, held, unread):
            continue
        moves.append((further, (*values[:place], one.wrote, *values[place + 1 :])))
    yield from moves


def _still_read(
    lanes: Sequence[Sequence[_Step]],
    places: tuple[int, ...],
    mine: int,
    key: str | None,
    value: Hashable,
    unread: dict[tuple[str | None, Hashable], int],
) -> bool:
    """Whether an operation has yet to see a value that is never written again."""
    if not unread.get((key, value)):
        return False
    for at, lane in enumerate(lanes):
        # The write at hand may itself see the value: then it is the one that replaces it.
        for one in lane[places[at] + (at == mine) :]:
            if one.answered and one.key == key and one.seen == value:
                return True
    return False


def _explain(steps: list[_Step], first: Hashable, meter: Meter) -> Anomaly:
    small = _smaller(steps, first, meter)
    operations = [one.operation for one in small]
    shown = operations if len(operations) <= LANES_OPS_MAX else []
    last = next(one for one in reversed(small) if one.tells)
    cast = Cast(operations if shown else [last.operation])
    clients = len({one.process for one in operations})
    return anomaly(
        "not-sequential",
        f"No order that keeps each client's own explains {phrase(last.operation)}.",
        [
            (
                f"Then the {counted(len(operations), 'operation')} of {counted(clients, 'client')} "
                f"have one order, in which each client's are as it called them and each read shows "
                f"what was written last."
            ),
            (
                "However, every order that keeps each client's own has a read that shows something "
                "else; all were tried."
            ),
        ],
        cast,
        shown=shown,
        data={"operations": len(operations), "begun": thaw(first)},
    )


def _smaller(steps: list[_Step], first: Hashable, meter: Meter) -> list[_Step]:
    """Remove reads, and writes whose value was not read, while there is still no order.

    Neither removal can make an order impossible that was possible before.
    """
    best = list(steps)
    tries = 0
    at = len(best) - 1
    while at >= 0 and tries < SHRINK_TRIES_MAX:
        one = best[at]
        needed = one.wrote is not NOTHING and any(
            other.key == one.key and other.seen == one.wrote for other in best
        )
        if not needed:
            candidate = [*best[:at], *best[at + 1 :]]
            tries += 1
            if _still_wrong(candidate, first, meter):
                best = candidate
        at = min(at - 1, len(best) - 1)
    return best


def _still_wrong(steps: list[_Step], first: Hashable, meter: Meter) -> bool:
    unique = _unique(steps, first)
    small = Meter(Budget(time_s=meter.remaining_s, now_s=meter.now_s), states_max=SHRINK_STATES_MAX)
    try:
        if unique and len(steps) <= GRAPH_OPS_MAX // 8 and _refuted(steps, first, small):
            return True
        return not _order(steps, first, small, unique=unique)
    except OutOfBudget:
        return False
