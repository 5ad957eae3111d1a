"""Limits on what a client may do, and the keepalive intervals. The defaults are etcd's."""

from __future__ import annotations

from typing import NamedTuple

MAX_STREAMS = 16_384
"""Upper bound of `Limits.max_streams`: every stream has a receive window of memory."""


class Limits(NamedTuple):
    """Times are seconds; 0 means never.

    A client that pings more often than every `pinged_s_min` is disconnected. One that sent nothing
    for `ping_s` is pinged, and disconnected when nothing arrives within `ping_answer_s`.
    """

    max_streams: int = MAX_STREAMS
    pinged_s_min: float = 5.0
    ping_s: float = 7200.0
    ping_answer_s: float = 20.0
