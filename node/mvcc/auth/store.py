r"""Users, roles and permissions: replicated tables, changed by commands of the log alone.

Every change but enabling adds 1 to the auth revision. A request carries the revision under which
its user was authenticated, and is refused if it is outdated when the request is applied: no request
uses a permission that was revoked in between. The role `root` permits everything, and only it
permits the management of users and roles.

Tokens are not part of the state: a node knows those that were issued while it was up and up to
date, as in etcd; a client with an unknown token authenticates again. `on_token` and `on_forget`
report issued and revoked tokens to the node's token store.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from squall.node.mvcc.auth import errors
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
from squall.node.mvcc.errors import RequestError
from squall.node.mvcc.index import FROM_KEY

ROOT: Final = "root"
"""The user that authentication requires to exist, and the role that permits everything."""

FIRST_AUTH_REVISION: Final = 1


class PermissionKind(enum.IntEnum):
    """Numbered as in etcd's protocol."""

    READ = 0
    WRITE = 1
    READWRITE = 2


class User(msgspec.Struct, frozen=True, array_like=True):
    """A user; `roles` are in order. `password_hash` is bcrypt's."""

    name: str
    password_hash: bytes
    roles: tuple[str, ...] = ()
    no_password: bool = False

    def __repr__(self) -> str:
        return f"User({self.name!r}, ..., {self.roles})"


class Role(msgspec.Struct, frozen=True, array_like=True):
    """A role; `permissions` are in order of their keys."""

    name: str
    permissions: tuple[Permission, ...] = ()


class Caller(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The user of a request, and the auth revision under which it was authenticated."""

    user: str = ""
    auth_revision: int = 0


NOBODY: Final = Caller()


class AuthState(msgspec.Struct, frozen=True, array_like=True):
    """The tables as a snapshot carries them, each in order of name."""

    enabled: bool = False
    revision: int = FIRST_AUTH_REVISION
    users: tuple[User, ...] = ()
    roles: tuple[Role, ...] = ()


class Auth:
    """The tables, and the permission checks over them."""

    __slots__ = ("_handlers", "enabled", "on_forget", "on_token", "revision", "roles", "users")

    def __init__(self) -> None:
        self.enabled = False
        self.revision = FIRST_AUTH_REVISION
        self.users: dict[str, User] = {}
        self.roles: dict[str, Role] = {}
        self.on_token: Callable[[str, str], None] | None = None
        self.on_forget: Callable[[str | None], None] | None = None
        self._handlers: dict[type, Callable[..., None]] = {
            AuthEnable: self._enable,
            AuthDisable: self._disable,
            UserAdd: self._add_user,
            UserDelete: self._delete_user,
            UserChangePassword: self._change_password,
            UserGrantRole: self._grant_role,
            UserRevokeRole: self._revoke_role,
            RoleAdd: self._add_role,
            RoleDelete: self._delete_role,
            RoleGrant: self._grant_permission,
            RoleRevoke: self._revoke_permission,
        }

    def apply(self, index: int, command: AuthCommand) -> str:
        """Apply a command; returns the token it issued, or "". Raises RequestError."""
        if isinstance(command, Authenticate):
            return self._authenticate(index, command)
        self._handlers[type(command)](command)
        return ""

    def state(self) -> AuthState:
        """Return the tables; equal tables give equal bytes."""
        users = tuple(self.users[name] for name in sorted(self.users))
        roles = tuple(self.roles[name] for name in sorted(self.roles))
        return AuthState(self.enabled, self.revision, users, roles)

    def load(self, state: AuthState) -> None:
        """Replace the tables by what `state` returned."""
        self.enabled, self.revision = state.enabled, state.revision
        self.users = {user.name: user for user in state.users}
        self.roles = {role.name: role for role in state.roles}
        self._forget(None)

    # Permission checks.

    def require_root(self, caller: Caller) -> None:
        """Raise RequestError unless the user has the role root."""
        if not self.enabled:
            return
        if not caller.user:
            raise RequestError(errors.USER_EMPTY)
        user = self.users.get(caller.user)
        if user is None or ROOT not in user.roles:
            raise RequestError(errors.PERMISSION_DENIED)

    def require(self, caller: Caller, kind: int, key: bytes, range_end: bytes = b"") -> None:
        """Raise RequestError unless the user may read (or write) every key of the interval."""
        if not self.enabled:
            return
        if not caller.auth_revision:
            raise RequestError(errors.USER_EMPTY)
        if caller.auth_revision < self.revision:
            raise RequestError(errors.OLD_REVISION)
        user = self.users.get(caller.user)
        if user is None:
            raise RequestError(errors.PERMISSION_DENIED)
        if ROOT not in user.roles and not self._permits(user, kind, key, range_end):
            raise RequestError(errors.PERMISSION_DENIED)

    def _permits(self, user: User, kind: int, key: bytes, range_end: bytes) -> bool:
        """Whether the permissions of all the user's roles together cover the interval."""
        granted = sorted(
            _interval(permission.key, permission.range_end)
            for name in user.roles
            if name in self.roles
            for permission in self.roles[name].permissions
            if permission.kind in (kind, PermissionKind.READWRITE)
        )
        start, (_, unbounded, end) = key, _interval(key, range_end)
        for first, reaches_all, last in granted:
            if first > start:
                return False
            if reaches_all:
                return True
            if last > start:
                start = last
                if not unbounded and start >= end:
                    return True
        return False

    # Commands of the log. Each raises RequestError before it changes anything.

    def _changed(self) -> None:
        self.revision += 1

    def _forget(self, user: str | None) -> None:
        if self.on_forget is not None:
            self.on_forget(user)

    def _enable(self, _: AuthEnable) -> None:
        root = self.users.get(ROOT)
        if root is None:
            raise RequestError(errors.ROOT_USER_NOT_EXIST)
        if ROOT not in root.roles:
            raise RequestError(errors.ROOT_ROLE_NOT_EXIST)
        self.enabled = True

    def _disable(self, _: AuthDisable) -> None:
        if self.enabled:
            self.enabled = False
            self._changed()
            self._forget(None)

    def _authenticate(self, index: int, command: Authenticate) -> str:
        if not self.enabled:
            raise RequestError(errors.AUTH_NOT_ENABLED)
        if command.auth_revision != self.revision:
            raise RequestError(errors.OLD_REVISION)
        # The index tells a node that has not heard of the token that it is behind.
        token = f"{command.secret}.{index}"
        if self.on_token is not None:
            self.on_token(token, command.name)
        return token

    def _add_user(self, command: UserAdd) -> None:
        if not command.name:
            raise RequestError(errors.USER_EMPTY)
        if command.name in self.users:
            raise RequestError(errors.USER_EXISTS)
        self.users[command.name] = User(
            command.name, command.password_hash, (), command.no_password
        )
        self._changed()

    def _delete_user(self, command: UserDelete) -> None:
        if self.enabled and command.name == ROOT:
            raise RequestError(errors.INVALID_MANAGEMENT)
        self._user(command.name)
        del self.users[command.name]
        self._changed()
        self._forget(command.name)

    def _change_password(self, command: UserChangePassword) -> None:
        user = self._user(command.name)
        self.users[command.name] = msgspec.structs.replace(
            user, password_hash=command.password_hash
        )
        self._changed()
        self._forget(command.name)

    def _grant_role(self, command: UserGrantRole) -> None:
        user = self._user(command.user)
        if command.role != ROOT:
            self._role(command.role)
        if command.role not in user.roles:
            self._set_roles(user, (*user.roles, command.role))
            self._changed()

    def _revoke_role(self, command: UserRevokeRole) -> None:
        if self.enabled and command.user == command.role == ROOT:
            raise RequestError(errors.INVALID_MANAGEMENT)
        user = self._user(command.user)
        if command.role not in user.roles:
            raise RequestError(errors.ROLE_NOT_GRANTED)
        self._set_roles(user, (role for role in user.roles if role != command.role))
        self._changed()

    def _add_role(self, command: RoleAdd) -> None:
        if not command.name:
            raise RequestError(errors.ROLE_EMPTY)
        if command.name in self.roles:
            raise RequestError(errors.ROLE_EXISTS)
        self.roles[command.name] = Role(command.name)
        self._changed()

    def _delete_role(self, command: RoleDelete) -> None:
        if self.enabled and command.name == ROOT:
            raise RequestError(errors.INVALID_MANAGEMENT)
        self._role(command.name)
        del self.roles[command.name]
        for user in list(self.users.values()):
            if command.name in user.roles:
                self._set_roles(user, (role for role in user.roles if role != command.name))
        self._changed()

    def _grant_permission(self, command: RoleGrant) -> None:
        role = self._role(command.role)
        granted = command.permission
        others = _without(role, granted.key, granted.range_end)
        self._set_permissions(role, (*others, granted))

    def _revoke_permission(self, command: RoleRevoke) -> None:
        role = self._role(command.role)
        others = _without(role, command.key, command.range_end)
        if len(others) == len(role.permissions):
            raise RequestError(errors.PERMISSION_NOT_GRANTED)
        self._set_permissions(role, others)

    def _user(self, name: str) -> User:
        user = self.users.get(name)
        if user is None:
            raise RequestError(errors.USER_NOT_FOUND)
        return user

    def _role(self, name: str) -> Role:
        role = self.roles.get(name)
        if role is None:
            raise RequestError(errors.ROLE_NOT_FOUND)
        return role

    def _set_roles(self, user: User, roles: Iterable[str]) -> None:
        self.users[user.name] = msgspec.structs.replace(user, roles=tuple(sorted(roles)))

    def _set_permissions(self, role: Role, permissions: Iterable[Permission]) -> None:
        ordered = sorted(permissions, key=lambda each: (each.key, each.range_end))
        self.roles[role.name] = Role(role.name, tuple(ordered))
        self._changed()


def _without(role: Role, key: bytes, range_end: bytes) -> tuple[Permission, ...]:
    return tuple(p for p in role.permissions if (p.key, p.range_end) != (key, range_end))


def _interval(key: bytes, range_end: bytes) -> tuple[bytes, bool, bytes]:
    """Return (first key, whether it has no end, the end it has otherwise)."""
    if range_end == FROM_KEY:
        return key, True, b""
    return key, False, range_end or key + b"\0"
