r"""Snapshots on disk: one file each, written under a temporary name, synced, renamed.

    snap/%016x-%016x.snap   term, index
    b"SQSNAP1\n" | u32 LE crc32c of the rest
    | msgpack [index, term, configuration, sessions, machine]

After the rename the directory is synced. So a file with a final name is complete, unless the disk
damaged it, which the checksum shows. In memory and between peers a snapshot's data is msgpack
[sessions, machine], opaque to Raft.
"""

from __future__ import annotations

import struct
from typing import Final, Protocol

import crc32c
import msgspec

from squall.node.raft.membership import Configuration
from squall.node.raft.messages import Snapshot
from squall.node.storage.disk import Append, Create, DiskOp, Remove, Rename, Sync, SyncDir

DIRECTORY: Final = "member/snap"
SUFFIX: Final = ".snap"
TEMPORARY: Final = ".tmp"
MAGIC: Final = b"SQSNAP1\n"

_crc = struct.Struct("<I")


class State(msgspec.Struct, array_like=True):
    """The content of a snapshot: the encoded sessions and the state machine."""

    sessions: msgspec.Raw
    machine: bytes


class _File(msgspec.Struct, array_like=True):
    index: int
    term: int
    configuration: Configuration
    sessions: msgspec.Raw
    machine: bytes


class Content(Protocol):
    """The bytes of a file, in memory or mapped."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, part: slice, /) -> bytes:
        """Some of them."""
        ...


class DamagedSnapshotError(Exception):
    """The file is damaged; `args[0]` says how."""


_PAIR: Final = b"\x92"  # how State begins: a msgpack array of two
_QUINTUPLE: Final = b"\x95"  # and _File: one of five

_encoder = msgspec.msgpack.Encoder()
_state = msgspec.msgpack.Decoder(State)
_file = msgspec.msgpack.Decoder(_File)


def path_of(term: int, index: int) -> str:
    """Return the path of a snapshot."""
    return f"{DIRECTORY}/{term:016x}-{index:016x}{SUFFIX}"


def encode_state(state: State) -> bytes:
    """Return a snapshot's data."""
    return _encoder.encode(state)


def decode_state(data: bytes) -> State:
    """Decode a snapshot's data."""
    return _state.decode(data)


def encode_file(snapshot: Snapshot) -> bytes:
    """Return the whole file."""
    state = decode_state(snapshot.data)
    content = _File(
        snapshot.index, snapshot.term, snapshot.configuration, state.sessions, state.machine
    )
    body = _encoder.encode(content)
    return MAGIC + _crc.pack(crc32c.crc32c(body)) + body


def encode_file_in_pieces(
    at: tuple[int, int, Configuration], sessions: msgspec.Raw, machine: list[bytes]
) -> list[bytes]:
    """Return what `encode_file` does, in pieces, for a machine's state in pieces."""
    size = sum(map(len, machine))
    pieces = [_head(*at) + bytes(sessions) + _bin_header(size), *machine]
    checksum = 0
    for piece in pieces:
        checksum = crc32c.crc32c(piece, checksum)
    return [MAGIC + _crc.pack(checksum), *pieces]


class StoredState:
    """A snapshot's data, sliced like bytes, read from its file (perhaps mapped) on access."""

    __slots__ = ("_content", "_start")

    def __init__(self, content: Content, at: tuple[int, int, Configuration]) -> None:
        self._content = content
        self._start = len(MAGIC) + _crc.size + len(_head(*at))

    def __len__(self) -> int:
        return len(_PAIR) + len(self._content) - self._start

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(len(self))
        shift = self._start - len(_PAIR)
        body = self._content[max(start, len(_PAIR)) + shift : max(stop, len(_PAIR)) + shift]
        return _PAIR[start:stop] + body


def _head(index: int, term: int, configuration: Configuration) -> bytes:
    """Return the head of a file's body; the sessions and the machine follow, as in `State`."""
    return _QUINTUPLE + b"".join(map(_encoder.encode, (index, term, configuration)))


def _bin_header(size: int) -> bytes:
    """Return the head of a msgpack byte string of this length (formats bin 8, 16, 32)."""
    if size < 1 << 8:
        return b"\xc4" + size.to_bytes(1, "big")
    if size < 1 << 16:
        return b"\xc5" + size.to_bytes(2, "big")
    return b"\xc6" + size.to_bytes(4, "big")


def decode_file(content: bytes) -> Snapshot:
    """Decode a whole file; raises DamagedSnapshotError."""
    start = len(MAGIC) + _crc.size
    if len(content) < start or not content.startswith(MAGIC):
        raise DamagedSnapshotError("it does not begin like a snapshot")
    body = content[start:]
    if crc32c.crc32c(body) != _crc.unpack_from(content, len(MAGIC))[0]:
        raise DamagedSnapshotError("its checksum does not match its content")
    try:
        found = _file.decode(body)
    except msgspec.MsgspecError as error:
        raise DamagedSnapshotError(f"its content does not decode: {error}") from error
    data = encode_state(State(found.sessions, found.machine))
    return Snapshot(found.index, found.term, found.configuration, data)


def save(snapshot: Snapshot) -> list[DiskOp]:
    """Plan the operations that make a snapshot durable under its name, or not at all."""
    path = path_of(snapshot.term, snapshot.index)
    content = encode_file(snapshot)
    return [
        Create(path + TEMPORARY, 0),
        Append(path + TEMPORARY, 0, content),
        Sync(path + TEMPORARY),
        Rename(path + TEMPORARY, path),
        SyncDir(DIRECTORY),
    ]


def publish(term: int, index: int) -> list[DiskOp]:
    """Plan the operations that give a snapshot, durable under its temporary name, its final one."""
    path = path_of(term, index)
    return [Rename(path + TEMPORARY, path), SyncDir(DIRECTORY)]


def parse_name(name: str) -> tuple[int, int] | None:
    """Read (index, term) from a snapshot's file name; None for other files."""
    stem, dot, suffix = name.partition(".")
    term, dash, index = stem.partition("-")
    if dot + suffix != SUFFIX or not dash:
        return None
    try:
        return int(index, 16), int(term, 16)
    except ValueError:
        return None


def purge(names: list[str], keep: int) -> list[DiskOp]:
    """Plan the removal of all but the `keep` newest of these snapshots (0 keeps all)."""
    found = sorted(parsed for parsed in map(parse_name, names) if parsed is not None)
    if not keep or len(found) <= keep:
        return []
    removed: list[DiskOp] = [Remove(path_of(term, index)) for index, term in found[:-keep]]
    return [*removed, SyncDir(DIRECTORY)]
