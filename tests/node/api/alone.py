"""A node without Raft: one store behind the services, every command applied at once."""

from __future__ import annotations

from typing import Any

import grpc

from squall.node.api import service
from squall.node.api.auth_interceptor import AuthInterceptor
from squall.node.api.backend import MemberView, StatusView
from squall.node.api.errors import ApiError
from squall.node.api.passwords import Passwords
from squall.node.mvcc.errors import RequestError
from squall.node.mvcc.store import Store


class Alone:
    cluster_id = 7
    member_id = 1
    max_txn_ops = 128
    max_request_bytes = 1_572_864
    election_timeout_s = 1.0
    progress_notify_s = 600.0
    quota_bytes = 2 << 30
    min_lease_ttl_s = 2
    lease_forwarder: Any = None

    def __init__(self) -> None:
        self.store = Store()
        self.passwords = Passwords(self.store.auth, bcrypt_cost=4)
        self.interceptor = AuthInterceptor(self.store.auth, token_ttl_s=300, client_cert_auth=False)
        self.interceptor.tokens.subscribe()
        self.index = 0
        self.barriers = 0

    async def propose(self, command: bytes) -> Any:
        self.index += 1
        return self.store.apply(self.index, 1, command)

    async def read_barrier(self) -> None:
        self.barriers += 1

    def status(self) -> StatusView:
        return StatusView("leader", 2, self.member_id, self.index, self.index, self.index)

    def members(self) -> tuple[MemberView, ...]:
        return (MemberView(1, "n1", ("http://h:2380",), ("http://h:2379",)),)

    async def call(self, path: str, message: Any) -> tuple[Any, grpc.StatusCode, str]:
        """Return (response or None, code, details) of one call."""
        _, method = service._METHODS[path]
        try:
            return await method(self, message), grpc.StatusCode.OK, ""
        except (ApiError, RequestError) as error:
            failure = ApiError(error.text) if isinstance(error, RequestError) else error
            return None, failure.code, failure.text
