"""Users, roles and permissions as a state machine: what is refused, and what an interval needs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squall.node.mvcc import commands
from squall.node.mvcc.auth import errors
from squall.node.mvcc.auth.commands import (
    AuthDisable,
    AuthEnable,
    Authenticate,
    Permission,
    RoleAdd,
    RoleDelete,
    RoleGrant,
    RoleRevoke,
    UserAdd,
    UserChangePassword,
    UserDelete,
    UserGrantRole,
    UserRevokeRole,
)
from squall.node.mvcc.auth.store import Auth, Caller, PermissionKind
from squall.node.mvcc.commands import (
    As,
    Compare,
    DeleteRange,
    LeaseGrant,
    LeaseRevoke,
    Put,
    Range,
    Txn,
)
from squall.node.mvcc.errors import RequestError
from squall.node.mvcc.store import Store

READ, WRITE, BOTH = PermissionKind.READ, PermissionKind.WRITE, PermissionKind.READWRITE


class Machine:
    """A store and whoever gives it commands."""

    def __init__(self, *before: Any) -> None:
        self.store = Store()
        self.index = 0
        for command in before:
            assert not self.refusal(command), command

    def __call__(self, command: Any, user: str | None = None, age: int = 0) -> Any:
        """Apply a command as a user who was recognised `age` auth revisions ago."""
        self.index += 1
        if user is not None:
            command = As(user, self.store.auth.revision - age, command)
        return self.store.apply(self.index, 1, commands.encode(command))

    def refusal(self, command: Any, user: str | None = None, age: int = 0) -> str:
        """Return the text of the refusal, empty when there was none."""
        result = self(command, user, age)
        return result.text if isinstance(result, RequestError) else ""


SECURED = (
    UserAdd("root", b"hash"),
    UserGrantRole("root", "root"),
    UserAdd("ann", b"hash"),
    RoleAdd("files"),
    RoleGrant("files", Permission(BOTH, b"b", b"d")),
    RoleGrant("files", Permission(READ, b"d", b"e")),
    RoleGrant("files", Permission(WRITE, b"w")),
    UserGrantRole("ann", "files"),
    AuthEnable(),
)


def test_only_with_a_root_who_is_root_can_authentication_begin() -> None:
    machine = Machine()
    assert machine.refusal(AuthEnable()) == errors.ROOT_USER_NOT_EXIST
    machine(UserAdd("root", b"hash"))
    assert machine.refusal(AuthEnable()) == errors.ROOT_ROLE_NOT_EXIST
    machine(UserGrantRole("root", "root"))
    assert not machine.refusal(AuthEnable())


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (UserAdd("", b""), errors.USER_EMPTY),
        (UserAdd("ann", b""), errors.USER_EXISTS),
        (UserDelete("bob"), errors.USER_NOT_FOUND),
        (UserDelete("root"), errors.INVALID_MANAGEMENT),
        (UserChangePassword("bob", b""), errors.USER_NOT_FOUND),
        (UserGrantRole("bob", "files"), errors.USER_NOT_FOUND),
        (UserGrantRole("ann", "none"), errors.ROLE_NOT_FOUND),
        (UserRevokeRole("bob", "files"), errors.USER_NOT_FOUND),
        (UserRevokeRole("ann", "none"), errors.ROLE_NOT_GRANTED),
        (UserRevokeRole("root", "root"), errors.INVALID_MANAGEMENT),
        (RoleAdd(""), errors.ROLE_EMPTY),
        (RoleAdd("files"), errors.ROLE_EXISTS),
        (RoleDelete("none"), errors.ROLE_NOT_FOUND),
        (RoleDelete("root"), errors.INVALID_MANAGEMENT),
        (RoleGrant("none", Permission(READ, b"k")), errors.ROLE_NOT_FOUND),
        (RoleRevoke("none", b"k"), errors.ROLE_NOT_FOUND),
        (RoleRevoke("files", b"b"), errors.PERMISSION_NOT_GRANTED),
        (Authenticate("ann", "secret", 1), errors.OLD_REVISION),
    ],
)
def test_a_refused_change_changes_nothing(command: Any, text: str) -> None:
    machine = Machine(*SECURED)
    before = machine.store.auth.state()
    assert machine.refusal(command, "root") == text
    assert machine.store.auth.state() == before


def test_nobody_but_root_manages_users_and_roles() -> None:
    machine = Machine(*SECURED)
    for command in (AuthDisable(), UserAdd("x", b""), RoleAdd("x"), UserGrantRole("ann", "root")):
        assert machine.refusal(command, "ann") == errors.PERMISSION_DENIED
        assert machine.refusal(command, "nobody") == errors.PERMISSION_DENIED
        assert machine.refusal(command) == errors.USER_EMPTY
    assert not machine.refusal(AuthDisable(), "root")
    assert not machine.refusal(Put(b"anything", b""))


PUT_OTHER = Put(b"x", b"")
GET_OTHER = Range(b"x")


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        (Put(b"b", b""), True),
        (Put(b"d", b""), False),
        (Put(b"b", b"", prev_kv=True), True),
        (Put(b"w", b"", prev_kv=True), False),
        (Put(b"w", b""), True),
        (DeleteRange(b"b", b"d"), True),
        (DeleteRange(b"b", b"d", prev_kv=True), True),
        (DeleteRange(b"b", b"e"), False),
        (DeleteRange(b"w", prev_kv=True), False),
        (DeleteRange(b"w"), True),
        (Txn(success=(Put(b"b", b""),), failure=(Range(b"d"),)), True),
        (Txn(success=(Put(b"b", b""),), failure=(GET_OTHER,)), False),
        (Txn(success=(Put(b"b", b""),), failure=(PUT_OTHER,)), False),
        (Txn((Compare(b"x", 0, 0, 0),), (Put(b"b", b""),)), False),
        (Txn((Compare(b"b", 0, 0, 0, b"e"),), (Put(b"b", b""),)), True),
        (Txn((Compare(b"b", 0, 0, 0, b"f"),), (Put(b"b", b""),)), False),
        (Txn(success=(Txn(failure=(PUT_OTHER,)),)), False),
        (Txn(success=(Txn((Compare(b"x", 0, 0, 0),), (Put(b"b", b""),)),)), False),
        (Txn(success=(Put(b"w", b"", prev_kv=True),)), False),
    ],
)
def test_a_command_needs_every_permission_of_its_parts(command: Any, allowed: bool) -> None:
    machine = Machine(*SECURED)
    assert machine.refusal(command, "ann") == ("" if allowed else errors.PERMISSION_DENIED)
    assert not machine.refusal(command, "root")
    assert machine.refusal(command) == errors.USER_EMPTY


def test_a_lease_is_ended_only_by_who_may_write_all_its_keys() -> None:
    machine = Machine(LeaseGrant(7, 60), LeaseGrant(8, 60), *SECURED)
    machine(Put(b"x", b"", 7), "root")
    machine(Put(b"b", b"", 8), "root")
    assert machine.refusal(Put(b"b", b"", 7), "ann") == errors.PERMISSION_DENIED
    assert machine.refusal(LeaseRevoke(7), "ann") == errors.PERMISSION_DENIED
    assert not machine.refusal(LeaseRevoke(8), "ann")
    assert not machine.refusal(LeaseRevoke(7, term=1)), "expiry is nobody's wish"


def test_what_was_permitted_before_the_last_change_is_asked_again() -> None:
    machine = Machine(*SECURED)
    assert machine.refusal(Put(b"b", b""), "ann", age=1) == errors.OLD_REVISION
    machine(RoleRevoke("files", b"b", b"d"), "root")
    assert machine.refusal(Put(b"b", b""), "ann", age=1) == errors.OLD_REVISION
    assert machine.refusal(Put(b"b", b""), "ann") == errors.PERMISSION_DENIED


def test_a_role_that_is_gone_permits_nothing_even_when_it_returns() -> None:
    machine = Machine(*SECURED)
    machine(RoleDelete("files"), "root")
    machine(RoleAdd("files"), "root")
    machine(RoleGrant("files", Permission(BOTH, b"b")), "root")
    assert machine.refusal(Put(b"b", b""), "ann") == errors.PERMISSION_DENIED


def test_a_snapshot_carries_the_tables_and_equal_tables_give_equal_bytes() -> None:
    machine, other = Machine(*SECURED), Store()
    other.restore(machine.store.snapshot())
    assert other.snapshot() == machine.store.snapshot()
    assert other.digest() == machine.store.digest()
    with pytest.raises(RequestError, match="permission denied"):
        other.auth.require(Caller("ann", other.auth.revision), READ, b"x")


def test_users_and_roles_are_part_of_the_digest() -> None:
    machines = [Machine(UserAdd("ann", password)) for password in (b"one", b"two")]
    assert machines[0].store.digest() != machines[1].store.digest()


def test_no_secret_is_shown_with_a_command() -> None:
    shown = repr([UserAdd("ann", b"hush"), UserChangePassword("ann", b"hush")])
    shown += repr(As("root", 1, Authenticate("ann", "hush", 1)))
    machine = Machine(UserAdd("ann", b"hush"))
    assert "hush" not in shown + repr(machine.store.auth.users)


small_keys = st.binary(min_size=1, max_size=2).map(lambda key: bytes(97 + b % 4 for b in key))
range_ends = st.one_of(st.just(b""), st.just(b"\0"), small_keys)
intervals = st.tuples(small_keys, range_ends)


def keys_in(key: bytes, range_end: bytes, universe: list[bytes]) -> set[bytes]:
    if not range_end:
        return {key}
    if range_end == b"\0":
        return {each for each in universe if each >= key}
    return {each for each in universe if key <= each < range_end}


@settings(max_examples=300, deadline=None)
@given(st.lists(intervals, max_size=6), intervals)
def test_permissions_together_cover_exactly_what_each_covers_alone(
    granted: list[tuple[bytes, bytes]], wanted: tuple[bytes, bytes]
) -> None:
    letters = [bytes((byte,)) for byte in b"abcdefg"]
    tails = [b"", b"\0", b"a", b"a\0", b"b", b"b\0", b"c", b"c\0", b"d", b"d\0", b"z"]
    universe = sorted(first + tail for first in letters for tail in tails)
    auth = Auth()
    auth.apply(1, UserAdd("root", b""))
    auth.apply(1, UserGrantRole("root", "root"))
    auth.apply(1, UserAdd("ann", b""))
    auth.apply(1, RoleAdd("r"))
    auth.apply(1, UserGrantRole("ann", "r"))
    for key, range_end in granted:
        auth.apply(1, RoleGrant("r", Permission(READ, key, range_end)))
    auth.apply(1, AuthEnable())
    covered = set().union(*(keys_in(*interval, universe) for interval in granted))
    needed = keys_in(*wanted, universe)
    if not needed:
        return  # an empty interval: refusing it is as good as not
    try:
        auth.require(Caller("ann", auth.revision), READ, *wanted)
        allowed = True
    except RequestError:
        allowed = False
    unbounded = wanted[1] == b"\0"
    if allowed:
        assert needed <= covered
    elif not unbounded or any(end == b"\0" for _, end in granted):
        assert not needed <= covered
