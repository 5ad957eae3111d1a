"""Records on disk: framed, checksummed, chained. WAL format 1.

    u32 LE length of body | u32 LE crc | body | zeros to a multiple of 8
    body = u8 type, msgpack payload

The CRC-32C of a body is seeded with the crc of the record before it in the same segment, so that a
record left from an earlier use of the space is not valid there. Length 0 ends the records: the rest
of a preallocated segment is zeros.
"""

from __future__ import annotations

import struct
from typing import Final

import crc32c
import msgspec

SEGMENT_HEADER: Final = 1  # [format, cluster_id, member_id, sequence]
ENTRY: Final = 2  # [term, index, kind, data]
HARD_STATE: Final = 3  # [term, vote, commit]
SNAPSHOT_MARK: Final = 4  # [index, term]: a durable snapshot exists

FORMAT: Final = 1
HEADER_BYTES: Final = 8
MAX_RECORD_BYTES: Final = 256 << 20  # a length beyond it is damage, not a record
_frame = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_PADDING = [b"\0" * ((8 - n % 8) % 8) for n in range(8)]
_TYPES = [bytes([number]) for number in range(5)]


def encode(kind: int, payload: object, seed: int) -> tuple[bytes, int]:
    """Return a record's frame and its crc, the seed of the next record."""
    body = _TYPES[kind] + _encode(payload)
    crc = crc32c.crc32c(body, seed)
    length = len(body)
    return _frame.pack(length, crc) + body + _PADDING[length % 8], crc


def frame_at(data: bytes, offset: int) -> tuple[int, int, int] | None:
    """Read (length, crc, end offset) of the frame at `offset`; None where there is none."""
    if offset + HEADER_BYTES > len(data):
        return None
    length, crc = _frame.unpack_from(data, offset)
    end = offset + HEADER_BYTES + length
    if length == 0 or length > MAX_RECORD_BYTES or end > len(data):
        return None
    return length, crc, end + (-end) % 8


def body_at(data: bytes, offset: int, seed: int) -> tuple[bytes, int, int] | None:
    """Read (body, crc, end offset) of the valid record at `offset`, or None."""
    frame = frame_at(data, offset)
    if frame is None:
        return None
    length, crc, end = frame
    start = offset + HEADER_BYTES
    body = data[start : start + length]
    if crc32c.crc32c(body, seed) != crc:
        return None
    return body, crc, end


def any_record_after(data: bytes, offset: int, seed: int) -> int | None:
    """Find a valid record behind an invalid one at `offset`; its offset, or None.

    The seed of a record is the crc of the one before it. If the length of the invalid record is
    damaged, its stored crc is still the seed of the next; if its crc is damaged, the crc of its
    body is; further on, a record is valid if the crc of the frame right before it is its seed.
    """
    end = len(data.rstrip(b"\0"))
    seeds = set()
    if offset + HEADER_BYTES <= end:
        seeds.add(_frame.unpack_from(data, offset)[1])
    frame = frame_at(data, offset)
    if frame is not None:
        start = offset + HEADER_BYTES
        seeds.add(crc32c.crc32c(data[start : start + frame[0]], seed))
    for start in range(offset + 8, end, 8):
        if any(body_at(data, start, each) is not None for each in seeds):
            return start
        frame = frame_at(data, start)
        if frame is not None and body_at(data, frame[2], frame[1]) is not None:
            return frame[2]
    return None
