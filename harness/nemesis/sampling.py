"""Drawing without neglect: every variant comes up before any comes up twice.

Independent draws leave a variant out of one short run in three; a shuffled deck leaves none out
that there is time for, and is just as unpredictable in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


class Deck(Generic[T]):
    """A deck of cards that is shuffled anew whenever it runs out."""

    def __init__(self, random: Random, cards: Sequence[T]) -> None:
        assert cards, "a deck has cards"
        self._random = random
        self._cards = tuple(cards)
        self._left: list[T] = []

    def draw(self) -> T:
        """Take the next card."""
        if not self._left:
            self._left = list(self._cards)
            self._random.shuffle(self._left)
        return self._left.pop()
