"""HTTP/2 frames as bytes: a header of nine bytes and a payload (RFC 9113, sections 4 and 6)."""

from __future__ import annotations

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES: Final = 9

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

WINDOW_BYTES: Final = 65_535
"""Initial size of every flow-control window (section 6.9.2)."""
WINDOW_BYTES_MAX: Final = (1 << 31) - 1
FRAME_BYTES: Final = 16_384
"""The longest payload accepted by default (section 4.2); this side never raises it."""
FRAME_BYTES_MAX: Final = (1 << 24) - 1
DEBUG_BYTES_MAX: Final = 256
"""An error of HPACK's decoder quotes the whole block, which would not fit a frame."""

head: Final = struct.Struct("!BHBBI")
"""Length in two parts, type, flags, stream."""
uint32: Final = struct.Struct("!I")
_setting: Final = struct.Struct("!HI")


class ProtocolError(Exception):
    """The client broke the protocol; the connection ends with this error code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """Return a frame."""
    length = len(body)
    return head.pack(length >> 16, length & 0xFFFF, kind, flags, stream) + body


def settings(*pairs: tuple[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_setting.pack(*pair) for pair in pairs))


def settings_of(body: bytes) -> list[tuple[int, int]]:
    """Return the pairs in a SETTINGS frame's body; raises ProtocolError."""
    if len(body) % _setting.size:
        raise ProtocolError(FRAME_SIZE_ERROR, "a SETTINGS frame of odd length")
    return list(_setting.iter_unpack(body))


def window_update(stream: int, size: int) -> bytes:
    """Return a WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, uint32.pack(size))


def reset(stream: int, code: int) -> bytes:
    """Return a RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, uint32.pack(code))


def goaway(last_stream: int, code: int, text: str = "") -> bytes:
    """Return a GOAWAY frame; its debug data is at most `DEBUG_BYTES_MAX` of the text."""
    debug = text.encode()[:DEBUG_BYTES_MAX]
    return frame(GOAWAY, 0, 0, uint32.pack(last_stream) + uint32.pack(code) + debug)


def number(body: bytes) -> int:
    """Return the 31-bit number that is the whole body; raises ProtocolError."""
    if len(body) != uint32.size:
        raise ProtocolError(FRAME_SIZE_ERROR, "a frame of the wrong length")
    value: int = uint32.unpack(body)[0] & WINDOW_BYTES_MAX
    return value


def unpadded(body: bytes, flags: int) -> bytes:
    """Return a DATA or HEADERS frame's body without padding and priority; raises ProtocolError."""
    start, end = 0, len(body)
    if flags & PADDED:
        if not body or body[0] >= end:
            raise ProtocolError(PROTOCOL_ERROR, "more padding than frame")
        start, end = 1, end - body[0]
    if flags & PRIORITISED:
        start += 5
    if start > end:
        raise ProtocolError(FRAME_SIZE_ERROR, "a HEADERS frame that is too short")
    return body[start:end]
