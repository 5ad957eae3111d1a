"""Sampling without replacement: every variant is drawn once before any is drawn twice.

Independent draws leave a variant out of one short run in three. Drawing without replacement leaves
none out that there is time for; the order remains random.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


class WithoutReplacement(Generic[T]):
    """Draws from a fixed set of items; reshuffles it whenever it is used up."""

    def __init__(self, random: Random, items: Sequence[T]) -> None:
        assert items, "there is something to draw"
        self._random = random
        self._items = tuple(items)
        self._left: list[T] = []

    def draw(self) -> T:
        """Return the next item."""
        if not self._left:
            self._left = list(self._items)
            self._random.shuffle(self._left)
        return self._left.pop()
