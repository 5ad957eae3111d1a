"""Reads EDN, the notation in which Clojure programs (Jepsen among them) write their histories.

A keyword becomes a string without its colon, a list or vector a list, a set a frozenset, a map a
dict; a tagged value is the value without its tag. Commas are blanks and `;` begins a comment. It
reads a stream of forms, one after the other, and knows nothing of histories.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any, Final

DEPTH_MAX: Final = 200
"""Nesting deeper than this is no history."""

DIGITS_MAX: Final = 400
"""A number longer than this is text."""

_LEXEME = re.compile(
    r"""[\s,]*(?:(?P<comment>;[^\n]*)
      |(?P<open>\#\{|[(\[{])
      |(?P<close>[)\]}])
      |(?P<string>"(?:[^"\\]|\\.)*")
      |(?P<discard>\#_)
      |(?P<tag>\#[A-Za-z][\w.\-/]*)
      |(?P<atom>[^\s,;()\[\]{}"]+))""",
    re.VERBOSE | re.DOTALL,
)
_INTEGER = re.compile(rf"[+-]?\d{{1,{DIGITS_MAX}}}[NM]?", re.ASCII)
_BLANK = re.compile(r"(?:[\s,]|;[^\n]*(?:\n|\Z))*")
_CLOSES: Final = {"(": ")", "[": "]", "{": "}", "#{": "}"}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
_WORDS: Final[dict[str, Any]] = {"nil": None, "true": True, "false": False}


class MalformedEdn(ValueError):
    """The text is not EDN; the message begins with the line number."""


def read(text: str) -> Iterator[Any]:
    """Return the forms of a text one by one; raises MalformedEdn."""
    reader = _Reader(text)
    while not reader.at_end():
        yield reader.form(0)


def read_numbered(text: str) -> Iterator[tuple[int, Any]]:
    """Return forms with the numbers of their lines; one vector or list gives its elements."""
    reader = _Reader(text)
    while not reader.at_end():
        if text[reader.place] in "([":
            yield from reader.elements()
        else:
            yield reader.line(), reader.form(0)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted = (0, 1)  # a place, and the number of its line

    @property
    def place(self) -> int:
        """Where the next character is."""
        return self._at

    def line(self) -> int:
        """The number of the line that is read now."""
        since, number = self._counted
        number += self._text.count("\n", since, self._at)
        self._counted = (self._at, number)
        return number

    def elements(self) -> Iterator[tuple[int, Any]]:
        """Read a vector or list element by element."""
        _, opening = self._next()
        while True:
            if self.at_end():
                raise self._error(f"{opening!r} is never closed")
            if self._text[self._at] in ")]}":
                break
            yield self.line(), self.form(1)
        _, closing = self._next()
        if closing != _CLOSES[opening]:
            raise self._error(f"{opening!r} is closed by {closing!r}")

    def at_end(self) -> bool:
        """Skip blanks and comments, and say whether anything is left."""
        blank = _BLANK.match(self._text, self._at)
        self._at = blank.end() if blank else self._at
        return self._at >= len(self._text)

    def form(self, depth: int) -> Any:
        """Read one form."""
        kind, text = self._next()
        if depth > DEPTH_MAX:
            raise self._error("nested too deeply")
        if kind == "open":
            return self._collection(text, depth)
        if kind == "string":
            return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1], flags=re.DOTALL)
        if kind == "tag":
            return self.form(depth + 1)
        if kind == "discard":
            self.form(depth + 1)
            return self.form(depth + 1)
        if kind == "close":
            raise self._error(f"{text!r} closes nothing")
        return self._atom(text)

    def _collection(self, opening: str, depth: int) -> Any:
        forms = []
        while True:
            if self.at_end():
                raise self._error(f"{opening!r} is never closed")
            if self._text[self._at] in ")]}":
                break
            forms.append(self.form(depth + 1))
        _, closing = self._next()
        if closing != _CLOSES[opening]:
            raise self._error(f"{opening!r} is closed by {closing!r}")
        if opening == "#{":
            return frozenset(map(_hashable, forms))
        if opening != "{":
            return forms
        if len(forms) % 2:
            raise self._error("a map with a key and no value")
        return {_hashable(key): value for key, value in zip(forms[::2], forms[1::2], strict=True)}

    def _next(self) -> tuple[str, str]:
        if self.at_end():
            raise self._error("ends in the middle")
        found = _LEXEME.match(self._text, self._at)
        if found is None or found.lastgroup is None:
            raise self._error(f"cannot read {self._text[self._at : self._at + 20]!r}")
        self._at = found.end()
        return found.lastgroup, found[found.lastgroup]

    def _atom(self, text: str) -> Any:
        if text.startswith(":"):
            return text[1:]
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text.rstrip("NM"))
        try:
            return float(text.rstrip("M"))
        except ValueError:
            return text

    def _error(self, what: str) -> MalformedEdn:
        line = self._text.count("\n", 0, self._at) + 1
        return MalformedEdn(f"line {line}: {what}")


def _hashable(form: Any) -> Hashable:
    if isinstance(form, list):
        return tuple(map(_hashable, form))
    if isinstance(form, dict):
        return tuple(sorted((str(key), _hashable(value)) for key, value in form.items()))
    return form  # type: ignore[no-any-return]
