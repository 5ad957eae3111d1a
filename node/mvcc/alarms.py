"""Alarms: replicated facts about members that change what the cluster accepts.

NOSPACE is raised by the member whose store has outgrown its quota, before it refuses the first
write; from then on every member refuses what would add data, because the log says so and not
because of its own size. CORRUPT stops every change of keys and leases and, as in etcd,
nothing else: what is there can still be read, compared and saved.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator

import msgspec

from squall.node.mvcc.commands import (
    Alarm,
    AlarmAction,
    Command,
    Compact,
    DeleteRange,
    LeaseGrant,
    LeaseRevoke,
    Operation,
    Put,
    Txn,
)
from squall.node.mvcc.errors import CORRUPT, NO_SPACE, RequestError

CHANGES = (Put, DeleteRange, Txn, Compact, LeaseGrant, LeaseRevoke)
"""What a corrupt cluster refuses; its users, roles and members may still be changed."""


class AlarmKind(enum.IntEnum):
    """Numbered as in etcd's protocol."""

    NONE = 0
    NOSPACE = 1
    CORRUPT = 2


class Raised(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One alarm of one member."""

    member_id: int
    kind: int


class Alarms:
    """All alarms that stand."""

    __slots__ = ("raised",)

    def __init__(self) -> None:
        self.raised: dict[Raised, None] = {}

    def __bool__(self) -> bool:
        return bool(self.raised)

    def __iter__(self) -> Iterator[Raised]:
        """Iterate in order of member."""
        return iter(sorted(self.raised))

    def any(self, kind: AlarmKind) -> bool:
        """Tell whether an alarm of this kind stands, of whatever member."""
        return any(raised.kind == kind for raised in self.raised)

    def apply(self, command: Alarm) -> tuple[Raised, ...]:
        """Raise or clear an alarm; returns those that changed."""
        raised = Raised(command.member_id, command.kind)
        activates = command.action == AlarmAction.ACTIVATE
        if command.kind == AlarmKind.NONE or (raised in self.raised) == activates:
            return ()
        if activates:
            self.raised[raised] = None
        else:
            del self.raised[raised]
        return (raised,)

    def check(self, command: Command) -> None:
        """Refuse what an alarm forbids; raises RequestError."""
        if isinstance(command, CHANGES) and self.any(AlarmKind.CORRUPT):
            raise RequestError(CORRUPT)
        if adds_data(command) and self.any(AlarmKind.NOSPACE):
            raise RequestError(NO_SPACE)

    def load(self, raised: Iterable[Raised]) -> None:
        """Become the table with these alarms."""
        self.raised = dict.fromkeys(raised)


def adds_data(command: Command | Operation) -> bool:
    """Tell whether a command could make the store larger: what a full one refuses."""
    if isinstance(command, Txn):
        return any(map(adds_data, (*command.success, *command.failure)))
    return isinstance(command, Put | LeaseGrant)
