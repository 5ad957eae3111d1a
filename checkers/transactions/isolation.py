"""Which anomaly breaks which isolation level.

The levels are Adya's and Elle's, from weakest to strongest; each forbids what those below it
forbid, and some more:

    read-uncommitted       no circle of overwrites, one order of versions a key
    read-committed         nothing read that was aborted, intermediate, or circular
    snapshot-isolation     a transaction reads one moment: no lost update, no single rw
    serializable           no circle at all
    strong-session-serializable   nor with the clients' own orders
    strict-serializable    nor with real time

Repeatable read forbids G2-item but not, say, nonadjacent phantoms; over plain keys, which is all
there is here, it forbids exactly what serializability does, so it is another name for it.
"""

from __future__ import annotations

from typing import Final

from squall.checkers.transactions.dependencies import PROCESS, REALTIME

STRICT_SERIALIZABLE: Final = "strict-serializable"
SERIALIZABLE: Final = "serializable"

LEVELS: Final = (
    "read-uncommitted",
    "read-committed",
    "snapshot-isolation",
    SERIALIZABLE,
    "strong-session-serializable",
    STRICT_SERIALIZABLE,
)
"""From weakest to strongest."""

ALIASES: Final = {
    "repeatable-read": SERIALIZABLE,
    "strong-serializable": STRICT_SERIALIZABLE,
    "linearizable": STRICT_SERIALIZABLE,
}

_WEAKEST_BROKEN: Final = {
    "G0": 0,
    "dirty-update": 0,
    "duplicate-elements": 0,
    "duplicate-appends": 0,
    "duplicate-writes": 0,
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
_SUFFIXES: Final = {"-process": 4, "-realtime": 5}


def level_of(name: str) -> int:
    """The place of a level in LEVELS, by any of its names; raises KeyError."""
    name = ALIASES.get(name, name)
    if name not in LEVELS:
        raise KeyError(name)
    return LEVELS.index(name)


def broken_level(anomaly: str) -> int:
    """The weakest level, as a place in LEVELS, which forbids an anomaly."""
    for suffix, level in _SUFFIXES.items():
        if anomaly.endswith(suffix):
            return level
    return _WEAKEST_BROKEN[anomaly]


def edges_of(level: int) -> frozenset[int]:
    """The kinds of edge, beside ww, wr and rw, that count at a level."""
    if LEVELS[level] == STRICT_SERIALIZABLE:
        return frozenset({PROCESS, REALTIME})
    return frozenset({PROCESS}) if level > level_of(SERIALIZABLE) else frozenset()
