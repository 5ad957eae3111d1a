"""The replicated state machine: commands of the log applied to keys, leases, alarms and users.

Deterministic: the same commands give the same state, results, snapshot and digest on every node,
under any PYTHONHASHSEED. A refused request is a result like any other; an exception from `apply`
means a bug or a damaged log, and stops the node.

The digest is equal at equal index on nodes that agree. Its first half is a CRC-32C over the history
(index, term and revision of each command, and each version it wrote, to the last field), and is
part of the snapshot. Its second half covers the current state: sums of hashes of the versions and
leases, updated with each change, and a hash of the other tables. A restored state is hashed anew,
so that a wrong restore shows even where the snapshot's own digest is right. Reading the digest
takes constant time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import chain
from typing import cast

import msgspec
from crc32c import crc32c

from squall.node.mvcc import ranges, txn
from squall.node.mvcc.alarms import Alarms, Raised
from squall.node.mvcc.auth import checks
from squall.node.mvcc.auth.commands import AUTH_COMMANDS
from squall.node.mvcc.auth.store import NOBODY, Auth, AuthState, Caller
from squall.node.mvcc.commands import (
    Alarm,
    As,
    Command,
    Compact,
    DeleteRange,
    LeaseGrant,
    LeaseRevoke,
    Put,
    Range,
    Txn,
    decode,
    is_write,
)
from squall.node.mvcc.errors import LEASE_RENEWED, RequestError
from squall.node.mvcc.hashing import HashResult, hash_kv
from squall.node.mvcc.keyvalue import KeyValue
from squall.node.mvcc.lease.table import Lease, Leases
from squall.node.mvcc.results import (
    AlarmResult,
    AuthResult,
    CommandResult,
    CompactResult,
    LeaseResult,
    RangeResult,
    TxnResult,
)
from squall.node.mvcc.revisions import Revisions, encoded_pieces
from squall.node.mvcc.watch.watchers import DEFAULT, Limits, WatchHub

SNAPSHOT_FORMAT = 1


class Snapshot(msgspec.Struct, frozen=True):
    """The whole state, encoded as maps by name: later tables are added as new optional fields.

    `records` is encoded already when it is written.
    """

    format: int
    revision: int
    compacted: int
    digest: int
    records: list[KeyValue]
    leases: list[Lease] = []
    alarms: list[Raised] = []
    auth: AuthState = AuthState()


class SnapshotFormatError(Exception):
    """A snapshot of a format this version cannot read: run the version that wrote it."""


_TABLE_RESULTS = frozenset((LeaseResult, AlarmResult, AuthResult))
"""Results of commands that change other tables than the keys; the digest covers these too."""
_DIGESTED = struct.Struct("<QQQq").pack
_HELD = struct.Struct("<QQQQq").pack
_MASK = (1 << 64) - 1
_NO_RECORDS = msgspec.Raw(b"\x90")
_encode_record = msgspec.msgpack.Encoder().encode
_snapshot_decoder = msgspec.msgpack.Decoder(Snapshot)


def _hash(record: bytes) -> int:
    """Hash one record; sums of these tell sets of records apart, as sums of CRCs would not."""
    return int.from_bytes(blake2b(record, digest_size=8).digest(), "little")


class Store:
    """A multi-version key-value store: the `StateMachine` that `squall.node.replica` drives."""

    __slots__ = (
        "_digest",
        "_history",
        "_leases_hash",
        "_tables_hash",
        "_versions_hash",
        "alarms",
        "auth",
        "leases",
        "watches",
    )

    def __init__(self, watching: Limits = DEFAULT) -> None:
        self._history = Revisions()
        self._digest = 0
        # Sums of the hashes of the current versions and leases.
        self._versions_hash = self._leases_hash = 0
        self.leases = Leases()
        self.alarms = Alarms()
        self.auth = Auth()
        self.watches = WatchHub(self._history, watching)
        self._tables_hash = self._hash_tables()

    # Commands of the log.

    def apply(self, index: int, term: int, command: bytes) -> CommandResult:
        """Apply one command; a RequestError is returned, not raised, and has had no effect."""
        history = self._history
        assert not history.changes, "a command left writes behind"
        result: CommandResult
        try:
            result = self._run(decode(command), index, term)
        except RequestError as refusal:
            history.roll_back()
            result = refusal
        digest = self._digest
        changes = history.changes
        for kv in changes:
            record = _encode_record(kv)
            digest = crc32c(record, digest)
            self._versions_hash += _hash(record)
        changed_table = type(result) in _TABLE_RESULTS
        if changed_table:
            digest = crc32c(command, digest)
        if changes:
            history.commit()
            if self.leases.table:
                self.leases.follow(changes)
            if self.watches.count:
                self.watches.publish(changes)
        if changed_table:
            self._follow_tables(result)
        self._digest = crc32c(_DIGESTED(index, term, history.current, history.compacted), digest)
        return result

    def _run(self, command: Command, index: int, term: int) -> CommandResult:
        history = self._history
        caller = NOBODY
        if type(command) is As:
            caller, command = Caller(command.user, command.auth_revision), command.command
        if self.auth.enabled:
            checks.check(self.auth, self.leases, caller, command)
        if self.alarms.raised:
            self.alarms.check(command)
        if type(command) is Put:
            return txn.put(history, self.leases, command)
        if type(command) is DeleteRange:
            return txn.delete(history, command)
        if type(command) is Txn:
            return txn.run(history, self.leases, command)
        if type(command) is Compact:
            for kv in history.compact(command.revision):
                self._versions_hash -= _hash(_encode_record(kv))
            return CompactResult(history.current)
        if isinstance(command, LeaseGrant):
            self.leases.grant(command.id, command.ttl_s)
            return LeaseResult(history.current, command.id, command.ttl_s)
        if isinstance(command, LeaseRevoke):
            return self._revoke(command, term)
        if isinstance(command, AUTH_COMMANDS):
            return AuthResult(history.current, self.auth.apply(index, command))
        assert isinstance(command, Alarm), command
        return AlarmResult(history.current, self.alarms.apply(command))

    def _revoke(self, command: LeaseRevoke, term: int) -> LeaseResult:
        """Delete the keys of a lease, all at one revision; `apply` removes the lease itself."""
        self.leases.check(command.id)
        if command.term not in (0, term):
            # The leader that saw it expire was deposed before the entry was appended; the next
            # leader has renewed the lease.
            raise RequestError(LEASE_RENEWED)
        for key in self.leases.keys_of(command.id):
            self._history.delete(key, b"")
        return LeaseResult(self._history.visible, command.id)

    # Reads.

    @property
    def revision(self) -> int:
        """The revision of the last change; 1 when there was none."""
        return self._history.current

    @property
    def compacted(self) -> int:
        """The revision of the last compaction; -1 when there was none."""
        return self._history.compacted

    @property
    def key_count(self) -> int:
        """Number of keys, including deleted ones that are not compacted."""
        return len(self._history.index)

    @property
    def size_bytes(self) -> int:
        """Approximate size: keys, values and a constant for each version."""
        return self._history.size_bytes

    def range(self, request: Range) -> RangeResult:
        """Read now; raises RequestError."""
        return ranges.read(self._history, request)

    def read_txn(self, request: Txn) -> TxnResult:
        """Run a transaction that only reads; raises RequestError."""
        assert not is_write(request), "a transaction that writes must go through the log"
        return txn.run(self._history, self.leases, request)

    def hash_kv(self, revision: int) -> HashResult:
        """Hash all keys up to `revision` as etcd does (0: now); raises RequestError."""
        return self.hasher(revision)()

    def hasher(self, revision: int) -> Callable[[], HashResult]:
        """Return a function that computes `hash_kv` in any thread; raises RequestError now."""
        return hash_kv(self._history, revision)

    def events_since(self, revision: int) -> list[KeyValue]:
        """Return every write at `revision` or later in order, deletes as tombstones.

        Complete for revisions of at least `compacted`.
        """
        return self._history.since(revision)

    def versions(self) -> list[KeyValue]:
        """Return every version in order of revision: a copy."""
        return list(self._history.records)

    def digest(self) -> str:
        """Sixteen hex digits, equal at equal index on every node: of history, and of state."""
        history = self._history
        held = _HELD(
            self._versions_hash & _MASK,
            self._leases_hash & _MASK,
            self._tables_hash,
            history.current,
            history.compacted,
        )
        return f"{self._digest:08x}{blake2b(held, digest_size=4).hexdigest()}"

    def _follow_tables(self, result: CommandResult) -> None:
        """Update the hashes of the other tables; remove a revoked lease, whose keys are deleted."""
        if not isinstance(result, LeaseResult):
            self._tables_hash = self._hash_tables()
        elif result.ttl_s:
            self._leases_hash += _hash(_encode_record(self.leases.table[result.id]))
        else:
            self._leases_hash -= _hash(_encode_record(self.leases.table[result.id]))
            self.leases.remove(result.id)

    def _hash_tables(self) -> int:
        return _hash(_encode_record((list(self.alarms), self.auth.state())))

    # Snapshots.

    def snapshot(self) -> bytes:
        """Return the whole state; equal states give equal bytes."""
        return self._encode_with(self._history.encoded())

    def pieces(self) -> Iterator[bytes]:
        """Return what `snapshot` does, of the state as it is now, in pieces encoded one by one."""
        # No number before the records is long enough to contain their name.
        head, name, tail = self._encode_with(_NO_RECORDS).partition(b"\xa7records\x90")
        assert name, head
        return chain((head + name[:-1],), encoded_pieces(self.versions()), (tail,))

    def _encode_with(self, records: msgspec.Raw) -> bytes:
        history = self._history
        return msgspec.msgpack.encode(
            Snapshot(
                SNAPSHOT_FORMAT,
                history.current,
                history.compacted,
                self._digest,
                cast("list[KeyValue]", records),
                list(self.leases),
                list(self.alarms),
                self.auth.state(),
            )
        )

    def restore(self, data: bytes) -> None:
        """Replace the state by what `snapshot` wrote; raises SnapshotFormatError."""
        state = _snapshot_decoder.decode(data)
        if state.format != SNAPSHOT_FORMAT:
            raise SnapshotFormatError(
                f"the snapshot has format {state.format}, this version reads {SNAPSHOT_FORMAT}"
            )
        before = self._history.current
        self._history.load(state.revision, state.compacted, state.records)
        self.leases.load(state.leases, self._history.live() if state.leases else ())
        self.alarms.load(state.alarms)
        self.auth.load(state.auth)
        self.watches.replaced(before)
        self._digest = state.digest
        self._versions_hash = sum(_hash(_encode_record(kv)) for kv in self._history.records)
        self._leases_hash = sum(_hash(_encode_record(lease)) for lease in self.leases)
        self._tables_hash = self._hash_tables()
