"""The nodes' write-ahead logs as evidence of acknowledged writes.

Values are unique, so an entry that carries a value is the write of it. A log that reaches back to
the beginning, is undamaged, and is committed at least as far as all others must hold every
acknowledged write: it is the reference. The other logs show where a write missing there was last
present. A log is read as it was collected, without what its node had already truncated.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from squall.checkers.evidence import NodeEvidence
from squall.checkers.history import History, Operation
from squall.checkers.raft.terms import leaders_by_term
from squall.checkers.text.proof import written
from squall.checkers.text.words import listed


class Place(NamedTuple):
    """The place of an entry: node, index and term, and whether the node knew it committed."""

    node: str
    at: int
    term: int
    committed: bool
    key: str


class Logs:
    """All collected logs; `judge` is the one that must hold every acknowledged write, if any is."""

    def __init__(self, nodes: Iterable[NodeEvidence], history: History) -> None:
        nodes = list(nodes)
        self._leaders = leaders_by_term(nodes, history)
        self.nodes = sorted(node.node for node in nodes if node.entries and not node.log_missing)
        self._places: dict[str, list[Place]] = {}
        for node in nodes:
            until = committed(node)
            for entry in node.entries:
                for key, value in entry.puts:
                    place = Place(node.node, entry.index, entry.term, entry.index <= until, key)
                    self._places.setdefault(value, []).append(place)
        complete = [
            node
            for node in nodes
            if node.first_index == 1 and node.entries and not node.damage and not node.log_missing
        ]
        judge = max(complete, key=lambda node: (committed(node), node.node), default=None)
        if judge is not None and not any(entry.puts for entry in judge.entries):
            judge = None  # the commands could not be read: no evidence
        self.judge: NodeEvidence | None = judge
        self.summary = (
            f"{judge.node}: entries 1 to {judge.entries[-1].index}, committed up to "
            f"{committed(judge)}"
            if judge
            else "no log reaches back to the beginning"
        )

    def places(self, operation: Operation) -> list[Place]:
        """Return the places of an operation's value; the store's key ends in the history's."""
        found = self._places.get(str(written(operation)), ())
        return [place for place in found if place.key.endswith(operation.key or "")]

    def lack(self, operation: Operation) -> bool:
        """Whether the reference log lacks an operation."""
        return self.judge is not None and self.judge.node not in {
            place.node for place in self.places(operation)
        }

    def holders(self, operation: Operation) -> list[str]:
        """State which logs hold an operation; empty if no log was collected."""
        if not self.nodes:
            return []
        places = self.places(operation)
        if not places:
            return [f"No log that was collected has an entry with it ({listed(self.nodes)})."]
        held = [
            f"{place.node} has it at index {place.at}, term {place.term}, "
            + ("committed" if place.committed else "which it never knew to be committed")
            for place in places
        ]
        others = sorted(set(self.nodes) - {place.node for place in places})
        rest = f"; {listed(others)} {'has' if len(others) == 1 else 'have'} not" if others else ""
        return [f"In the logs, {listed(held)}{rest}.", *self._minority(places)]

    def _minority(self, places: list[Place]) -> list[str]:
        """Name a leader that counted an entry as committed which a majority of the logs lacks."""
        holding = {place.node for place in places}
        if len(holding) > len(self.nodes) // 2:
            return []
        return [
            f"{place.node}, which led term {place.term}, counted it as committed, although of the "
            f"{len(self.nodes)} logs that were collected no more than {len(holding)} "
            f"{'has' if len(holding) == 1 else 'have'} it: it was committed without a durable "
            f"majority, or a majority lost it afterwards."
            for place in places
            if place.committed and place.node in self._leaders.get(place.term, ())
        ]


def committed(node: NodeEvidence) -> int:
    """The highest index that a node knew to be committed."""
    final: dict[str, Any] = node.final or {}
    return max(node.committed, int(final.get("commit") or 0))
