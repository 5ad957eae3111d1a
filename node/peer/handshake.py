"""The first frame on a connection between members, and the answers to it.

A member dials and sends a `Hello`: protocol version, cluster id, sender, target. There are two
other exchanges, each answered by one frame before the connection is closed:

* a node that is to join sends `Hello` without a cluster id and gets the `MemberList`;
* a member that compares data sends `HashRequest` and gets a `HashReply`. It does so before it
  serves, when it takes no part in Raft yet.

A removed member's `Hello` is answered with a `RemovalNotice`, as etcd answers with 410 Gone. The
tags on the wire are older than the names of the types.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from squall.node.config.endpoints import Endpoint
from squall.node.raft.membership import Member

PROTOCOL_VERSION: Final = 1

MAX_FRAME_BYTES: Final = 64 << 20
"""Far above the largest message that Raft builds."""
MAX_HELLO_BYTES: Final = 256
MAX_REMOVAL_NOTICE_BYTES: Final = 64

LENGTH: Final = struct.Struct("!I")


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """The first frame of a connection, sent by the member that dialled."""

    protocol: int
    cluster_id: int
    sender: int
    target: int


class MemberList(msgspec.Struct, frozen=True, array_like=True):
    """The members, for a node that is to join: its hello names no cluster."""

    cluster_id: int
    members: tuple[Member, ...]


class RemovalNotice(msgspec.Struct, frozen=True, array_like=True, tag="farewell"):
    """Tells a member that it was removed: the only frame ever sent to the member that dialled."""

    cluster_id: int
    member: int


class HashRequest(msgspec.Struct, frozen=True, array_like=True, tag="hash"):
    """Asks for the hash of a member's keys up to a revision (0: the current one)."""

    cluster_id: int
    target: int
    revision: int


class HashReply(msgspec.Struct, frozen=True, array_like=True, tag="hash-told"):
    """The answer to a `HashRequest`; see `HashResult`. `refusal` is an error text or empty."""

    cluster_id: int
    member: int
    revision: int
    compact_revision: int
    hash_revision: int = 0
    hash: int = 0
    refusal: str = ""


_hello = msgspec.msgpack.Decoder(Hello)
_hash_request = msgspec.msgpack.Decoder(HashRequest)
removal_notice_decoder: Final = msgspec.msgpack.Decoder(RemovalNotice)


def frame(body: bytes) -> bytes:
    """Return a frame: the body with its length in front."""
    return LENGTH.pack(len(body)) + body


def decode_first(body: bytes) -> Hello | HashRequest | None:
    """Decode the first frame of a connection; None when it is neither kind."""
    for decoder in (_hello, _hash_request):
        try:
            return decoder.decode(body)
        except msgspec.MsgspecError:
            continue
    return None


Answer = TypeVar("Answer", MemberList, HashReply)


async def ask(
    peer: Endpoint,
    request: Hello | HashRequest,
    answer: type[Answer],
    tls: ssl.SSLContext | None,
    seconds: float,
) -> Answer | None:
    """Dial a member and return its answer; None when none comes within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(
                peer.host, peer.port, ssl=tls if peer.tls else None
            )
            try:
                writer.write(frame(msgspec.msgpack.encode(request)))
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                if length > MAX_FRAME_BYTES:
                    return None
                return msgspec.msgpack.decode(await reader.readexactly(length), type=answer)
            finally:
                writer.close()
    except (OSError, TimeoutError, EOFError, msgspec.MsgspecError):
        return None


class PeerNames(msgspec.Struct, frozen=True):
    """The names that a peer's certificate must have; empty for any that the CA has signed.

    `common_name` is --peer-cert-allowed-cn, `host` --peer-cert-allowed-hostname.
    """

    common_name: str = ""
    host: str = ""

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Return whether a certificate, as `ssl` decodes it, has the required names."""
        found = certificate or {}
        names = {
            value for part in found.get("subject", ()) for key, value in part if key == "commonName"
        }
        if self.common_name and self.common_name not in names:
            return False
        hosts = {value for _, value in found.get("subjectAltName", ())}
        return not self.host or any(_covers(pattern, self.host) for pattern in hosts)


def _covers(pattern: str, host: str) -> bool:
    """Return whether a name in a certificate, perhaps with a leading wildcard, matches a host."""
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return pattern == host
