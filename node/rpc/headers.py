"""Header blocks: what a request's says, and the few that answers are made of.

A client sends the same headers with every call, and once they are in HPACK's table the block is the
same few bytes. So a decoded block is remembered for as long as the table it was decoded with stays
as it was: an entry that comes or goes changes what an index means, and everything is forgotten.

Answers use no table: they are literals, constant but for an error's text.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import quote

import hpack

from squall.node.rpc.frames import COMPRESSION_ERROR, PROTOCOL_ERROR, ProtocolError

BLOCK_BYTES_MAX: Final = 64 * 1024
LIST_BYTES_MAX: Final = 64 * 1024
MAX_REMEMBERED: Final = 256
REMEMBERED_BYTES_MAX: Final = 1024
_SIZE_UPDATE, _SIZE_UPDATE_MASK = 0x20, 0xE0
"""How a block begins that changes the size of the table (RFC 7541, section 6.3)."""


class Head(NamedTuple):
    """What a request begins with. `metadata` is everything but the pseudo-headers."""

    method: str
    path: str
    content_type: str
    metadata: tuple[tuple[str, str], ...]


class HeadReader:
    """Reads the header blocks of one connection, in order."""

    __slots__ = ("_decoder", "_known")

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=LIST_BYTES_MAX)
        self._known: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """Decode a block; raises ProtocolError."""
        if not block:
            raise ProtocolError(PROTOCOL_ERROR, "a request without headers")
        known = self._known.get(block)
        if known is not None:
            return known
        entries = self._decoder.header_table.dynamic_entries
        size, newest = len(entries), entries[0] if entries else None
        try:
            fields = self._decoder.decode(block)
        except hpack.HPACKError as error:
            raise ProtocolError(COMPRESSION_ERROR, f"headers cannot be decoded: {error}") from error
        head = _head(fields)
        # Entries are added in front and dropped behind. As many as before, and the very same one in
        # front: the table is as it was.
        if len(entries) != size or (entries[0] if entries else None) is not newest:
            self._known.clear()
        elif (
            len(self._known) < MAX_REMEMBERED
            and len(block) < REMEMBERED_BYTES_MAX
            and block[0] & _SIZE_UPDATE_MASK != _SIZE_UPDATE
        ):
            self._known[block] = head
        return head


def _head(fields: object) -> Head:
    pseudo: dict[str, str] = {}
    metadata: list[tuple[str, str]] = []
    content_type = ""
    for name, value in fields:  # type: ignore[attr-defined]
        if name[:1] == ":":
            if metadata or name in pseudo:
                raise ProtocolError(PROTOCOL_ERROR, f"{name} where it does not belong")
            pseudo[name] = value
            continue
        if name == "content-type":
            content_type = value
        metadata.append((name, value))
    method, path = pseudo.get(":method", ""), pseudo.get(":path", "")
    return Head(method, path, content_type, tuple(metadata))


def _literal(name: str, value: str) -> bytes:
    # A literal without indexing and without Huffman's code: 0, then two strings.
    return b"\0" + _string(name.encode()) + _string(value.encode())


def _string(data: bytes) -> bytes:
    length = len(data)
    if length < 0x7F:
        return bytes((length,)) + data
    out = bytearray((0x7F,))
    length -= 0x7F
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out) + data


_STATUS_200: Final = b"\x88"  # entry 8 of the static table
BEGIN: Final = _STATUS_200 + _literal("content-type", "application/grpc")
"""What an answer begins with."""
END_OK: Final = _literal("grpc-status", "0")
"""The trailers of an answer that is none of an error."""
NOT_GRPC: Final = _literal(":status", "415")
"""The whole answer to what is no gRPC."""


def page(status: int, kind: str, length: int) -> bytes:
    """Return what the answer to a request that is no gRPC begins with."""
    fields = (":status", str(status)), ("content-type", kind), ("content-length", str(length))
    return b"".join(_literal(name, value) for name, value in fields)


_PLAIN: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def end(code: int, text: str) -> bytes:
    """Return the trailers that tell a status."""
    if not code:
        return END_OK
    return _literal("grpc-status", str(code)) + _literal("grpc-message", quote(text, safe=_PLAIN))
