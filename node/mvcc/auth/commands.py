"""Commands of the log that change users, roles and permissions. Tags continue those of `commands`.

A password is hashed once, by the node that proposes: a salt drawn by every node that applies would
make them differ. The same holds for the random half of a token. Secrets are left out of `repr`,
because a failed assertion writes it to the log.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Permission(msgspec.Struct, frozen=True, array_like=True, gc=False):
    r"""A permission for an interval of keys: `kind` is an `auth.PermissionKind`.

    `range_end` b"" means the single key, b"\0" every key from `key` on.
    """

    kind: int
    key: bytes
    range_end: bytes = b""


class AuthEnable(msgspec.Struct, frozen=True, array_like=True, tag=20, gc=False):
    """Require authentication of every request."""


class AuthDisable(msgspec.Struct, frozen=True, array_like=True, tag=21, gc=False):
    """Stop requiring authentication."""


class UserAdd(msgspec.Struct, frozen=True, array_like=True, tag=22, gc=False):
    """Add a user; one without a password can only be a certificate's common name."""

    name: str
    password_hash: bytes
    no_password: bool = False

    def __repr__(self) -> str:
        return f"UserAdd({self.name!r}, ...)"


class UserDelete(msgspec.Struct, frozen=True, array_like=True, tag=23, gc=False):
    """Remove a user."""

    name: str


class UserChangePassword(msgspec.Struct, frozen=True, array_like=True, tag=24, gc=False):
    """Change a user's password."""

    name: str
    password_hash: bytes

    def __repr__(self) -> str:
        return f"UserChangePassword({self.name!r}, ...)"


class UserGrantRole(msgspec.Struct, frozen=True, array_like=True, tag=25, gc=False):
    """Grant a user a role."""

    user: str
    role: str


class UserRevokeRole(msgspec.Struct, frozen=True, array_like=True, tag=26, gc=False):
    """Revoke a role from a user."""

    user: str
    role: str


class RoleAdd(msgspec.Struct, frozen=True, array_like=True, tag=27, gc=False):
    """Add a role without permissions."""

    name: str


class RoleDelete(msgspec.Struct, frozen=True, array_like=True, tag=28, gc=False):
    """Remove a role, from its users too."""

    name: str


class RoleGrant(msgspec.Struct, frozen=True, array_like=True, tag=29, gc=False):
    """Grant a role a permission, replacing the one for the same interval."""

    role: str
    permission: Permission


class RoleRevoke(msgspec.Struct, frozen=True, array_like=True, tag=30, gc=False):
    """Revoke a role's permission for an interval."""

    role: str
    key: bytes
    range_end: bytes = b""


class Authenticate(msgspec.Struct, frozen=True, array_like=True, tag=31, gc=False):
    """Issue a token to a user whose password was checked under `auth_revision`."""

    name: str
    secret: str
    auth_revision: int

    def __repr__(self) -> str:
        return f"Authenticate({self.name!r}, ..., {self.auth_revision})"


AuthCommand: TypeAlias = (
    AuthEnable
    | AuthDisable
    | UserAdd
    | UserDelete
    | UserChangePassword
    | UserGrantRole
    | UserRevokeRole
    | RoleAdd
    | RoleDelete
    | RoleGrant
    | RoleRevoke
    | Authenticate
)
AUTH_COMMANDS = AuthCommand.__args__
