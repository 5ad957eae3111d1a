"""Leaders by term: one definition for the checkers, the report and its summaries.

A node led a term if it said so, in its log ("became-leader") or when the observer asked it for its
role. Terms are elections that were won; an election without a winner leaves no term here.
"""

from __future__ import annotations

from collections.abc import Iterable

from squall.checkers.evidence import NodeEvidence
from squall.checkers.history import OBSERVER, History

LEADER = "leader"


def leaders_by_term(nodes: Iterable[NodeEvidence], history: History) -> dict[int, tuple[str, ...]]:
    """Return the nodes that reported to have led each term, terms and names in order."""
    found: dict[int, set[str]] = {}
    for node in nodes:
        for term in node.led_terms:
            found.setdefault(term, set()).add(node.node)
    for op in history:
        if op.process != OBSERVER or not isinstance(op.value, dict):
            continue
        for name, seen in op.value.items():
            if isinstance(seen, dict) and seen.get("role") == LEADER and _term(seen):
                found.setdefault(_term(seen), set()).add(name)
    return {term: tuple(sorted(names)) for term, names in sorted(found.items())}


def _term(seen: dict[str, object]) -> int:
    term = seen.get("term")
    return term if isinstance(term, int) and seen.get("reachable", True) else 0
