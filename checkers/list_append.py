"""What transactions over append-only lists reveal about their order.

Every element is appended to its key once, so a list that was read is the key's whole past: the
longest one read is the order of the key's versions, each other must be a beginning of it (Elle,
VLDB 2020, section 4). From it follow, exactly, who overwrote whom, who read from whom, and who
overwrote what somebody read. Elements that were acknowledged but never read come after all that
were: so a read that lacks an acknowledged append precedes it, which is how a stale read and a lost
append show.

What needs no circle is found on the way: reads of what was aborted or only intermediate, updates on
top of aborted ones, transactions that contradict themselves or of which a part is missing, lists
that are no beginning of each other, elements twice in a list, and two transactions that both saw a
list and both appended to it as if the other did not exist.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from checkers.dependencies import RW, WR, WW, Dependencies
from checkers.transactions import APPEND, READ, Transactions, external_reads

UNREAD_MAX: Final = 32
"""Acknowledged elements of one key that nobody read and that get edges: those answered first."""


LATER: Final = ("later",)
"""Stands for the second value where a transaction found what it was only going to write."""


class Finding(NamedTuple):
    """An anomaly that needs no circle.

    `nodes` are the transactions that show it, `key` and `value` what it is about; `other` is a
    second value where one is needed.
    """

    name: str
    nodes: tuple[int, ...]
    key: Any = None
    value: Any = None
    other: Any = None


class ListAppend:
    """The versions of all keys, the dependencies they imply and the findings on the way."""

    def __init__(self, txns: Transactions, *, closed: bool = True) -> None:
        """Read the transactions. `closed`: the history holds every append there ever was."""
        self.txns = txns
        self.findings: list[Finding] = []
        self.graph = Dependencies(txns.call, txns.ret)
        self.writer: dict[Hashable, dict[Hashable, int]] = {}
        self.unknown_elements = 0
        self._closed = closed
        self._last: dict[Hashable, dict[Hashable, int]] = {}
        self._places: dict[Hashable, dict[Hashable, int]] = {}
        self._broken: set[Hashable] = set()  # keys without one order: nothing follows from them
        self._index()
        self.order = self._orders()
        self._judge_reads()
        self._link()

    def _index(self) -> None:
        """Note who appended what; the second appender of an element is a finding."""
        writer = self.writer
        for node, mops in enumerate(self.txns.mops):
            for f, key, value in mops:
                if f != APPEND:
                    continue
                mine = writer.get(key)
                if mine is None:
                    mine = writer[key] = {}
                other = mine.setdefault(value, node)
                if other != node:
                    if self.txns.failed[other]:
                        mine[value] = node
                    elif not self.txns.failed[node]:
                        self.findings.append(
                            Finding("duplicate-appends", (other, node), key, value)
                        )

    def _orders(self) -> dict[Hashable, list[Hashable]]:
        """Return the longest list read of each key; others must be beginnings of it."""
        longest: dict[Hashable, tuple[int, list[Hashable]]] = {}
        for node, mops in enumerate(self.txns.mops):
            if not self.txns.ok[node]:
                continue
            for f, key, value in mops:
                if f != READ or not value:
                    continue
                known = longest.get(key)
                if known is None:
                    longest[key] = (node, value)
                    continue
                reader, best = known
                if len(value) > len(best):
                    if value[: len(best)] == best:
                        longest[key] = (node, value)
                        continue
                    longest[key] = (node, value)
                elif best[: len(value)] == value:
                    continue
                if key not in self._broken:
                    self._broken.add(key)
                    self.findings.append(
                        Finding("incompatible-order", (reader, node), key, best, value)
                    )
        orders: dict[Hashable, list[Hashable]] = {}
        for key, (node, value) in longest.items():
            order = list(dict.fromkeys(value))
            if len(order) != len(value):
                self._broken.add(key)
                twice = next(one for at, one in enumerate(value) if one in value[:at])
                self.findings.append(Finding("duplicate-elements", (node,), key, twice, value))
            orders[key] = order
        return orders

    def _judge_reads(self) -> None:
        """Look at each transaction alone, and at what it read of others."""
        self._read_aborted()
        self._final_elements()
        seen_and_appended: dict[tuple[Hashable, int], list[int]] = {}
        for node, mops in enumerate(self.txns.mops):
            if not self.txns.ok[node]:
                continue
            reads = writes = 0
            for mop in mops:
                if mop[0] == READ:
                    reads += 1
                else:
                    writes += 1
            if not reads:
                continue
            if len(mops) > 1:
                self._internal(node, mops)
            external = external_reads(mops)
            for key, value in external.items():
                if value:
                    self._intermediate(node, key, value[-1])
            if writes:
                for key in {mop[1] for mop in mops if mop[0] == APPEND} & external.keys():
                    found = external[key] or ()
                    if any(f == APPEND and k == key and v in found for f, k, v in mops):
                        continue  # it saw what it was only going to append: that is another anomaly
                    seen_and_appended.setdefault((key, len(external[key] or ())), []).append(node)
        for (key, length), nodes in seen_and_appended.items():
            if len(nodes) > 1:
                same: dict[tuple[Hashable, ...], list[int]] = {}
                for node in nodes:  # of one length; the same list, unless its order is broken
                    found = external_reads(self.txns.mops[node])[key] or []
                    assert len(found) == length
                    same.setdefault(tuple(found), []).append(node)
                for seen, both in same.items():
                    if len(both) > 1:
                        pair = tuple(both[:2])
                        self.findings.append(Finding("lost-update", pair, key, list(seen)))
                        break

    def _read_aborted(self) -> None:
        """Find elements of failed transactions, and of none, in the versions of a key."""
        txns, reader_of = self.txns, self._first_readers
        for key, order in self.order.items():
            mine = self.writer.get(key, {})
            dirty: int | None = None
            for at, element in enumerate(order):
                node = mine.get(element)
                if node is None:
                    if self._closed:
                        reader = reader_of(key, at)
                        self.findings.append(Finding("unwritten-value", (reader,), key, element))
                    else:
                        self.unknown_elements += 1
                elif txns.failed[node]:
                    reader = reader_of(key, at)
                    self.findings.append(Finding("G1a", (node, reader), key, element))
                    dirty = node
                elif dirty is not None and txns.ok[node]:
                    self.findings.append(Finding("dirty-update", (dirty, node), key, element))
                    dirty = None

    def _first_readers(self, key: Hashable, at: int) -> int:
        """Return a transaction that read the element at a place of a key's order."""
        element = self.order[key][at]
        for node, mops in enumerate(self.txns.mops):
            if self.txns.ok[node]:
                for f, of_key, value in mops:
                    # Where lists are no beginnings of each other, a long one need not hold it.
                    if f == READ and of_key == key and value and element in value[at:]:
                        return node
        raise AssertionError(key)

    def _final_elements(self) -> None:
        """Note the last element each transaction appended to a key, where it appended several."""
        for node, mops in enumerate(self.txns.mops):
            appended: dict[Hashable, Hashable] = {}
            for f, key, value in mops:
                if f == APPEND:
                    if key in appended:
                        self._last.setdefault(key, {})[appended[key]] = node
                        if not self.txns.failed[node]:
                            self._torn(node, key, appended[key], value)
                    appended[key] = value

    def _torn(self, node: int, key: Hashable, first: Hashable, second: Hashable) -> None:
        """Check two elements that a transaction appended: the second stands behind the first.

        Where others stand between them, a circle of writes shows it.
        """
        order = self.order.get(key)
        if order is None or key in self._broken:
            return
        if key not in self._places:
            self._places[key] = {one: at for at, one in enumerate(order)}
        one, other = self._places[key].get(first), self._places[key].get(second)
        if other is not None and (one is None or one > other):
            at = other
        elif other is None and one is not None and one + 1 < len(order):
            at = one + 1
        else:
            return
        reader = self._first_readers(key, at)
        self.findings.append(Finding("torn-append", (node, reader), key, first, second))

    def _intermediate(self, node: int, key: Hashable, element: Hashable) -> None:
        writer = self._last.get(key, {}).get(element)
        if writer is not None and writer != node:
            self.findings.append(Finding("G1b", (writer, node), key, element))

    def _internal(self, node: int, mops: Sequence[Sequence[Any]]) -> None:
        """Check that a transaction agrees with itself."""
        known: dict[Hashable, list[Hashable]] = {}
        own: dict[Hashable, list[Hashable]] = {}
        for f, key, value in mops:
            if f == APPEND:
                if key in known:
                    if value in known[key]:
                        self.findings.append(Finding("internal", (node,), key, value, LATER))
                    known[key] = [*known[key], value]
                own.setdefault(key, []).append(value)
                continue
            found = list(value or ())
            if key in known:
                agrees = found == known[key]
                expected = known[key]
            else:
                expected = own.get(key, [])
                agrees = not expected or found[-len(expected) :] == expected
            if not agrees:
                self.findings.append(Finding("internal", (node,), key, found, expected))
            known[key] = found

    def _link(self) -> None:
        """Add the dependencies."""
        add, txns = self.graph.add, self.txns
        happened = list(txns.ok)
        installers: dict[Hashable, list[int]] = {}
        for key, order in self.order.items():
            if key in self._broken:
                continue
            mine = self.writer.get(key, {})
            nodes = installers[key] = [mine.get(element, -1) for element in order]
            before = -1
            for node in nodes:
                if node >= 0 and not txns.failed[node]:
                    happened[node] = True  # somebody saw it
                    if before >= 0:
                        add(before, WW, node)
                    before = node
                else:
                    before = -1
        unread = self._unread(installers, happened)
        for key, nodes in unread.items():
            last = installers.get(key, [])[-1:]
            for node in nodes:
                if last and last[0] >= 0:
                    add(last[0], WW, node)
        for node, mops in enumerate(txns.mops):
            if not txns.ok[node]:
                continue
            for f, key, value in mops:
                if f != READ or key in self._broken:
                    continue
                nodes = installers.get(key, [])
                length = len(value) if value else 0
                if length and length <= len(nodes):
                    writer = nodes[length - 1]
                    if writer >= 0 and not txns.failed[writer]:
                        add(writer, WR, node)
                if length < len(nodes):
                    following = nodes[length]
                    if following >= 0 and not txns.failed[following]:
                        add(node, RW, following)
                elif key in unread:
                    for following in unread[key]:
                        add(node, RW, following)
        self.happened = happened

    def _unread(
        self, installers: dict[Hashable, list[int]], happened: Sequence[bool]
    ) -> dict[Hashable, list[int]]:
        """Return by key who certainly appended an element that was never read."""
        ret = self.txns.ret
        found: dict[Hashable, list[int]] = {}
        for key, mine in self.writer.items():
            if key in self._broken:
                continue
            read = set(self.order.get(key, ()))
            if len(mine) == len(read):
                continue
            nodes = {
                node for element, node in mine.items() if element not in read and happened[node]
            }
            nodes -= set(installers.get(key, ()))
            if nodes:
                found[key] = sorted(nodes, key=ret.__getitem__)[:UNREAD_MAX]
        return found

    def reasons(self, before: int, kind: int, after: int) -> Iterator[tuple[Hashable, Any, Any]]:
        """Yield (key, value, next value) for which an edge of this kind exists."""
        txns = self.txns
        appended = {(key, value) for f, key, value in txns.mops[after] if f == APPEND}
        for f, key, value in txns.mops[before]:
            order = self.order.get(key, [])
            if kind == RW and f == READ:
                length = len(value or ())
                if length < len(order):
                    if (key, order[length]) in appended:
                        yield key, value or [], order[length]
                else:
                    for of_key, element in appended:
                        if of_key == key and element not in order:
                            yield key, value or [], element
            elif kind == WW and f == APPEND:
                if value in order:
                    at = order.index(value) + 1
                    if at < len(order):
                        if (key, order[at]) in appended:
                            yield key, value, order[at]
                    else:
                        for of_key, element in appended:
                            if of_key == key and element not in order:
                                yield key, value, element
            elif kind == WR and f == APPEND:
                for f_after, of_key, found in txns.mops[after]:
                    if f_after == READ and of_key == key and found and found[-1] == value:
                        yield key, value, found
