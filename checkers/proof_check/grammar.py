"""Patterns of sentences, and what each states.

A pattern is text with slots in braces, `{name:kind}`. What a slot may hold is said by its kind; a
text may be taken apart in several ways, since a value may hold any words, and every way is tried:

    op      the name of an operation that was introduced: W1
    who     a process: p3, or the name it has, whatever that is
    ns      a moment in seconds, as precise as the proof needs: 0.020 s
    int     a whole number, which may have commas
    order   a clause "W1 had returned at 0.016 s when W2 was called at 0.020 s"
    text    anything (what stands for itself when no kind is given)

Adding a sentence is one entry: a function under `@sentence(pattern, ...)`. It gets the proof and
the slots, already turned into operations and numbers, and raises `Contradicted`, with what the
history says instead, when it is not so; `Unverified` when it cannot tell within its bounds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

SPLITS_MAX: Final = 64
"""Ways to take one text apart by one pattern that are tried."""


class Contradicted(Exception):
    """A statement is not so; the message is what the history says instead."""


class Unverified(Exception):
    """A statement could not be checked within bounds, or without evidence; says why."""


class NotThis(Exception):
    """A text is another kind of sentence than the pattern suggested."""


def require(holds: object, says: str) -> None:
    """Raise Contradicted unless a statement holds."""
    if not holds:
        raise Contradicted(says)


_KINDS: Final = {
    "op": re.compile(r"[A-Z]\d+"),
    "who": re.compile(r"\S|\S.*\S", re.DOTALL),
    "ns": re.compile(r"-?\d+\.\d+ s"),
    "int": re.compile(r"-?\d[\d,]*"),
    "order": re.compile(r"[A-Z]\d+ had returned at \S+ s when [A-Z]\d+ was called at \S+ s"),
    "text": re.compile(r".*", re.DOTALL),  # the empty text is a key, too
}

_SLOT = re.compile(r"\{(\w+)(?::(\w+))?\}")

Check = Callable[..., Any]


class Pattern(NamedTuple):
    """A pattern taken apart: literals around slots, one more of them than of slots."""

    literals: tuple[str, ...]
    slots: tuple[tuple[str, str], ...]  # (name, kind)
    check: Check

    def splits(self, text: str) -> Iterator[dict[str, str]]:
        """Yield every way to read a text by this pattern."""
        first, last = self.literals[0], self.literals[-1]
        if text.startswith(first) and text.endswith(last):
            yield from self._from(text, len(first), 0, {})

    def _from(
        self, text: str, at: int, slot: int, found: dict[str, str]
    ) -> Iterator[dict[str, str]]:
        if slot == len(self.slots):
            if at == len(text):
                yield found
            return
        name, kind = self.slots[slot]
        literal = self.literals[slot + 1]
        allowed = _KINDS[kind]
        is_last = slot + 1 == len(self.slots)
        end = len(text) - len(literal) if is_last else text.find(literal, at)
        while end >= at and end != -1:
            held = text[at:end]
            if allowed.fullmatch(held):
                yield from self._from(text, end + len(literal), slot + 1, {**found, name: held})
            if is_last:
                return
            end = text.find(literal, end + 1)


def pattern(text: str, check: Check) -> Pattern:
    """Take a pattern apart."""
    literals, slots, at = [], [], 0
    for found in _SLOT.finditer(text):
        literals.append(text[at : found.start()])
        slots.append((found[1], found[2] or "text"))
        at = found.end()
    return Pattern((*literals, text[at:]), tuple(slots), check)


class Grammar:
    """Every pattern of one kind of text."""

    def __init__(self) -> None:
        self.patterns: list[Pattern] = []

    def __call__(self, *texts: str) -> Callable[[Check], Check]:
        """Register a function as what the texts of these patterns state."""

        def register(check: Check) -> Check:
            self.patterns.extend(pattern(text, check) for text in texts)
            return check

        return register

    def readings(self, text: str) -> Iterator[tuple[Check, dict[str, str], dict[str, str]]]:
        """Yield every reading of a text: the check, its slots and their kinds."""
        for one in self.patterns:
            for number, held in enumerate(one.splits(text)):
                if number >= SPLITS_MAX:
                    break
                yield one.check, held, dict(one.slots)


sentence: Final = Grammar()
"""The sentences of a proof, each whole: from its first word to its full stop."""

summary: Final = Grammar()
"""Summaries. They are read after the proof, so that its operations are known."""

clause: Final = Grammar()
"""One of several claims of a sentence that which of two operations came first; returns the two."""

because: Final = Grammar()
"""What stands behind "because" in such a claim; returns the two operations it puts in order."""


def number(text: str) -> int:
    """A whole number as written."""
    return int(text.replace(",", ""))


def moment(ns: int, like: str) -> str:
    """A moment in seconds, as precise as another text of one."""
    digits = len(like.removesuffix(" s").partition(".")[2])
    return f"{ns / 1e9:.{digits}f} s"


def read(grammar: Grammar, proof: Any, text: str) -> Any:
    """Check what a text states, by the first reading that holds; return what its check returns.

    Raises NotThis if no pattern fits, Contradicted if no reading holds, Unverified if one could not
    be checked and none holds.
    """
    refused: Contradicted | None = None
    unverified: tuple[Unverified, Any] | None = None
    for check, held, kinds in grammar.readings(text):
        state = proof.state()
        try:
            return check(proof, **_arguments(proof, held, kinds))
        except NotThis:
            pass
        except Contradicted as why:
            refused = refused or why
        except Unverified as why:
            unverified = (why, proof.state())
        proof.restore(state)
    if unverified is not None:
        proof.restore(unverified[1])
        raise unverified[0]
    raise refused or NotThis(text)


def _arguments(proof: Any, held: dict[str, str], kinds: dict[str, str]) -> dict[str, Any]:
    """Turn what slots hold into what the checks want.

    Raises Contradicted at the name of an operation that was not introduced, NotThis where words
    stand in the place of a client's or a node's name.
    """
    found: dict[str, Any] = {}
    for name, text in held.items():
        kind = kinds[name]
        if kind == "op":
            found[name] = proof.named(text)
        elif kind == "int":
            found[name] = number(text)
        elif kind == "order":
            found[name] = proof.order(text)
        elif kind == "who" and not proof.may_be_named(text):
            raise NotThis(text)
        else:
            found[name] = text
    return found
