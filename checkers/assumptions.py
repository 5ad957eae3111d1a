"""What a history does not say of itself and its reader must be told: the shared vocabulary.

An object begins with something, and a file rarely says with what. A read answered nil is an absent
value to some recorders and an answer that was not kept to others. Values such as [1 2] are pairs to
some and an independent key with its value to others. Judges take these from here rather than
suppose them; what is unset is bounded by the evidence of the file alone.

    Initial.absent()   nothing was there (None), or the data type's own empty state
    Initial.of(0)      that value, for every key
    Initial.free()     one value per key that nobody states: a value without a writer may be it
                       where all of the key's reads agree on one, and none is called after an
                       acknowledged write of the key
    None               unset: whatever the judge takes by default, which its documentation says
"""

from __future__ import annotations

import enum
import json
from typing import Any, Final, NamedTuple

from checkers import edn


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
        """One value per key that nobody states."""
        return cls(InitialKind.FREE)

    @classmethod
    def of(cls, value: Any) -> Initial:
        """A value that is known; None is an absent one."""
        return cls.absent() if value is None else cls(InitialKind.KNOWN, value)


class Nil(enum.StrEnum):
    """What a read that was answered nil says."""

    ABSENT = "absent"
    UNKNOWN = "unknown"


class Assumptions(NamedTuple):
    """What the user said about a file; None is what he left to its format and its contents.

    `independent`: whether values are [key, value] pairs of Jepsen's independent keys.
    """

    initial: Initial | None = None
    nil: Nil | None = None
    independent: bool | None = None


NOTHING_SAID: Final = Assumptions()
"""The user named a file and nothing else."""


class NoValue(ValueError):
    """A text is no value; the message is one line."""


def read_value(text: str) -> Any:
    """Read one value as JSON or EDN has it (`0`, `nil`, `"a b"`, `{"x": 1}`, `[1 2]`, `red`).

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
