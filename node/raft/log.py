"""A member's log in memory: its entries, how far they are durable, how far committed.

Entries up to `base_index` are compacted; a snapshot holds their effect. Saving is asynchronous,
one batch at a time: `next_batch` returns the entries that no batch carries yet, `saved` reports
that the batch is durable. A truncation in between lowers the index that the batch in flight makes
durable, because it must not count for the entries that replace those it carries.

Invariants: base_index <= commit <= last_index, durable <= batched <= last_index.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter

from squall.node.raft.messages import Entry

UNKNOWN_TERM = -1  # of an index that is compacted away or not there yet
_term_of = attrgetter("term")


class RaftLog:
    """The log (§5.3). Indexes are absolute; `entries[0]` has index base_index + 1."""

    __slots__ = (
        "_in_flight",
        "base_index",
        "base_term",
        "batched",
        "commit",
        "durable",
        "entries",
        "last_index",
    )

    def __init__(self, base_index: int = 0, base_term: int = 0) -> None:
        self.base_index = base_index
        self.base_term = base_term
        self.entries: list[Entry] = []
        self.last_index = base_index
        self.commit = base_index
        self.batched = base_index  # carried by some batch, in flight or done
        self.durable = base_index
        self._in_flight = 0  # the last index that is durable once the batch in flight is

    def __repr__(self) -> str:
        return (
            f"RaftLog(base={self.base_index}/{self.base_term} commit={self.commit} "
            f"durable={self.durable} batched={self.batched} last={self.last_index})"
        )

    @property
    def last_term(self) -> int:
        """The term of the last entry."""
        return self.entries[-1].term if self.entries else self.base_term

    def term_at(self, index: int) -> int:
        """The term of the entry at `index`, or UNKNOWN_TERM."""
        base = self.base_index
        if base < index <= self.last_index:
            return self.entries[index - base - 1].term
        return self.base_term if index == base else UNKNOWN_TERM

    def at(self, index: int) -> Entry:
        """The entry at `index`, which must be there."""
        assert self.base_index < index <= self.last_index, (index, self)
        return self.entries[index - self.base_index - 1]

    def slice(self, first: int, max_entries: int, max_bytes: int) -> list[Entry]:
        """Entries from `first` on within both limits, but at least one where there is one."""
        assert first > self.base_index, (first, self)
        start = first - self.base_index - 1
        found = self.entries[start : start + max_entries]
        size = 0
        for count, entry in enumerate(found):
            size += len(entry.data)
            if size > max_bytes and count:
                return found[:count]
        return found

    def append(self, entries: list[Entry]) -> None:
        """Add entries that follow the last one."""
        last = self.last_index
        last_term = self.last_term
        for entry in entries:
            last += 1
            assert entry.index == last, (entry.index, self)
            assert entry.term >= last_term, (entry.term, self)
            last_term = entry.term
        self.entries.extend(entries)
        self.last_index = last

    def truncate(self, first: int) -> None:
        """Drop the entries from `first` on: another leader's log has other ones there."""
        # A committed entry is in every later leader's log (§5.4, Leader Completeness).
        assert self.commit < first <= self.last_index, (
            f"the leader's log differs from this one at index {first}, but index {self.commit} is "
            f"committed here: it was elected without all committed entries (Raft, section 5.4). "
            f"{self}"
        )
        del self.entries[first - self.base_index - 1 :]
        kept = first - 1
        self.last_index = kept
        self.batched = min(self.batched, kept)
        self.durable = min(self.durable, kept)
        self._in_flight = min(self._in_flight, kept)

    def commit_to(self, index: int) -> None:
        """Raise the commit index."""
        assert self.commit <= index <= self.last_index, (index, self)
        self.commit = index

    def find_not_after(self, index: int, term: int) -> int:
        """The last index up to `index` whose term is not after `term`; base_index if there is none.

        Terms never decrease along a log, so a log that holds (i, t) agrees with another nowhere
        between i and that log's last index with a term of at most t: one step skips a whole term.
        """
        end = min(index, self.last_index) - self.base_index
        if end <= 0:
            return min(index, self.base_index)
        return self.base_index + bisect_right(self.entries, term, 0, end, key=_term_of)

    def compact(self, index: int) -> int:
        """Drop the entries up to `index`, which a durable snapshot covers; returns how many."""
        assert index <= self.commit, (index, self)
        assert index <= self.durable, (index, self)
        count = index - self.base_index
        if count <= 0:
            return 0
        self.base_term = self.entries[count - 1].term
        self.base_index = index
        del self.entries[:count]
        return count

    def restore(self, index: int, term: int) -> None:
        """Replace everything by a snapshot (§7); durable only once its batch is."""
        assert index > self.commit, (index, self)
        self.entries = []
        self.base_index = self.last_index = self.commit = self.batched = index
        self.base_term = term
        self.durable = 0
        self._in_flight = 0

    def next_batch(self) -> list[Entry]:
        """Return the entries that no batch carries yet; the next batch carries them."""
        entries = self.entries[self.batched - self.base_index :]
        self.batched = self._in_flight = self.last_index
        return entries

    def saved(self) -> None:
        """The batch returned by the last `next_batch` is durable."""
        self.durable = max(self.durable, self._in_flight)
        self._in_flight = 0
        assert self.durable <= self.batched <= self.last_index, self
