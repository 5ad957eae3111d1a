"""Maps failed and indeterminate replies to etcd errors.

The texts are chosen as etcd chooses them. The invariant: an indeterminate outcome never gets a text
that claims a definite one. The suffix of a timeout is a hint for people.
"""

from __future__ import annotations

from typing import Final

from squall.node.api.errors import (
    INDEFINITE,
    TIMEOUT,
    TIMEOUT_CONNECTION_LOST,
    TIMEOUT_LEADER_FAILED,
)
from squall.node.raft.quorum import majority
from squall.node.replica import Outcome, Reply, Status

ELECTIONS: Final = 2
"""As etcd: a leader was lost that many election timeouts before the next was elected."""


class TimeoutErrors:
    """Keeps the time of the last election. `timeout_us` is how long a request waits."""

    def __init__(self, election_us: int, timeout_us: int) -> None:
        self._election_us = election_us
        self._timeout_us = timeout_us
        self._elected_us = -timeout_us - (ELECTIONS + 1) * election_us

    def leader_changed(self, leader: int, now_us: int) -> None:
        """Note that this node follows another leader; 0 for none."""
        if leader:
            self._elected_us = now_us

    def text(
        self, reply: Reply, status: Status, connected: list[int], now_us: int, *, is_proposal: bool
    ) -> str:
        """Return etcd's error text for a reply that is not DONE.

        `connected` are the ids of the members with a connection.
        """
        text = reply.error
        if not text.startswith("etcdserver: "):
            text = f"etcdserver: {text}"
        if reply.outcome is Outcome.UNKNOWN and text not in INDEFINITE:
            text = TIMEOUT
        if text != TIMEOUT or not is_proposal:
            return text
        began_us = now_us - self._timeout_us
        lost_us = self._elected_us - ELECTIONS * self._election_us
        if lost_us < began_us < self._elected_us:
            return TIMEOUT_LEADER_FAILED
        if status.leader and not _is_connected(status, connected):
            return TIMEOUT_CONNECTION_LOST
        return TIMEOUT


def _is_connected(status: Status, connected: list[int]) -> bool:
    """Return whether there is a connection to the leader, or from the leader to a majority."""
    if status.leader != status.member_id:
        return status.leader in connected
    voters = [member.id for member in status.members.values() if not member.is_learner]
    reached = sum(voter == status.member_id or voter in connected for voter in voters)
    return reached >= majority(len(voters))
