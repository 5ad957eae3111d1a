"""Reads EDN, the notation in which Clojure programs (Jepsen among them) write their histories.

A keyword becomes a string without its colon, a list or vector a list, a set a frozenset, a map a
dict; a tagged value is the value without its tag. Commas are blanks and `;` begins a comment. It
reads a stream of forms, one after the other, in one pass, and knows nothing of histories.

What Clojure prints besides EDN is read as well: `#:a{:b 1}` is {"a/b": 1}, a character is a text of
one letter, a pattern `#"a+"` its text, an unreadable `#<Object ...>` its own text; metadata (`^:m`)
is left out.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any, Final

DEPTH_MAX: Final = 200
"""Nesting deeper than this is no history."""

DIGITS_MAX: Final = 400
"""A number longer than this is text."""

ATOM_CHARS_MAX: Final = 24
"""Atoms shorter than this are interned: most lexemes of a history are keywords and numbers."""

_LEXEME = re.compile(
    # Possessive quantifiers: no alternative match is possible, so no backtracking state is kept.
    r"""[\s,]*+(?:;[^\n]*+(?:\n[\s,]*+|\Z))*+
    ( \#\{ | [(\[{] | [)\]}]
    | "(?:[^"\\]++|\\.)*+"
    | (?=[\#^\\]) (?: \#_ | \#?\^ | \#"(?:[^"\\]++|\\.)*+" | \#::?[\w.\-/]*\s*\{
        | \#[A-Za-z][\w.\-/]* | \#<(?:[^<>]++|<[^<>]*+>)*+> | \\(?:[A-Za-z][\w\-]*+|.) )
    | [^\s,;()\[\]{}"]+ )""",
    re.VERBOSE | re.DOTALL,
)
_INTEGER = re.compile(rf"[+-]?\d{{1,{DIGITS_MAX}}}[NM]?", re.ASCII)
_BLANK = re.compile(r"(?:[\s,]|;[^\n]*+)*+")
_CLOSES: Final = {"(": ")", "[": "]", "{": "}", "#{": "}"}
_CLOSING: Final = frozenset(_CLOSES.values())
_DISCARDS: Final = frozenset({"#_", "^", "#^"})
"""Markers that drop the next form: a comment, or metadata of the form after it."""

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
_CHARACTERS: Final = {
    "newline": "\n",
    "space": " ",
    "tab": "\t",
    "return": "\r",
    "formfeed": "\f",
    "backspace": "\b",
}
_WORDS: Final[dict[str, Any]] = {"nil": None, "true": True, "false": False}


class MalformedEdn(ValueError):
    """The text is not EDN; the message begins with the line number."""


def read(text: str) -> Iterator[Any]:
    """Return the forms of a text one by one; raises MalformedEdn."""
    for _, form in _forms(text, split=False):
        yield form


def read_numbered(text: str) -> Iterator[tuple[int, Any]]:
    """Return forms with the numbers of their lines; a vector or list gives its elements."""
    counted, line = 0, 1
    for place, form in _forms(text, split=True):
        line += text.count("\n", counted, place)
        counted = place
        yield line, form


class _Mark:
    """A marker among the forms of a collection that changes the form after it."""


_TAG, _DISCARD = _Mark(), _Mark()


def _forms(text: str, *, split: bool) -> Iterator[tuple[int, Any]]:
    """Yield places and forms; `split` takes vectors and lists at the top apart.

    One lexeme at a time, with an explicit stack of open collections: no recursion, because a
    history has a hundred times more lexemes than operations.
    """
    match, atoms = _LEXEME.match, dict[str, Any](_WORDS)
    stack: list[tuple[str, list[Any], int]] = []  # opening lexeme, contents so far, first line
    forms: list[Any] = []
    at = marks = place = 0
    base = 0  # how many open collections make the top
    while (found := match(text, at)) is not None:
        lexeme = found[1]
        at = found.end()
        if len(stack) <= base:
            place = found.start(1)
        if lexeme in _CLOSES:
            if len(stack) > DEPTH_MAX:
                raise _error(text, at, "nested too deeply")
            if split and not stack and lexeme in "([" and not marks:
                base = 1
            stack.append((lexeme, forms, place))
            forms = []
            continue
        if lexeme in _CLOSING:
            if not stack:
                raise _error(text, at, f"{lexeme!r} closes nothing")
            opening, outer, place = stack.pop()
            if lexeme != _CLOSES.get(opening, "}"):
                raise _error(text, at, f"{opening!r} is closed by {lexeme!r}")
            if forms and isinstance(forms[-1], _Mark):
                raise _error(text, at, f"{lexeme!r} closes nothing")
            if base > len(stack):
                base, forms = 0, outer
                continue
            value: Any = _collection(opening, forms) if opening not in "([" else forms
            if value is None:
                raise _error(text, at, _why_no_map(forms))
            forms = outer
        elif lexeme in atoms:
            value = atoms[lexeme]
        elif lexeme[0] == "#" and lexeme[-1] == "{":
            if len(stack) > DEPTH_MAX:
                raise _error(text, at, "nested too deeply")
            stack.append((lexeme, forms, place))
            forms = []
            continue
        elif lexeme in _DISCARDS or (lexeme[0] == "#" and lexeme[1:2].isalpha()):
            forms.append(_DISCARD if lexeme in _DISCARDS else _TAG)
            marks += 1
            continue
        elif lexeme == "#":
            raise _error(text, at, f"cannot read {text[at - 1 : at + 19]!r}")
        else:
            value = _atom(lexeme)
            if len(lexeme) < ATOM_CHARS_MAX:
                atoms[lexeme] = value
        while marks and forms and forms[-1] is _TAG:
            forms.pop()
            marks -= 1
        if marks and forms and forms[-1] is _DISCARD:
            forms.pop()
            marks -= 1
        elif len(stack) == base:
            yield place, value
        else:
            forms.append(value)
    _end(text, at, stack, marks)


def _end(text: str, at: int, stack: list[tuple[str, list[Any], int]], marks: int) -> None:
    """Raise unless a text may end here."""
    blank = _BLANK.match(text, at)
    at = blank.end() if blank else at
    if at < len(text):
        raise _error(text, at, f"cannot read {text[at : at + 20]!r}")
    if stack:
        raise _error(text, len(text), f"{stack[-1][0]!r} is never closed")
    if marks:
        raise _error(text, len(text), "ends in the middle")


def _collection(opening: str, forms: list[Any]) -> Any:
    """Make a set or a map; None when a key has no value."""
    if opening == "#{":
        return frozenset(map(_hashable, forms))
    if len(forms) % 2:
        return None
    made = {
        key if type(key) is str else _hashable(key): value
        for key, value in zip(forms[::2], forms[1::2], strict=True)
    }
    if 2 * len(made) != len(forms):
        return None
    if opening != "{":
        space = opening.strip("#:{ \t\r\n")
        return {_qualified(space, key): value for key, value in made.items()}
    return made


def _qualified(space: str, key: Any) -> Any:
    """Give a key of a namespaced map its namespace; `_/` means none."""
    if not isinstance(key, str) or not space:
        return key
    return key[2:] if key.startswith("_/") else key if "/" in key else f"{space}/{key}"


def _why_no_map(forms: list[Any]) -> str:
    if len(forms) % 2:
        return "a map with a key and no value"
    keys = [_hashable(key) for key in forms[::2]]
    twice = next(key for at, key in enumerate(keys) if key in keys[:at])
    return f"a map with the key {twice!r:.40} twice"


def _atom(text: str) -> Any:
    first = text[0]
    if first == ":":
        return text[1:]
    if first == "\\":
        return _character(text[1:])
    if first == "#" and text[1:2] == '"':
        return text[2:-1]
    if first == '"':
        if "\\" not in text:
            return text[1:-1]
        return _ESCAPE.sub(_unescape, text[1:-1])
    if _INTEGER.fullmatch(text):
        return int(text.rstrip("NM"))
    try:
        return float(text.rstrip("M"))
    except ValueError:
        return text


def _character(name: str) -> str:
    if len(name) == 5 and name[0] == "u":
        try:
            return chr(int(name[1:], 16))
        except ValueError:
            return name
    return _CHARACTERS.get(name, name)


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code, code)


def _error(text: str, at: int, what: str) -> MalformedEdn:
    return MalformedEdn(f"line {text.count(chr(10), 0, at) + 1}: {what}")


def _hashable(form: Any) -> Hashable:
    if isinstance(form, list):
        return tuple(map(_hashable, form))
    if isinstance(form, dict):
        return tuple(sorted((str(key), _hashable(value)) for key, value in form.items()))
    return form  # type: ignore[no-any-return]
