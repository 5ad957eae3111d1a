"""Who must come before whom, and the circles in it.

Nodes 0 to n - 1 are transactions. An edge u -> v says that u precedes v in every serial order that
explains what was seen, and its kind says why (Adya's thesis; Elle, VLDB 2020):

    ww  v overwrote what u wrote             wr  v read what u wrote
    rw  v overwrote what u read              process  one client did u, then v
    realtime  u had returned when v was called

Real time is not stored edge by edge, of which there are n squared: one chain of moments, one for
each return, stands for it while circles are looked for, so everything here is linear in the number
of transactions and edges.

A circle shows an anomaly by its edges: only ww, G0; ww and wr, G1c; one rw, G-single; several rw of
which no two adjoin, G-nonadjacent; otherwise G2-item. The one told is the shortest through an edge
that shows the anomaly: found directly, by breadth-first search from that edge.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from squall.checkers.linearizability.registers import FOREVER

WW, WR, RW, PROCESS, REALTIME = range(5)
KINDS: Final = ("ww", "wr", "rw", "process", "realtime")

_SHIFT: Final = 3
_MASK: Final = (1 << _SHIFT) - 1

EDGES_TRIED_MAX: Final = 64
"""Edges of one knot through which a shortest circle is looked for; the shortest of them is told."""

Edge = tuple[int, int, int]
"""(from, kind, to)."""


class Circle(NamedTuple):
    """A circle: `kinds[i]` leads from `nodes[i]` to the next node, the last to the first.

    `name` is Elle's name of the anomaly, with `-process` or `-realtime` where it needs those edges.
    """

    name: str
    nodes: tuple[int, ...]
    kinds: tuple[int, ...]


class Dependencies:
    """Edges among transactions, and the circles they close."""

    def __init__(self, call: Sequence[int], ret: Sequence[int]) -> None:
        self.call = call
        self.ret = ret
        self.out: list[list[int]] = [[] for _ in call]

    def add(self, before: int, kind: int, after: int) -> None:
        """Add an edge; one from a transaction to itself says nothing."""
        if before != after:
            self.out[before].append(after << _SHIFT | kind)

    def add_process_order(self, processes: Sequence[int | str], happened: Sequence[bool]) -> None:
        """Add the edges of one client's own order.

        What was never answered may take effect behind what the same client did later, if it went
        on: only what had returned comes before that.
        """
        last: dict[int | str, int] = {}
        for node, process in enumerate(processes):
            if happened[node]:
                if process in last:
                    self.add(last[process], PROCESS, node)
                if self.ret[node] != FOREVER:
                    last[process] = node

    def circles(self, kinds: Iterable[int]) -> list[Circle]:
        """Find the most telling circle of each knot of transactions, for each class of anomaly.

        `kinds` are the edges that count: ww, wr and rw always do.
        """
        kinds = set(kinds)
        suspects = self._tangled(realtime=REALTIME in kinds, process=PROCESS in kinds)
        if not suspects:
            return []
        found: list[Circle] = []
        proven: set[str] = set()
        # The weaker the means, the worse the anomaly: a circle without real time is told first.
        for suffix, extra in (("", ()), ("-process", (PROCESS,)), ("-realtime", (REALTIME,))):
            if extra and not kinds.issuperset(extra):
                continue
            for name, base in (("G0", (WW,)), ("G1c", (WW, WR)), ("SI", _DATA), ("G2", _DATA)):
                used = frozenset((*base, *extra))
                if any(earlier in proven for earlier in _implied(name, suffix)):
                    continue
                circle = self._worst(suspects, used, name, suffix)
                if circle is not None:
                    found.append(circle)
                    proven.add(name + suffix)
        return found

    def _moments(self, nodes: Iterable[int]) -> list[tuple[int, int]]:
        return sorted((self.ret[node], node) for node in nodes if self.ret[node] != FOREVER)

    def _tangled(self, *, realtime: bool, process: bool) -> list[int]:
        """Return the nodes that peeling leaves, away from every beginning: without any, no circle.

        With real time, node n + j is the moment of the j-th return.
        """
        n = len(self.call)
        moments = self._moments(range(n)) if realtime else []
        times = [time for time, _ in moments]
        degree = [0] * (n + len(moments))
        for edges in self.out:
            for edge in edges:
                if process or edge & _MASK != PROCESS:
                    degree[edge >> _SHIFT] += 1
        waiting: list[list[int]] = [[] for _ in moments]
        place = [0] * n
        if realtime:
            for node, since in enumerate(self.call):
                # Only a return strictly before the call comes before it: intervals are closed.
                at = _last_before(times, since)
                if at >= 0:
                    waiting[at].append(node)
                    degree[node] += 1
            for at, (_, node) in enumerate(moments):
                place[node] = n + at
                degree[n + at] = 2 if at else 1
        ready = [node for node, incoming in enumerate(degree) if not incoming]
        out, last = self.out, n + len(moments) - 1
        while ready:
            node = ready.pop()
            if node < n:
                for edge in out[node]:
                    if process or edge & _MASK != PROCESS:
                        after = edge >> _SHIFT
                        degree[after] -= 1
                        if not degree[after]:
                            ready.append(after)
                following = place[node]
                if not following:
                    continue
                degree[following] -= 1
                if not degree[following]:
                    ready.append(following)
                continue
            for after in waiting[node - n]:
                degree[after] -= 1
                if not degree[after]:
                    ready.append(after)
            if node < last:
                degree[node + 1] -= 1
                if not degree[node + 1]:
                    ready.append(node + 1)
        return [node for node in range(n) if degree[node]]

    def _worst(
        self, suspects: Sequence[int], used: frozenset[int], name: str, suffix: str
    ) -> Circle | None:
        """Find the shortest telling circle of one class, using only edges of these kinds."""
        knots = self._knots(suspects, used, apart=name == "SI")
        best: tuple[tuple[int, int], list[Edge]] | None = None
        for knot in knots:
            walk = _Walk(self, knot, used)
            # Every circle of the class has an edge of its kind: rw, wr, or any data edge.
            telling = {"G0": WW, "G1c": WR}.get(name, RW)
            edges = [
                (node, telling, edge >> _SHIFT)
                for node in sorted(knot)
                for edge in self.out[node]
                if edge & _MASK == telling and edge >> _SHIFT in knot
            ]
            if len(edges) > EDGES_TRIED_MAX:
                # A circle must look back somewhere: half of the tries go to what looks back
                # furthest, the others are spread over the rest.
                edges.sort(key=lambda edge: edge[2] - edge[0])
                half = EDGES_TRIED_MAX // 2
                edges = edges[:half] + edges[half :: 1 + (len(edges) - half) // half]
            for edge in edges:
                circle = walk.through(edge, apart=name == "SI")
                if circle is not None:
                    rank = (sum(kind == RW for _, kind, _ in circle), len(circle))
                    if best is None or rank < best[0]:
                        best = (rank, circle)
        if best is None:
            return None
        (swaps, _), circle = best
        called = name
        if name in {"SI", "G2"}:
            called = "G-single" if swaps == 1 else _several(circle)
        if not any(kind in {PROCESS, REALTIME} for _, kind, _ in circle):
            suffix = ""  # one that the search without these edges did not come to
        return Circle(
            called + suffix,
            tuple(before for before, _, _ in circle),
            tuple(kind for _, kind, _ in circle),
        )

    def _knots(
        self, suspects: Sequence[int], used: frozenset[int], *, apart: bool
    ) -> list[frozenset[int]]:
        """Return the strongly connected parts, each with at least two transactions.

        With `apart`, two rw edges may not follow each other: a node is then entered twice, once by
        an rw edge (as -1 - node) and once by another.
        """
        import networkx as nx  # noqa: PLC0415 - needed for suspects only, and slow to load

        graph: Any = nx.DiGraph()
        inside = set(suspects)
        moments = self._moments(suspects) if REALTIME in used else []
        times = [time for time, _ in moments]
        for node in suspects:
            for edge in self.out[node]:
                after, kind = edge >> _SHIFT, edge & _MASK
                if after not in inside or kind not in used:
                    continue
                if not apart:
                    graph.add_edge(node, after)
                elif kind == RW:
                    graph.add_edge(node, -1 - after)
                else:
                    graph.add_edge(node, after)
                    graph.add_edge(-1 - node, after)
            at = _last_before(times, self.call[node])
            if at >= 0:
                graph.add_edge(("at", at), node)
        for at, (_, node) in enumerate(moments):
            graph.add_edge(node, ("at", at))
            if apart:
                graph.add_edge(-1 - node, ("at", at))
            if at:
                graph.add_edge(("at", at - 1), ("at", at))
        knots = []
        for part in nx.strongly_connected_components(graph):
            if len(part) > 1:
                nodes = (
                    one if one >= 0 else -1 - one for one in part if not isinstance(one, tuple)
                )
                knots.append(frozenset(nodes))
        return sorted(knots, key=lambda knot: (len(knot), min(knot)))


_DATA: Final = (WW, WR, RW)


def _implied(name: str, suffix: str) -> list[str]:
    """What already shows as much: the same or a worse class, with the same or weaker means."""
    classes = ["G0", "G1c", "SI", "G2"]
    means = {"": [""], "-process": ["", "-process"], "-realtime": ["", "-process", "-realtime"]}
    return [
        worse + weaker for worse in classes[: classes.index(name) + 1] for weaker in means[suffix]
    ]


def _several(circle: Sequence[Edge]) -> str:
    """Name a circle with more than one rw edge."""
    adjoining = any(
        kind == RW and circle[(at + 1) % len(circle)][1] == RW
        for at, (_, kind, _) in enumerate(circle)
    )
    return "G2-item" if adjoining else "G-nonadjacent"


def _last_before(times: Sequence[int], moment: int) -> int:
    """The place of the last time strictly before a moment, or -1."""
    return bisect_right(times, moment - 1) - 1


class _Walk:
    """Breadth-first search inside one knot; real time is followed without storing its edges."""

    def __init__(self, graph: Dependencies, knot: frozenset[int], used: frozenset[int]) -> None:
        self._graph = graph
        self._knot = knot
        self._used = used
        # Latest call last: what real time reaches from a node is a tail of this list.
        self._by_call = sorted(knot, key=graph.call.__getitem__) if REALTIME in used else []

    def through(self, edge: Edge, *, apart: bool) -> list[Edge] | None:
        """Return the shortest circle through an edge; `apart`: with no two rw edges in a row.

        Circles without a further rw edge are preferred, however long.
        """
        if edge[1] == RW:
            plain = self._shortest(edge, self._used - {RW}, apart=False)
            if plain is not None:
                return plain
        return self._shortest(edge, self._used, apart=apart)

    def _shortest(self, edge: Edge, used: frozenset[int], *, apart: bool) -> list[Edge] | None:
        target, _, start = edge
        call, ret, out = self._graph.call, self._graph.ret, self._graph.out
        came: dict[tuple[int, bool], tuple[tuple[int, bool], int] | None] = {}
        # The second half of a state: whether an rw edge led to it, and so none may follow.
        state = (start, apart and edge[1] == RW)
        came[state] = None
        reached = [list(self._by_call), list(self._by_call)]
        layer = [state]
        while layer:
            following: list[tuple[int, bool]] = []
            for state in layer:
                node, held = state
                if node == target:
                    return self._trace(came, state, edge)
                for packed in out[node]:
                    after, kind = packed >> _SHIFT, packed & _MASK
                    if kind not in used or after not in self._knot or (held and kind == RW):
                        continue
                    if apart and kind == RW and after == target:
                        continue  # the edge we close with is rw, too
                    entered = (after, apart and kind == RW)
                    if entered not in came:
                        came[entered] = (state, kind)
                        following.append(entered)
                if self._by_call:
                    later = reached[0]
                    while later and call[later[-1]] > ret[node]:
                        entered = (later.pop(), False)
                        if entered not in came:
                            came[entered] = (state, REALTIME)
                            following.append(entered)
            layer = following
        return None

    @staticmethod
    def _trace(
        came: dict[tuple[int, bool], tuple[tuple[int, bool], int] | None],
        state: tuple[int, bool],
        edge: Edge,
    ) -> list[Edge]:
        backwards: list[Edge] = []
        while (step := came[state]) is not None:
            before, kind = step
            backwards.append((before[0], kind, state[0]))
            state = before
        return [edge, *reversed(backwards)]
