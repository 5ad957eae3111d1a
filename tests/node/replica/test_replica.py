"""What clients of a replica are told, and when: done, certainly not, or nobody knows."""

from __future__ import annotations

from random import Random

import pytest

from squall.node.raft.membership import ADD, ADD_LEARNER, PROMOTE, REMOVE
from squall.node.raft.messages import Forward
from squall.node.replica import Outcome
from squall.node.replica.sessions import MAX_HOLES, MAX_SESSIONS, Sessions
from tests.node.replica.cluster import Cluster


@pytest.fixture
def cluster() -> Cluster:
    """Three members that have elected a leader."""
    made = Cluster(3, seed=1)
    made.run(2_000_000)
    assert made.leader() is not None
    return made


def follower_of(cluster: Cluster) -> int:
    leader = cluster.leader()
    return next(n for n in cluster.nodes if n != leader)


def isolate(cluster: Cluster, n: int) -> None:
    cluster.cut = {(a, b) for a in cluster.nodes for b in cluster.nodes if n in (a, b) and a != b}


def test_a_follower_forwards_and_answers_with_the_result(cluster: Cluster) -> None:
    """Every member takes writes and reads, and gives the result of applying them itself."""
    ticket = cluster.propose(follower_of(cluster), b"x")
    cluster.run(100_000)
    reply = cluster.replies[ticket]
    assert (reply.outcome, reply.result) == (Outcome.DONE, 1)
    assert reply.index > 0
    read = cluster.read(follower_of(cluster))
    cluster.run(100_000)
    assert cluster.replies[read].outcome == Outcome.DONE


def test_who_waits_for_a_commit_hears_of_it_before_the_next_heartbeat() -> None:
    """The proposer's member is told at once, the others soon."""
    cluster = Cluster(3, seed=1, heartbeat_us=400_000, election_us=4_000_000)
    cluster.run(9_000_000)
    ticket = cluster.propose(follower_of(cluster), b"x")
    cluster.run(30_000)
    assert cluster.replies[ticket].outcome == Outcome.DONE
    assert all(node.machine.commands == [b"x"] for node in cluster.nodes.values())


def test_what_never_left_is_refused_and_what_did_is_unknown(cluster: Cluster) -> None:
    """Cut off from everyone: handed to a leader once, nobody knows; never handed, certainly not."""
    n = follower_of(cluster)
    isolate(cluster, n)
    handed = cluster.propose(n, b"handed")
    cluster.run(1_500_000)  # it has noticed that there is no leader
    kept = cluster.propose(n, b"kept")
    read = cluster.read(n)
    cluster.run(4_000_000)
    assert cluster.replies[handed].outcome == Outcome.UNKNOWN
    assert cluster.replies[handed].error == "request timed out"
    assert (cluster.replies[kept].outcome, cluster.replies[kept].error) == (
        Outcome.REFUSED,
        "no leader",
    )
    assert cluster.replies[read].error == "request timed out"


def test_requests_wait_for_the_next_leader(cluster: Cluster) -> None:
    """When the leader dies, what it had taken and what came since is handed to its successor."""
    leader = cluster.leader()
    assert leader is not None
    tickets = [cluster.propose(follower_of(cluster), b"before %d" % k) for k in range(5)]
    cluster.crash(leader)
    survivor = follower_of(cluster)
    tickets += [cluster.propose(survivor, b"after %d" % k) for k in range(5)]
    tickets.append(cluster.read(survivor))
    cluster.run(2_500_000)
    assert {cluster.replies[ticket].outcome for ticket in tickets} == {Outcome.DONE}
    cluster.heal()
    cluster.run(2_000_000)
    cluster.agree()


def test_a_deposed_leaders_waiters_are_served_by_the_new_one(cluster: Cluster) -> None:
    """Entries of a cut-off leader are lost, and their requests are not: they carry names."""
    leader = cluster.leader()
    assert leader is not None
    isolate(cluster, leader)
    ticket = cluster.propose(leader, b"old")
    cluster.run(1_800_000)
    other = cluster.propose(follower_of(cluster), b"new")
    cluster.run(100_000)
    cluster.cut.clear()
    cluster.run(1_000_000)
    assert cluster.replies[other].outcome == Outcome.DONE
    assert cluster.replies[ticket].outcome == Outcome.DONE
    cluster.agree()


def test_a_request_of_an_earlier_boot_answers_nobody() -> None:
    """Both boots number their requests from 1; only the boot's nonce tells them apart."""
    cluster = Cluster(3, seed=1)
    cluster.run(2_000_000)
    n = follower_of(cluster)
    cluster.propose(n, b"before the crash")
    cluster.delay_us = (20_000, 20_000)  # it is on its way, its effect will be later
    cluster.run(3_000)
    cluster.crash(n)
    cluster.start(n)
    isolate(cluster, n)
    ticket = cluster.propose(n, b"after it")
    cluster.run(200_000)
    assert ticket not in cluster.replies
    cluster.cut.clear()
    cluster.delay_us = (200, 2_000)
    cluster.run(2_000_000)
    commands = cluster.nodes[n].machine.commands
    assert commands == [b"before the crash", b"after it"]
    reply = cluster.replies[ticket]
    assert (reply.outcome, reply.result) == (Outcome.DONE, 2)


def test_a_backlog_is_applied_to_its_end_without_any_other_input() -> None:
    """With one entry applied at a time: what is left makes the replica due again at once."""
    cluster = Cluster(1, seed=1, max_apply=1)
    cluster.run(2_000_000)
    node = cluster.nodes[1]
    replica = node.replica
    assert replica is not None
    for ticket in range(1, 101):
        replica.propose(ticket, b"x%d" % ticket, cluster.now_us)
    cluster.settle(node)
    cluster.run(20_000)
    assert len(node.machine.commands) == 100


def test_what_is_committed_is_applied_only_when_it_is_durable_here() -> None:
    """A follower hears that an entry is committed while it still saves it: it must not apply it."""
    cluster = Cluster(3, seed=1)
    cluster.run(2_000_000)
    n = follower_of(cluster)
    node, leader = cluster.nodes[n], cluster.leader()
    assert leader is not None
    write, cluster.write = cluster.write, lambda each, batch: each is node or write(each, batch)  # type: ignore[method-assign]
    ticket = cluster.propose(leader, b"x")
    cluster.run(200_000)
    assert cluster.replies[ticket].outcome == Outcome.DONE
    assert node.replica is not None
    assert node.replica.raft.log.commit == node.replica.raft.log.last_index
    assert node.machine.commands == []


@pytest.mark.parametrize("background", [False, True])
def test_a_restart_goes_on_from_the_own_snapshot(background: bool) -> None:
    """The snapshot and the entries behind it give every command once."""
    cluster = Cluster(
        3, seed=1, snapshot_count=10, catch_up_entries=0, background_snapshots=background
    )
    cluster.run(2_000_000)
    commands = [b"x%d" % k for k in range(37)]
    for command in commands:
        cluster.propose(1, command)
        cluster.run(5_000)
    cluster.run(500_000)
    assert any(name == "snapshot-saved" for _, _, name, _ in cluster.events)
    for n in cluster.nodes:
        cluster.crash(n)
    cluster.heal()
    cluster.run(2_000_000)
    assert [node.machine.commands for node in cluster.nodes.values()] == [commands] * 3


@pytest.mark.parametrize("background", [False, True])
def test_a_crash_while_a_snapshot_is_written_loses_nothing(background: bool) -> None:
    """Segments of the log are removed only when the snapshot that replaces them is durable."""
    rng = Random(1)
    cluster = Cluster(
        1,
        seed=1,
        election_us=50_000,
        snapshot_count=7,
        catch_up_entries=0,
        segment_bytes=256,
        max_wals=1,
        max_snapshots=1,
        background_snapshots=background,
    )
    for _ in range(100):
        cluster.run(200_000)
        for _ in range(rng.randrange(12)):
            cluster.propose(1, b"x%d" % cluster.tickets)
            cluster.run(rng.choice([10, 500, 3_000]))
        cluster.crash(1, torn=rng.random() < 0.5)
        cluster.start(1)
    cluster.run(1_000_000)
    assert len(cluster.acknowledged) > 200
    cluster.agree()


def test_a_repeated_forward_is_applied_once(cluster: Cluster) -> None:
    """The network doubles a request on its way; the state sees it once."""
    cluster.duplicate = 1.0
    for k in range(20):
        cluster.propose(follower_of(cluster), b"x%d" % k)
        cluster.run(3_000)
    cluster.run(1_000_000)
    cluster.agree()
    assert len(cluster.nodes[1].machine.commands) == 20


def test_a_failed_disk_ends_everything(cluster: Cluster) -> None:
    """Handed-out proposals are unknown, new ones refused, and nothing leaves the node again."""
    leader = cluster.leader()
    assert leader is not None
    replica = cluster.nodes[leader].replica
    assert replica is not None
    first = cluster.propose(leader, b"x")
    replica.propose(1_000_000, b"appended and not sent yet", cluster.now_us)
    replica.disk_failed(OSError("no space left"))
    out = replica.take()
    assert (out.messages, out.batch) == ([], None)
    assert {reply.ticket for reply in out.replies} == {first, 1_000_000}
    for reply in out.replies:
        cluster.answer(cluster.nodes[leader], reply)
    cluster.settle(cluster.nodes[leader])
    second = cluster.propose(leader, b"y")
    read = cluster.read(leader)
    assert cluster.replies[first].outcome == Outcome.UNKNOWN
    assert cluster.replies[second].outcome == Outcome.REFUSED
    assert cluster.replies[read].error == "server stopped"
    replica.tick(cluster.now_us + 10_000_000)
    assert replica.take().messages == []


def test_too_many_requests_are_refused_at_once() -> None:
    """What waits is bounded, and what is refused for it has certainly not happened."""
    cluster = Cluster(3, seed=1, max_pending=10)
    cluster.run(2_000_000)
    leader = cluster.leader()
    assert leader is not None
    isolate(cluster, leader)
    tickets = [cluster.propose(leader, b"x%d" % k) for k in range(15)]
    refused = [ticket for ticket in tickets if ticket in cluster.replies]
    assert len(refused) == 5
    assert {cluster.replies[ticket].error for ticket in refused} == {"too many requests"}


def test_uncommitted_bytes_are_bounded() -> None:
    """A leader without a majority does not fill its memory."""
    cluster = Cluster(3, seed=1, max_uncommitted_bytes=1000)
    cluster.run(2_000_000)
    leader = cluster.leader()
    assert leader is not None
    isolate(cluster, leader)
    tickets = [cluster.propose(leader, b"%04d" % k + bytes(96)) for k in range(15)]
    assert cluster.replies[tickets[-1]].error == "too many requests"
    assert tickets[0] not in cluster.replies


def test_members_are_added_promoted_and_removed_through_any_member() -> None:
    """A learner joins, catches up, is promoted; then a member leaves. Errors are etcd's."""
    cluster = Cluster(3, seed=1, joiners=1, snapshot_count=10, catch_up_entries=0)
    cluster.run(2_000_000)
    for k in range(30):
        cluster.propose(1, b"x%d" % k)
        cluster.run(3_000)
    n = follower_of(cluster)
    cluster.start(4)
    added = cluster.change(n, ADD_LEARNER, 4)
    cluster.run(300_000)
    assert cluster.replies[added].outcome == Outcome.DONE
    again = cluster.change(n, ADD, 4)
    cluster.run(300_000)
    assert cluster.replies[again].outcome == Outcome.REFUSED
    assert cluster.replies[again].error == "member ID already exist"
    promoted = cluster.change(n, PROMOTE, 4)
    cluster.run(300_000)
    assert [member.id for member in cluster.replies[promoted].result] == [1, 2, 3, 4]
    cluster.agree([1, 2, 3, 4])
    leader = cluster.leader()
    assert leader is not None
    removed = cluster.change(leader, REMOVE, leader)
    cluster.run(2_000_000)
    assert cluster.replies[removed].outcome == Outcome.DONE
    assert cluster.leader() not in (None, leader)
    late = cluster.propose(cluster.members_now()[0], b"late")
    cluster.run(100_000)
    assert cluster.replies[late].outcome == Outcome.DONE
    cluster.agree(cluster.members_now())


def test_leadership_moves_on_request(cluster: Cluster) -> None:
    """The target leads; only the leader can hand over, and only to a voter."""
    leader = cluster.leader()
    assert leader is not None
    target = follower_of(cluster)
    refused = cluster.transfer(target, leader)
    assert cluster.replies[refused].error == "not leader"
    stranger = cluster.transfer(leader, 9)
    assert cluster.replies[stranger].error == "bad leader transferee"
    moved = cluster.transfer(leader, target)
    waiting = cluster.propose(leader, b"meanwhile")
    cluster.run(200_000)
    assert cluster.replies[moved].outcome == Outcome.DONE
    assert cluster.leader() == target
    assert cluster.replies[waiting].outcome == Outcome.DONE


def test_a_transfer_that_fails_is_answered(cluster: Cluster) -> None:
    """The target is gone: after a while the leader says so and works on."""
    leader = cluster.leader()
    assert leader is not None
    target = follower_of(cluster)
    cluster.crash(target)
    moved = cluster.transfer(leader, target)
    cluster.run(2_000_000)
    assert cluster.replies[moved].outcome == Outcome.UNKNOWN
    ticket = cluster.propose(leader, b"x")
    cluster.run(200_000)
    assert cluster.replies[ticket].outcome == Outcome.DONE


def test_the_state_digest_is_told_and_equal_everywhere(cluster: Cluster) -> None:
    """At every multiple of digest_every each member reports the same state."""
    for k in range(200):
        cluster.propose(1, b"x%d" % k)
        cluster.run(2_000)
    cluster.run(1_000_000)
    digests: dict[int, set[str]] = {}
    for _, _, name, fields in cluster.events:
        if name == "state-digest":
            digests.setdefault(fields["index"], set()).add(fields["digest"])
    assert set(digests) == {64, 128, 192}
    assert all(len(each) == 1 for each in digests.values())


def test_a_session_applies_each_number_once_in_any_order() -> None:
    """Against a plain set: late ones are applied, repeated ones are not."""
    rng = Random(1)
    sessions, seen = Sessions(), set()
    for index in range(1, 5000):
        number = max(1, index // 2 + rng.randint(-50, 50))
        assert sessions.is_new(1, 1, number, index) == (number not in seen), number
        seen.add(number)
        if index % 500 == 0:
            copied = Sessions()
            copied.restore(sessions.encode())
            assert bytes(copied.encode()) == bytes(sessions.encode())
            sessions = copied
    assert all(sessions.was_applied(1, 1, number) for number in seen)


def test_sessions_are_bounded() -> None:
    """Holes and boots beyond their limits are forgotten on the safe side."""
    sessions = Sessions()
    assert sessions.is_new(1, 1, 3 * MAX_HOLES, 1)
    assert not sessions.is_new(1, 1, 1, 2)
    assert sessions.is_new(1, 1, 3 * MAX_HOLES - 1, 3)
    for boot in range(2, MAX_SESSIONS + 10):
        assert sessions.is_new(1, boot, 1, boot + 10)
    assert len(sessions._sessions) == MAX_SESSIONS


def test_a_stray_request_of_a_stranger_is_harmless(cluster: Cluster) -> None:
    """A follower drops what is forwarded to it: no loops."""
    n = follower_of(cluster)
    replica = cluster.nodes[n].replica
    assert replica is not None
    before = replica.raft.log.last_index
    replica.receive(Forward(2, [b"whatever"]), cluster.now_us)
    assert replica.take().messages == []
    assert replica.raft.log.last_index == before
