"""Which anomaly breaks which isolation level.

A level has two parts. Its base is one of Adya's four, from weakest to strongest; each forbids what
those before it forbid, and some more:

    read-uncommitted       no circle of overwrites, one order of versions a key
    read-committed         nothing read that was aborted, intermediate, or circular
    snapshot-isolation     a transaction reads one moment: no lost update, no single rw
    serializable           no circle at all

Its means are the orders that count beside what was read and written: none; with `strong-session-`,
each client's own order; with `strong-`, real time, which includes the clients' orders. A level
forbids an anomaly when its base forbids the circle and its means include those that the circle
needs. The names are Elle's; strict serializability is its strong serializability.

Repeatable read forbids G2-item but not, say, nonadjacent phantoms; over plain keys, which is all
there is here, it forbids exactly what serializability does, so it is another name for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from checkers.dependencies import PROCESS, REALTIME

STRICT_SERIALIZABLE: Final = "strict-serializable"
SERIALIZABLE: Final = "serializable"
SNAPSHOT_ISOLATION: Final = "snapshot-isolation"

_BASES: Final = ("read-uncommitted", "read-committed", SNAPSHOT_ISOLATION, SERIALIZABLE)
PLAIN, SESSION, STRONG = range(3)
_MEANS: Final = ("", "strong-session-", "strong-")


class Level(NamedTuple):
    """A level as places in the two scales; one is at least another when both places are."""

    base: int
    means: int

    @property
    def name(self) -> str:
        """What it is called."""
        name = _MEANS[self.means] + _BASES[self.base]
        return STRICT_SERIALIZABLE if name == "strong-serializable" else name

    @property
    def session(self) -> bool:
        """Whether each client's own order counts."""
        return self.means >= SESSION

    @property
    def realtime(self) -> bool:
        """Whether real time counts."""
        return self.means == STRONG

    def includes(self, other: Level) -> bool:
        """Whether this level forbids all that another forbids."""
        return other.base <= self.base and other.means <= self.means

    def without_time(self) -> Level:
        """Return the strongest level below that asks nothing of sessions and real time."""
        return Level(self.base, PLAIN)


LEVELS: Final = tuple(
    Level(base, means).name for means in range(len(_MEANS)) for base in range(len(_BASES))
)
"""The names: by means, then from weakest to strongest."""

_BY_NAME: Final = {
    Level(base, means).name: Level(base, means)
    for means in range(len(_MEANS))
    for base in range(len(_BASES))
}

ALIASES: Final = {
    "repeatable-read": SERIALIZABLE,
    "strong-serializable": STRICT_SERIALIZABLE,
    "linearizable": STRICT_SERIALIZABLE,
}

_WEAKEST_BROKEN: Final = {
    "answer-mismatch": 0,
    "G0": 0,
    "dirty-update": 0,
    "duplicate-elements": 0,
    "incompatible-order": 0,
    "torn-append": 0,
    "cyclic-versions": 0,
    "unwritten-value": 0,
    "G1a": 1,
    "G1b": 1,
    "G1c": 1,
    "internal": 1,
    "lost-update": 2,
    "G-single": 2,
    "G-nonadjacent": 2,
    "G2-item": 3,
}
_SUFFIXES: Final = {"-process": SESSION, "-realtime": STRONG}


def level_of(name: str) -> Level:
    """Return the level of a name, or of another name of the same; raises KeyError."""
    return _BY_NAME[ALIASES.get(name, name)]


def broken_level(anomaly: str) -> Level:
    """Return the weakest level which forbids an anomaly; raises KeyError."""
    for suffix, means in _SUFFIXES.items():
        if anomaly.endswith(suffix):
            return Level(_WEAKEST_BROKEN[anomaly.removesuffix(suffix)], means)
    return Level(_WEAKEST_BROKEN[anomaly], PLAIN)


def still_possible(broken: Iterable[Level], means: int) -> list[str]:
    """Return the names of the strongest levels that include none of those which are broken.

    Only levels of these means or weaker ones: nothing else was looked at.
    """
    broken = set(broken)
    kept = [
        level
        for level in _BY_NAME.values()
        if level.means <= means and not any(level.includes(one) for one in broken)
    ]
    return [one.name for one in kept if not any(o != one and o.includes(one) for o in kept)]


def edges_of(level: Level) -> frozenset[int]:
    """The kinds of edge, beside ww, wr and rw, that count at a level."""
    return frozenset(
        kind for kind, counts in ((PROCESS, level.session), (REALTIME, level.realtime)) if counts
    )
