"""The fixed structures of a bbolt file and its checksum, all little-endian.

An element of a page says where its key lies relative to the element itself; the value follows the
key. A page longer than one is followed by `overflow` more, without headers of their own.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

PAGE_BYTES: Final = 4096
"""The size of the pages we write: that of a memory page on amd64. A file says which size it has."""

MAGIC: Final = 0xED0CDAED
VERSION: Final = 2

BRANCH: Final = 0x01
LEAF: Final = 0x02
META: Final = 0x04
FREELIST: Final = 0x10

BUCKET_ITEM: Final = 0x01
"""The flag of a leaf's element whose value is a bucket."""

HEADER: Final = struct.Struct("<QHHI")
"""A page's id, kind, number of elements, number of pages that overflow."""
LEAF_ELEMENT: Final = struct.Struct("<IIII")
"""Flags, position, size of the key, size of the value."""
BRANCH_ELEMENT: Final = struct.Struct("<IIQ")
"""Position, size of the key, page of the child."""
BUCKET: Final = struct.Struct("<QQ")
"""The root page of a bucket (0: inline), its sequence number."""

_META: Final = struct.Struct("<IIIIQQQQQ")
_CHECKSUM: Final = struct.Struct("<Q")
META_BYTES: Final = _META.size + _CHECKSUM.size


class Meta(msgspec.Struct, frozen=True):
    """What the rest of a file is read by. `high_water` is the number of pages in use."""

    page_bytes: int
    root: int
    freelist: int
    high_water: int
    transaction: int


class DamagedFileError(Exception):
    """The file is not a sound bbolt file; `args[0]` says what is wrong with it."""


def encode_meta(meta: Meta) -> bytes:
    """Return a meta page's content, which stands behind its header."""
    body = _META.pack(
        MAGIC,
        VERSION,
        meta.page_bytes,
        0,
        meta.root,
        0,
        meta.freelist,
        meta.high_water,
        meta.transaction,
    )
    return body + _CHECKSUM.pack(_fnv1a(body))


def decode_meta(data: bytes) -> Meta:
    """Read what `encode_meta` gave; raises DamagedFileError."""
    if len(data) < META_BYTES:
        raise DamagedFileError("it ends within its meta page")
    body = data[: _META.size]
    magic, version, page_bytes, _, root, _, freelist, high_water, transaction = _META.unpack(body)
    if magic != MAGIC:
        raise DamagedFileError("it does not begin like a bbolt file")
    if version != VERSION:
        raise DamagedFileError(f"its format has version {version}, not {VERSION}")
    if _CHECKSUM.unpack_from(data, _META.size)[0] != _fnv1a(body):
        raise DamagedFileError("the checksum of its meta page does not match")
    return Meta(page_bytes, root, freelist, high_water, transaction)


def _fnv1a(data: bytes) -> int:
    """The 64-bit FNV-1a hash."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFF_FFFF_FFFF_FFFF
    return value
