"""etcd's Auth service: users, roles, permissions and tokens.

Changes go through the log, and only root may make them once authentication is enabled; what the
tables say is read behind a barrier.
"""

from __future__ import annotations

from typing import Final

from aetcd.rpc import auth_pb2, rpc_pb2

from node.api.auth_door import caller
from node.api.backend import Backend
from node.api.convert import Message
from node.api.errors import ApiError
from node.api.headers import header
from node.api.proposing import apply
from node.mvcc.auth import PermissionKind
from node.mvcc.auth_commands import (
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
from node.mvcc.auth_errors import (
    OLD_REVISION,
    PERMISSION_NOT_GIVEN,
    ROLE_NOT_FOUND,
    USER_NOT_FOUND,
)
from node.mvcc.results import AuthResult

ATTEMPTS: Final = 3
"""To issue a token, each after the tables changed while the password was being checked."""


async def authenticate(backend: Backend, message: Message) -> Message:
    """Serve Auth.Authenticate."""
    for attempt in range(ATTEMPTS):
        await backend.read_barrier()
        revision = await backend.door.check_password(message.name, message.password)
        command = Authenticate(message.name, backend.door.new_secret(), revision)
        try:
            result = await apply(backend, command, AuthResult)
        except ApiError as error:
            if error.text != OLD_REVISION or attempt == ATTEMPTS - 1:
                raise
        else:
            return rpc_pb2.AuthenticateResponse(header=header(backend), token=result.token)
    raise AssertionError("the last attempt returns or raises")


async def enable(backend: Backend, message: Message) -> Message:
    """Serve Auth.AuthEnable."""
    del message
    await _change(backend, AuthEnable())
    return rpc_pb2.AuthEnableResponse(header=header(backend))


async def disable(backend: Backend, message: Message) -> Message:
    """Serve Auth.AuthDisable."""
    del message
    await _change(backend, AuthDisable())
    return rpc_pb2.AuthDisableResponse(header=header(backend))


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
    # Before any hashing: nobody else shall make this node work so hard.
    backend.store.auth.require_root(caller())
    without = message.options.no_password
    hashed = b"" if without else await backend.door.hash_password(message.password)
    await _change(backend, UserAdd(message.name, hashed, without))
    return rpc_pb2.AuthUserAddResponse(header=header(backend))


async def user_get(backend: Backend, message: Message) -> Message:
    """Serve Auth.UserGet; everybody may look at themselves."""
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


async def user_delete(backend: Backend, message: Message) -> Message:
    """Serve Auth.UserDelete."""
    await _change(backend, UserDelete(message.name))
    return rpc_pb2.AuthUserDeleteResponse(header=header(backend))


async def user_change_password(backend: Backend, message: Message) -> Message:
    """Serve Auth.UserChangePassword."""
    backend.store.auth.require_root(caller())
    hashed = await backend.door.hash_password(message.password)
    await _change(backend, UserChangePassword(message.name, hashed))
    return rpc_pb2.AuthUserChangePasswordResponse(header=header(backend))


async def user_grant_role(backend: Backend, message: Message) -> Message:
    """Serve Auth.UserGrantRole."""
    await _change(backend, UserGrantRole(message.user, message.role))
    return rpc_pb2.AuthUserGrantRoleResponse(header=header(backend))


async def user_revoke_role(backend: Backend, message: Message) -> Message:
    """Serve Auth.UserRevokeRole."""
    await _change(backend, UserRevokeRole(message.name, message.role))
    return rpc_pb2.AuthUserRevokeRoleResponse(header=header(backend))


async def role_add(backend: Backend, message: Message) -> Message:
    """Serve Auth.RoleAdd."""
    await _change(backend, RoleAdd(message.name))
    return rpc_pb2.AuthRoleAddResponse(header=header(backend))


async def role_get(backend: Backend, message: Message) -> Message:
    """Serve Auth.RoleGet; everybody may look at the roles they have."""
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


async def role_delete(backend: Backend, message: Message) -> Message:
    """Serve Auth.RoleDelete."""
    await _change(backend, RoleDelete(message.role))
    return rpc_pb2.AuthRoleDeleteResponse(header=header(backend))


async def role_grant(backend: Backend, message: Message) -> Message:
    """Serve Auth.RoleGrantPermission."""
    backend.store.auth.require_root(caller())
    if not message.HasField("perm") or message.perm.permType not in set(PermissionKind):
        raise ApiError(PERMISSION_NOT_GIVEN)
    granted = message.perm
    permission = Permission(granted.permType, granted.key, granted.range_end)
    await _change(backend, RoleGrant(message.name, permission))
    return rpc_pb2.AuthRoleGrantPermissionResponse(header=header(backend))


async def role_revoke(backend: Backend, message: Message) -> Message:
    """Serve Auth.RoleRevokePermission."""
    await _change(backend, RoleRevoke(message.role, message.key, message.range_end))
    return rpc_pb2.AuthRoleRevokePermissionResponse(header=header(backend))


def permission_message(permission: Permission) -> Message:
    """Return an authpb.Permission."""
    return auth_pb2.Permission(
        permType=permission.kind, key=permission.key, range_end=permission.range_end
    )


async def _change(backend: Backend, command: AuthCommand) -> None:
    # Checked here only to spare the log what is refused anyway; what counts is the check there.
    backend.store.auth.require_root(caller())
    await apply(backend, command, AuthResult)


METHODS = {
    "/etcdserverpb.Auth/Authenticate": (rpc_pb2.AuthenticateRequest, authenticate),
    "/etcdserverpb.Auth/AuthEnable": (rpc_pb2.AuthEnableRequest, enable),
    "/etcdserverpb.Auth/AuthDisable": (rpc_pb2.AuthDisableRequest, disable),
    "/etcdserverpb.Auth/AuthStatus": (rpc_pb2.AuthStatusRequest, status),
    "/etcdserverpb.Auth/UserAdd": (rpc_pb2.AuthUserAddRequest, user_add),
    "/etcdserverpb.Auth/UserGet": (rpc_pb2.AuthUserGetRequest, user_get),
    "/etcdserverpb.Auth/UserList": (rpc_pb2.AuthUserListRequest, user_list),
    "/etcdserverpb.Auth/UserDelete": (rpc_pb2.AuthUserDeleteRequest, user_delete),
    "/etcdserverpb.Auth/UserChangePassword": (
        rpc_pb2.AuthUserChangePasswordRequest,
        user_change_password,
    ),
    "/etcdserverpb.Auth/UserGrantRole": (rpc_pb2.AuthUserGrantRoleRequest, user_grant_role),
    "/etcdserverpb.Auth/UserRevokeRole": (rpc_pb2.AuthUserRevokeRoleRequest, user_revoke_role),
    "/etcdserverpb.Auth/RoleAdd": (rpc_pb2.AuthRoleAddRequest, role_add),
    "/etcdserverpb.Auth/RoleGet": (rpc_pb2.AuthRoleGetRequest, role_get),
    "/etcdserverpb.Auth/RoleList": (rpc_pb2.AuthRoleListRequest, role_list),
    "/etcdserverpb.Auth/RoleDelete": (rpc_pb2.AuthRoleDeleteRequest, role_delete),
    "/etcdserverpb.Auth/RoleGrantPermission": (
        rpc_pb2.AuthRoleGrantPermissionRequest,
        role_grant,
    ),
    "/etcdserverpb.Auth/RoleRevokePermission": (
        rpc_pb2.AuthRoleRevokePermissionRequest,
        role_revoke,
    ),
}
