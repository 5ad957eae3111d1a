"""What is concluded, and how conclusions combine.

`invalid` dominates `unknown` dominates `valid`: a violation that was proved stays proved, and a
property that was never exercised is no pass. Trouble of the harness is its own class and is never
expressed as a verdict on the database.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from squall.checkers.budget import Budget
from squall.checkers.evidence import Evidence
from squall.checkers.history import History


class Validity(enum.StrEnum):
    """The lattice of verdicts. Compare with `worst`."""

    VALID = "valid"
    UNKNOWN = "unknown"
    INVALID = "invalid"


_RANK = {Validity.VALID: 0, Validity.UNKNOWN: 1, Validity.INVALID: 2}


def worst(validities: Sequence[Validity]) -> Validity:
    """Combine: invalid dominates unknown dominates valid. Nothing at all is unknown."""
    return max(validities, key=_RANK.__getitem__, default=Validity.UNKNOWN)


class Anomaly(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One broken promise, with its proof.

    `summary` is one sentence. `explanation` is the proof in sentences ("Let ... Then ... However
    ..."). `ops` are indexes into the history (invocations) of the operations that witness it, few
    enough to read. `lanes` is the same as text lanes that paste into a regression test.
    `window_ns` is the stretch of time it concerns.
    """

    kind: str
    summary: str
    explanation: str = ""
    ops: tuple[int, ...] = ()
    key: str | None = None
    lanes: str = ""
    window_ns: tuple[int, int] | None = None
    data: dict[str, Any] = {}


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The conclusion of one checker, or of several together (`children`).

    `claim` is the property in words ("every read returns the latest write"). `evidence` counts what
    was looked at ("50 keys, 100,214 operations"). `reason` says why it is unknown and what to
    raise. `method` is the path that decided.
    """

    checker: str
    validity: Validity
    claim: str = ""
    evidence: str = ""
    reason: str | None = None
    method: str = ""
    anomalies: tuple[Anomaly, ...] = ()
    stats: dict[str, Any] = {}
    elapsed_s: float = 0.0
    children: tuple[Verdict, ...] = ()


class Checker(msgspec.Struct, frozen=True):
    """A named judge of a history and of what the nodes left behind.

    What `check` raises is no verdict on the database: `judge` makes it unknown.
    """

    name: str
    check: Callable[[History, Evidence, Budget], Verdict]


__all__ = ["Anomaly", "Budget", "Checker", "Evidence", "History", "Validity", "Verdict", "worst"]
