"""Expiry of leases, decided by the leader and proposed as revocations (etcd: lease/lessor.go).

Three rules keep a lease from expiring early. A new leader gives every lease its full TTL again,
because it does not know the renewals that its predecessor confirmed. A revocation carries the term
it was decided in and has no effect in any other, so that one of a deposed leader revokes nothing.
And time is the node's monotonic clock, passed in; jumps of the wall clock have no effect.
"""

from __future__ import annotations

import heapq

from squall.node.mvcc.commands import LeaseRevoke
from squall.node.mvcc.lease.table import Leases

NEVER_US = 1 << 62
US_PER_S = 1_000_000
RETRY_US = 3_000_000
"""A revocation that was not applied after this is proposed again, as etcd."""
MAX_REVOKED_AT_ONCE = 256
PAUSE_US = 50_000
"""Between batches of revocations."""


class Lessor:
    """The deadlines of all leases while this node leads; empty while it does not."""

    __slots__ = ("_deadlines", "_expiring", "_heap", "_leases", "_now_us", "_term", "_wake_us")

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        leases.on_grant = self._granted
        self._term = 0
        self._now_us = 0
        self._deadlines: dict[int, int] = {}
        self._expiring: set[int] = set()
        self._heap: list[tuple[int, int]] = []
        self._wake_us = 0

    @property
    def term(self) -> int:
        """The term this node leads in; 0 when it does not lead."""
        return self._term

    @property
    def deadline_us(self) -> int:
        """When `tick` has revocations to propose."""
        return max(self._heap[0][0], self._wake_us) if self._heap else NEVER_US

    def set_leading_term(self, term: int, now_us: int) -> None:
        """Set the term this node leads in; 0 when it does not (etcd: Promote, Demote)."""
        self._now_us = now_us
        if term == self._term:
            return
        self._term = term
        self._deadlines.clear()
        self._expiring.clear()
        self._heap.clear()
        if term:
            for lease in self._leases:
                self._extend(lease.id, now_us + lease.ttl_s * US_PER_S)

    def tick(self, now_us: int) -> list[LeaseRevoke]:
        """Return the revocations to propose now."""
        self._now_us = now_us
        if now_us < self.deadline_us:
            return []
        due: list[LeaseRevoke] = []
        heap = self._heap
        while heap and heap[0][0] <= now_us and len(due) < MAX_REVOKED_AT_ONCE:
            deadline_us, lease_id = heapq.heappop(heap)
            if self._deadlines.get(lease_id) != deadline_us:
                continue  # it was renewed since
            if lease_id not in self._leases:
                del self._deadlines[lease_id]
                self._expiring.discard(lease_id)
                continue
            self._expiring.add(lease_id)
            self._extend(lease_id, now_us + RETRY_US)
            due.append(LeaseRevoke(lease_id, self._term))
        if due:
            self._wake_us = now_us + PAUSE_US
        return due

    def renew(self, lease_id: int, now_us: int) -> int:
        """Renew a lease and return its TTL in seconds; 0 when it has expired or is unknown.

        Only at a leader that was confirmed to lead after the request arrived.
        """
        assert self._term, "only a leader renews leases"
        lease = self._leases.find(lease_id)
        if lease is None or lease_id in self._expiring:
            return 0
        self._extend(lease_id, now_us + lease.ttl_s * US_PER_S)
        return lease.ttl_s

    def remaining_s(self, lease_id: int, now_us: int) -> int:
        """Return the whole seconds a lease has left; -1 when it has expired or is unknown."""
        assert self._term, "only a leader knows what leases have left"
        if lease_id not in self._leases or lease_id in self._expiring:
            return -1
        return max(0, self._deadlines[lease_id] - now_us) // US_PER_S

    def _granted(self, lease_id: int) -> None:
        if self._term:
            lease = self._leases.find(lease_id)
            assert lease is not None, lease_id
            self._expiring.discard(lease_id)  # the id may have been that of an earlier lease
            self._extend(lease_id, self._now_us + lease.ttl_s * US_PER_S)

    def _extend(self, lease_id: int, deadline_us: int) -> None:
        self._deadlines[lease_id] = deadline_us
        heapq.heappush(self._heap, (deadline_us, lease_id))
