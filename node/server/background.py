"""Tasks that no client asked for: expire leases, compact history, publish this member's name.

`Lessor` and `AutoCompactor` decide what is due from the time they are given; here it is proposed. A
proposal that fails loses nothing: what is still due is proposed again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from squall.node.api.errors import MEMBER_NOT_FOUND, ApiError
from squall.node.config.settings import Config
from squall.node.logs import Log
from squall.node.mvcc.commands import Command, Compact, encode
from squall.node.mvcc.compaction import AutoCompactor
from squall.node.mvcc.lease.lessor import Lessor
from squall.node.raft.roles import LEADER, ROLE_NAMES
from squall.node.replica import UPDATE, Change, Member, Status
from squall.node.server.interface import Node

PUBLISH_RETRY_S = 0.5
"""Between attempts to publish this member's name and client URLs."""


class BackgroundTasks:
    """The background tasks of one node. `lessor` measures leases while the node leads."""

    def __init__(self, node: Node, config: Config, log: Log, now_us: int) -> None:
        self._node = node
        self._config = config
        self._log = log
        self.lessor = Lessor(node.store.leases)
        self._compactor = AutoCompactor(
            now_us,
            period_us=config.compaction_period_us,
            revisions=config.compaction_revisions,
        )
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def deadline_us(self) -> int:
        """When `observe` must be called even if nothing has changed."""
        return min(self.lessor.deadline_us, self._compactor.deadline_us)

    def observe(self, status: Status, now_us: int) -> None:
        """Start what is due in this state at this time."""
        leads = status.role == ROLE_NAMES[LEADER]
        self.lessor.set_leading_term(status.term if leads else 0, now_us)
        for revocation in self.lessor.tick(now_us):
            self._begin(self._propose(revocation))
        old = self._compactor.tick(now_us, status.revision, leads)
        if old > max(self._node.store.compacted, 0):
            self._begin(self._propose(Compact(old)))

    def begin_publishing(self) -> None:
        """Propose this member's name and client URLs until the membership has them."""
        self._begin(self._publish())

    def close(self) -> None:
        """Cancel all tasks."""
        for task in self._tasks:
            task.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _propose(self, command: Command) -> None:
        try:
            await self._node.propose(encode(command))
        except ApiError as error:
            self._log.debug("not-proposed", msg=error.text, command=type(command).__name__)

    async def _publish(self) -> None:
        node = self._node
        name, client_urls = self._config.name, self._config.advertise_client_urls
        while True:
            # A joining node may not have applied the entry that adds it yet.
            mine = node.replica_status().members.get(node.member_id)
            if mine is not None and node.status().leader:
                if (mine.name, mine.client_urls) == (name, client_urls):
                    return
                member = Member(mine.id, name, mine.peer_urls, client_urls, mine.is_learner)
                try:
                    await node.change_members(Change(UPDATE, member))
                    continue
                except ApiError as error:
                    if error.text == MEMBER_NOT_FOUND:
                        return
                    self._log.debug("not-published", msg=error.text)
            await asyncio.sleep(PUBLISH_RETRY_S)
