"""Who belongs to the cluster, who left it, and how long that is remembered."""

from __future__ import annotations

import msgspec

from squall.node.raft.membership import (
    ADD,
    MAX_REMOVED,
    REMOVE,
    UPDATE,
    Change,
    Configuration,
    ConfigurationEntry,
    Member,
    changed,
    decode_entry,
    encode_entry,
)


def after(configuration: Configuration, kind: int, member: int) -> Configuration:
    return changed(configuration, Change(kind, Member(member, f"n{member}")))


def test_who_left_is_remembered_through_later_changes() -> None:
    configuration = Configuration((Member(1), Member(2), Member(3)))
    configuration = after(configuration, REMOVE, 2)
    configuration = after(configuration, ADD, 4)
    configuration = after(configuration, UPDATE, 3)
    configuration = after(configuration, REMOVE, 4)
    assert [member.id for member in configuration.members] == [1, 3]
    assert configuration.removed == (2, 4)
    # An id is never given twice by a node; whoever brings one back has its way.
    assert after(configuration, ADD, 2).removed == (4,)


def test_of_very_many_that_left_the_latest_are_remembered() -> None:
    configuration = Configuration((Member(1),))
    for member in range(2, MAX_REMOVED + 12):
        configuration = after(after(configuration, ADD, member), REMOVE, member)
    assert configuration.removed == tuple(range(12, MAX_REMOVED + 12))


def test_a_log_from_before_anybody_was_remembered_is_read() -> None:
    entry = ConfigurationEntry(1, 2, 3, Configuration((Member(1),), (9,)))
    assert decode_entry(encode_entry(entry)) == entry
    old = msgspec.msgpack.encode([1, 2, 3, [[[1, "", [], [], False]]]])
    assert decode_entry(old).configuration == Configuration((Member(1),))
