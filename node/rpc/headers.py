"""Header blocks: decoding those of requests (HPACK, RFC 7541), encoding those of responses.

A client sends the same headers with every call, and once they are in HPACK's dynamic table the
block is the same few bytes. So decoded blocks are cached, for as long as the dynamic table does not
change: an entry added or evicted changes the meaning of every index, and clears the cache.

Responses use no dynamic table: they are literals, constant except for an error's text. So the
client's HEADER_TABLE_SIZE needs no attention.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import quote

import hpack

from squall.node.rpc.frames import COMPRESSION_ERROR, PROTOCOL_ERROR, ProtocolError

BLOCK_BYTES_MAX: Final = 64 * 1024
LIST_BYTES_MAX: Final = 64 * 1024
MAX_CACHED: Final = 256
CACHED_BYTES_MAX: Final = 1024
_SIZE_UPDATE, _SIZE_UPDATE_MASK = 0x20, 0xE0
"""The first byte of a dynamic table size update (RFC 7541, section 6.3)."""
_REQUEST_PSEUDO: Final = frozenset((":method", ":scheme", ":path", ":authority"))
_CONNECTION_SPECIFIC: Final = frozenset(
    ("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade")
)


class Head(NamedTuple):
    """A decoded block. `metadata`: all fields but the pseudo-headers. Trailers have no method."""

    method: str
    path: str
    content_type: str
    metadata: tuple[tuple[str, str], ...]


class HeadReader:
    """Decodes the header blocks of one connection, all of them and in order."""

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
        # Entries are added in front and evicted behind: with the same number of entries and the
        # same one in front, the table has not changed.
        if len(entries) != size or (entries[0] if entries else None) is not newest:
            self._known.clear()
        elif (
            len(self._known) < MAX_CACHED
            and len(block) < CACHED_BYTES_MAX
            and block[0] & _SIZE_UPDATE_MASK != _SIZE_UPDATE
        ):
            self._known[block] = head
        return head


def _head(fields: object) -> Head:
    """Check a block's fields (RFC 9113, sections 8.2 and 8.3); raises ProtocolError."""
    pseudo: dict[str, str] = {}
    metadata: list[tuple[str, str]] = []
    content_type = ""
    for name, value in fields:  # type: ignore[attr-defined]
        if name[:1] == ":":
            if metadata or name in pseudo or name not in _REQUEST_PSEUDO:
                raise ProtocolError(PROTOCOL_ERROR, f"{name} where it does not belong")
            pseudo[name] = value
            continue
        if name != name.lower():
            raise ProtocolError(PROTOCOL_ERROR, "a field name in upper case")
        if name in _CONNECTION_SPECIFIC or (name == "te" and value != "trailers"):
            raise ProtocolError(PROTOCOL_ERROR, f"{name} has no meaning in HTTP/2")
        if name == "content-type":
            content_type = value
        metadata.append((name, value))
    method, path = pseudo.get(":method", ""), pseudo.get(":path", "")
    if pseudo and method != "CONNECT" and not (method and path and ":scheme" in pseudo):
        raise ProtocolError(PROTOCOL_ERROR, "a request without :method, :scheme or :path")
    return Head(method, path, content_type, tuple(metadata))


def _literal(name: str, value: str) -> bytes:
    # Literal without indexing, new name, no Huffman coding (RFC 7541, section 6.2.2).
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
"""The headers of a response."""
END_OK: Final = _literal("grpc-status", "0")
"""The trailers of a response with status OK."""
NOT_GRPC: Final = _literal(":status", "415")
"""The whole response to a request that is not gRPC."""


def page(status: int, kind: str, length: int) -> bytes:
    """Return the headers of a response that is not gRPC."""
    fields = (":status", str(status)), ("content-type", kind), ("content-length", str(length))
    return b"".join(_literal(name, value) for name, value in fields)


_PLAIN: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def end(code: int, text: str) -> bytes:
    """Return the trailers with a gRPC status."""
    if not code:
        return END_OK
    return _literal("grpc-status", str(code)) + _literal("grpc-message", quote(text, safe=_PLAIN))
