"""Whom a kill or a pause hits: one node, the leader, a minority, a majority, all.

An intent names a scope and an order in which nodes are preferred; both are drawn before anything is
known of the world. Only `resolve` looks at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from squall.harness.nemesis import View
from squall.harness.nemesis.sampling import Deck

SCOPES = ("one", "leader", "minority", "majority", "all")


class Victims:
    """Draws intents for faults that hit whole nodes."""

    def __init__(
        self, random: Random, nodes: tuple[str, ...], scopes: tuple[str, ...] = SCOPES
    ) -> None:
        self._random = random
        self._nodes = nodes
        self._scopes = Deck(random, scopes)

    def draw(self) -> dict[str, Any]:
        """Draw a scope, and an order of preference among the nodes."""
        return {
            "scope": self._scopes.draw(),
            "order": self._random.sample(self._nodes, len(self._nodes)),
        }


def candidates(intent: dict[str, Any], view: View, able: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the sets of victims to try, the one meant first, ever smaller ones after it.

    `able` are the nodes that can be hit at all (a dead node cannot be killed). The leader comes
    first when it is meant and known. In the end every single node is tried, so that a fault that
    would cost too much still comes about in its mildest form.
    """
    order = [node for node in intent["order"] if node in able]
    scope = intent["scope"]
    if scope == "leader" and view.leader in order:
        order.remove(view.leader)
        order.insert(0, view.leader)
    count = len(view.nodes)
    size = {"minority": (count - 1) // 2, "majority": count // 2 + 1, "all": count}.get(scope, 1)
    sets = [tuple(sorted(order[:length])) for length in range(min(size, len(order)), 0, -1)]
    sets.extend((node,) for node in order[1:])
    return sets


def describe(intent: dict[str, Any], view: View, targets: tuple[str, ...]) -> str:
    """Say whom it hits and why those: `leader: n3`, `majority, eased to n1 n2`."""
    scope = intent["scope"]
    count = len(view.nodes)
    meant = {"minority": (count - 1) // 2, "majority": count // 2 + 1, "all": count}.get(scope, 1)
    eased = len(targets) < meant or (scope == "leader" and targets != (view.leader,))
    return f"{scope}{', eased to' if eased else ':'} {' '.join(targets)}"
