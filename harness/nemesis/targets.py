"""Targets of a kill or a pause: one node, the leader, a minority, a majority, all.

An intent names a scope and an order of preference among the nodes. Both are drawn before the
cluster is observed; only `candidates` depends on its state.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from squall.harness.nemesis import View
from squall.harness.nemesis.sampling import WithoutReplacement

SCOPES = ("one", "leader", "minority", "majority", "all")


class TargetSampler:
    """Draws intents for faults that affect whole nodes."""

    def __init__(
        self, random: Random, nodes: tuple[str, ...], scopes: tuple[str, ...] = SCOPES
    ) -> None:
        self._random = random
        self._nodes = nodes
        self._scopes = WithoutReplacement(random, scopes)

    def draw(self) -> dict[str, Any]:
        """Draw a scope, and an order of preference among the nodes."""
        return {
            "scope": self._scopes.draw(),
            "order": self._random.sample(self._nodes, len(self._nodes)),
        }


def candidates(intent: dict[str, Any], view: View, able: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the sets of targets to try: the intended one first, then ever smaller ones.

    `able` are the nodes the fault can affect at all (a dead node cannot be killed). The leader
    comes first when the scope is `leader` and it is known. The last sets are single nodes, so that
    a fault that exceeds the quorum budget still happens in its mildest form.
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
    """Return scope and targets as text: `leader: n3`, `majority, eased to n1 n2`."""
    scope = intent["scope"]
    count = len(view.nodes)
    meant = {"minority": (count - 1) // 2, "majority": count // 2 + 1, "all": count}.get(scope, 1)
    eased = len(targets) < meant or (scope == "leader" and targets != (view.leader,))
    return f"{scope}{', eased to' if eased else ':'} {' '.join(targets)}"
