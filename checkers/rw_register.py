"""What transactions over plain registers reveal about their order.

Every value is written to its key once, so a read names the transaction it read from. Which of two
values came first is not shown by a read; it is inferred, and every inference is sound (Elle, VLDB
2020, section 5):

* nobody had written a key when its value was None;
* a transaction that read one value and then wrote another put it after the first;
* where real time counts, a value touched by a transaction that had returned when another, which
  touched a different value of the key, was called, came before that one.

So what is told is certain, but not everything that is wrong is found: an order that no read and no
clock pins down stays open. A key whose inferred order is circular is a finding of its own, and
nothing else is concluded from it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import networkx as nx

from checkers.dependencies import RW, WR, WW, Dependencies
from checkers.list_append import LATER, Finding
from checkers.registers import FOREVER
from checkers.transactions import READ, WRITE, Transactions, external_reads

_ABSENT = -1
"""The writer of the value a key has before anybody writes it."""


class RwRegister:
    """The versions of all keys, the dependencies they imply and the findings on the way."""

    def __init__(self, txns: Transactions, *, closed: bool = True, realtime: bool = True) -> None:
        """Read the transactions. `closed`: the history holds every write there ever was."""
        self.txns = txns
        self.findings: list[Finding] = []
        self.graph = Dependencies(txns.call, txns.ret)
        self.writer: dict[Hashable, dict[Hashable, int]] = {}
        self.unknown_elements = 0
        self.against_time: list[Finding] = []  # to be told where no circle shows the same
        self._closed = closed
        self._overwritten: dict[Hashable, dict[Hashable, int]] = {}
        self._doubtful: set[Hashable] = set()
        self.happened = list(txns.ok)
        self._index()
        # By key: value -> those which read it before they wrote the key themselves.
        self.readers: dict[Hashable, dict[Hashable, list[int]]] = {}
        self._judge_reads()
        self.following = self._versions(realtime=realtime)
        self._link()

    def _index(self) -> None:
        for node, mops in enumerate(self.txns.mops):
            last: dict[Hashable, Hashable] = {}
            for f, key, value in mops:
                if f != WRITE:
                    continue
                other = self.writer.setdefault(key, {}).setdefault(value, node)
                if other != node:
                    if self.txns.failed[other]:
                        self.writer[key][value] = node
                    elif not self.txns.failed[node]:
                        self._doubtful.add(key)
                        self.findings.append(Finding("duplicate-writes", (other, node), key, value))
                if key in last:
                    self._overwritten.setdefault(key, {})[last[key]] = node
                last[key] = value

    def _judge_reads(self) -> None:
        """Look at each transaction alone, and at what it read of others."""
        txns = self.txns
        rmw: dict[tuple[Hashable, Hashable], list[int]] = {}
        for node, mops in enumerate(txns.mops):
            if not txns.ok[node]:
                continue
            self._internal(node, mops)
            external = external_reads(mops)
            for key, value in external.items():
                self.readers.setdefault(key, {}).setdefault(value, []).append(node)
                if value is None:
                    continue
                writer = self.writer.get(key, {}).get(value)
                if writer is None:
                    if self._closed:
                        self.findings.append(Finding("unwritten-value", (node,), key, value))
                    else:
                        self.unknown_elements += 1
                elif txns.failed[writer]:
                    self.findings.append(Finding("G1a", (writer, node), key, value))
                else:
                    self.happened[writer] = True
                    if writer != node and value in self._overwritten.get(key, ()):
                        self.findings.append(Finding("G1b", (writer, node), key, value))
            for key in {mop[1] for mop in mops if mop[0] == WRITE} & external.keys():
                if self.writer.get(key, {}).get(external[key], _ABSENT) == node:
                    continue  # it saw what it was only going to write: that is another anomaly
                rmw.setdefault((key, external[key]), []).append(node)
        for (key, value), nodes in rmw.items():
            if len(nodes) > 1 and key not in self._doubtful:
                self.findings.append(Finding("lost-update", tuple(nodes[:2]), key, value))

    def _internal(self, node: int, mops: Sequence[Sequence[Any]]) -> None:
        known: dict[Hashable, Any] = {}
        own: set[tuple[Hashable, Hashable]] = set()
        for f, key, value in mops:
            if f == READ and key in known and known[key] != value:
                self.findings.append(Finding("internal", (node,), key, value, known[key]))
            # In an incomplete history the value may have been there before.
            again = f == WRITE and key in known and known[key] == value and (key, value) not in own
            if again and self._closed:
                self.findings.append(Finding("internal", (node,), key, value, LATER))
            if f == WRITE:
                own.add((key, value))
            known[key] = value

    def _versions(self, *, realtime: bool) -> dict[Hashable, dict[Hashable, set[Hashable]]]:
        """Infer, by key, which values came right after which; drop keys where that is circular."""
        txns = self.txns
        following: dict[Hashable, dict[Hashable, set[Hashable]]] = {}
        touches: dict[Hashable, list[tuple[int, Hashable, Hashable]]] = {}
        for node, mops in enumerate(txns.mops):
            if not self.happened[node] or txns.failed[node]:
                continue
            first: dict[Hashable, Hashable] = {}
            last: dict[Hashable, Hashable] = {}
            for f, key, value in mops:
                if f == READ and not txns.ok[node]:
                    continue
                if f == READ and value is not None and value not in self.writer.get(key, ()):
                    continue  # nobody in this history wrote it: nothing follows from it
                if key in last and last[key] != value and f == WRITE:
                    following.setdefault(key, {}).setdefault(last[key], set()).add(value)
                first.setdefault(key, value)
                last[key] = value
            for key, value in last.items():
                touches.setdefault(key, []).append((node, first[key], value))
        for key, touched in touches.items():
            mine = following.setdefault(key, {})
            for _, first_value, value in touched:
                for one in (first_value, value):
                    if one is not None:
                        mine.setdefault(None, set()).add(one)
            if key in self._doubtful:
                following[key] = {}
                continue
            circle = _circle(mine)
            if realtime and not circle:
                in_time = {value: set(later) for value, later in mine.items()}
                self._in_real_time(touched, in_time)
                against = _circle(in_time)
                if not against:
                    following[key] = in_time
                else:
                    # Transactions show this better, with real time among their own edges.
                    nodes = tuple(self.writer[key].get(value, _ABSENT) for value in against)
                    self.against_time.append(
                        Finding("cyclic-versions", tuple(n for n in nodes if n >= 0), key, against)
                    )
            if circle:
                nodes = tuple(self.writer[key].get(value, _ABSENT) for value in circle)
                self.findings.append(
                    Finding("cyclic-versions", tuple(n for n in nodes if n >= 0), key, circle)
                )
                following[key] = {}
        return following

    def _in_real_time(
        self,
        touched: list[tuple[int, Hashable, Hashable]],
        following: dict[Hashable, set[Hashable]],
    ) -> None:
        """Add what real time says of one key's values: only what is not implied already."""
        call, ret = self.txns.call, self.txns.ret
        events: list[tuple[int, int, int]] = []
        for at, (node, _, _) in enumerate(touched):
            events.append((call[node], 0, at))
            if ret[node] != FOREVER:
                events.append((ret[node], 1, at))
        events.sort()
        frontier: dict[int, None] = {}
        before: dict[int, list[int]] = {}
        for _, returned, at in events:
            if not returned:
                before[at] = list(frontier)
                value = touched[at][1]
                for earlier in frontier:
                    old = touched[earlier][2]
                    if old != value:
                        following.setdefault(old, set()).add(value)
            else:
                for earlier in before.pop(at):
                    frontier.pop(earlier, None)
                frontier[at] = None

    def _link(self) -> None:
        add = self.graph.add
        failed = self.txns.failed
        for key, mine in self.readers.items():
            writers = self.writer.get(key, {})
            for value, nodes in mine.items():
                writer = writers.get(value, _ABSENT)
                if writer >= 0 and not failed[writer]:
                    for node in nodes:
                        add(writer, WR, node)
        for key, following in self.following.items():
            writers = self.writer.get(key, {})
            readers = self.readers.get(key, {})
            for value, later in following.items():
                writer = writers.get(value, _ABSENT)
                for successor in later:
                    after = writers.get(successor, _ABSENT)
                    if after < 0 or failed[after]:
                        continue
                    if writer >= 0 and not failed[writer]:
                        add(writer, WW, after)
                    for node in readers.get(value, ()):
                        add(node, RW, after)

    def reasons(self, before: int, kind: int, after: int) -> Iterator[tuple[Hashable, Any, Any]]:
        """Yield (key, value, next value) for which an edge of this kind exists."""
        txns = self.txns
        written = {(key, value) for f, key, value in txns.mops[after] if f == WRITE}
        for f, key, value in txns.mops[before]:
            later = self.following.get(key, {}).get(value, ())
            if (kind == RW and f == READ) or (kind == WW and f == WRITE):
                for of_key, successor in written:
                    if of_key == key and successor in later:
                        yield key, value, successor
            elif (
                kind == WR
                and f == WRITE
                and any(
                    mop[0] == READ and mop[1] == key and mop[2] == value for mop in txns.mops[after]
                )
            ):
                yield key, value, value


def _circle(following: dict[Hashable, set[Hashable]]) -> list[Hashable]:
    """Return values that each come before the next, and the last before the first."""
    degree: dict[Hashable, int] = {}
    for later in following.values():
        for value in later:
            degree[value] = degree.get(value, 0) + 1
    ready = [value for value in following if not degree.get(value)]
    left = set(following) | set(degree)
    while ready:
        value = ready.pop()
        left.discard(value)
        for one in following.get(value, ()):
            degree[one] -= 1
            if not degree[one]:
                ready.append(one)
    if not left:
        return []
    graph: Any = nx.DiGraph(((a,), (b,)) for a in left for b in following.get(a, ()) if b in left)
    return [edge[0][0] for edge in nx.find_cycle(graph)]
