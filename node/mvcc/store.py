"""The state machine that the log drives, and what may be read from it.

Deterministic: the same commands give the same state, results, snapshot and digest on every node,
under any PYTHONHASHSEED. A request that is refused is a result like any other; an exception out of
`apply` means a bug or a damaged log, and stops the node.

The digest is a CRC-32C rolled over everything that happened: index, term and revision of each
command, and each version it wrote, to the last field. It costs the same however large the store is,
travels in the snapshot, and is equal at equal index on nodes that agree.
"""

from __future__ import annotations

import struct

import msgspec
from crc32c import crc32c

from node.mvcc import commands, ranges, txn
from node.mvcc.commands import Command, Compact, DeleteRange, Put, Range, Txn, is_write
from node.mvcc.errors import RequestError
from node.mvcc.hashing import HashResult, hash_kv
from node.mvcc.keyvalue import KeyValue
from node.mvcc.results import (
    CommandResult,
    CompactResult,
    RangeResult,
    TxnResult,
)
from node.mvcc.revisions import Revisions
from node.mvcc.watching import WatchHub

SNAPSHOT_FORMAT = 1


class Snapshot(msgspec.Struct, frozen=True):
    """The whole state as it is written. Maps by name: later tables join as new optional fields."""

    format: int
    revision: int
    compacted: int
    digest: int
    records: list[KeyValue]


class SnapshotFormatError(Exception):
    """A snapshot of a format this version does not know: run the version that wrote it."""


_DIGESTED = struct.Struct("<QQQq").pack
_record_encoder = msgspec.msgpack.Encoder()
_snapshot_decoder = msgspec.msgpack.Decoder(Snapshot)


class Store:
    """A multi-version key-value store: the `StateMachine` that `node.replica` drives."""

    __slots__ = ("_digest", "_history", "watches")

    def __init__(self) -> None:
        self._history = Revisions()
        self._digest = 0
        self.watches = WatchHub(self._history)

    # What the log does.

    def apply(self, index: int, term: int, command: bytes) -> CommandResult:
        """Apply one command; a RequestError is returned, not raised, and changed nothing."""
        history = self._history
        assert not history.changes, "a command left writes behind"
        result: CommandResult
        try:
            result = self._run(commands.decode(command))
        except RequestError as refusal:
            history.roll_back()
            result = refusal
        digest = self._digest
        changes = history.changes
        for kv in changes:
            digest = crc32c(_record_encoder.encode(kv), digest)
        history.commit()
        if changes and self.watches.count:
            self.watches.publish(changes)
        self._digest = crc32c(_DIGESTED(index, term, history.current, history.compacted), digest)
        return result

    def _run(self, command: Command) -> CommandResult:
        history = self._history
        if isinstance(command, Put):
            return txn.put(history, command)
        if isinstance(command, DeleteRange):
            return txn.delete(history, command)
        if isinstance(command, Txn):
            return txn.run(history, command)
        assert isinstance(command, Compact), command
        history.compact(command.revision)
        return CompactResult(history.current)

    # What may be read.

    @property
    def revision(self) -> int:
        """The revision of the last change; 1 when there was none."""
        return self._history.current

    @property
    def compacted(self) -> int:
        """The revision of the last compaction; -1 when there was none."""
        return self._history.compacted

    @property
    def size_bytes(self) -> int:
        """About how much the store holds: keys, values and a constant for each version."""
        return self._history.size_bytes

    def range(self, request: Range) -> RangeResult:
        """Read now; raises RequestError."""
        return ranges.read(self._history, request)

    def read_txn(self, request: Txn) -> TxnResult:
        """Run a transaction that only reads; raises RequestError."""
        assert not is_write(request), "a transaction that writes must go through the log"
        return txn.run(self._history, request)

    def hash_kv(self, revision: int) -> HashResult:
        """Hash all keys up to `revision` as etcd does (0: now); raises RequestError."""
        return hash_kv(self._history, revision)

    def events_since(self, revision: int) -> list[KeyValue]:
        """Return every write at `revision` or later in order, deletes as tombstones.

        Complete for revisions of at least `compacted`: what a watch starts from.
        """
        return self._history.since(revision)

    def versions(self) -> list[KeyValue]:
        """Return every version in order of revision: a copy, which later commands leave alone."""
        return list(self._history.records)

    def digest(self) -> str:
        """Eight hex digits, equal at equal index on every node."""
        return f"{self._digest:08x}"

    # What a snapshot carries.

    def snapshot(self) -> bytes:
        """Return the whole state; equal states give equal bytes."""
        history = self._history
        return msgspec.msgpack.encode(
            Snapshot(
                SNAPSHOT_FORMAT,
                history.current,
                history.compacted,
                self._digest,
                history.records,
            )
        )

    def restore(self, data: bytes) -> None:
        """Become the state that `snapshot` wrote; raises SnapshotFormatError."""
        state = _snapshot_decoder.decode(data)
        if state.format != SNAPSHOT_FORMAT:
            raise SnapshotFormatError(
                f"the snapshot has format {state.format}, this version reads {SNAPSHOT_FORMAT}"
            )
        before = self._history.current
        self._history.load(state.revision, state.compacted, state.records)
        self.watches.replaced(before)
        self._digest = state.digest
