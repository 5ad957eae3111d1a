"""Cluster configurations and single-server membership changes (§6, thesis chapter 4).

A configuration entry carries the whole new configuration, not the difference. The one in force is
the last in the log, truncation rolls it back, and a snapshot carries it. It is in force from the
moment it is appended (§6). Consecutive configurations differ by at most one voter, so their
majorities overlap (thesis §4.1), provided that a leader changes them only after it has committed an
entry of its own term, and one change at a time (Ongaro's note of July 2015 shows how two disjoint
majorities arise otherwise).
"""

from __future__ import annotations

from typing import Final

import msgspec

ADD: Final = 0  # a voter
ADD_LEARNER: Final = 1
REMOVE: Final = 2
UPDATE: Final = 3  # its peer URLs, or its name and client URLs as it publishes them
PROMOTE: Final = 4  # a learner becomes a voter

MAX_LEARNERS: Final = 1  # as etcd: more would overload the leader
MAX_REMOVED: Final = 256
"""Removed members that are remembered, the latest; each costs every configuration 9 bytes."""


class Member(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A member of the cluster; `id` is unsigned 64-bit and never reused."""

    id: int
    name: str = ""
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False


class Change(msgspec.Struct, frozen=True, array_like=True):
    """A requested change: `kind` is ADD, ADD_LEARNER, REMOVE, UPDATE or PROMOTE."""

    kind: int
    member: Member


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """The members, ordered by id, and the ids of removed members, the latest last.

    A removed member that connects must be told: it may never have received the entry that removed
    it, and without this list it could not be told apart from one that is yet to be added.
    """

    members: tuple[Member, ...] = ()
    removed: tuple[int, ...] = ()

    def voters(self) -> tuple[int, ...]:
        """Ids of the members that vote and count for majorities."""
        return tuple(member.id for member in self.members if not member.is_learner)

    def find(self, member_id: int) -> Member | None:
        """The member with this id."""
        return next((member for member in self.members if member.id == member_id), None)


class ConfigurationEntry(msgspec.Struct, frozen=True, array_like=True):
    """The data of a CONFIGURATION entry: which request caused it, and the result."""

    origin: int
    nonce: int
    sequence: int
    configuration: Configuration


class ChangeRejectedError(Exception):
    """The change does not apply; `args[0]` is etcd's error text without its prefix."""


_encoder = msgspec.msgpack.Encoder()
_entry_decoder = msgspec.msgpack.Decoder(ConfigurationEntry)


def encode_entry(entry: ConfigurationEntry) -> bytes:
    """Return the data of a configuration entry."""
    return _encoder.encode(entry)


def decode_entry(data: bytes) -> ConfigurationEntry:
    """Decode the data of a configuration entry."""
    return _entry_decoder.decode(data)


def changed(configuration: Configuration, change: Change) -> Configuration:
    """Apply a change; raises ChangeRejectedError with etcd's text for what is wrong with it."""
    member = change.member
    old = configuration.find(member.id)
    if change.kind in (ADD, ADD_LEARNER):
        _check_new(configuration, member, old)
        learner = change.kind == ADD_LEARNER
        if learner and sum(other.is_learner for other in configuration.members) >= MAX_LEARNERS:
            raise ChangeRejectedError("too many learner members in cluster")
        return _with(configuration, msgspec.structs.replace(member, is_learner=learner))
    if old is None:
        raise ChangeRejectedError("member not found")
    if change.kind == REMOVE:
        rest = tuple(other for other in configuration.members if other.id != member.id)
        left = Configuration(rest, (*configuration.removed, member.id)[-MAX_REMOVED:])
        if not left.voters():
            raise ChangeRejectedError("re-configuration failed due to not enough started members")
        return left
    if change.kind == UPDATE:
        _check_urls(configuration, member)
        # An update never changes who votes, whatever the request says.
        return _with(configuration, msgspec.structs.replace(member, is_learner=old.is_learner))
    assert change.kind == PROMOTE, change
    if not old.is_learner:
        raise ChangeRejectedError("can only promote a learner member")
    return _with(configuration, msgspec.structs.replace(old, is_learner=False))


def _check_new(configuration: Configuration, member: Member, old: Member | None) -> None:
    if old is not None:
        raise ChangeRejectedError("member ID already exist")
    _check_urls(configuration, member)


def _check_urls(configuration: Configuration, member: Member) -> None:
    others = (other for other in configuration.members if other.id != member.id)
    taken = {url for other in others for url in other.peer_urls}
    if any(url in taken for url in member.peer_urls):
        raise ChangeRejectedError("Peer URLs already exists")


def _with(configuration: Configuration, member: Member) -> Configuration:
    others = [other for other in configuration.members if other.id != member.id]
    members = tuple(sorted([*others, member], key=lambda each: each.id))
    return Configuration(members, tuple(one for one in configuration.removed if one != member.id))


class ConfigurationLog:
    """The configurations of the log that are not compacted, with their indexes, oldest first."""

    __slots__ = ("_history",)

    def __init__(self, index: int, configuration: Configuration) -> None:
        self._history = [(index, configuration)]

    @property
    def index(self) -> int:
        """The index of the configuration in force."""
        return self._history[-1][0]

    @property
    def current(self) -> Configuration:
        """The configuration in force."""
        return self._history[-1][1]

    def at(self, index: int) -> Configuration:
        """The configuration in force at an index; the oldest known where that is compacted away."""
        for since, configuration in reversed(self._history):
            if since <= index:
                return configuration
        # Older than all: the log was compacted or restored beyond it.
        return self._history[0][1]

    def append(self, index: int, configuration: Configuration) -> None:
        """A configuration entry was appended."""
        assert index > self.index, (index, self._history)
        self._history.append((index, configuration))

    def truncate(self, first: int) -> bool:
        """Entries from `first` on were truncated; returns whether the configuration changed."""
        before = len(self._history)
        while self._history[-1][0] >= first:
            self._history.pop()
        assert self._history, first
        return len(self._history) != before

    def compact(self, index: int) -> None:
        """Drop configurations that were superseded at or before `index`."""
        while len(self._history) > 1 and self._history[1][0] <= index:
            del self._history[0]

    def reset(self, index: int, configuration: Configuration) -> None:
        """A snapshot replaced everything."""
        self._history = [(index, configuration)]
