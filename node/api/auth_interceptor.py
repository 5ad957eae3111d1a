"""Authenticates every call, by token or client certificate, before its service runs.

A token is issued through the log, so every node that applies the entry knows it. Its lifetime is
local: each node drops a token that was not used on it for the TTL, by its own monotonic clock.
Tokens issued before this node started, or contained in a snapshot it received, are unknown to it;
answering 'invalid auth token' is always safe, because clients then authenticate again.

Tokens and names are never logged.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Final, Protocol

from squall.node.api.backend import Backend
from squall.node.api.errors import ApiError
from squall.node.mvcc.auth import errors
from squall.node.mvcc.auth.store import NOBODY, Auth, Caller

MAX_TOKENS: Final = 100_000
"""Tokens known at once; the least recently used one is dropped for one more."""
METADATA_KEYS: Final = ("token", "authorization")

UNAUTHENTICATED: Final = frozenset(
    (
        "/etcdserverpb.Auth/Authenticate",
        "/etcdserverpb.Maintenance/Status",
        "/etcdserverpb.Cluster/MemberList",
    )
)
"""Methods that need no authentication."""
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
"""Methods refused here to all but root. Commands are checked again when they are applied."""

_caller: ContextVar[Caller] = ContextVar("caller", default=NOBODY)
"""The user of the request that the running task serves."""


class CallContext(Protocol):
    """What the interceptor reads of a call; `squall.node.rpc.Call` is one."""

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """Return the headers of the call."""
        ...

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Return what is known of the client's verified certificate."""
        ...


def caller() -> Caller:
    """Return the user of the request that is being served; NOBODY without authentication."""
    return _caller.get()


class Tokens:
    """The tokens this node knows. `now` is a monotonic clock in seconds."""

    def __init__(self, auth: Auth, ttl_s: float, now: Callable[[], float]) -> None:
        self._auth = auth
        self._ttl_s = ttl_s
        self._now = now
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()  # by deadline

    def subscribe(self) -> None:
        """Register for tokens that are issued or revoked from now on."""
        self._auth.on_token = self._issued
        self._auth.on_forget = self._revoke

    def user_of(self, token: str) -> str | None:
        """Return a token's user and renew its TTL; None when it is unknown or has expired."""
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

    def _revoke(self, user: str | None) -> None:
        """Drop a user's tokens, or all of them (None)."""
        if user is None:
            self._known.clear()
        else:
            for token in [token for token, (owner, _) in self._known.items() if owner == user]:
                del self._known[token]


class AuthInterceptor:
    """Finds the user of each call and refuses methods that the user may not call."""

    def __init__(
        self,
        auth: Auth,
        *,
        token_ttl_s: float,
        client_cert_auth: bool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tokens = Tokens(auth, token_ttl_s, now)
        self._auth = auth
        self._client_cert_auth = client_cert_auth

    async def authenticate(self, backend: Backend, path: str, context: CallContext) -> None:
        """Set `caller` for a call of the method `path`; raises ApiError or RequestError."""
        if not self._auth.enabled or path in UNAUTHENTICATED:
            _caller.set(NOBODY)
            return
        _caller.set(await self._identify(backend, context))
        if path in ROOT_ONLY:
            self._auth.require_root(caller())

    async def _identify(self, backend: Backend, context: CallContext) -> Caller:
        token = _token(context)
        if token is not None:
            user = self.tokens.user_of(token)
            if user is None and _issued_at(token) > backend.status().applied:
                await backend.read_barrier()  # the entry that issued it is not applied here yet
                user = self.tokens.user_of(token)
            if user is None:
                raise ApiError(errors.INVALID_TOKEN)
            return Caller(user, self._auth.revision)
        if self._client_cert_auth:
            name = _common_name(context)
            if name:
                return Caller(name, self._auth.revision)
        return NOBODY


def _token(context: CallContext) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key in METADATA_KEYS:
            return value if isinstance(value, str) else value.decode("latin-1")
    return None


def _issued_at(token: str) -> int:
    """Return the index of the entry that issued a token; 0 for what is no token of this node's."""
    index = token.rpartition(".")[2]
    return int(index) if index.isdecimal() and len(index) < 20 else 0


def _common_name(context: CallContext) -> str:
    """Return the common name in the client's verified certificate; empty without one."""
    names = context.auth_context().get("x509_common_name", ())
    return names[0].decode(errors="replace") if names else ""
