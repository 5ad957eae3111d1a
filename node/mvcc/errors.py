"""Errors with which the store refuses requests: etcd's texts.

Clients recognise errors by their text, so the texts are part of the protocol. `RequestError` is
raised inside the store and returned as the *result* of a command: a refusal is as deterministic as
a success, definite, and has no effect.
"""

from __future__ import annotations


class RequestError(Exception):
    """A request that was refused and had no effect. `text` is etcd's, without any prefix."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


EMPTY_KEY = "etcdserver: key is not provided"
KEY_NOT_FOUND = "etcdserver: key not found"
VALUE_PROVIDED = "etcdserver: value is provided"
LEASE_PROVIDED = "etcdserver: lease is provided"
TOO_MANY_OPS = "etcdserver: too many operations in txn request"
DUPLICATE_KEY = "etcdserver: duplicate key given in txn request"
REQUEST_TOO_LARGE = "etcdserver: request is too large"
INVALID_SORT_OPTION = "etcdserver: invalid sort option"
COMPACTED = "etcdserver: mvcc: required revision has been compacted"
FUTURE_REVISION = "etcdserver: mvcc: required revision is a future revision"
LEASE_NOT_FOUND = "etcdserver: requested lease not found"
LEASE_EXISTS = "etcdserver: lease already exists"
LEASE_TTL_TOO_LARGE = "etcdserver: too large lease TTL"
LEASE_RENEWED = "etcdserver: the lease's expiry was decided in another term"
"""Never sent to a client: only an expiry is refused with it."""
NO_SPACE = "etcdserver: mvcc: database space exceeded"
CORRUPT = "etcdserver: corrupt cluster"
