"""What a recorded file leaves open about its meaning, and the user has to state.

A file rarely says what an object holds at first. A read answered nil is an absent value to some
recorders and an unrecorded answer to others. A value such as [1 2] is a pair to some and an
independent key with its value to others. Judges take these assumptions as arguments; an assumption
that is unset is bounded by the evidence of the file alone.

    Initial.absent()   nothing was there (None), or the data type's own empty state
    Initial.of(0)      that value, for every key
    Initial.free()     one unknown value per key: a value without a writer may be it if all of the
                       key's reads agree on one, and none of them is called after an acknowledged
                       write of the key
    None               unset: the judge's documented default
"""

from __future__ import annotations

import enum
import json
from typing import Any, Final, NamedTuple

from squall.checkers.formats import edn


class InitialKind(enum.StrEnum):
    """What is known of the value before the first operation."""

    ABSENT = "absent"
    KNOWN = "known"
    FREE = "free"


class Initial(NamedTuple):
    """What every key holds before the first operation; `value` matters only if it is known."""

    kind: InitialKind
    value: Any = None

    @classmethod
    def absent(cls) -> Initial:
        """Nothing was there."""
        return cls(InitialKind.ABSENT)

    @classmethod
    def free(cls) -> Initial:
        """One unknown value per key."""
        return cls(InitialKind.FREE)

    @classmethod
    def of(cls, value: Any) -> Initial:
        """A known value; None means absent."""
        return cls.absent() if value is None else cls(InitialKind.KNOWN, value)


class Nil(enum.StrEnum):
    """The meaning of a read that was answered nil."""

    ABSENT = "absent"
    UNKNOWN = "unknown"


class Assumptions(NamedTuple):
    """What the user stated about a file; None where its format and contents decide.

    `independent`: whether values are [key, value] pairs of Jepsen's independent keys.
    """

    initial: Initial | None = None
    nil: Nil | None = None
    independent: bool | None = None


NOTHING_SAID: Final = Assumptions()
"""The user named a file and stated nothing else."""


class NoValue(ValueError):
    """A text is not a value; the message is one line."""


def read_value(text: str) -> Any:
    """Read one value in JSON or EDN notation (`0`, `nil`, `"a b"`, `{"x": 1}`, `[1 2]`, `red`).

    Raises NoValue. Sets become sorted lists, as everywhere in our histories.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        forms = list(edn.read(text))
    except (edn.MalformedEdn, RecursionError) as error:
        why = str(error).partition(": ")[2] or str(error)
        raise NoValue(f"{text!r} is no value of JSON or EDN: {why}") from None
    if len(forms) != 1:
        raise NoValue(f"{text!r} is {len(forms)} values of EDN; one is needed")
    value = forms[0]
    return sorted(value, key=repr) if isinstance(value, frozenset) else value
