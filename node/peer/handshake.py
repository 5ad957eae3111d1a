"""The first words on a connection to a member: who dials, or what somebody wants to know.

The first frame is a hello (protocol, cluster id, sender, target). A node that is to join names no
cluster in it, is told who is there and hung up on. Whoever wants to compare its data says a
`HashAsk` instead, gets one `HashTold`, and is hung up on, too: a member asks that before it serves,
when it is no part of the conversation yet.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from typing import Final, TypeVar

import msgspec

from squall.node.peer.endpoints import Endpoint
from squall.node.raft.membership import Member

PROTOCOL_VERSION: Final = 1

MAX_FRAME_BYTES: Final = 64 << 20
"""Far above the largest message Raft builds; more is garbage or an attack."""
MAX_HELLO_BYTES: Final = 256
MAX_FAREWELL_BYTES: Final = 64

LENGTH: Final = struct.Struct("!I")


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """The first frame of a connection, from whoever dialled."""

    protocol: int
    cluster_id: int
    sender: int
    target: int


class Census(msgspec.Struct, frozen=True, array_like=True):
    """What a node that is to join is told when its hello names no cluster: who is there."""

    cluster_id: int
    members: tuple[Member, ...]


class Farewell(msgspec.Struct, frozen=True, array_like=True, tag="farewell"):
    """What a removed member is told when it says hello: all that ever comes back to who dialled."""

    cluster_id: int
    member: int


class HashAsk(msgspec.Struct, frozen=True, array_like=True, tag="hash"):
    """The question what a member's keys hash to, up to a revision (0: now)."""

    cluster_id: int
    target: int
    revision: int


class HashTold(msgspec.Struct, frozen=True, array_like=True, tag="hash-told"):
    """A member's answer: see `HashResult`. With a `refusal`, an error text, it has no hash."""

    cluster_id: int
    member: int
    revision: int
    compact_revision: int
    hash_revision: int = 0
    hash: int = 0
    refusal: str = ""


_hello = msgspec.msgpack.Decoder(Hello)
_hash_ask = msgspec.msgpack.Decoder(HashAsk)
farewell_decoder: Final = msgspec.msgpack.Decoder(Farewell)


def frame(body: bytes) -> bytes:
    """Return a body with its length before it."""
    return LENGTH.pack(len(body)) + body


def first_words(body: bytes) -> Hello | HashAsk | None:
    """Read what a connection began with; None when it is neither."""
    for decoder in (_hello, _hash_ask):
        try:
            return decoder.decode(body)
        except msgspec.MsgspecError:
            continue
    return None


Answer = TypeVar("Answer", Census, HashTold)


async def ask(
    peer: Endpoint,
    question: Hello | HashAsk,
    answer: type[Answer],
    tls: ssl.SSLContext | None,
    seconds: float,
) -> Answer | None:
    """Dial a member, ask it, and return what it says within `seconds`; None when it does not."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(
                peer.host, peer.port, ssl=tls if peer.tls else None
            )
            try:
                writer.write(frame(msgspec.msgpack.encode(question)))
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                if length > MAX_FRAME_BYTES:
                    return None
                return msgspec.msgpack.decode(await reader.readexactly(length), type=answer)
            finally:
                writer.close()
    except (OSError, TimeoutError, EOFError, msgspec.MsgspecError):
        return None
