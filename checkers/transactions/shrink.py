"""The smallest part of a history of transactions that still shows an anomaly: sound removals only.

Take any order that explains a history. It still explains what is left when

* a key is erased from every transaction: the others never depended on it;
* a read is dropped: nobody depends on it;
* a value is erased with everybody who saw it: an element leaves every list it is in, a register's
  value leaves with the reads of it, which then would have seen the one before;
* a transaction that nothing is left of goes.

So whatever is wrong with the smaller history was wrong with the larger one. It begins with the
transactions that bear witness, the keys they share, and who read most of these; everything else is
erased at once, and then bit by bit what the anomaly does not need.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from squall.checkers.history import Operation, OpType
from squall.checkers.linearizability.registers import freeze
from squall.checkers.text.proof import in_part
from squall.checkers.transactions.operations import READ, Transactions

TRIES_MAX: Final = 80
"""How many smaller histories are judged for one anomaly."""

Ambiguous = Mapping[Hashable, Iterable[Hashable]]
"""Key -> the values that several wrote."""

Writers = Mapping[Hashable, Mapping[Hashable, int]]
"""Key -> value -> the transaction that wrote it."""

Judge = Callable[[list[Operation]], bool]
"""Whether these transactions still show the anomaly."""


def longest_readers(txns: Transactions) -> dict[Hashable, int]:
    """Return for each key the transaction that read the longest list of it, or read it last."""
    best: dict[Hashable, tuple[int, int]] = {}
    for node, mops in enumerate(txns.mops):
        if txns.ok[node]:
            for f, key, value in mops:
                if f == READ:
                    length = len(value) if isinstance(value, list) else 0
                    if key not in best or best[key][0] <= length:
                        best[key] = (length, node)
    return {key: node for key, (_, node) in best.items()}


class Part:
    """A part of a history: whom and what is kept."""

    def __init__(
        self,
        txns: Transactions,
        writers: Writers,
        nodes: set[int],
        keys: set[Hashable],
        ambiguous: Ambiguous = MappingProxyType({}),
    ) -> None:
        self.txns, self.writers, self.nodes, self.keys = txns, writers, nodes, keys
        # Of a value that several wrote nothing is known; it goes with everybody who saw it.
        self.erased: set[tuple[Hashable, Hashable]] = {
            (key, value) for key in keys for value in ambiguous.get(key, ())
        }
        self.dropped: set[tuple[int, int]] = set()

    def without(
        self,
        *,
        node: int | None = None,
        read: tuple[int, int] | None = None,
        value: tuple[Hashable, Hashable] | None = None,
    ) -> Part:
        """Return a part with one thing less."""
        part = Part(self.txns, self.writers, self.nodes - {node}, self.keys)
        part.erased = self.erased | ({value} if value else set())
        part.dropped = self.dropped | ({read} if read else set())
        return part

    def _kept(self, key: Hashable, value: Any) -> bool:
        if value is None:
            return True
        value = freeze(value) if isinstance(value, list | dict) else value
        writer = self.writers.get(key, {}).get(value)
        return (key, value) not in self.erased and (writer is None or writer in self.nodes)

    def positions(self, node: int) -> list[tuple[int, Any]]:
        """Return the places of the micro-operations that are left, with their values."""
        left = []
        for at, (f, key, value) in enumerate(self.txns.mops[node]):
            if key not in self.keys or (node, at) in self.dropped:
                continue
            if f == READ and isinstance(value, list):
                kept = [one for one in value if self._kept(key, one)]
                # A proof may leave out elements before the last, never say that another is last.
                if not value or (kept and kept[-1] == value[-1]):
                    left.append((at, kept))
            elif f == READ and self.txns.ok[node]:
                if self._kept(key, value):
                    left.append((at, value))
            elif f == READ or (key, value) not in self.erased:
                left.append((at, value))
        return left

    def operations(self) -> list[Operation]:
        """Return the transactions that are left, with what is left of them."""
        found = []
        for node in sorted(self.nodes):
            operation, left = self.txns.operations[node], self.positions(node)
            if left:
                mops = self.txns.mops[node]
                answered = [[mops[at][0], mops[at][1], value] for at, value in left]
                asked = [[f, key, None if f == READ else value] for f, key, value in answered]
                changed: dict[str, Any] = {"input": asked, "output": None}
                if self.txns.ok[node]:
                    changed["output"] = answered
                elif operation.outcome is OpType.OK:  # its answer is not believed
                    changed |= {"outcome": OpType.INFO, "completed_ns": None}
                part = msgspec.structs.replace(operation, **changed)
                whole = [[*mop] for mop in mops] == answered
                found.append(part if whole else in_part(operation, part))
        return found


def shrink_transactions(
    txns: Transactions,
    writers: Writers,
    ambiguous: Ambiguous,
    witnesses: Sequence[int],
    readers: Mapping[Hashable, int],
    about: Collection[Hashable],
    shows: Judge,
) -> list[Operation]:
    """Return few transactions which show the anomaly of the witnesses; none if that fails.

    All of these are among them, and with something that they did to the keys it is about.
    """
    tries = 0
    named = {
        txns.operations[node].index: any(mop[1] in about for mop in txns.mops[node])
        for node in witnesses
    }

    def still(part: Part) -> bool:
        nonlocal tries
        tries += 1
        left = part.operations()
        kept = {
            one.index
            for one in left
            if not named.get(one.index) or any(mop[1] in about for mop in one.input)
        }
        # Another anomaly of the same name, among others, is not the one that is told.
        return tries <= TRIES_MAX and named.keys() <= kept and shows(left)

    keys = _shared_keys(txns, witnesses)
    most = {readers[key] for key in keys if key in readers}
    origins = _origins(txns, writers, witnesses, keys)
    part = next(
        (
            part
            for nodes in ({*witnesses}, {*witnesses, *most}, {*witnesses, *most, *origins})
            if still(part := Part(txns, writers, nodes, keys, ambiguous))
        ),
        None,
    )
    if part is None:
        return []
    for node in sorted(part.nodes - set(witnesses)):
        if still(less := part.without(node=node)):
            part = less
    for node in sorted(part.nodes):
        for at, _ in reversed(part.positions(node)):
            f, key, value = txns.mops[node][at]
            less = part.without(read=(node, at)) if f == READ else part.without(value=(key, value))
            if still(less):
                part = less
    return part.operations()


def _origins(
    txns: Transactions, writers: Writers, witnesses: Iterable[int], keys: set[Hashable]
) -> set[int]:
    """Return who wrote what the witnesses read last of each key."""
    found = set()
    for node in witnesses:
        for f, key, value in txns.mops[node]:
            if f == READ and key in keys and value:
                last = value[-1] if isinstance(value, list) else value
                found.add(writers.get(key, {}).get(last, node))
    return found


def _shared_keys(txns: Transactions, witnesses: Iterable[int]) -> set[Hashable]:
    """Return the keys that several witnesses touch; all of them where there is but one."""
    touched = [{mop[1] for mop in txns.mops[node]} for node in witnesses]
    shared = {
        key
        for at, keys in enumerate(touched)
        for key in keys
        if any(key in o for o in touched[:at])
    }
    return shared or set().union(*touched)
