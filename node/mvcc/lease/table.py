"""The replicated table of leases and the keys attached to each.

Granting and revoking are commands of the log; a key is attached to the `lease` of its newest
version. The remaining time of a lease is not replicated: only the leader keeps it (`lessor`), and
every node applies the log alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from squall.node.mvcc.errors import LEASE_EXISTS, LEASE_NOT_FOUND, RequestError
from squall.node.mvcc.keyvalue import KeyValue

MAX_TTL_S = 9_000_000_000
"""etcd's; a longer one is refused."""


class Lease(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A lease as it was granted; `ttl_s` is never below the minimum."""

    id: int
    ttl_s: int


class Leases:
    """All leases by id. `on_grant` is called with each that is granted."""

    __slots__ = ("_keys", "_lease_of", "on_grant", "table")

    def __init__(self) -> None:
        self.table: dict[int, Lease] = {}
        self._keys: dict[int, dict[bytes, None]] = {}
        self._lease_of: dict[bytes, int] = {}
        self.on_grant: Callable[[int], None] | None = None

    def __contains__(self, lease_id: int) -> bool:
        return lease_id in self.table

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[Lease]:
        """Iterate in order of id."""
        return iter(sorted(self.table.values(), key=lambda lease: lease.id))

    def find(self, lease_id: int) -> Lease | None:
        """Return a lease; None when there is none of that id."""
        return self.table.get(lease_id)

    def keys_of(self, lease_id: int) -> list[bytes]:
        """Return the keys attached to a lease, in order."""
        return sorted(self._keys.get(lease_id, ()))

    def grant(self, lease_id: int, ttl_s: int) -> None:
        """Add a lease; raises RequestError when its id is taken."""
        if lease_id in self.table:
            raise RequestError(LEASE_EXISTS)
        self.table[lease_id] = Lease(lease_id, ttl_s)
        self._keys[lease_id] = {}
        if self.on_grant is not None:
            self.on_grant(lease_id)

    def check(self, lease_id: int) -> None:
        """Raise RequestError when there is no such lease."""
        if lease_id not in self.table:
            raise RequestError(LEASE_NOT_FOUND)

    def remove(self, lease_id: int) -> None:
        """Remove a lease whose keys have been deleted."""
        left = self._keys.pop(lease_id)
        assert not left, (lease_id, left)
        del self.table[lease_id]

    def follow(self, changes: Iterable[KeyValue]) -> None:
        """Attach the written keys to the leases of their new versions."""
        for kv in changes:
            before = self._lease_of.pop(kv.key, 0)
            if before:
                del self._keys[before][kv.key]
            if kv.version and kv.lease:
                self._lease_of[kv.key] = kv.lease
                self._keys[kv.lease][kv.key] = None

    def load(self, leases: Iterable[Lease], live: Iterable[KeyValue]) -> None:
        """Replace the table by these leases and the keys of the live versions attached to them."""
        self.table = {lease.id: lease for lease in leases}
        self._keys = {lease_id: {} for lease_id in self.table}
        self._lease_of = {}
        self.follow(live)
