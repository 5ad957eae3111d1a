"""A command on its way through the log: what is refused before it, and what its result says."""

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
    """Have a command applied and return its result; raises ApiError.

    One that met newer users and roles than those it was let in under did nothing; as etcd, it is
    tried again under the newer ones.
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
    """Have the whole cluster know that this member is full, then refuse."""
    if not backend.store.alarms.any(AlarmKind.NOSPACE):
        alarm = Alarm(AlarmAction.ACTIVATE, backend.member_id, AlarmKind.NOSPACE)
        await backend.propose(commands.encode(alarm))
    raise ApiError(NO_SPACE)
