"""Runs over many keys, a few of them in use at a time, each with operations of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from squall.workloads.generator import Drain, Generator, Rotation, final_reads
from squall.workloads.workload import Plan, Streams

if TYPE_CHECKING:
    from random import Random

READ, SERIALIZABLE_READ = "read", "serializable-read"

MakeLane = Callable[["Random", str, Callable[[], int], dict[str, Any]], Generator]
"""Makes the lane of a key: (chance, key, the next number that nothing else of the run uses,
options)."""


class Rotating:
    """One run over a rotation of keys, named by a letter and a number."""

    def __init__(
        self,
        streams: Streams,
        plan: Plan,
        options: dict[str, Any],
        *,
        letter: str,
        active: int,
        lane: MakeLane,
    ) -> None:
        self._plan = plan
        self._options = options
        self._letter = letter
        self._make_lane = lane
        self._numbers = 0
        self._random = streams("workload/ops")
        self._rotation = Rotation(streams("workload/keys"), active, self._open)

    def load(self) -> Generator:
        """Operations on a rotation of keys, without end."""
        return self._rotation

    def final(self) -> Drain:
        """Every key from every node, linearizably; then each node's own word on it."""
        keys = tuple(self._rotation.keys)
        return final_reads((READ, SERIALIZABLE_READ), self._plan.nodes, keys)

    def _open(self, number: int) -> tuple[str, Generator]:
        key = f"{self._letter}{number}"
        return key, self._make_lane(self._random, key, self._next_number, self._options)

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers
