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

An element that two micro-operations append (of which neither failed) names no writer. That is the
workload's fault (`faults`), and nothing is concluded from who wrote such an element; its place in
the lists counts as any other's.

An element that no micro-operation appends may have been in the list before the history begins, if
nobody says what was: then it stands in front of all elements that were appended, and every read of
the key shows it. Otherwise it came out of thin air. In an excerpt (`Past.complete` false) its
writer may be missing, and nothing is concluded.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from squall.checkers.history import MalformedHistory
from squall.checkers.transactions.dependencies import RW, WR, WW, Dependencies
from squall.checkers.transactions.isolation import Level
from squall.checkers.transactions.operations import APPEND, READ, Past, Transactions, external_reads

UNREAD_MAX: Final = 32
"""Acknowledged elements of one key that nobody read and that get edges: those answered first."""


READERS_LOOKED_FOR_MAX: Final = 64
"""Findings for which the first reader is looked for; who read most of the key shows the others."""


class Finding(NamedTuple):
    """An anomaly that needs no circle.

    `nodes` are the transactions that show it, `key` and `value` what it is about; `other` is a
    second value where one is needed, `how` which of several ways it shows (see `proofs`).
    `level` is the weakest that forbids it, where that is not the one of its name.
    """

    name: str
    nodes: tuple[int, ...]
    key: Any = None
    value: Any = None
    other: Any = None
    how: str = ""
    level: Level | None = None


class Fault(NamedTuple):
    """A value that the workload wrote twice to a key, so that a read of it names no writer.

    `nodes` are the transactions, the same twice where one wrote it twice; `initial`: one of them
    wrote what the key held at first.
    """

    key: Any
    value: Any
    nodes: tuple[int, ...]
    initial: bool = False


class ListAppend:
    """The versions of all keys, the dependencies they imply and the findings on the way."""

    appends = True

    def __init__(self, txns: Transactions, past: Past = Past()) -> None:  # noqa: B008 - immutable
        """Read the transactions; raises MalformedHistory where `past.initial` is no empty list."""
        if past.stated and past.initial:
            raise MalformedHistory(
                f"lists begin empty, not as {past.initial!r}: leave the initial value away, and "
                f"elements in front of all that were appended count as there from the beginning"
            )
        self.txns = txns
        self.findings: list[Finding] = []
        self.faults: list[Fault] = []
        self.graph = Dependencies(txns.call, txns.ret)
        self.writer: dict[Hashable, dict[Hashable, int]] = {}
        self.ambiguous: dict[Hashable, dict[Hashable, int]] = {}  # key -> element -> appends of it
        self.unknown_values = 0
        self.unknown_reads: set[int] = set()  # transactions that show them
        self._past = past
        self._last: dict[Hashable, dict[Hashable, int]] = {}
        self._places: dict[Hashable, dict[Hashable, int]] = {}
        self._reads: dict[Hashable, list[tuple[int, list[Hashable]]]] = {}
        self._longest: dict[Hashable, int] = {}  # key -> who read most of it
        self._looked = 0
        self.broken: set[Hashable] = set()  # keys without one order: nothing follows from them
        self._index()
        self.order = self._orders()
        self._judge_reads()
        self._link()

    def _index(self) -> None:
        """Note who appended what, and what was appended twice."""
        writer, failed = self.writer, self.txns.failed
        for node, mops in enumerate(self.txns.mops):
            for f, key, value in mops:
                if f != APPEND:
                    continue
                mine = writer.get(key)
                if mine is None:
                    mine = writer[key] = {}
                if value not in mine:
                    mine[value] = node
                elif not failed[node]:
                    other = mine[value]
                    if failed[other]:
                        mine[value] = node
                        continue
                    self.faults.append(Fault(key, value, (other, node)))
                    times = self.ambiguous.setdefault(key, {})
                    times[value] = times.get(value, 1) + 1

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
                if key not in self.broken:
                    self.broken.add(key)
                    self.findings.append(
                        Finding("incompatible-order", (reader, node), key, best, value)
                    )
        orders: dict[Hashable, list[Hashable]] = {}
        for key, (node, value) in longest.items():
            orders[key] = value
            self._longest[key] = node
            if len(set(value)) != len(value):
                self._twice(node, key, value)
        return orders

    def _twice(self, node: int, key: Hashable, value: list[Hashable]) -> None:
        """Find an element that a list has more often than it may have been appended."""
        mine = self.writer.get(key, {})
        often = self.ambiguous.get(key, {})
        times: dict[Hashable, int] = {}
        for element in value:
            times[element] = times.get(element, 0) + 1
        for element, found in times.items():
            if found > often.get(element, 1):
                self.broken.add(key)
                if element in mine and not self.txns.failed[mine[element]]:
                    counts = (value, often.get(element, 1))
                    nodes = {node: None}
                    for fault in self.faults if element in often else ():
                        if (fault.key, fault.value) == (key, element):
                            nodes |= dict.fromkeys(fault.nodes)
                    self.findings.append(
                        Finding("duplicate-elements", tuple(nodes), key, element, counts)
                    )
                    return

    def _judge_reads(self) -> None:
        """Look at each transaction alone, and at what it read of others."""
        self._origins()
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
        for (key, _), nodes in seen_and_appended.items():
            if len(nodes) > 1:
                self._lost_update(key, nodes)

    def _lost_update(self, key: Hashable, nodes: list[int]) -> None:
        """Find two of these transactions that appended to the same list, which has neither's."""
        seen: dict[tuple[Hashable, ...], list[int]] = {}
        for node in nodes:
            mops = self.txns.mops[node]
            found = tuple(external_reads(mops)[key] or ())
            if not any(f == APPEND and at == key and value in found for f, at, value in mops):
                seen.setdefault(found, []).append(node)
        for found, same in seen.items():
            if len(same) > 1:
                self.findings.append(Finding("lost-update", tuple(same[:2]), key, list(found)))

    def _origins(self) -> None:
        """Find elements of failed transactions, and of none, in the versions of a key."""
        txns = self.txns
        for key, order in self.order.items():
            mine = self.writer.get(key, {})
            dirty: int | None = None
            unknown = []
            for at, element in enumerate(order):
                node = mine.get(element)
                if node is None:
                    unknown.append(at)
                elif txns.failed[node]:
                    reader = self._reader(key, at)
                    self.findings.append(Finding("G1a", (node, reader), key, element))
                    dirty = node
                elif (
                    dirty is not None
                    and txns.ok[node]
                    and element not in self.ambiguous.get(key, ())
                ):
                    self.findings.append(Finding("dirty-update", (dirty, node), key, element))
                    dirty = None
            if unknown:
                self._thin_air(key, order, unknown)

    def _thin_air(self, key: Hashable, order: list[Hashable], unknown: list[int]) -> None:
        """Judge the elements that nobody appended, by their places in a key's order."""
        unwritten, of_none = "unwritten-value", set(unknown)
        written = next((one for at, one in enumerate(order) if at not in of_none), None)
        if self._past.stated and self._past.complete:
            for at in unknown:
                self.findings.append(Finding(unwritten, (self._reader(key, at),), key, order[at]))
            return
        if not self._past.complete:
            allowed, without = len(order), None
        else:
            front = next((n for n, at in enumerate(unknown) if n != at), len(unknown))
            without = min(self._reads_of(key), key=lambda read: len(read[1]))
            allowed = min(front, len(without[1]))
        for at in unknown:
            reader = self._reader(key, at)
            if at < allowed or without is None:
                self.unknown_values += 1
                self.unknown_reads.add(reader)
            elif at < front:
                if order[at] in without[1]:
                    continue  # two pasts, which is told elsewhere
                nodes = (reader, without[0])
                self.findings.append(
                    Finding(unwritten, nodes, key, order[at], without[1], how="missing")
                )
            else:
                # Some element in front of it was appended, and so it was not there at first.
                writer = self.writer[key][written]
                self.findings.append(
                    Finding(unwritten, (reader, writer), key, order[at], written, how="behind")
                )

    def _reads_of(self, key: Hashable) -> list[tuple[int, list[Hashable]]]:
        """Return (transaction, list) of every read of a key."""
        if not self._reads:
            for node, mops in enumerate(self.txns.mops):
                if self.txns.ok[node]:
                    for f, of_key, value in mops:
                        if f == READ:
                            self._reads.setdefault(of_key, []).append((node, value or []))
        return self._reads[key]

    def _reader(self, key: Hashable, at: int) -> int:
        """Return a transaction that read a key's order up to a place, at least."""
        self._looked += 1
        if self._looked > READERS_LOOKED_FOR_MAX:
            return self._longest[key]
        upto = self.order[key][: at + 1]
        for node, value in self._reads_of(key):
            if len(value) > at and value[: at + 1] == upto:
                return node
        raise AssertionError(key)

    def _final_elements(self) -> None:
        """Note the last element each transaction appended to a key, where it appended several."""
        for node, mops in enumerate(self.txns.mops):
            if self.txns.failed[node]:
                continue  # whatever is read of it is an aborted read
            appended: dict[Hashable, Hashable] = {}
            for f, key, value in mops:
                if f == APPEND:
                    if key in appended:
                        first = appended[key]
                        often = self.ambiguous.get(key, ())
                        if first not in often and self.writer[key][first] == node:
                            self._last.setdefault(key, {})[first] = node
                            if value not in often:
                                self._torn(node, key, first, value)
                    appended[key] = value

    def _torn(self, node: int, key: Hashable, first: Hashable, second: Hashable) -> None:
        """Check two elements that a transaction appended: the second stands behind the first.

        Where others stand between them, a circle of writes shows it.
        """
        order = self.order.get(key)
        if order is None or key in self.broken:
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
        reader = self._reader(key, at)
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
                    if value in known[key] and value not in self.ambiguous.get(key, ()):
                        self.findings.append(Finding("internal", (node,), key, value, how="later"))
                    known[key] = [*known[key], value]
                own.setdefault(key, []).append(value)
                continue
            found = list(value or ())
            if key in known:
                expected = known[key]
                if found != expected:
                    self.findings.append(
                        Finding("internal", (node,), key, found, expected, how="is")
                    )
            elif (expected := own.get(key, [])) and found[-len(expected) :] != expected:
                ended = list(expected)  # it may go on to append
                self.findings.append(Finding("internal", (node,), key, found, ended, how="ends"))
            known[key] = found

    def _link(self) -> None:
        """Add the dependencies."""
        add, txns = self.graph.add, self.txns
        happened = list(txns.ok)
        installers: dict[Hashable, list[int]] = {}
        for key, order in self.order.items():
            if key in self.broken:
                continue
            mine = self.writer.get(key, {})
            often = self.ambiguous.get(key)
            nodes = [mine.get(element, -1) for element in order]
            if often:
                nodes = [-1 if one in often else n for one, n in zip(order, nodes, strict=True)]
            installers[key] = nodes
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
            last = next(iter(installers.get(key, [])[-1:]), -1)
            if last >= 0 and not txns.failed[last]:
                for node in nodes:
                    add(last, WW, node)
        for node, mops in enumerate(txns.mops):
            if not txns.ok[node]:
                continue
            for f, key, value in mops:
                if f != READ or key in self.broken:
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
            if key in self.broken:
                continue
            read = set(self.order.get(key, ()))
            if mine.keys() <= read:
                continue
            often = self.ambiguous.get(key, ())
            nodes = {
                node
                for element, node in mine.items()
                if element not in read and happened[node] and element not in often
            }
            nodes -= set(installers.get(key, ()))
            if nodes:
                found[key] = sorted(nodes, key=ret.__getitem__)[:UNREAD_MAX]
        return found

    def assumed(self, key: Hashable, value: Any) -> bool:  # noqa: ARG002 - the protocol's
        """Whether a value without a writer is taken for the initial one: no edge needs that."""
        return False

    def reasons(self, before: int, kind: int, after: int) -> Iterator[tuple[Hashable, Any, Any]]:
        """Yield (key, value, next value) for which an edge of this kind exists."""
        txns = self.txns
        appended = {
            (key, value)
            for f, key, value in txns.mops[after]
            if f == APPEND and value not in self.ambiguous.get(key, ())
        }
        for f, key, value in txns.mops[before]:
            if key in self.broken:
                continue
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
            elif f != APPEND or value in self.ambiguous.get(key, ()):
                continue
            elif kind == WW and value in order:
                at = order.index(value) + 1
                if at < len(order):
                    if (key, order[at]) in appended:
                        yield key, value, order[at]
                else:
                    for of_key, element in appended:
                        if of_key == key and element not in order:
                            yield key, value, element
            elif kind == WR:
                for f_after, of_key, found in txns.mops[after]:
                    if f_after == READ and of_key == key and found and found[-1] == value:
                        yield key, value, found
