"""Linearizability of one register: exact, in O(n log n), if every value is written once.

After Gibbons & Korach ("Testing shared memories", SIAM J. Comput. 1997) and the zones of Golab, Li
& Shah ("Analyzing consistency properties for fun and profit", PODC 2011), extended to
compare-and-set. A value that is written only once is the register's value during one unbroken
interval of any linearization. A successful compare-and-set a -> b makes the interval of b follow
that of a immediately. So the operations form *chains*: a plain write (or the initial value) with
all its reads, then the compare-and-set that replaced it with all its reads, and so on. Chains never
interleave, and the order inside a chain is forced. Then:

1. Inside a chain, no operation may have returned before one that must precede it was called.
2. Between chains, A must precede B as soon as one operation of A returned before one of B was
   called: that is, first_return(A) < last_call(B). The history is linearizable iff this relation
   has no cycle, and it has a cycle only if it has one of length two.

Order the chains by the lower end of their zone, min(first_return, last_call), at equal ends those
first whose last_call is that end. If the relation has no 2-cycle, this order extends it: so one
sweep with the highest last_call so far finds a violation if there is one, and otherwise *is* the
linearization.

An operation that never answered (ret = FOREVER) took effect iff another operation saw its value:
leaving out an unseen one is always sound. So unanswered operations cost nothing here, where a
search doubles its states for each.

Conditions: no two operations can have written the same value, and none writes the initial value
again. Where they do not hold the result says so and nothing is decided. Intervals are closed:
operations which share an instant are concurrent. This module knows no keys, no faults and no clock.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, NamedTuple

from squall.checkers.linearizability.registers import FOREVER, NOTHING, Columns

INITIAL: Final = -1
"""The row of the virtual write that installed the initial value before all operations."""


class Conflict(NamedTuple):
    """Why no order exists. Rows of the columns, INITIAL for the initial value.

        kind             before      after      then       again
        unwritten-value  -           reader
        lost-update      first cas   second cas
        circular-cas     -           -          (`chain` is the cycle)
        future-read      writer      what saw its effect and returned before the writer was called
        out-of-order     read of an earlier value of a chain, called when `after`, which must follow
                         it, had returned
        stale-read       x           y          z          w

    A stale read: x of one chain returned before y of another was called, and z of the other before
    w of the one; y and z may be the same. `chain` otherwise holds the compare-and-sets that link
    the values of the named operations.
    """

    kind: str
    before: int = INITIAL
    after: int = INITIAL
    then: int = INITIAL
    again: int = INITIAL
    chain: tuple[int, ...] = ()


class Decision(NamedTuple):
    """The result. `valid` None: the conditions do not hold, and `reason` says which."""

    valid: bool | None
    reason: str = ""
    conflict: Conflict | None = None
    heads: list[int] | None = None  # of the chains, in linearization order
    following: list[int] | None = None  # row + 1 -> the cas that replaced its value, or INITIAL


def decide(columns: Columns, initial: Hashable = None) -> Decision:
    """Decide whether one register's operations are linearizable."""
    call, ret, seen, wrote = columns
    rows = range(len(call))
    writer: dict[Hashable, int] = {initial: INITIAL}
    for row in rows:
        value = wrote[row]
        if value is not NOTHING:
            if value in writer:
                return Decision(None, f"the value {value!r} could have come from two operations")
            writer[value] = row

    # Per writer (index row + 1, 0 for the initial value): the earliest return and the latest call
    # of its readers, and the compare-and-set that replaced its value.
    first_return = [FOREVER] * (len(call) + 1)
    last_call = [-FOREVER] * (len(call) + 1)
    following = [INITIAL] * (len(call) + 1)
    unanswered_but_seen: list[int] = []
    swaps = 0
    for row in rows:
        value = seen[row]
        if value is NOTHING:
            continue
        until = ret[row]
        if until == FOREVER:
            continue  # an unanswered compare-and-set: it counts only if its value was seen
        source = writer.get(value, -2)
        if source == -2:
            return Decision(False, conflict=Conflict("unwritten-value", after=row))
        if source >= 0 and ret[source] == FOREVER:
            unanswered_but_seen.append(source)
        if wrote[row] is NOTHING:
            source += 1
            if until < first_return[source]:
                first_return[source] = until
            since = call[row]
            if since > last_call[source]:
                last_call[source] = since
        else:
            swaps += 1
            if following[source + 1] != INITIAL:
                return _two_swaps(following[source + 1], row)
            following[source + 1] = row

    took_effect = set(unanswered_but_seen)
    unanswered_but_seen = list(took_effect)
    while unanswered_but_seen:
        row = unanswered_but_seen.pop()
        if seen[row] is NOTHING:
            continue
        source = writer.get(seen[row], -2)
        if source == -2:
            return Decision(False, conflict=Conflict("unwritten-value", after=row))
        if source >= 0 and ret[source] == FOREVER and source not in took_effect:
            took_effect.add(source)
            unanswered_but_seen.append(source)
        swaps += 1
        if following[source + 1] != INITIAL:
            return _two_swaps(following[source + 1], row)
        following[source + 1] = row

    heads = [INITIAL]
    heads += [
        row
        for row in rows
        if wrote[row] is not NOTHING
        and seen[row] is NOTHING
        and (ret[row] != FOREVER or row in took_effect)
    ]
    return _order(columns, _Blocks(first_return, last_call, following), heads, swaps)


class _Blocks(NamedTuple):
    """By row of the writer + 1: its readers' earliest return and latest call, and its successor."""

    first_return: list[int]
    last_call: list[int]
    following: list[int]


def _order(columns: Columns, blocks: _Blocks, heads: list[int], swaps: int) -> Decision:
    """Check every chain (rule 1), then sweep over the chains (rule 2)."""
    call, ret = columns.call, columns.ret
    first_return, last_call, following = blocks
    zone_first: list[int] = []  # earliest return of anything in the chain
    zone_last: list[int] = []  # latest call of anything in the chain
    keys: list[int] = []
    for head in heads:
        row = head
        first, latest = (ret[head], call[head]) if head >= 0 else (-FOREVER, -FOREVER)
        while True:
            returned = first_return[row + 1]
            if returned < latest:
                return _inner_conflict(columns, following, head, row, reads=True)
            first = min(first, returned)
            called = last_call[row + 1]
            latest = max(latest, called)
            row = following[row + 1]
            if row == INITIAL:
                break
            swaps -= 1
            if ret[row] < latest:
                return _inner_conflict(columns, following, head, row, reads=False)
            latest = max(latest, call[row])
            first = min(first, ret[row])
        zone_first.append(first)
        zone_last.append(latest)
        keys.append(2 * first + 1 if first < latest else 2 * latest)
    if swaps:
        return _circle(following, heads)

    order = sorted(range(len(heads)), key=keys.__getitem__)
    highest, holder = -FOREVER - 1, 0
    for chain in order:
        if zone_first[chain] < highest:
            return _outer_conflict(columns, following, heads[holder], heads[chain])
        if zone_last[chain] > highest:
            highest, holder = zone_last[chain], chain
    return Decision(True, heads=[heads[chain] for chain in order], following=following)


def certificate(columns: Columns, decision: Decision, initial: Hashable = None) -> list[int]:
    """Return the linearization behind a valid decision: rows in the order they took effect.

    Unanswered operations whose value no operation saw are left out.
    """
    assert decision.valid, decision
    assert decision.heads is not None
    assert decision.following is not None
    readers: dict[Hashable, list[int]] = {}
    for row, value in enumerate(columns.seen):
        if value is not NOTHING and columns.wrote[row] is NOTHING:
            readers.setdefault(value, []).append(row)
    order: list[int] = []
    for head in decision.heads:
        row = head
        value = initial if head == INITIAL else columns.wrote[head]
        if head != INITIAL:
            order.append(head)
        while True:
            order.extend(sorted(readers.get(value, ()), key=columns.call.__getitem__))
            row = decision.following[row + 1]
            if row == INITIAL:
                break
            order.append(row)
            value = columns.wrote[row]
    return order


# What follows runs only once a violation is certain: it selects the operations that show it best.


def _two_swaps(one: int, other: int) -> Decision:
    return Decision(False, conflict=Conflict("lost-update", before=one, after=other))


def _circle(following: list[int], heads: list[int]) -> Decision:
    """Find compare-and-sets that succeeded only because of each other's values."""
    reached = {INITIAL}
    for head in heads:
        reached.update(_members(following, head))
    start = next(row for row in following if row not in reached)
    circle = [start]
    while (row := following[circle[-1] + 1]) != start:
        circle.append(row)
    least = circle.index(min(circle))
    return Decision(
        False,
        conflict=Conflict("circular-cas", chain=tuple(circle[least:] + circle[:least])),
    )


def _members(following: list[int], head: int) -> list[int]:
    """Return the writers of a chain, in order."""
    members = [head]
    while (row := following[members[-1] + 1]) != INITIAL:
        members.append(row)
    return members


def _blocks(columns: Columns, following: list[int], head: int) -> list[list[int]]:
    """Return a chain as blocks: each writer followed by the readers of its value."""
    members = _members(following, head)
    values = {columns.wrote[row]: at for at, row in enumerate(members) if row != INITIAL}
    if head == INITIAL:
        # Only the initial value is seen and has no writer.
        written = set(columns.wrote)
        values |= {value: 0 for value in columns.seen if value not in written}
    blocks = [[row] if row != INITIAL else [] for row in members]
    wrote = columns.wrote
    for row, value in enumerate(columns.seen):
        if value in values and wrote[row] is NOTHING:
            blocks[values[value]].append(row)
    return blocks


def _inner_conflict(
    columns: Columns, following: list[int], head: int, row: int, *, reads: bool
) -> Decision:
    """Find an operation of a chain that returned too early, and the one it must follow."""
    call, ret = columns.call, columns.ret
    members = _members(following, head)
    at = members.index(row)
    blocks = _blocks(columns, following, head)
    earlier = [one for block in blocks[:at] for one in block]
    late = [row]
    if reads:
        late = [one for one in blocks[at] if one != row]
        earlier += [row] if row != INITIAL else []
    early = min(late, key=ret.__getitem__)
    overdue = [one for one in earlier if ret[early] < call[one]]
    writers = [one for one in overdue if columns.wrote[one] is not NOTHING]
    before = max(writers or overdue, key=call.__getitem__)
    first = next(i for i, block in enumerate(blocks) if before in block)
    glue = tuple(one for one in members[first + 1 : at + 1] if one not in {INITIAL, before, early})
    kind = "future-read" if writers else "out-of-order"
    return Decision(False, conflict=Conflict(kind, before, early, chain=glue))


def _outer_conflict(columns: Columns, following: list[int], one: int, other: int) -> Decision:
    """Choose x, w of one chain and y, z of another: x before y, yet z before w."""
    call, ret = columns.call, columns.ret
    chains = [(head, _blocks(columns, following, head)) for head in (one, other)]
    ours, theirs = ([row for block in blocks for row in block] for _, blocks in chains)
    again = max(ours, key=call.__getitem__)
    first_returned = min(ours, key=ret.__getitem__)
    # One operation between x and w shows it best, and best of all if x wrote what w found.
    value = columns.seen[again]
    source = next((row for row in ours if columns.wrote[row] == value), one)
    candidates = [INITIAL] if one == INITIAL else [source, one, first_returned]
    for before in candidates:
        since = ret[before] if before != INITIAL else -FOREVER - 1
        between = [row for row in theirs if since < call[row] and ret[row] < call[again]]
        if between:
            middle = between[0]
            return _stale(following, chains, (before, middle, middle, again))
    before = candidates[-1]
    after = max(theirs, key=call.__getitem__)
    then = min(theirs, key=ret.__getitem__)
    return _stale(following, chains, (before, after, then, again))


def _stale(
    following: list[int],
    chains: list[tuple[int, list[list[int]]]],
    found: tuple[int, int, int, int],
) -> Decision:
    before, after, then, again = found
    glue: list[int] = []
    for (head, blocks), pair in zip(chains, ((before, again), (after, then)), strict=True):
        members = _members(following, head)
        places = sorted(
            next((i for i, block in enumerate(blocks) if row in block), 0) for row in pair
        )
        glue += [row for row in members[places[0] + 1 : places[1] + 1] if row not in found]
    return Decision(
        False, conflict=Conflict("stale-read", before, after, then, again, chain=tuple(glue))
    )
