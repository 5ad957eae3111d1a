"""Members that were removed stay away.

A removed member may hear of its own removal through the log, or not at all: the leader stops
feeding it as soon as the entry is appended. Alone it would ask for votes for ever. So who has
applied a removal tells the one removed whenever it knocks, and a member that knows of its own
removal, from its log or from a peer, stops for good: as etcd it waits a little before it goes, for
what the others still need of it and to answer who asked it for its own removal, and it does not
start on this data directory again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from squall.node.bootstrap.identity import CannotJoinError
from squall.node.peer.transport import Transport
from squall.node.server.logs import Log

LEAVE_AFTER_S = 1.0
"""As etcd: time for the removal itself, and perhaps for leadership, to reach the others."""

ADVICE = (
    "this member was removed from the cluster for good: delete its data directory; to have it "
    "back, add it anew (etcdctl member add) and start with --initial-cluster-state existing"
)


class Departures:
    """Tells removed members, and calls `stop` a while after this one was removed itself.

    `told` is called at once when a peer is the first to say so.
    """

    def __init__(
        self,
        member_id: int,
        transport: Transport,
        log: Log,
        *,
        told: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        self._member_id = member_id
        self._transport = transport
        self._log = log
        self._on_told = told
        self._stop = stop
        self._leaving = False
        transport.on_farewell = self._told

    def begin(self, removed: tuple[int, ...]) -> None:
        """Know who was removed before this node started; raises CannotJoinError if it was."""
        if self._member_id in removed:
            raise CannotJoinError(ADVICE)
        self._transport.dismiss(frozenset(removed))

    def know(self, removed: tuple[int, ...]) -> None:
        """Another change of members was applied."""
        self._transport.dismiss(frozenset(removed) - {self._member_id})
        if self._member_id in removed:
            self._leave()

    def _told(self) -> None:
        self._transport.set_peers({})  # none of them will listen any more
        self._on_told()
        self._leave()

    def _leave(self) -> None:
        if not self._leaving:
            self._leaving = True
            self._log.error("removed", msg=ADVICE)
            asyncio.get_running_loop().call_later(LEAVE_AFTER_S, self._stop)
