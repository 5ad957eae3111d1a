"""etcd's error texts and their gRPC status codes.

Clients derive two things from a status: its text, which etcd's client library matches literally,
and whether the request may have had an effect. `INVALID_ARGUMENT`, `OUT_OF_RANGE` and the like are
definite failures; of the `UNAVAILABLE` texts only some are.
"""

from __future__ import annotations

import grpc

from squall.node.mvcc import errors as mvcc
from squall.node.mvcc.auth import errors as auth


class ApiError(Exception):
    """An answer that is an error: a gRPC status code and etcd's text."""

    def __init__(self, text: str, code: grpc.StatusCode | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.code = code if code is not None else code_of(text)


# Definite: the request had no effect.
NO_LEADER = "etcdserver: no leader"
MEMBER_NOT_FOUND = "etcdserver: member not found"
MEMBER_EXISTS = "etcdserver: member ID already exist"
PEER_URL_EXISTS = "etcdserver: Peer URLs already exists"
NOT_ENOUGH_STARTED = "etcdserver: re-configuration failed due to not enough started members"
MEMBER_NOT_LEARNER = "etcdserver: can only promote a learner member"
LEARNER_NOT_READY = "etcdserver: can only promote a learner member which is in sync with leader"
TOO_MANY_LEARNERS = "etcdserver: too many learner members in cluster"
UNHEALTHY = "etcdserver: unhealthy cluster"
BAD_MEMBER_URLS = "etcdserver: given member URLs are invalid"
NOT_LEADER = "etcdserver: not leader"
BAD_TRANSFEREE = "etcdserver: bad leader transferee"
NOT_FOR_LEARNER = "etcdserver: rpc not supported for learner"
TOO_MANY_REQUESTS = "etcdserver: too many requests"
# Indefinite: it may have had one.
STOPPED = "etcdserver: server stopped"
LEADER_CHANGED = "etcdserver: leader changed"
TIMEOUT = "etcdserver: request timed out"
TIMEOUT_TRANSFER = "etcdserver: request timed out, leader transfer took too long"
TIMEOUT_LEADER_FAILED = "etcdserver: request timed out, possibly due to previous leader failure"
TIMEOUT_CONNECTION_LOST = "etcdserver: request timed out, possibly due to connection lost"

INDEFINITE = frozenset(
    (
        STOPPED,
        LEADER_CHANGED,
        TIMEOUT,
        TIMEOUT_LEADER_FAILED,
        TIMEOUT_CONNECTION_LOST,
        TIMEOUT_TRANSFER,
    )
)
"""The indefinite texts. An unknown outcome must be answered with one of these."""

_CODES: dict[str, grpc.StatusCode] = {
    mvcc.EMPTY_KEY: grpc.StatusCode.INVALID_ARGUMENT,
    mvcc.KEY_NOT_FOUND: grpc.StatusCode.INVALID_ARGUMENT,
    mvcc.VALUE_PROVIDED: grpc.StatusCode.INVALID_ARGUMENT,
    mvcc.LEASE_PROVIDED: grpc.StatusCode.INVALID_ARGUMENT,
    mvcc.TOO_MANY_OPS: grpc.StatusCode.INVALID_ARGUMENT,
    mvcc.DUPLICATE_KEY: grpc.StatusCode.INVALID_ARGUMENT,
    mvcc.REQUEST_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    mvcc.INVALID_SORT_OPTION: grpc.StatusCode.INVALID_ARGUMENT,
    mvcc.COMPACTED: grpc.StatusCode.OUT_OF_RANGE,
    mvcc.FUTURE_REVISION: grpc.StatusCode.OUT_OF_RANGE,
    mvcc.LEASE_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    mvcc.LEASE_EXISTS: grpc.StatusCode.FAILED_PRECONDITION,
    mvcc.LEASE_TTL_TOO_LARGE: grpc.StatusCode.OUT_OF_RANGE,
    mvcc.NO_SPACE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    mvcc.CORRUPT: grpc.StatusCode.DATA_LOSS,
    MEMBER_NOT_LEARNER: grpc.StatusCode.FAILED_PRECONDITION,
    LEARNER_NOT_READY: grpc.StatusCode.FAILED_PRECONDITION,
    TOO_MANY_LEARNERS: grpc.StatusCode.FAILED_PRECONDITION,
    UNHEALTHY: grpc.StatusCode.UNAVAILABLE,
    BAD_MEMBER_URLS: grpc.StatusCode.INVALID_ARGUMENT,
    NOT_LEADER: grpc.StatusCode.FAILED_PRECONDITION,
    BAD_TRANSFEREE: grpc.StatusCode.FAILED_PRECONDITION,
    NOT_FOR_LEARNER: grpc.StatusCode.UNAVAILABLE,
    TIMEOUT_TRANSFER: grpc.StatusCode.UNAVAILABLE,
    MEMBER_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    MEMBER_EXISTS: grpc.StatusCode.FAILED_PRECONDITION,
    PEER_URL_EXISTS: grpc.StatusCode.FAILED_PRECONDITION,
    NOT_ENOUGH_STARTED: grpc.StatusCode.FAILED_PRECONDITION,
    TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    NO_LEADER: grpc.StatusCode.UNAVAILABLE,
    STOPPED: grpc.StatusCode.UNAVAILABLE,
    LEADER_CHANGED: grpc.StatusCode.UNAVAILABLE,
    TIMEOUT: grpc.StatusCode.UNAVAILABLE,
    TIMEOUT_CONNECTION_LOST: grpc.StatusCode.UNAVAILABLE,
    TIMEOUT_LEADER_FAILED: grpc.StatusCode.UNAVAILABLE,
    **dict.fromkeys(
        (
            auth.USER_EMPTY,
            auth.ROLE_EMPTY,
            auth.AUTH_FAILED,
            auth.PERMISSION_NOT_GIVEN,
            auth.INVALID_MANAGEMENT,
            auth.OLD_REVISION,
        ),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    **dict.fromkeys(
        (
            auth.ROOT_USER_NOT_EXIST,
            auth.ROOT_ROLE_NOT_EXIST,
            auth.USER_EXISTS,
            auth.USER_NOT_FOUND,
            auth.ROLE_EXISTS,
            auth.ROLE_NOT_FOUND,
            auth.ROLE_NOT_GRANTED,
            auth.PERMISSION_NOT_GRANTED,
            auth.AUTH_NOT_ENABLED,
        ),
        grpc.StatusCode.FAILED_PRECONDITION,
    ),
    auth.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    auth.INVALID_TOKEN: grpc.StatusCode.UNAUTHENTICATED,
}


def code_of(text: str) -> grpc.StatusCode:
    """Return the status of an etcd error text; UNKNOWN for one that etcd does not have."""
    return _CODES.get(text, grpc.StatusCode.UNKNOWN)
