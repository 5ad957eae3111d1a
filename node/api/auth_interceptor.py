"""Who is calling? Tokens, certificates and passwords of this node's clients.

A token is issued through the log, so every node that applies the entry knows it; how long it lives
is each node's own business, by its own clock: until it was not used here for the time it has.
Tokens that were issued before this node started, or were in a snapshot it received, are not known
to it: to answer 'invalid auth token' is always safe, because clients then authenticate again.

Nothing here is ever logged.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

import bcrypt

from squall.node.api.backend import Backend
from squall.node.api.errors import TOO_MANY_REQUESTS, ApiError
from squall.node.config.settings import Config
from squall.node.mvcc.auth import errors
from squall.node.mvcc.auth.store import NOBODY, Auth, Caller
from squall.node.mvcc.errors import RequestError

MAX_TOKENS: Final = 100_000
"""Known at once; the one unused for longest gives way."""
MAX_PASSWORDS: Final = 64
"""Being checked or hashed at once; each takes a core for a good part of a tenth of a second."""
PASSWORD_BYTES_MAX: Final = 72
"""What bcrypt looks at, here and in etcd."""
TOKEN_BYTES: Final = 16
METADATA_KEYS: Final = ("token", "authorization")

OPEN: Final = frozenset(
    (
        "/etcdserverpb.Auth/Authenticate",
        "/etcdserverpb.Maintenance/Status",
        "/etcdserverpb.Cluster/MemberList",
    )
)
"""Served to whoever asks."""
ROOT_ONLY: Final = frozenset(
    (
        "/etcdserverpb.Cluster/MemberAdd",
        "/etcdserverpb.Cluster/MemberRemove",
        "/etcdserverpb.Cluster/MemberUpdate",
        "/etcdserverpb.Cluster/MemberPromote",
        "/etcdserverpb.Maintenance/Defragment",
        "/etcdserverpb.Maintenance/Hash",
        "/etcdserverpb.Maintenance/HashKV",
        "/etcdserverpb.Maintenance/Snapshot",
        "/etcdserverpb.Maintenance/MoveLeader",
        "/etcdserverpb.Maintenance/Alarm",
    )
)
"""Refused at the door to all but root. What goes through the log is checked again behind it."""

_caller: ContextVar[Caller] = ContextVar("caller", default=NOBODY)
"""Who sent the request that the running task serves."""


def caller() -> Caller:
    """Return who sent the request that is being served; NOBODY while nobody has to say."""
    return _caller.get()


class Tokens:
    """The tokens this node knows, by the clock it is given (seconds, monotonic)."""

    def __init__(self, auth: Auth, ttl_s: float, now: Callable[[], float]) -> None:
        self._auth = auth
        self._ttl_s = ttl_s
        self._now = now
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()  # the next to go first

    def listen(self) -> None:
        """Learn of tokens from now on."""
        self._auth.on_token = self._issued
        self._auth.on_forget = self._forget

    def user_of(self, token: str) -> str | None:
        """Return whose token it is, and let it live on; None when it is not known (any more)."""
        self._expire()
        found = self._known.get(token)
        if found is None:
            return None
        self._issued(token, found[0])
        return found[0]

    def _issued(self, token: str, user: str) -> None:
        self._known[token] = (user, self._now() + self._ttl_s)
        self._known.move_to_end(token)
        if len(self._known) > MAX_TOKENS:
            self._known.popitem(last=False)

    def _expire(self) -> None:
        now = self._now()
        while self._known:
            token, (_, deadline) = next(iter(self._known.items()))
            if deadline > now:
                break
            del self._known[token]

    def _forget(self, user: str | None) -> None:
        if user is None:
            self._known.clear()
        else:
            for token in [token for token, (whose, _) in self._known.items() if whose == user]:
                del self._known[token]


class Door:
    """What all calls pass: finds out who calls, and turns away who may not call that."""

    def __init__(
        self,
        auth: Auth,
        *,
        token_ttl_s: float,
        bcrypt_cost: int,
        client_cert_auth: bool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tokens = Tokens(auth, token_ttl_s, now)
        self._auth = auth
        self._bcrypt_cost = bcrypt_cost
        self._client_cert_auth = client_cert_auth
        self._passwords = 0

    @classmethod
    def of(cls, auth: Auth, config: Config) -> Door:
        """Return a door as the command line wants it."""
        return cls(
            auth,
            token_ttl_s=config.auth_token_ttl,
            bcrypt_cost=config.bcrypt_cost,
            client_cert_auth=config.client_cert_auth,
        )

    async def admit(self, backend: Backend, path: str, context: Any) -> None:
        """Find out who calls `path`; raises ApiError or RequestError."""
        if not self._auth.enabled or path in OPEN:
            _caller.set(NOBODY)
            return
        _caller.set(await self._recognise(backend, context))
        if path in ROOT_ONLY:
            self._auth.require_root(caller())

    async def _recognise(self, backend: Backend, context: Any) -> Caller:
        token = _token(context)
        if token is not None:
            user = self.tokens.user_of(token)
            if user is None and _issued_at(token) > backend.status().applied:
                await backend.read_barrier()  # this node is behind the one that issued it
                user = self.tokens.user_of(token)
            if user is None:
                raise ApiError(errors.INVALID_TOKEN)
            return Caller(user, self._auth.revision)
        if self._client_cert_auth:
            name = _common_name(context)
            if name:
                return Caller(name, self._auth.revision)
        return NOBODY

    async def hash_password(self, password: str) -> bytes:
        """Return the bcrypt hash of a password, under a salt of its own."""
        cost = self._bcrypt_cost
        hashed: bytes = await self._in_thread(
            lambda: bcrypt.hashpw(_cut(password), bcrypt.gensalt(cost))
        )
        return hashed

    async def check_password(self, name: str, password: str) -> int:
        """Return the auth revision under which the password is right; raises RequestError."""
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

    def new_secret(self) -> str:
        """Return the random half of a token."""
        return secrets.token_urlsafe(TOKEN_BYTES)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        if self._passwords >= MAX_PASSWORDS:
            raise ApiError(TOO_MANY_REQUESTS)
        self._passwords += 1
        try:
            return await asyncio.to_thread(work)
        finally:
            self._passwords -= 1


def _cut(password: str) -> bytes:
    return password.encode()[:PASSWORD_BYTES_MAX]


def _matches(password: str, stored: bytes) -> bool:
    try:
        return bcrypt.checkpw(_cut(password), stored)
    except ValueError:  # the hash came with a snapshot and is none
        return False


def _token(context: Any) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key in METADATA_KEYS:
            return value if isinstance(value, str) else value.decode("latin-1")
    return None


def _issued_at(token: str) -> int:
    """Return the index of the entry that issued a token; 0 for what is no token of ours."""
    index = token.rpartition(".")[2]
    return int(index) if index.isdecimal() and len(index) < 20 else 0


def _common_name(context: Any) -> str:
    """Return the common name in the client's verified certificate; empty without one."""
    names = context.auth_context().get("x509_common_name", ())
    return names[0].decode(errors="replace") if names else ""
