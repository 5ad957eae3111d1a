"""etcd's Auth service: users, roles, permissions and tokens.

Changes go through the log, and only root may make them once authentication is enabled; reads of the
tables wait for the read index.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aetcd.rpc import auth_pb2, rpc_pb2

from squall.node.api.auth_interceptor import caller
from squall.node.api.backend import Backend, header
from squall.node.api.convert import Message
from squall.node.api.errors import ApiError
from squall.node.api.passwords import new_secret
from squall.node.api.proposing import apply
from squall.node.mvcc.auth.commands import (
    AuthCommand,
    AuthDisable,
    AuthEnable,
    Authenticate,
    Permission,
    RoleAdd,
    RoleDelete,
    RoleGrant,
    RoleRevoke,
    UserAdd,
    UserChangePassword,
    UserDelete,
    UserGrantRole,
    UserRevokeRole,
)
from squall.node.mvcc.auth.errors import (
    OLD_REVISION,
    PERMISSION_NOT_GIVEN,
    ROLE_NOT_FOUND,
    USER_NOT_FOUND,
)
from squall.node.mvcc.auth.store import PermissionKind
from squall.node.mvcc.results import AuthResult

Method = Callable[[Backend, Message], Awaitable[Message]]

ATTEMPTS: Final = 3
"""Attempts to issue a token, if the tables change while the password is checked."""


async def authenticate(backend: Backend, message: Message) -> Message:
    """Serve Auth.Authenticate."""
    for attempt in range(ATTEMPTS):
        await backend.read_barrier()
        revision = await backend.passwords.check(message.name, message.password)
        command = Authenticate(message.name, new_secret(), revision)
        try:
            result = await apply(backend, command, AuthResult)
        except ApiError as error:
            if error.text != OLD_REVISION or attempt == ATTEMPTS - 1:
                raise
        else:
            return rpc_pb2.AuthenticateResponse(header=header(backend), token=result.token)
    raise AssertionError("the last attempt returns or raises")


async def status(backend: Backend, message: Message) -> Message:
    """Serve Auth.AuthStatus."""
    del message
    await backend.read_barrier()
    auth = backend.store.auth
    auth.require_root(caller())
    return rpc_pb2.AuthStatusResponse(
        header=header(backend), enabled=auth.enabled, authRevision=auth.revision
    )


async def user_add(backend: Backend, message: Message) -> Message:
    """Serve Auth.UserAdd."""
    # Before hashing, which is expensive.
    backend.store.auth.require_root(caller())
    without = message.options.no_password
    hashed = b"" if without else await backend.passwords.hash(message.password)
    await _change(backend, UserAdd(message.name, hashed, without))
    return rpc_pb2.AuthUserAddResponse(header=header(backend))


async def user_get(backend: Backend, message: Message) -> Message:
    """Serve Auth.UserGet; every user may read their own entry."""
    await backend.read_barrier()
    auth = backend.store.auth
    if caller().user != message.name or not auth.enabled:
        auth.require_root(caller())
    user = auth.users.get(message.name)
    if user is None:
        raise ApiError(USER_NOT_FOUND)
    return rpc_pb2.AuthUserGetResponse(header=header(backend), roles=user.roles)


async def user_list(backend: Backend, message: Message) -> Message:
    """Serve Auth.UserList."""
    del message
    await backend.read_barrier()
    backend.store.auth.require_root(caller())
    return rpc_pb2.AuthUserListResponse(
        header=header(backend), users=sorted(backend.store.auth.users)
    )


async def user_change_password(backend: Backend, message: Message) -> Message:
    """Serve Auth.UserChangePassword."""
    backend.store.auth.require_root(caller())
    hashed = await backend.passwords.hash(message.password)
    await _change(backend, UserChangePassword(message.name, hashed))
    return rpc_pb2.AuthUserChangePasswordResponse(header=header(backend))


async def role_get(backend: Backend, message: Message) -> Message:
    """Serve Auth.RoleGet; every user may read the roles they have."""
    await backend.read_barrier()
    auth = backend.store.auth
    user = auth.users.get(caller().user)
    if user is None or message.role not in user.roles:
        auth.require_root(caller())
    role = auth.roles.get(message.role)
    if role is None:
        raise ApiError(ROLE_NOT_FOUND)
    return rpc_pb2.AuthRoleGetResponse(
        header=header(backend), perm=[permission_message(p) for p in role.permissions]
    )


async def role_list(backend: Backend, message: Message) -> Message:
    """Serve Auth.RoleList."""
    del message
    await backend.read_barrier()
    backend.store.auth.require_root(caller())
    return rpc_pb2.AuthRoleListResponse(
        header=header(backend), roles=sorted(backend.store.auth.roles)
    )


async def role_grant(backend: Backend, message: Message) -> Message:
    """Serve Auth.RoleGrantPermission."""
    backend.store.auth.require_root(caller())
    if not message.HasField("perm") or message.perm.permType not in set(PermissionKind):
        raise ApiError(PERMISSION_NOT_GIVEN)
    granted = message.perm
    permission = Permission(granted.permType, granted.key, granted.range_end)
    await _change(backend, RoleGrant(message.name, permission))
    return rpc_pb2.AuthRoleGrantPermissionResponse(header=header(backend))


def permission_message(permission: Permission) -> Message:
    """Return an authpb.Permission."""
    return auth_pb2.Permission(
        permType=permission.kind, key=permission.key, range_end=permission.range_end
    )


async def _change(backend: Backend, command: AuthCommand) -> None:
    # Keeps refused commands out of the log; the check that counts is made when one is applied.
    backend.store.auth.require_root(caller())
    await apply(backend, command, AuthResult)


_CHANGES: dict[str, Callable[[Message], AuthCommand]] = {
    "AuthEnable": lambda _: AuthEnable(),
    "AuthDisable": lambda _: AuthDisable(),
    "UserDelete": lambda message: UserDelete(message.name),
    "UserGrantRole": lambda message: UserGrantRole(message.user, message.role),
    "UserRevokeRole": lambda message: UserRevokeRole(message.name, message.role),
    "RoleAdd": lambda message: RoleAdd(message.name),
    "RoleDelete": lambda message: RoleDelete(message.role),
    "RoleRevokePermission": lambda message: RoleRevoke(
        message.role, message.key, message.range_end
    ),
}
"""Methods that commit one command and answer with a header alone."""

_OTHERS: dict[str, Method] = {
    "Authenticate": authenticate,
    "AuthStatus": status,
    "UserAdd": user_add,
    "UserGet": user_get,
    "UserList": user_list,
    "UserChangePassword": user_change_password,
    "RoleGet": role_get,
    "RoleList": role_list,
    "RoleGrantPermission": role_grant,
}


def _message_type(method: str, kind: str) -> Any:
    """Return a method's message: UserGet has AuthUserGetRequest, AuthEnable AuthEnableRequest."""
    prefix = "" if method.startswith("Auth") else "Auth"
    return getattr(rpc_pb2, f"{prefix}{method}{kind}")


def _changing(method: str, command: Callable[[Message], AuthCommand]) -> Method:
    """Return how a method of `_CHANGES` is served."""
    answer = _message_type(method, "Response")

    async def serve(backend: Backend, message: Message) -> Message:
        await _change(backend, command(message))
        return answer(header=header(backend))

    return serve


METHODS: dict[str, tuple[Any, Method]] = {
    f"/etcdserverpb.Auth/{name}": (_message_type(name, "Request"), method)
    for name, method in (
        *_OTHERS.items(),
        *((name, _changing(name, command)) for name, command in _CHANGES.items()),
    )
}
