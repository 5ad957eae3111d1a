"""Alarms: replicated facts about members that change what the cluster accepts.

NOSPACE is raised by the member whose store exceeds its quota, before it refuses the first write;
from then on every member refuses what would add data, because of the replicated alarm and not
because of its own size. CORRUPT refuses every change of keys and leases and, as in etcd, nothing
else: the data can still be read, compared and saved.
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
"""Refused under CORRUPT; users, roles and members may still be changed."""


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
    """All active alarms."""

    __slots__ = ("raised",)

    def __init__(self) -> None:
        self.raised: dict[Raised, None] = {}

    def __bool__(self) -> bool:
        return bool(self.raised)

    def __iter__(self) -> Iterator[Raised]:
        """Iterate in order of member."""
        return iter(sorted(self.raised))

    def any(self, kind: AlarmKind) -> bool:
        """Whether an alarm of this kind is active, of any member."""
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
        """Raise RequestError for a command that an active alarm forbids."""
        if isinstance(command, CHANGES) and self.any(AlarmKind.CORRUPT):
            raise RequestError(CORRUPT)
        if adds_data(command) and self.any(AlarmKind.NOSPACE):
            raise RequestError(NO_SPACE)

    def load(self, raised: Iterable[Raised]) -> None:
        """Replace the table."""
        self.raised = dict.fromkeys(raised)


def adds_data(command: Command | Operation) -> bool:
    """Whether a command could make the store larger: refused under NOSPACE."""
    if isinstance(command, Txn):
        return any(map(adds_data, (*command.success, *command.failure)))
    return isinstance(command, Put | LeaseGrant)
