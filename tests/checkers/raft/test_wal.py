"""The WAL read independently: what a crash leaves is cut, what no crash explains is damage."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

import crc32c
import msgspec

from squall.checkers.evidence import HardState, NodeEvidence
from squall.checkers.raft.node_log import read_log
from squall.checkers.raft.wal import read_wal

SIZE = 4096
HEADER, ENTRY, HARD, SNAPSHOT = 1, 2, 3, 4


def segment(records: list[tuple[int, Any]], sequence: int = 0) -> bytes:
    """Write a segment the way the format says."""
    data, seed = bytearray(), 0
    for kind, payload in [(HEADER, [1, 7, 1, sequence]), *records]:
        body = bytes([kind]) + msgspec.msgpack.encode(payload)
        seed = crc32c.crc32c(body, seed)
        data += struct.pack("<II", len(body), seed) + body + b"\0" * (-len(body) % 8)
    return bytes(data.ljust(SIZE, b"\0"))


def entry(index: int, term: int = 1, data: bytes = b"") -> tuple[int, Any]:
    return (ENTRY, [term, index, 0, data])


def put(key: bytes, value: bytes) -> bytes:
    command = msgspec.msgpack.encode([2, key, value, 0, False, False, False])
    return msgspec.msgpack.encode([1, 99, 1, command])


def name(sequence: int, index: int = 1) -> str:
    return f"member/wal/{sequence:016x}-{index:016x}.wal"


def read(*records: tuple[int, Any]) -> NodeEvidence:
    return read_wal("n1", {name(0): segment(list(records))})


def places(evidence: NodeEvidence) -> list[tuple[int, int]]:
    return [(one.index, one.term) for one in evidence.entries]


def test_entries_and_hard_states_are_read_in_order() -> None:
    """The plain case, over two segments."""
    found = read_wal(
        "n1",
        {
            name(1, 3): segment([entry(3, 2), (HARD, [2, 3, 2])], 1),
            name(0): segment([(HARD, [1, 1, 0]), entry(1), entry(2), (HARD, [1, 1, 1])]),
            "member/wal/lock": b"",
        },
    )
    assert places(found) == [(1, 1), (2, 1), (3, 2)]
    assert found.hard_states == (HardState(1, 1, 0), HardState(1, 1, 1), HardState(2, 3, 2))
    assert (found.committed, found.damage, found.overwritten) == (2, None, 0)


def test_an_entry_replaces_everything_from_its_index_on() -> None:
    """A new leader's entries overwrite what was never committed."""
    found = read(entry(1), entry(2), entry(3), entry(2, 2))
    assert places(found) == [(1, 1), (2, 2)]
    assert (found.overwritten, found.overwrote_committed) == (2, ())


def test_a_committed_entry_that_is_replaced_is_told() -> None:
    """The node's own hard state called it committed."""
    found = read(entry(1), entry(2), (HARD, [1, 1, 2]), (HARD, [2, 0, 2]), entry(2, 2))
    assert found.overwrote_committed == (2,)


def test_a_hard_state_made_durable_with_its_entries_accuses_nobody() -> None:
    """Commit and entries of one batch may stand in either order."""
    found = read(entry(1), entry(2), (HARD, [2, 0, 2]), entry(2, 2))
    assert found.overwrote_committed == ()


def test_committed_entries_written_once_more_are_no_violation() -> None:
    """The same content in the same place is the same log."""
    commits = [(HARD, [1, 1, 3]), (HARD, [2, 1, 3])]
    assert read(*map(entry, (1, 2, 3)), *commits, entry(2), entry(3)).overwrote_committed == ()
    assert read(*map(entry, (1, 2, 3)), *commits, entry(2)).overwrote_committed == (3,)


def test_a_snapshot_from_the_leader_starts_the_log_anew() -> None:
    """What lies before it may be absent; the node's own snapshot changes nothing."""
    assert places(read(entry(1), entry(2), (SNAPSHOT, [2, 1]), entry(3))) == [
        (1, 1),
        (2, 1),
        (3, 1),
    ]
    found = read(entry(1), entry(2), (SNAPSHOT, [9, 4]), entry(10, 4))
    assert places(found) == [(10, 4)]
    assert (found.first_index, found.committed) == (10, 9)


def test_puts_are_found_in_commands_and_inside_transactions() -> None:
    """Values are unique, so a put names its write."""
    txn = [4, [[b"k", 1, 0, 0, b""]], [[2, b"k/r1", b"17", 0]], [[1, b"k/r1"]]]
    data = msgspec.msgpack.encode([1, 99, 2, msgspec.msgpack.encode(txn)])
    found = read(entry(1), entry(2, data=put(b"k/r1", b"16")), entry(3, data=data))
    assert [one.puts for one in found.entries] == [(), (("k/r1", "16"),), (("k/r1", "17"),)]


def test_equal_entries_have_equal_digests_and_others_have_not() -> None:
    """A digest identifies the content."""
    same, other = put(b"k", b"1"), put(b"k", b"2")
    digests = [one.digest for one in read(*[entry(i, data=d) for i, d in enumerate(
        [same, same, other], 1)]).entries]  # fmt: skip
    assert digests[0] == digests[1] != digests[2]


def test_a_tail_cut_anywhere_is_cut_off_and_no_damage() -> None:
    """Whatever of the last write reached the disk, the records before it stay."""
    before = segment([entry(1), entry(2)])
    after = segment([entry(1), entry(2), entry(3, data=b"x" * 100)])
    end = len(before.rstrip(b"\0"))
    full = len(after.rstrip(b"\0"))
    for length in range(end, full):
        torn = after[:length].ljust(SIZE, b"\0")
        found = read_wal("n1", {name(0): torn})
        assert found.damage is None, length
        assert places(found) in ([(1, 1), (2, 1)], [(1, 1), (2, 1), (3, 1)])


def test_a_flipped_bit_in_the_middle_is_damage_wherever_it_is() -> None:
    """Intact records follow, so no crash explains it."""
    whole = segment([entry(i, data=bytes([i]) * 20) for i in range(1, 9)])
    end = len(segment([entry(i, data=bytes([i]) * 20) for i in range(1, 5)]).rstrip(b"\0"))
    random = Random(3)
    for _ in range(200):
        data = bytearray(whole)
        at = random.randrange(end)
        data[at] ^= 1 << random.randrange(8)
        found = read_wal("n1", {name(0): bytes(data)})
        padding = found.damage is None and len(found.entries) == 8
        assert padding or (found.damage and len(found.entries) < 8), at


def test_a_broken_record_in_an_older_segment_is_damage() -> None:
    """Only the last segment can be torn."""
    data = bytearray(segment([entry(1), entry(2)]))
    data[len(bytes(data).rstrip(b"\0")) - 3] ^= 4
    found = read_wal("n1", {name(0): bytes(data), name(1, 3): segment([entry(3)], 1)})
    assert found.damage
    assert "not the last segment" in found.damage
    assert places(found) == [(1, 1)]


def test_missing_and_misnamed_segments_are_damage() -> None:
    """The sequence has no holes, and a segment knows its number."""
    hole = {name(0): segment([entry(1)]), name(2, 2): segment([entry(2)], 2)}
    assert "is missing" in (read_wal("n1", hole).damage or "")
    twice = {name(0): segment([entry(1)]), name(1, 2): segment([], 1), name(1, 3): segment([], 1)}
    assert "another segment has its sequence number too" in (read_wal("n1", twice).damage or "")
    assert "named 5" in (read_wal("n1", {name(5): segment([], 0)}).damage or "")


def test_a_gap_between_entries_is_damage() -> None:
    """Nothing explains entry 4 after entry 2."""
    assert "entry 4 after entry 2" in (read(entry(1), entry(2), entry(4)).damage or "")


def test_a_log_whose_beginning_was_purged_may_begin_behind_a_snapshot_it_names() -> None:
    """The entries between the two were in a segment that is gone."""
    records = [(SNAPSHOT, [635, 2]), entry(637, 2), entry(638, 2)]
    found = read_wal("n1", {name(3, 637): segment(records, 3)})
    assert (found.damage, found.first_index, places(found)) == (None, 637, [(637, 2), (638, 2)])
    whole = read_wal("n1", {name(0, 0): segment(records, 0)})
    assert "entry 637 after entry 635" in (whole.damage or "")


def test_a_snapshot_of_what_was_purged_discards_nothing() -> None:
    """The log begins right behind it."""
    records = [entry(201, 4), entry(202, 4), (SNAPSHOT, [200, 4]), entry(203, 4)]
    found = read_wal("n1", {name(4, 201): segment(records, 4)})
    assert (found.damage, places(found)) == (None, [(201, 4), (202, 4), (203, 4)])


def test_no_wal_at_all_is_missing_evidence_and_no_damage() -> None:
    """An absent file accuses nobody."""
    found = read_wal("n1", {})
    assert (found.log_missing, found.damage) == (True, None)


def test_hostile_bytes_end_in_damage_and_never_in_an_exception() -> None:
    """Intact checksums do not make a record sensible."""
    strange: list[Any] = [None, 7, [], [1], ["a", "b", "c", "d"], {"x": 1}, [1, 2, 3, 4, 5, 6]]
    for kind in (1, 2, 3, 4, 9):
        for payload in strange:
            assert read((kind, payload)).damage, (kind, payload)
    random = Random(5)
    for _ in range(200):
        read_wal("n1", {name(0): random.randbytes(random.randrange(300))})


LOG = """\
{"ts":"2026-11-21T10:00:00Z","level":"info","msg":"started","event":"started","name":"n1"}
{"ts":"...","event":"became-leader","term":3,"index":17}
{"ts":"...","event":"state-digest","index":64,"term":3,"revision":60,"digest":"abcd"}
{"ts":"...","event":"state-digest","index":"strange"}
{"ts":"...","event":"became-leader","term":3,"index":17}
{"cut
Traceback (most recent call last):
  File "raft.py", line 1, in step
AssertionError: applied 7 beyond committed 5
{"ts":"...","event":"fatal","error":"disk: EIO","traceback":"..."}
"""


def test_a_node_s_own_words_are_evidence() -> None:
    """Leadership, digests, assertions; strange lines are skipped."""
    log = read_log(LOG.splitlines())
    assert log.led_terms == (3,)
    assert [(one.index, one.digest) for one in log.digests] == [(64, "abcd")]
    assert log.assertions[0].endswith("AssertionError: applied 7 beyond committed 5")
    assert log.assertions[1].startswith("disk: EIO")
    joined = log.join(read(entry(1)))
    assert joined.led_terms == (3,)
    assert len(joined.entries) == 1
    assert read_log([]).join(read(entry(1))).log_missing


def test_a_library_that_complains_and_goes_on_is_no_death() -> None:
    """Only the last words before an end or a new start count, or a failed assertion."""
    complaint = ["Traceback (most recent call last):", "  x", "ConnectionResetError: peer gone"]
    goes_on = '{"event":"ready"}'
    assert read_log([*complaint, goes_on]).assertions == ()
    assert len(read_log([*complaint, '{"event":"started"}', goes_on]).assertions) == 1
    assert len(read_log([goes_on, *complaint]).assertions) == 1
    assert read_log([goes_on, *complaint], alive=True).assertions == ()


def test_a_node_that_will_not_start_from_its_disk_says_so() -> None:
    """A refusal is no assertion: it is judged as a lack of durability."""
    log = read_log(['{"event":"damaged","level":"fatal","msg":"wal/1 is damaged"}'])
    assert (log.refusals, log.assertions) == (("wal/1 is damaged",), ())
    assert log.join(read(entry(1))).refusals == ("wal/1 is damaged",)
