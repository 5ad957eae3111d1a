"""Which permissions a request needs: etcd's rules, command by command.

A put needs to write its key, and to read it when it wants to know the previous value; when it binds
the key to a lease, it needs to write every key that lease already holds, since whoever ends the
lease deletes them. A transaction needs what any of its requests needs, on both branches, and to
read what it compares: else it would tell by its outcome what it must not. Requests inside a nested
transaction are held to the same rules, which etcd leaves out.
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
    """Refuse a command of the log that its sender may not give; raises RequestError."""
    if isinstance(command, AUTH_COMMANDS):
        if not isinstance(command, Authenticate):
            auth.require_root(caller)
    elif isinstance(command, Put | DeleteRange | Txn):
        check_operation(auth, leases, caller, command)
    elif isinstance(command, LeaseRevoke) and not command.term:
        # One with a term is the leader's own: the lease has expired.
        check_lease(auth, leases, caller, command.id)


def check_operation(auth: Auth, leases: Leases, caller: Caller, operation: Operation) -> None:
    """Refuse a read or a write of keys that its sender may not do; raises RequestError."""
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
    """Refuse who may not write (or read) every key of a lease; raises RequestError."""
    for key in leases.keys_of(lease_id):
        auth.require(caller, kind, key)
