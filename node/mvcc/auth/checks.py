"""The permissions that each command requires: etcd's rules.

A put requires write permission for its key, and read permission when it requests the previous
value; when it attaches the key to a lease, write permission for every key attached to that lease,
since revoking the lease deletes them. A transaction requires what each of its requests requires, on
both branches, and read permission for what it compares, because its outcome reveals it. Requests
inside a nested transaction are checked by the same rules, which etcd omits.
"""

from __future__ import annotations

from squall.node.mvcc.auth.commands import AUTH_COMMANDS, Authenticate
from squall.node.mvcc.auth.store import Auth, Caller, PermissionKind
from squall.node.mvcc.commands import (
    Command,
    DeleteRange,
    LeaseRevoke,
    Operation,
    Put,
    Range,
    Txn,
)
from squall.node.mvcc.lease.table import Leases

READ = PermissionKind.READ
WRITE = PermissionKind.WRITE


def check(auth: Auth, leases: Leases, caller: Caller, command: Command) -> None:
    """Raise RequestError for a command that the user is not permitted."""
    if isinstance(command, AUTH_COMMANDS):
        if not isinstance(command, Authenticate):
            auth.require_root(caller)
    elif isinstance(command, Put | DeleteRange | Txn):
        check_operation(auth, leases, caller, command)
    elif isinstance(command, LeaseRevoke) and not command.term:
        # One with a term is the leader's own: the lease has expired.
        check_lease(auth, leases, caller, command.id)


def check_operation(auth: Auth, leases: Leases, caller: Caller, operation: Operation) -> None:
    """Raise RequestError for a read or a write of keys that the user is not permitted."""
    if isinstance(operation, Range):
        auth.require(caller, READ, operation.key, operation.range_end)
    elif isinstance(operation, Put):
        auth.require(caller, WRITE, operation.key)
        if operation.lease:
            check_lease(auth, leases, caller, operation.lease)
        if operation.prev_kv:
            auth.require(caller, READ, operation.key)
    elif isinstance(operation, DeleteRange):
        auth.require(caller, WRITE, operation.key, operation.range_end)
        if operation.prev_kv:
            auth.require(caller, READ, operation.key, operation.range_end)
    else:
        for compare in operation.compares:
            auth.require(caller, READ, compare.key, compare.range_end)
        for step in (*operation.success, *operation.failure):
            check_operation(auth, leases, caller, step)


def check_lease(
    auth: Auth, leases: Leases, caller: Caller, lease_id: int, kind: PermissionKind = WRITE
) -> None:
    """Raise RequestError unless the user may write (or read) every key of a lease."""
    for key in leases.keys_of(lease_id):
        auth.require(caller, kind, key)
