"""The log against a plain list: what it holds, what a batch carries, and what is durable."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from squall.node.raft.log import UNKNOWN_TERM, RaftLog
from squall.node.raft.messages import NORMAL, Entry


class LogMachine(RuleBasedStateMachine):
    """Appends, truncations and batches in random order; `durable` is judged by content."""

    def __init__(self) -> None:
        super().__init__()
        self.log = RaftLog()
        self.model: list[Entry] = []
        self.disk: list[Entry] = []
        self.in_flight: list[Entry] | None = None
        self.term = 1

    @rule(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=4))
    def append(self, sizes: list[int]) -> None:
        last = self.log.last_index
        entries = [Entry(self.term, last + k, NORMAL, bytes(n)) for k, n in enumerate(sizes, 1)]
        self.log.append(entries)
        self.model += entries

    @precondition(lambda self: self.log.last_index > self.log.commit)
    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        """A leader of a newer term replaces the tail."""
        first = data.draw(st.integers(self.log.commit + 1, self.log.last_index))
        self.term += 1
        self.log.truncate(first)
        del self.model[first - 1 :]
        self.append([1])

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        self.log.commit_to(data.draw(st.integers(self.log.commit, self.log.last_index)))

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        limit = min(self.log.commit, self.log.durable)
        if limit >= self.log.base_index:
            self.log.compact(data.draw(st.integers(self.log.base_index, limit)))

    @precondition(lambda self: self.in_flight is None)
    @rule()
    def begin_batch(self) -> None:
        self.in_flight = self.log.next_batch()

    @precondition(lambda self: self.in_flight is not None)
    @rule()
    def save_batch(self) -> None:
        assert self.in_flight is not None
        for entry in self.in_flight:  # as the WAL is read back: each replaces what is from there on
            del self.disk[entry.index - 1 :]
            self.disk.append(entry)
        self.in_flight = None
        self.log.saved()

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        log = self.log
        assert log.last_index == len(self.model)
        assert log.entries == self.model[log.base_index :]
        for index in range(log.base_index + 1, log.last_index + 1):
            assert log.term_at(index) == self.model[index - 1].term
            assert log.at(index) is self.model[index - 1]
        assert log.term_at(log.last_index + 1) == UNKNOWN_TERM

    @invariant()
    def what_it_calls_durable_is_on_the_disk(self) -> None:
        assert self.disk[: self.log.durable] == self.model[: self.log.durable]


TestLog = LogMachine.TestCase


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=20),
    max_entries=st.integers(1, 6),
    max_bytes=st.integers(0, 20),
)
def test_slices_within_the_limits_cover_the_log_without_a_gap(
    sizes: list[int], max_entries: int, max_bytes: int
) -> None:
    """Sent one after another they give every entry once; each is as large as the limits allow."""
    log = RaftLog()
    log.append([Entry(1, k, NORMAL, bytes(size)) for k, size in enumerate(sizes, start=1)])
    seen: list[Entry] = []
    while len(seen) < len(sizes):
        part = log.slice(len(seen) + 1, max_entries, max_bytes)
        size = sum(len(entry.data) for entry in part)
        assert 1 <= len(part) <= max_entries
        assert size <= max_bytes or len(part) == 1
        seen += part
        if len(part) < max_entries and len(seen) < len(sizes):
            assert size + sizes[len(seen)] > max_bytes
    assert seen == log.entries
