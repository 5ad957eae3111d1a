"""Reads a node's status over HTTP, and the controller's clocks before and after.

One request on a new connection, with a short deadline. Every failure is a result too: the node is
unreachable, with the reason.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from squall.harness.cluster import NodeStatus

TIMEOUT_S = 1.0
"""A healthy node answers in milliseconds; one that needs a second is as good as unreachable."""

NO_ANSWER = "no answer"
"""How the error of a node begins that accepted the connection and sent no response."""

RESPONSE_BYTES_MAX = 1 << 20
ANSWER_SHOWN = 80


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A status, and the controller's clocks before the request and after the response.

    The node read its own clocks at some moment between the two.
    """

    status: NodeStatus
    asked_wall_ns: int = 0
    asked_ns: int = 0
    answered_ns: int = 0

    @property
    def took_ns(self) -> int:
        """The uncertainty of the moment at which the node read its clocks, in nanoseconds."""
        return self.answered_ns - self.asked_ns


async def read_status(node: str, host: str, port: int, timeout_s: float = TIMEOUT_S) -> Reading:
    """Request /debug/status; failures of the node or the network are returned, not raised."""
    asked_wall_ns, asked_ns = time.time_ns(), time.monotonic_ns()
    try:
        async with asyncio.timeout(timeout_s):
            said = await _get(host, port, "/debug/status")
        answered_ns = time.monotonic_ns()
        status = _status(node, said, asked_wall_ns + (answered_ns - asked_ns) // 2)
    except TimeoutError:
        status = NodeStatus(node=node, reachable=False, error=f"{NO_ANSWER} within {timeout_s:g} s")
    except (OSError, ValueError, TypeError, msgspec.MsgspecError, asyncio.IncompleteReadError) as e:
        status = NodeStatus(node=node, reachable=False, error=f"{type(e).__name__}: {e}")
    else:
        return Reading(
            status=status, asked_wall_ns=asked_wall_ns, asked_ns=asked_ns, answered_ns=answered_ns
        )
    return Reading(status=status)


async def _get(host: str, port: int, path: str) -> dict[str, Any]:
    reader, writer = await asyncio.open_connection(host, port, limit=RESPONSE_BYTES_MAX)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = _content_length(head)
        body = await (reader.readexactly(length) if length is not None else reader.read())
    finally:
        writer.close()
    answer = head.partition("\r\n")[0]
    if answer.split(" ")[1:2] != ["200"]:
        raise ValueError(f"it answered {answer[:ANSWER_SHOWN]!r}")
    return msgspec.json.decode(body, type=dict[str, Any])


def _content_length(head: str) -> int | None:
    for line in head.splitlines()[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length":
            length = int(value)
            if length > RESPONSE_BYTES_MAX:
                raise ValueError(f"a status of {length} bytes")
            return length
    return None


def _status(node: str, said: dict[str, Any], wall_ns: int) -> NodeStatus:
    clock_ns = int(said.get("wall_ns", 0))
    return NodeStatus(
        node=node,
        reachable=True,
        role=str(said.get("role", "")),
        term=int(said.get("term", 0)),
        leader=str(said.get("leader", "")),
        commit=int(said.get("commit", 0)),
        applied=int(said.get("applied", 0)),
        last_index=int(said.get("last_index", 0)),
        revision=int(said.get("revision", 0)),
        digest=str(said.get("digest", "")),
        clock_ns=clock_ns,
        clock_offset_ns=clock_ns - wall_ns if clock_ns else 0,
        monotonic_ns=int(said.get("monotonic_ns", 0)),
    )
