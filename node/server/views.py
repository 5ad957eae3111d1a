"""What the API is shown of a replica."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from squall.node.api.backend import MemberView, StatusView
from squall.node.replica import Member, Status


def status_view(status: Status) -> StatusView:
    """Return where a node stands."""
    mine = status.members.get(status.member_id)
    return StatusView(
        status.role,
        status.term,
        status.leader,
        status.commit,
        status.applied,
        status.last_index,
        is_learner=mine is not None and mine.is_learner,
    )


def member_views(members: Iterable[Member], names: Mapping[int, str]) -> tuple[MemberView, ...]:
    """Return the members by id; `names` says how those are called who never said so themselves."""
    return tuple(
        MemberView(m.id, m.name or names.get(m.id, ""), m.peer_urls, m.client_urls, m.is_learner)
        for m in sorted(members, key=lambda m: m.id)
    )
