"""What a client may do, and how its silence is taken. The defaults are etcd's."""

from __future__ import annotations

from typing import NamedTuple

MAX_STREAMS = 16_384
"""Calls of one connection at once, whatever else is asked for: their windows are memory."""


class Limits(NamedTuple):
    """Times are seconds; 0 means never.

    Clients that ping more often than every `pinged_s_min` are hung up on. One that was silent for
    `ping_s` is pinged, and hung up on when nothing comes within `ping_answer_s`.
    """

    max_streams: int = MAX_STREAMS
    pinged_s_min: float = 5.0
    ping_s: float = 7200.0
    ping_answer_s: float = 20.0
