"""Stops members that were removed from the cluster.

A removed member may never apply its own removal: the leader stops replicating to it as soon as the
entry is appended. It would then campaign for ever. So a member that has applied a removal notifies
the removed one when it connects, and a member that learns of its own removal, from its log or from
a peer, stops for good. As in etcd it waits a little first: the others may still need its
acknowledgement, and the client that asked it for its own removal an answer. It does not start on
this data directory again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from squall.node.logs import Log
from squall.node.peer.transport import Transport

LEAVE_AFTER_S = 1.0
"""As etcd: time to replicate the removal and to transfer leadership."""

ADVICE = (
    "this member was removed from the cluster for good: delete its data directory; to have it "
    "back, add it anew (etcdctl member add) and start with --initial-cluster-state existing"
)


class RemovedError(Exception):
    """The cluster has removed this member. The text says what to do."""


class RemovedMembers:
    """Notifies removed members, and calls `stop` shortly after this one was removed itself.

    `on_removed` is called at once when a peer's notice comes before the log's entry.
    """

    def __init__(
        self,
        member_id: int,
        transport: Transport,
        log: Log,
        *,
        on_removed: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        self._member_id = member_id
        self._transport = transport
        self._log = log
        self._on_removed = on_removed
        self._stop = stop
        self._leaving = False
        transport.on_removal_notice = self._notified

    def begin(self, removed: tuple[int, ...]) -> None:
        """Set the members removed before this node started; raises RemovedError if it is one."""
        if self._member_id in removed:
            raise RemovedError(ADVICE)
        self._transport.set_removed(frozenset(removed))

    def update(self, removed: tuple[int, ...]) -> None:
        """Set the removed members after another change of the membership was applied."""
        self._transport.set_removed(frozenset(removed) - {self._member_id})
        if self._member_id in removed:
            self._leave()

    def _notified(self) -> None:
        self._transport.set_peers({})  # no other member accepts its connections any more
        self._on_removed()
        self._leave()

    def _leave(self) -> None:
        if not self._leaving:
            self._leaving = True
            self._log.error("removed", msg=ADVICE)
            asyncio.get_running_loop().call_later(LEAVE_AFTER_S, self._stop)
