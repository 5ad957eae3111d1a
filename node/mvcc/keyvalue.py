"""One version of one key, and its two encodings in etcd's backend.

etcd's backend maps revisions to KeyValue messages: the key is 17 bytes of revision (18 with the `t`
of a tombstone), the value a protobuf message. Both are reproduced byte for byte, so that HashKV
equals etcd's at equal content. Two fixed messages do not need a protobuf runtime here.
"""

from __future__ import annotations

import struct

import msgspec


class KeyValue(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A key as one write left it. `version` 0 marks a tombstone: the write was a delete.

    `sub` numbers the writes of one transaction, which all share `mod_revision`.
    """

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0
    sub: int = 0


def without_value(kv: KeyValue) -> KeyValue:
    """Return the same version with an empty value: what `keys_only` asks for."""
    return KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease, kv.sub)


_REVISION = struct.Struct(">QcQ")


def revision_key(kv: KeyValue) -> bytes:
    """Return the key of etcd's backend: main, `_`, sub, and `t` for a tombstone."""
    key = _REVISION.pack(kv.mod_revision, b"_", kv.sub)
    return key if kv.version else key + b"t"


def to_protobuf(kv: KeyValue) -> bytes:
    """Return the mvccpb.KeyValue message: fields in order, zero values left out.

    A tombstone holds nothing but its key.
    """
    if not kv.version:
        return _bytes_field(0x0A, kv.key)
    return b"".join(
        (
            _bytes_field(0x0A, kv.key),
            _varint_field(0x10, kv.create_revision),
            _varint_field(0x18, kv.mod_revision),
            _varint_field(0x20, kv.version),
            _bytes_field(0x2A, kv.value),
            _varint_field(0x30, kv.lease),
        )
    )


def _varint(number: int) -> bytes:
    # Negative int64 values travel as their 64-bit two's complement.
    number &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _varint_field(tag: int, number: int) -> bytes:
    return bytes((tag,)) + _varint(number) if number else b""


def _bytes_field(tag: int, data: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(data)) + data if data else b""
