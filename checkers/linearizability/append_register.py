"""A text that is put, appended to and got: reduced to a register, decided without search.

What a get shows determines the order of all appends since the last put: the append of `c` behind
the text `ab` is a compare-and-set from `ab` to `abc`. An append that no get shows leads to a text
that nobody read, like a plain write of a value nobody read; and as no write can come between a
compare-and-set and the value it replaced, no unseen append can. The register is decided by `zones`.

The reduction is exact if every text is written once and every text seen can be decomposed in one
way only. If the same text was appended several times, which of the appends was seen where is a
choice, and each choice is a *reading* of the history: the history is valid if one reading has an
order, and invalid if none has. With more ambiguity than that (`Ambiguous`), or more readings than
`READINGS_MAX`, `search` decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from squall.checkers.history import Operation, OpType

READINGS_MAX: Final = 2_000
"""Readings of one key's history that are tried before the search decides."""


class Ambiguous(Exception):
    """What was seen can have come about in too many ways; the message says how."""


class _Step(NamedTuple):
    """A text, and what was appended to the one before to get it (None: it was put)."""

    text: str
    appended: str | None


class Texts:
    """One key's history and its readings.

    `complete`: if none of `readings()` has an order, the history has none.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        """Decompose the texts; raises Ambiguous."""
        self._operations = operations
        self.complete = True
        self._puts: set[str] = set()
        self._appends: dict[str, list[int]] = {}
        for at, one in enumerate(operations):
            if one.f == "get" or one.outcome is OpType.FAIL:
                continue
            text = _text(one.input)
            if not text:
                raise Ambiguous("an empty text was written")
            if one.f == "append":
                self._appends.setdefault(text, []).append(at)
            elif text in self._puts:
                raise Ambiguous(f"{text!r} was put twice")
            else:
                self._puts.add(text)
        self._lengths = sorted({len(text) for text in self._appends})
        # Text after an append -> (text before, what was appended); names are for messages.
        self._grown: dict[str, tuple[str, str]] = {}
        self._names: dict[str, str | None] = {"": None}
        for one in operations:
            if one.f == "get" and one.outcome is OpType.OK and _text(one.output) not in self._names:
                self._note(_text(one.output))

    def _note(self, text: str) -> None:
        steps = self._take_apart(text)
        for at, step in enumerate(steps):
            if step.text in self._names:
                continue
            self._names[step.text] = f"{step.appended or step.text} ({at} appended)"
            if step.appended is not None:
                self._grown[step.text] = (steps[at - 1].text, step.appended)
        if not steps:
            self._names[text] = f"...{text[-40:]}"  # no operation wrote this

    def _take_apart(self, text: str) -> list[_Step]:
        """Return the texts this one grew through; none if it cannot have come about."""
        ways = []
        bases = [put for put in self._puts if text.startswith(put)]
        for base in [*sorted(bases, key=len, reverse=True), ""]:
            steps, at = [_Step(base, None)], len(base)
            while at < len(text):
                fits = [
                    text[at : at + length]
                    for length in self._lengths
                    if at + length <= len(text) and text[at : at + length] in self._appends
                ]
                if len(fits) > 1:
                    raise Ambiguous(f"{text!r} can be taken apart in two ways")
                if not fits:
                    break
                at += len(fits[0])
                steps.append(_Step(text[:at], fits[0]))
            else:
                ways.append(steps)
        if len(ways) > 1:
            self.complete = False
        return ways[0] if ways else []

    def readings(self) -> Iterator[list[Operation]]:
        """Yield the history as reads, writes and compare-and-sets, once for each choice."""
        seen: dict[str, list[str]] = {}
        for text, (_, appended) in self._grown.items():
            seen.setdefault(appended, []).append(text)
        for appended, texts in list(seen.items()):
            texts.sort(key=len)
            if len(texts) > len(self._appends[appended]):
                # Seen more often than appended: any assignment leaves one text unexplained.
                seen[appended] = texts[: len(self._appends[appended])]
        choices = [
            [
                list(zip(chosen, texts, strict=True))
                for chosen in itertools.permutations(self._appends[appended], len(texts))
            ]
            for appended, texts in seen.items()
        ]
        for number, choice in enumerate(itertools.product(*choices)):
            if number >= READINGS_MAX:
                self.complete = False
                return
            led_to = {at: text for pairs in choice for at, text in pairs}
            yield [self._translate(at, one, led_to) for at, one in enumerate(self._operations)]

    def _translate(self, at: int, one: Operation, led_to: dict[int, str]) -> Operation:
        if one.f == "get":
            seen = self._names[_text(one.output)] if one.outcome is OpType.OK else None
            return msgspec.structs.replace(one, f="read", output=seen)
        text = _text(one.input)
        if one.f == "append" and at in led_to:
            new = led_to[at]
            old = self._grown[new][0]
            done = {"swapped": True} if one.outcome is OpType.OK else None
            given = [self._names[old], self._names[new]]
            return msgspec.structs.replace(one, f="cas", input=given, output=done)
        if one.f == "put":
            return msgspec.structs.replace(
                one, f="write", input=self._names.get(text, f"{text} (put)")
            )
        return msgspec.structs.replace(one, f="write", input=f"{text} (op {at}, never got)")


def _text(value: object) -> str:
    return "" if value is None else str(value)
