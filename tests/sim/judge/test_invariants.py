"""The rules of a run: each lets good behaviour pass, and each catches what it is there for."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from squall.harness.sim.judge.invariants import Broken, Invariants, WatchedMachine
from squall.harness.sim.judge.states import parts_of
from squall.node.mvcc.alarms import Raised
from squall.node.mvcc.commands import DeleteRange, LeaseGrant, Put, encode
from squall.node.mvcc.store import Store, _snapshot_decoder


class Rules(Invariants):
    """Three nodes under watch; `stopped` lists what broke."""

    def __init__(self) -> None:
        self.stopped: list[Broken] = []
        super().__init__(("n1", "n2", "n3"), lambda: 1_500_000, self.stopped.append)

    @property
    def rule(self) -> str:
        return self.broken.rule if self.broken else ""


def all_of(term: int):
    """A log all of whose entries are of one term."""
    return lambda index: term


@pytest.fixture
def rules() -> Rules:
    return Rules()


def test_two_leaders_of_one_term_are_a_crime_and_of_two_terms_are_not(rules):
    rules.leads(0, 4, 9, all_of(3))
    rules.leads(1, 5, 9, all_of(3))
    rules.leads(0, 4, 9, all_of(3))
    assert rules.broken is None
    rules.leads(2, 5, 9, all_of(3))
    assert rules.rule == "election safety"
    assert rules.broken.sentence() == (
        "election safety: at 1.500000 s n3 became leader of term 5, whose leader was n2"
    )


def test_a_new_leader_must_have_what_was_committed_in_earlier_terms(rules):
    rules.stands(0, 3, 7, 3)
    rules.leads(1, 3, 6, all_of(3))  # late news of an election, over when 7 was appended
    rules.leads(1, 4, 7, all_of(3))
    rules.leads(2, 5, 7, all_of(-1))  # compacted: it knows no term there
    assert rules.broken is None
    rules.leads(2, 6, 6, all_of(3))
    assert rules.rule == "leader completeness"


def test_an_entry_of_another_term_does_not_stand_for_one_that_was_committed(rules):
    rules.stands(0, 4, 7, 2)
    rules.leads(1, 5, 7, all_of(3))
    assert rules.rule == "leader completeness"
    assert rules.broken.text == (
        "became leader of term 5 with an entry of term 3 at index 7, where one of term 2 had been "
        "committed in an earlier term"
    )


def test_only_the_first_broken_rule_is_reported(rules):
    rules.fails("one", 0, "came first")
    rules.fails("two", 1, "came second")
    assert [broken.rule for broken in rules.stopped] == ["one"]


@pytest.mark.parametrize(("term", "command"), [(3, b"other"), (4, b"same")])
def test_nodes_must_apply_the_same_command_of_the_same_term_at_an_index(rules, term, command):
    rules.applies(0, 7, 3, b"same")
    rules.applies(1, 7, 3, b"same")
    assert rules.broken is None
    rules.applies(2, 7, term, command)
    assert rules.rule == "state machine safety"


def test_a_running_node_applies_every_index_once_and_forwards(rules):
    rules.applies(0, 7, 3, b"")
    rules.applies(0, 9, 3, b"")
    assert rules.broken is None
    rules.applies(0, 9, 3, b"")
    assert rules.rule == "order"


def test_a_restarted_node_may_apply_again_from_the_start(rules):
    rules.applies(0, 7, 3, b"")
    rules.applied(0, 7, 4, "d")
    rules.recovers(0)
    rules.applies(0, 7, 3, b"")
    rules.applied(0, 7, 4, "d")
    assert rules.broken is None


def test_states_at_equal_index_must_have_equal_digests(rules):
    rules.applied(0, 7, 4, "aa")
    rules.applied(1, 7, 4, "aa")
    assert rules.broken is None
    rules.applied(2, 7, 4, "bb")
    assert rules.rule == "convergence"


def test_the_revision_of_a_running_node_never_goes_back(rules):
    rules.applied(0, 7, 4, "aa")
    rules.applied(0, 8, 3, "bb")
    assert rules.rule == "monotone"


def test_a_snapshot_must_not_take_a_running_node_back(rules):
    machine = WatchedMachine(Counter(), rules, 0)
    machine.restore(b"5")
    machine.restore(b"6")
    assert rules.broken is None
    machine.restore(b"5")
    assert rules.rule == "monotone"


def test_what_is_committed_at_an_index_is_of_one_term(rules):
    rules.stands(0, 3, 8, 2)
    rules.stands(1, 4, 8, 2)
    rules.stands(2, 4, 8, -1)  # compacted: it does not know
    assert rules.broken is None
    rules.stands(2, 5, 8, 3)
    assert rules.rule == "state machine safety"


@pytest.mark.parametrize(("term", "commit"), [(2, 9), (3, 7)])
def test_term_and_commit_of_a_running_node_never_go_back(rules, term, commit):
    rules.stands(0, 3, 8, 3)
    rules.stands(0, 3, 8, 3)
    assert rules.broken is None
    rules.stands(0, term, commit, -1)
    assert rules.rule == "monotone"


def test_a_node_votes_once_a_term(rules):
    rules.promises_vote(0, 3, 2)
    rules.promises_vote(0, 3, 2)
    rules.promises_vote(0, 4, 3)
    assert rules.broken is None
    rules.promises_vote(0, 3, 1)
    assert rules.rule == "election safety"


def test_a_node_that_forgets_its_term_its_vote_or_its_entries_broke_a_promise(rules):
    rules.promises_vote(0, 3, 2)
    rules.promises_entries(0, 3, 10)
    rules.restarts(0, term=3, vote=2, last_index=10)
    rules.restarts(0, term=4, vote=0, last_index=9)  # a newer leader may have cut its log
    assert rules.broken is None


@pytest.mark.parametrize(
    "found",
    [
        {"term": 2, "vote": 0, "last_index": 10},
        {"term": 3, "vote": 1, "last_index": 10},
        {"term": 3, "vote": 0, "last_index": 10},
        {"term": 3, "vote": 2, "last_index": 9},
    ],
)
def test_what_a_restart_must_find(rules, found):
    rules.promises_vote(0, 3, 2)
    rules.promises_entries(0, 3, 10)
    rules.restarts(0, **found)
    assert rules.rule == "durability"


VOTERS = ((1, "n1"), (2, "n2"), (3, "n3"))


def test_a_leader_commits_what_a_majority_of_its_voters_has_made_durable(rules):
    rules.promises_entries(1, 4, 7, member=2)
    rules.commits(0, 4, 7, durable=7, voters=VOTERS)  # n1 and n2
    rules.promises_entries(2, 4, 9, member=3)
    rules.promises_entries(1, 4, 9, member=2)
    rules.commits(0, 4, 9, durable=7, voters=VOTERS)  # n2 and n3: it need not count itself
    rules.commits(0, 4, 9, durable=7, voters=((2, "n2"), (3, "n3")))  # it is no voter any more
    assert rules.broken is None


def test_a_leader_that_counts_more_than_was_vouched_for_is_named(rules):
    rules.promises_entries(1, 4, 6, member=2)
    rules.commits(0, 4, 7, durable=7, voters=VOTERS)
    assert rules.broken.sentence() == (
        "commitment: at 1.500000 s n1 counts index 7 as committed as the leader of term 4, which "
        "only n1 of its 3 voters had made durable, where 2 must have"
    )


def test_what_was_vouched_for_in_another_term_or_by_another_member_does_not_count(rules):
    rules.promises_entries(1, 3, 9, member=2)
    rules.promises_entries(2, 4, 9, member=8)
    rules.commits(0, 4, 7, durable=7, voters=VOTERS)
    assert rules.rule == "commitment"


def test_a_leader_does_not_count_itself_before_its_own_disk_has_the_entry(rules):
    rules.promises_entries(1, 4, 7, member=2)
    rules.commits(0, 4, 7, durable=6, voters=VOTERS)
    assert "which only n2 of its 3 voters had made durable" in rules.broken.text


def test_a_leader_that_counted_itself_must_find_the_entry_again(rules):
    rules.promises_entries(1, 4, 7, member=2)
    rules.commits(0, 4, 7, durable=7, voters=VOTERS)
    rules.restarts(0, term=5, vote=0, last_index=6)  # a newer leader may have cut its log
    assert rules.broken is None
    rules.restarts(0, term=4, vote=1, last_index=6)
    assert rules.broken.text == (
        "restarts with 6 as its last index in term 4, whose leader it was: it had counted itself "
        "in the majority that committed 7"
    )


def test_a_leader_announces_to_a_follower_no_more_than_it_vouched_for(rules):
    rules.promises_entries(1, 4, 6, member=2)
    rules.announces(0, 4, 6, 2, "n2")
    assert rules.broken is None
    rules.announces(0, 4, 7, 2, "n2")
    assert (rules.broken.node, rules.broken.text) == (
        "n1",
        (
            "announces as the leader of term 4 that n2 holds index 7, for which n2 never vouched "
            "in that term (only up to 6)"
        ),
    )


def test_states_after_one_index_are_compared_part_by_part(rules):
    rules.holds(0, 7, {"versions": "a", "leases": "b"})
    rules.holds(1, 7, {"versions": "a", "leases": "b"})
    assert rules.broken is None
    rules.holds(2, 7, {"versions": "a", "leases": "c"})
    assert rules.broken.text == "differs from n1 after index 7: leases"


class Counter:
    """A state machine that counts."""

    def __init__(self) -> None:
        self.revision = 0

    def apply(self, index, term, command):
        self.revision += 1
        return self.revision

    def digest(self):
        return f"{self.revision}"

    def snapshot(self):
        return b"%d" % self.revision

    def restore(self, data):
        self.revision = int(data)


def test_a_watched_machine_behaves_as_the_machine_and_tells_the_rules(rules):
    one, other = (WatchedMachine(Counter(), rules, number) for number in range(2))
    assert one.apply(1, 1, b"x") == 1
    assert (one.revision, one.digest(), one.snapshot()) == (1, "1", b"1")
    other.restore(b"5")
    assert rules.broken is None
    other.apply(1, 1, b"x")
    assert rules.rule == "convergence"


def store_of(*commands) -> Store:
    store = Store()
    for index, command in enumerate(commands, 1):
        store.apply(index, 1, encode(command))
    return store


HISTORY = (
    LeaseGrant(5, 60),
    Put(b"a", b"1"),
    Put(b"a", b"2", lease=5),
    Put(b"b", b"3"),
    DeleteRange(b"b"),
)


@pytest.mark.parametrize(
    ("field", "value", "parts"),
    [
        ("records", lambda kept: kept[1:], "versions"),
        ("records", lambda kept: kept[:-1], "versions, what a read finds"),
        ("compacted", lambda _: 2, "last compaction"),
        ("alarms", lambda _: [Raised(1, 1)], "alarms"),
    ],
)
def test_a_restored_state_that_is_not_the_one_of_the_snapshot_is_seen(rules, field, value, parts):
    """Whatever the snapshot says of itself: its digest is the same, the state is not."""
    taken = store_of(*HISTORY)
    data = WatchedMachine(taken, rules, 0, partial(parts_of, taken)).snapshot()

    class Careless(Store):
        def restore(self, data: bytes) -> None:
            found = _snapshot_decoder.decode(data)
            changed = msgspec.structs.replace(found, **{field: value(getattr(found, field))})
            super().restore(msgspec.msgpack.encode(changed))

    for number, made in ((1, Store()), (2, Careless())):
        assert rules.broken is None
        WatchedMachine(made, rules, number, partial(parts_of, made)).restore(data)
        assert (made.digest() == taken.digest()) is (number == 1)
    assert rules.broken.text == (
        f"restored another state at revision 5 than the one of which n1 took the snapshot: {parts} "
        "differ"
    )


def test_a_snapshot_in_pieces_is_of_the_state_at_its_beginning(rules):
    taken = store_of(*HISTORY)
    pieces = WatchedMachine(taken, rules, 0, partial(parts_of, taken)).pieces()
    taken.apply(9, 1, encode(Put(b"late", b"4")))
    other = Store()
    WatchedMachine(other, rules, 1, partial(parts_of, other)).restore(b"".join(pieces))
    assert rules.broken is None
