"""Commits a command for a service: checks before the log, and the mapping of its result."""

from __future__ import annotations

from typing import TypeVar

from squall.node.api.auth_interceptor import caller
from squall.node.api.backend import Backend
from squall.node.api.errors import ApiError
from squall.node.mvcc import commands
from squall.node.mvcc.alarms import AlarmKind, adds_data
from squall.node.mvcc.auth.commands import Authenticate
from squall.node.mvcc.auth.errors import OLD_REVISION
from squall.node.mvcc.commands import Alarm, AlarmAction, As, Command
from squall.node.mvcc.errors import NO_SPACE, REQUEST_TOO_LARGE, RequestError

_Result = TypeVar("_Result")


async def apply(backend: Backend, command: Command, expected: type[_Result]) -> _Result:
    """Commit a command and return the result of applying it; raises ApiError.

    A command that was applied under a newer auth revision than it was checked against has no
    effect; as in etcd, it is checked and proposed again.
    """
    who = caller()
    revision = who.auth_revision
    while True:
        signed = As(who.user, revision, command) if backend.store.auth.enabled else command
        data = commands.encode(signed)
        if len(data) > backend.max_request_bytes:
            raise ApiError(REQUEST_TOO_LARGE)
        if adds_data(command) and backend.store.size_bytes + len(data) > backend.quota_bytes:
            await _raise_no_space(backend)
        result = await backend.propose(data)
        if isinstance(result, expected):
            return result
        assert isinstance(result, RequestError), result
        newer = backend.store.auth.revision
        if result.text != OLD_REVISION or isinstance(command, Authenticate) or newer <= revision:
            raise ApiError(result.text)
        revision = newer


async def _raise_no_space(backend: Backend) -> None:
    """Raise the alarm NOSPACE in the cluster, then refuse."""
    if not backend.store.alarms.any(AlarmKind.NOSPACE):
        alarm = Alarm(AlarmAction.ACTIVATE, backend.member_id, AlarmKind.NOSPACE)
        await backend.propose(commands.encode(alarm))
    raise ApiError(NO_SPACE)
