"""Errors of authentication and authorization: etcd's texts."""

from __future__ import annotations

ROOT_USER_NOT_EXIST = "etcdserver: root user does not exist"
ROOT_ROLE_NOT_EXIST = "etcdserver: root user does not have root role"
USER_EXISTS = "etcdserver: user name already exists"
USER_EMPTY = "etcdserver: user name is empty"
USER_NOT_FOUND = "etcdserver: user name not found"
ROLE_EXISTS = "etcdserver: role name already exists"
ROLE_NOT_FOUND = "etcdserver: role name not found"
ROLE_EMPTY = "etcdserver: role name is empty"
AUTH_FAILED = "etcdserver: authentication failed, invalid user ID or password"
PERMISSION_NOT_GIVEN = "etcdserver: permission not given"
PERMISSION_DENIED = "etcdserver: permission denied"
ROLE_NOT_GRANTED = "etcdserver: role is not granted to the user"
PERMISSION_NOT_GRANTED = "etcdserver: permission is not granted to the role"
AUTH_NOT_ENABLED = "etcdserver: authentication is not enabled"
INVALID_TOKEN = "etcdserver: invalid auth token"  # noqa: S105 - a text
INVALID_MANAGEMENT = "etcdserver: invalid auth management"
OLD_REVISION = "etcdserver: revision of auth store is old"
NOT_BY_PASSWORD = "auth: authentication failed, password was given for no password user"  # noqa: S105
"""The only one without a status in etcd: it is sent as UNKNOWN."""
