"""What transactions over plain registers reveal about their order.

Every value is written to its key once, so a read names the transaction it read from. Which of two
values came first is not shown by a read; it is inferred, and every inference is sound (Elle, VLDB
2020, section 5):

* nobody had written a key when its value was the initial one;
* a transaction that read one value and then wrote another put it after the first;
* where real time counts, a value touched by a transaction that had returned when another, which
  touched a different value of the key, was called, came before that one.

So what is told is certain, but not everything that is wrong is found: an order that no read and no
clock pins down stays open. A key whose inferred order is circular is a finding of its own, and
nothing else is concluded from it.

A value that two micro-operations write to a key (of which neither failed), or that is written
though the key held it at first, names no writer. That is the workload's fault (`faults`), and such
a value is left out of every inference.

A value that no micro-operation writes can only be the initial one. If nobody states what that is
(`Past.initial`), it is what a transaction found of a key that no transaction writes: one value,
never found after a write of the key was acknowledged. What contradicts that came out of thin air.
In an excerpt (`Past.complete` false) the writer may be missing, and nothing is concluded.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

from checkers.dependencies import RW, WR, WW, Dependencies
from checkers.history import MalformedHistory
from checkers.isolation import SESSION, STRONG, Level, level_of
from checkers.list_append import Fault, Finding
from checkers.registers import FOREVER
from checkers.transactions import READ, WRITE, Past, Transactions, external_reads

_ABSENT = -1
"""The writer of the value a key has before anybody writes it."""

_ONE_MOMENT = level_of("snapshot-isolation").base
"""The weakest base at which a transaction reads what was there when it began."""


class Step(NamedTuple):
    """Why one value of a key came before another.

    `first` and `second` are transactions: the same, which had the one when it wrote the other; or
    one that touched the first value and had returned when the other, which touched the second, was
    called; or None and one that touched the second value, the first being the initial one.
    """

    before: Hashable
    after: Hashable
    first: int | None
    second: int


class RwRegister:
    """The versions of all keys, the dependencies they imply and the findings on the way."""

    appends = False

    def __init__(
        self,
        txns: Transactions,
        past: Past = Past(),  # noqa: B008 - immutable
        *,
        realtime: bool = True,
        session: bool = True,
    ) -> None:
        """Read the transactions. `realtime`, `session`: whether the level asks for those orders.

        Only then are they taken into account for the order of values. Raises MalformedHistory where
        `past.initial` is no plain value.
        """
        try:
            hash(past.initial)
        except TypeError:
            raise MalformedHistory(
                f"a register begins with a plain value, not {past.initial!r}"
            ) from None
        self.txns = txns
        self.findings: list[Finding] = []
        self.faults: list[Fault] = []
        self.graph = Dependencies(txns.call, txns.ret)
        self.writer: dict[Hashable, dict[Hashable, int]] = {}
        self.ambiguous: dict[Hashable, set[Hashable]] = {}
        self.unknown_values = 0
        self.unknown_reads: set[int] = set()  # transactions that found them
        self.against_time: list[Finding] = []  # to be told where no circle shows the same
        self._past = past
        self._realtime, self._session = realtime, session or realtime
        # (key, value) -> those which wrote the value and then another.
        self._overwritten: dict[tuple[Hashable, Hashable], set[int]] = {}
        self.happened = list(txns.ok)
        self._index()
        # By key: value -> those which read it before they wrote the key themselves.
        self.readers: dict[Hashable, dict[Hashable, list[int]]] = {}
        self._judge_reads()
        # By key: the initial value, where it is not nil.
        self._start: dict[Hashable, Hashable] = {}
        self._origins()
        self.following = self._versions()
        self._link()

    def initial(self, key: Hashable) -> Hashable:
        """Return what a key held at first, as far as that matters: nobody found anything else."""
        if self._past.stated:
            return self._past.initial  # type: ignore[no-any-return]
        return self._start.get(key)

    def _index(self) -> None:
        """Note who wrote what, and what was written twice."""
        txns, writer, ambiguous = self.txns, self.writer, self.ambiguous
        # Nil is what a key holds that was never written, unless something else is stated.
        at_first = self._past.initial if self._past.stated else None
        for node, mops in enumerate(txns.mops):
            last: dict[Hashable, Hashable] = {}
            for f, key, value in mops:
                if f != WRITE:
                    continue
                mine = writer.get(key)
                if mine is None:
                    mine = writer[key] = {}
                if value == at_first:
                    if not txns.failed[node]:
                        self.faults.append(Fault(key, value, (node,), initial=True))
                        ambiguous.setdefault(key, set()).add(value)
                elif value not in mine:
                    mine[value] = node
                elif not txns.failed[node]:
                    other = mine[value]
                    if txns.failed[other]:
                        mine[value] = node
                    else:
                        self.faults.append(Fault(key, value, (other, node)))
                        ambiguous.setdefault(key, set()).add(value)
                if key in last:
                    self._overwritten.setdefault((key, last[key]), set()).add(node)
                last[key] = value

    def _judge_reads(self) -> None:
        """Look at each transaction alone, and at what it read of others."""
        txns = self.txns
        rmw: dict[tuple[Hashable, Hashable], list[int]] = {}
        for node, mops in enumerate(txns.mops):
            if not txns.ok[node]:
                continue
            if len(mops) > 1:
                self._internal(node, mops)
            external = external_reads(mops)
            for key, value in external.items():
                self.readers.setdefault(key, {}).setdefault(value, []).append(node)
                writer = self.writer.get(key, {}).get(value)
                if writer is None:
                    continue
                if txns.failed[writer]:
                    self.findings.append(Finding("G1a", (writer, node), key, value))
                elif value not in self.ambiguous.get(key, ()):
                    self.happened[writer] = True
                    if writer != node and writer in self._overwritten.get((key, value), ()):
                        self.findings.append(Finding("G1b", (writer, node), key, value))
            for key in {mop[1] for mop in mops if mop[0] == WRITE} & external.keys():
                if self.writer.get(key, {}).get(external[key], _ABSENT) == node:
                    continue  # it saw what it was only going to write: that is another anomaly
                rmw.setdefault((key, external[key]), []).append(node)
        for (key, value), nodes in rmw.items():
            if len(nodes) > 1 and value not in self.ambiguous.get(key, ()):
                # Who found what it wrote itself is told of as such, and did see its own update.
                writer = self.writer.get(key, {}).get(value)
                same = [node for node in nodes if node != writer]
                if len(same) > 1:
                    self.findings.append(Finding("lost-update", tuple(same[:2]), key, value))

    def _internal(self, node: int, mops: Sequence[Sequence[Any]]) -> None:
        """Check that a transaction agrees with itself."""
        known: dict[Hashable, Any] = {}
        found: set[tuple[Hashable, Hashable]] = set()
        for f, key, value in mops:
            if f == READ:
                if key not in known:
                    found.add((key, value))
                elif known[key] != value:
                    self.findings.append(
                        Finding("internal", (node,), key, value, known[key], how="is")
                    )
            elif (
                found
                and (key, value) in found
                and value not in self.ambiguous.get(key, ())
                and self.writer[key].get(value) == node
            ):
                self.findings.append(Finding("internal", (node,), key, value, how="later"))
            known[key] = value

    def _origins(self) -> None:
        """Judge the values that nobody wrote, by key."""
        past, nil = self._past, None
        for key, found in self.readers.items():
            mine = self.writer.get(key, {})
            unwritten = [
                value
                for value in found
                if value not in mine and value not in self.ambiguous.get(key, ())
            ]
            if past.stated:
                unwritten = [value for value in unwritten if value != past.initial]
                if past.complete:
                    how = "" if past.initial is nil else "stated"
                    for value in unwritten:
                        for node in found[value]:
                            self.findings.append(
                                Finding(
                                    "unwritten-value", (node,), key, value, past.initial, how=how
                                )
                            )
                    continue
            elif past.complete:
                unwritten = self._thin_air(key, unwritten)
            for value in unwritten:
                if value is not nil or past.stated:
                    self.unknown_values += len(found[value])
                    self.unknown_reads.update(found[value])

    def _thin_air(self, key: Hashable, unwritten: list[Hashable]) -> list[Hashable]:
        """Return which of a key's values without a writer may have been there at first."""
        found = self.readers[key]
        if len(unwritten) > 1:
            # One of them at most was there at first: nil, if somebody found the key without one.
            one = None if None in unwritten else unwritten[0]
            for value in unwritten:
                if value != one:
                    nodes = (found[value][0], found[one][0])
                    self.findings.append(
                        Finding("unwritten-value", nodes, key, value, one, how="another")
                    )
            return [one] if one is None else []
        if not unwritten or unwritten == [None]:
            return unwritten
        (value,) = unwritten
        late = self._after_a_write(key, found[value])
        if late is not None:
            writer, reader, means = late
            what = next(v for f, k, v in self.txns.mops[writer] if f == WRITE and k == key)
            how, level = ("session" if means == SESSION else "late"), Level(_ONE_MOMENT, means)
            self.findings.append(
                Finding("unwritten-value", (reader, writer), key, value, what, how, level)
            )
            if self._realtime or (self._session and means == SESSION):
                return []
        self._start[key] = value
        return [value]

    def _after_a_write(self, key: Hashable, readers: list[int]) -> tuple[int, int, int] | None:
        """Find a write of a key that was acknowledged before one of these reads was called.

        Returns (writer, reader, SESSION where one client did both, else STRONG).
        """
        txns = self.txns
        writers = [node for node in set(self.writer.get(key, {}).values()) if txns.ok[node]]
        if not writers:
            return None
        own = {txns.operations[node].process: node for node in sorted(writers, reverse=True)}
        first = min(writers, key=txns.ret.__getitem__)
        for means in (SESSION, STRONG):
            for reader in readers:
                process = txns.operations[reader].process
                writer = own.get(process) if means == SESSION else first
                if writer is not None and txns.ret[writer] < txns.call[reader]:
                    return writer, reader, means
        return None

    def _versions(self) -> dict[Hashable, dict[Hashable, set[Hashable]]]:
        """Infer, by key, which values came right after which; drop keys where that is circular."""
        txns, ambiguous = self.txns, self.ambiguous
        following: dict[Hashable, dict[Hashable, set[Hashable]]] = {}
        touches: dict[Hashable, list[tuple[int, Hashable, Hashable]]] = {}
        for node, mops in enumerate(txns.mops):
            if not self.happened[node] or txns.failed[node]:
                continue
            first: dict[Hashable, Hashable] = {}
            last: dict[Hashable, Hashable] = {}
            for f, key, value in mops:
                if f == READ and not (txns.ok[node] and self._known(key, value)):
                    continue
                if key in ambiguous and value in ambiguous[key]:
                    continue
                if key in last and last[key] != value and f == WRITE:
                    following.setdefault(key, {}).setdefault(last[key], set()).add(value)
                first.setdefault(key, value)
                last[key] = value
            for key, value in last.items():
                touches.setdefault(key, []).append((node, first[key], value))
        for key, touched in touches.items():
            mine = following.setdefault(key, {})
            start = self.initial(key)
            if start not in ambiguous.get(key, ()):
                for _, first_value, value in touched:
                    for one in (first_value, value):
                        if one != start:
                            mine.setdefault(start, set()).add(one)
            circle = _circle(mine)
            if circle:
                self.findings.append(self._circular(key, circle, touched))
                following[key] = {}
            elif self._realtime:
                in_time = {value: set(later) for value, later in mine.items()}
                self._in_real_time(touched, in_time)
                against = _circle(in_time)
                if not against:
                    following[key] = in_time
                else:
                    # Transactions show this better, with real time among their own edges.
                    level = Level(_ONE_MOMENT, STRONG)
                    finding = self._circular(key, against, touched)
                    self.against_time.append(finding._replace(level=level))
        return following

    def _known(self, key: Hashable, value: Hashable) -> bool:
        """Whether a value's writer is in the history, or the value was there at first."""
        return value in self.writer.get(key, ()) or value == self.initial(key)

    def _circular(
        self, key: Hashable, values: list[Hashable], touched: list[tuple[int, Hashable, Hashable]]
    ) -> Finding:
        """Return the finding of values each of which came before the next, the last before all."""
        nodes_of = [node for node, _, _ in touched]
        steps = [
            self._step(key, before, after, nodes_of)
            for before, after in zip(values, [*values[1:], values[0]], strict=True)
        ]
        nodes = {node: None for step in steps for node in step[2:] if node is not None}
        return Finding("cyclic-versions", tuple(nodes), key, values, steps)

    def _step(self, key: Hashable, before: Hashable, after: Hashable, nodes: Sequence[int]) -> Step:
        """Return why one value of a key came right before another."""
        txns = self.txns
        ended: list[int] = []  # those whose last value of the key was `before`
        began: list[int] = []  # those whose first was `after`
        for node in nodes:
            values: list[Hashable] = []
            for f, of_key, value in txns.mops[node]:
                if of_key != key or value in self.ambiguous.get(key, ()):
                    continue
                if f == READ and not (txns.ok[node] and self._known(key, value)):
                    continue
                if f == WRITE and values and values[-1] == before and value == after:
                    return Step(before, after, node, node)
                values.append(value)
            if values:
                if before == self.initial(key) and after in (values[0], values[-1]):
                    return Step(before, after, None, node)
                if values[-1] == before:
                    ended.append(node)
                if values[0] == after:
                    began.append(node)
        first = min(ended, key=txns.ret.__getitem__)
        second = max(began, key=txns.call.__getitem__)
        assert txns.ret[first] < txns.call[second], (key, before, after)
        return Step(before, after, first, second)

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
        """Add the dependencies."""
        add = self.graph.add
        failed = self.txns.failed
        for key, mine in self.readers.items():
            writers, often = self.writer.get(key, {}), self.ambiguous.get(key, ())
            for value, nodes in mine.items():
                writer = writers.get(value, _ABSENT)
                if writer >= 0 and not failed[writer] and value not in often:
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

    def assumed(self, key: Hashable, value: Hashable) -> bool:
        """Whether a value without a writer is taken for the initial one."""
        return self._start.get(key) == value and value is not None

    def reasons(self, before: int, kind: int, after: int) -> Iterator[tuple[Hashable, Any, Any]]:
        """Yield (key, value, next value) for which an edge of this kind exists."""
        txns = self.txns
        written = [(key, value) for f, key, value in txns.mops[after] if f == WRITE]
        for f, key, value in txns.mops[before]:
            if value in self.ambiguous.get(key, ()):
                continue
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
    import networkx as nx  # noqa: PLC0415 - needed for a circle only, and slow to load

    # In order: the same history is told in the same words.
    graph: Any = nx.DiGraph(
        ((a,), (b,))
        for a in sorted(left, key=repr)
        for b in sorted(following.get(a, ()), key=repr)
        if b in left
    )
    return [edge[0][0] for edge in nx.find_cycle(graph)]
