"""Decides whether a write-ahead log of etcd's holds requests; nothing else is read of it.

A segment is a sequence of frames: eight bytes, little-endian, of which the lower 56 bits are a
length and the uppermost byte, if its highest bit is set, the padding that follows; a walpb.Record
{1: type, 2: crc, 3: data}. A record of type 2 is a raftpb.Entry {1: type, ...}, and an entry of
type 0 a request; what `etcdctl snapshot restore` writes has only entries of type 1, the members.
"""

from __future__ import annotations

import struct
from typing import Final

ENTRY_RECORD: Final = 2
REQUEST_ENTRY: Final = 0
LENGTH_BITS: Final = 56
PADDED: Final = 0x80
PADDING_MASK: Final = 0x07

_LENGTH: Final = struct.Struct("<Q")
_TYPE, _CRC, _DATA = 0x08, 0x10, 0x1A  # the tags of a Record's fields; Go writes all, in order


def has_requests(segment: bytes) -> bool:
    """Return whether a segment has a request entry, or is not in etcd's format."""
    offset = 0
    while offset + _LENGTH.size <= len(segment):
        (frame,) = _LENGTH.unpack_from(segment, offset)
        if not frame:
            return False  # preallocated, and not written yet
        offset += _LENGTH.size
        length = frame & (1 << LENGTH_BITS) - 1
        top = frame >> LENGTH_BITS
        padding = top & PADDING_MASK if top & PADDED else 0
        try:
            if _is_request(segment[offset : offset + length]):
                return True
        except IndexError:
            return True  # not understood: assume that it has requests
        offset += length + padding
    return False


def _is_request(record: bytes) -> bool:
    at = 0
    kind = 0
    while at < len(record):
        tag, at = record[at], at + 1
        if tag == _DATA:
            _, at = _varint(record, at)
            return kind == ENTRY_RECORD and _entry_type(record[at:]) == REQUEST_ENTRY
        number, at = _varint(record, at)
        if tag == _TYPE:
            kind = number
        elif tag != _CRC:
            raise IndexError
    return False


def _entry_type(entry: bytes) -> int:
    if entry[0] != _TYPE:
        raise IndexError
    return _varint(entry, 1)[0]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Decode a varint; returns (number, offset behind it). Raises IndexError."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at
