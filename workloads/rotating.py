"""Runs over many keys, a few of them in use at a time, each with a bounded number of operations.

A key's operations are its `Lane`: a weighted draw of a function for a random free client, until the
lane is spent; a new key then takes its place. A workload states the weights and the arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from squall.checkers.history import Op
from squall.workloads.generator import (
    PENDING,
    Answer,
    Context,
    Drain,
    Generator,
    Invocation,
    Rotation,
    final_reads,
)
from squall.workloads.workload import ScriptConfig, Streams

if TYPE_CHECKING:
    from random import Random

READ, SERIALIZABLE_READ = "read", "serializable-read"


class Lane:
    """The operations of one key, until it is spent.

    `weights`: how likely each function is, in proportion. The number of operations is `operations`
    give or take a quarter, so that keys do not retire in step.
    """

    def __init__(
        self, random: Random, key: str, weights: Mapping[str, float], operations: int
    ) -> None:
        self._random = random
        self._key = key
        self._left = random.randint(max(1, operations * 3 // 4), max(1, operations * 5 // 4))
        self._bounds = tuple(zip(weights, accumulate(weights.values()), strict=True))

    def argument(self, f: str, process: int) -> Any:
        """Return the value of an invocation; of one that has none: None."""
        raise NotImplementedError

    def is_spent(self) -> bool:
        """Whether the key is to be left alone from now on."""
        return self._left <= 0

    def next(self, context: Context) -> Answer:
        """Draw one operation for a random free client."""
        if self.is_spent():
            return None
        if not context.free:
            return PENDING
        self._left -= 1
        draw = self._random.random
        process = context.free[int(draw() * len(context.free))].process
        last, total = self._bounds[-1]
        point = draw() * total
        f = next((f for f, bound in self._bounds if point < bound), last)
        return Invocation(process, f, self._key, self.argument(f, process))

    def update(self, completion: Op) -> None:
        """Learn how an operation ended; by default nothing follows from it."""


MakeLane = Callable[["Random", str, Callable[[], int], dict[str, Any]], Generator]
"""Makes the lane of a key: (chance, key, the next number that nothing else of the run uses,
options)."""


class Rotating:
    """One run over a rotation of keys, named by a letter and a number."""

    def __init__(
        self,
        streams: Streams,
        config: ScriptConfig,
        options: dict[str, Any],
        *,
        letter: str,
        active: int,
        lane: MakeLane,
    ) -> None:
        self._config = config
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
        return final_reads((READ, SERIALIZABLE_READ), self._config.nodes, keys)

    def _open(self, number: int) -> tuple[str, Generator]:
        key = f"{self._letter}{number}"
        return key, self._make_lane(self._random, key, self._next_number, self._options)

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers
