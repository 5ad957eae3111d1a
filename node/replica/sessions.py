"""Which requests were applied already: no retry is applied twice (§8, thesis §6.3).

Part of the replicated state: every member decides alike, and a snapshot carries it. A session is
one boot of one member, which numbers its clients' requests from 1. It stores the next number and
the missing numbers below it (lost, or still to come), which are few even when much was lost. Their
count is bounded; a number dropped from them counts as applied, because a request that is never
applied is better than one that is applied twice.
"""

from __future__ import annotations

from typing import Final

import msgspec

MAX_SESSIONS: Final = 256  # boots of members; the least recently used one is dropped
MAX_HOLES: Final = 32_768  # twice what a member keeps pending, so a hole outlives its request


class Session(msgspec.Struct, array_like=True):
    """One boot of one member."""

    origin: int
    nonce: int
    next: int = 1
    holes: dict[int, None] = {}  # ascending, because only ever added above the last
    used_at: int = 0  # the index it was last used at


class _Saved(msgspec.Struct, array_like=True):
    origin: int
    nonce: int
    next: int
    holes: list[int]
    used_at: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[_Saved])


class Sessions:
    """All sessions, by (origin, nonce)."""

    __slots__ = ("_sessions",)

    def __init__(self) -> None:
        self._sessions: dict[tuple[int, int], Session] = {}

    def is_new(self, origin: int, nonce: int, sequence: int, index: int) -> bool:
        """Whether to apply the request in the entry at `index`; if so it is recorded as applied."""
        session = self._sessions.get((origin, nonce))
        if session is None:
            session = self._begin(origin, nonce)
        session.used_at = index
        expected = session.next
        if sequence == expected:
            session.next = expected + 1
            return True
        if sequence > expected:
            holes = session.holes
            for hole in range(max(expected, sequence - MAX_HOLES), sequence):
                holes[hole] = None
            while len(holes) > MAX_HOLES:
                del holes[next(iter(holes))]
            session.next = sequence + 1
            return True
        if sequence in session.holes:
            del session.holes[sequence]
            return True
        return False

    def was_applied(self, origin: int, nonce: int, sequence: int) -> bool:
        """Whether this request was applied, or counts as applied."""
        session = self._sessions.get((origin, nonce))
        return session is not None and sequence < session.next and sequence not in session.holes

    def encode(self) -> msgspec.Raw:
        """Return the table as msgpack, equal on every member."""
        return msgspec.Raw(
            _encoder.encode(
                [
                    _Saved(each.origin, each.nonce, each.next, list(each.holes), each.used_at)
                    for _, each in sorted(self._sessions.items())
                ]
            )
        )

    def restore(self, data: msgspec.Raw) -> None:
        """Replace the table by an encoded one."""
        self._sessions = {
            (saved.origin, saved.nonce): Session(
                saved.origin, saved.nonce, saved.next, dict.fromkeys(saved.holes), saved.used_at
            )
            for saved in _decoder.decode(data)
        }

    def _begin(self, origin: int, nonce: int) -> Session:
        if len(self._sessions) >= MAX_SESSIONS:
            oldest = min(self._sessions.items(), key=lambda item: (item[1].used_at, item[0]))
            del self._sessions[oldest[0]]
        session = self._sessions[origin, nonce] = Session(origin, nonce)
        return session
