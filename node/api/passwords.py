"""Password hashing and checking with bcrypt, off the event loop and bounded.

One bcrypt check takes a core for tens of milliseconds, so at most `MAX_CONCURRENT` are in progress
at once and further ones are refused. No password, hash or secret is ever logged.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final, TypeVar

import bcrypt

from squall.node.api.errors import TOO_MANY_REQUESTS, ApiError
from squall.node.mvcc.auth import errors
from squall.node.mvcc.auth.store import Auth
from squall.node.mvcc.errors import RequestError

MAX_CONCURRENT: Final = 64
"""Checks and hashes in progress at once."""
PASSWORD_BYTES_MAX: Final = 72
"""The prefix of a password that bcrypt uses, here and in etcd."""
TOKEN_BYTES: Final = 16

_Result = TypeVar("_Result")


class Passwords:
    """Hashes and checks passwords of the users in `auth`. `bcrypt_cost` is log2 of the work."""

    def __init__(self, auth: Auth, bcrypt_cost: int) -> None:
        self._auth = auth
        self._bcrypt_cost = bcrypt_cost
        self._in_progress = 0

    async def hash(self, password: str) -> bytes:
        """Return the bcrypt hash of a password with a fresh salt; raises ApiError when busy."""
        cost = self._bcrypt_cost
        return await self._in_thread(lambda: _hash(password, cost))

    async def check(self, name: str, password: str) -> int:
        """Return the auth revision under which the password is right; raises RequestError.

        Raises ApiError when too many checks are in progress.
        """
        auth = self._auth
        if not auth.enabled:
            raise RequestError(errors.AUTH_NOT_ENABLED)
        user, revision = auth.users.get(name), auth.revision
        if user is None:
            raise RequestError(errors.AUTH_FAILED)
        if user.no_password:
            raise RequestError(errors.NOT_BY_PASSWORD)
        stored = user.password_hash
        if not await self._in_thread(lambda: _matches(password, stored)):
            raise RequestError(errors.AUTH_FAILED)
        return revision

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        if self._in_progress >= MAX_CONCURRENT:
            raise ApiError(TOO_MANY_REQUESTS)
        self._in_progress += 1
        try:
            return await asyncio.to_thread(work)
        finally:
            self._in_progress -= 1


def new_secret() -> str:
    """Return the random half of a token."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def _truncated(password: str) -> bytes:
    return password.encode()[:PASSWORD_BYTES_MAX]


def _hash(password: str, cost: int) -> bytes:
    hashed: bytes = bcrypt.hashpw(_truncated(password), bcrypt.gensalt(cost))
    return hashed


def _matches(password: str, stored: bytes) -> bool:
    try:
        return bool(bcrypt.checkpw(_truncated(password), stored))
    except ValueError:  # the stored bytes came with a snapshot and are no bcrypt hash
        return False
