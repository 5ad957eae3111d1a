"""Replicas on a bad network, bad disks and a virtual clock; and what must always hold."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from random import Random
from typing import Any, cast

from squall.node.raft.messages import Message
from squall.node.raft.roles import LEADER
from squall.node.replica import (
    Change,
    Member,
    Outcome,
    PendingSnapshot,
    Replica,
    ReplicaConfig,
    Reply,
)
from squall.node.storage import snapshot
from squall.node.storage.disk import Append, Batch, Create, Sync
from tests.node.storage.memory_disk import MemoryDisk


class ListMachine:
    """The commands applied, in order; its digest is a running hash."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []
        self.hash = 0

    def apply(self, index: int, term: int, command: bytes) -> Any:
        self.commands.append(command)
        self.hash = (self.hash * 1_000_003 + int.from_bytes(command, "big")) % (1 << 61)
        return len(self.commands)

    def snapshot(self) -> bytes:
        return b"\n".join(self.commands)

    def pieces(self) -> Iterator[bytes]:
        data = self.snapshot()
        return iter([data[start : start + 7] for start in range(0, len(data), 7)])

    def restore(self, data: bytes) -> None:
        self.commands = []
        self.hash = 0
        for command in data.split(b"\n") if data else []:
            self.apply(0, 0, command)

    @property
    def revision(self) -> int:
        return len(self.commands)

    def digest(self) -> str:
        return f"{self.hash:x}"


class Node:
    """One replica, its disk, and what it was asked."""

    def __init__(self, member: int) -> None:
        self.id = member
        self.disk = MemoryDisk()
        self.replica: Replica | None = None
        self.machine = ListMachine()
        self.boots = 0
        self.epoch = 0
        self.commit = 0
        self.applied = 0


class Cluster:
    """Nodes 1..n on an event heap. Faults are what its caller sets and does."""

    def __init__(self, size: int, seed: int, joiners: int = 0, **knobs: Any) -> None:
        self.rng = Random(seed)
        self.now_us = 0
        self.heap: list[tuple[int, int, Any]] = []
        self.count = 0
        self.size = size
        self.knobs = {
            "heartbeat_us": 50_000,
            "election_us": 500_000,
            "segment_bytes": 4096,
            "request_timeout_us": 3_000_000,
        } | knobs
        self.members = tuple(Member(n, f"n{n}") for n in range(1, size + 1))
        self.nodes = {n: Node(n) for n in range(1, size + joiners + 1)}
        self.loss = 0.0
        self.duplicate = 0.0
        self.delay_us = (200, 2_000)
        self.disk_us = (100, 2_000)
        self.cut: set[tuple[int, int]] = set()
        self.replies: dict[int, Reply] = {}
        self.tickets = 0
        self.leaders: dict[int, int] = {}
        self.chosen: dict[int, tuple[int, bytes]] = {}
        self.events: list[tuple[int, int, str, dict[str, Any]]] = []
        self.acknowledged: list[bytes] = []
        self.barriers: dict[int, list[bytes]] = {}
        self.read_revisions: dict[int, int] = {}
        self.commands: dict[int, bytes] = {}
        for n in range(1, size + 1):
            self.start(n)

    # The world.

    def at(self, delay_us: int, what: Any) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.now_us + delay_us, self.count, what))

    def start(self, n: int) -> None:
        node = self.nodes[n]
        node.boots += 1
        node.machine = ListMachine()
        config = ReplicaConfig(
            cluster_id=7,
            member_id=n,
            initial_members=self.members if n <= self.size else (),
            **self.knobs,
        )
        node.replica = Replica(
            config,
            node.disk,
            node.machine,
            Random(self.rng.random()),
            node.boots,
            self.now_us,
        )
        self.settle(node)

    def crash(self, n: int, torn: bool = False) -> None:
        node = self.nodes[n]
        node.replica = None
        node.epoch += 1
        node.disk.crash(self.rng if torn else None)

    def settle(self, node: Node) -> None:
        replica = node.replica
        assert replica is not None
        out = replica.take()
        for target, message in out.messages:
            self.post(node.id, target, message)
        if out.batch is not None:
            self.write(node, out.batch)
        for event in out.events:
            self.events.append((self.now_us, node.id, event.name, event.fields))
            if event.name == "snapshot-begun" and replica.pending_snapshot is not None:
                delay_us = 5 * self.rng.randint(*self.disk_us)
                self.at(delay_us, ("draft", node.id, node.epoch, replica.pending_snapshot))
            if event.name == "became-leader":
                term = event.fields["term"]
                assert self.leaders.setdefault(term, node.id) == node.id, f"two leaders in {term}"
        for reply in out.replies:
            self.answer(node, reply)
        self.check(node)
        due = replica.deadline_us
        if due < 1 << 62:
            self.at(max(due - self.now_us, 0), ("tick", node.id, node.epoch, due))

    def post(self, source: int, target: int, message: Message) -> None:
        if (source, target) in self.cut or self.rng.random() < self.loss:
            return
        for _ in range(1 + (self.rng.random() < self.duplicate)):
            delay_us = self.rng.randint(*self.delay_us)
            self.at(delay_us, ("message", source, target, message))

    def write(self, node: Node, batch: Batch) -> None:
        """Do the operations one after another, so that a crash can come between any two."""
        left = list(batch.ops)
        self.at(self.rng.randint(*self.disk_us), ("disk", node.id, node.epoch, batch.id, left))

    def write_draft(self, node: Node, draft: PendingSnapshot) -> None:
        """Write an own snapshot beside the log, as a shell does."""
        path = snapshot.path_of(draft.term, draft.index) + snapshot.TEMPORARY
        content = b"".join(
            snapshot.encode_file_in_pieces(draft.at, draft.sessions, list(draft.machine))
        )
        node.disk.execute((Create(path), Append(path, 0, content), Sync(path)))
        assert node.replica is not None
        node.replica.snapshot_written(cast("bytes", snapshot.StoredState(content, draft.at)))
        self.settle(node)

    def run(self, for_us: int) -> None:
        end_us = self.now_us + for_us
        while self.heap and self.heap[0][0] <= end_us:
            self.now_us, _, what = heapq.heappop(self.heap)
            self.happen(what)
        self.now_us = end_us

    def happen(self, what: Any) -> None:
        if what[0] == "message":
            _, source, target, message = what
            node = self.nodes.get(target)
            if node is None or node.replica is None or (source, target) in self.cut:
                return
            node.replica.receive(message, self.now_us)
            self.settle(node)
            return
        node = self.nodes[what[1]]
        if node.replica is None or what[2] != node.epoch:
            return
        if what[0] == "draft":
            self.write_draft(node, what[3])
        elif what[0] == "disk":
            _, _, _, batch_id, left = what
            node.disk.do(left.pop(0))
            if left:
                self.at(self.rng.randint(0, 50), what)
                return
            node.replica.persisted(batch_id, self.now_us)
            self.settle(node)
        elif what[3] == node.replica.deadline_us or node.replica.deadline_us <= self.now_us:
            node.replica.tick(self.now_us)
            self.settle(node)

    # Clients.

    def propose(self, n: int, command: bytes) -> int:
        self.tickets += 1
        node = self.nodes[n]
        if node.replica is not None:
            self.commands[self.tickets] = command
            node.replica.propose(self.tickets, command, self.now_us)
            self.settle(node)
        return self.tickets

    def read(self, n: int) -> int:
        self.tickets += 1
        node = self.nodes[n]
        if node.replica is not None:
            self.barriers[self.tickets] = list(self.acknowledged)
            node.replica.read_barrier(self.tickets, self.now_us)
            self.settle(node)
        return self.tickets

    def change(self, n: int, kind: int, member: int) -> int:
        self.tickets += 1
        node = self.nodes[n]
        if node.replica is not None:
            change = Change(kind, Member(member, f"n{member}"))
            node.replica.propose_membership(self.tickets, change, self.now_us)
            self.settle(node)
        return self.tickets

    def transfer(self, n: int, target: int) -> int:
        self.tickets += 1
        node = self.nodes[n]
        if node.replica is not None:
            node.replica.transfer_leadership(self.tickets, target, self.now_us)
            self.settle(node)
        return self.tickets

    def members_now(self) -> list[int]:
        """Ids of the members in the newest committed configuration that a leader knows."""
        leader = self.leader()
        assert leader is not None
        replica = self.nodes[leader].replica
        assert replica is not None
        return [member.id for member in replica.raft.configuration.members]

    def answer(self, node: Node, reply: Reply) -> None:
        assert reply.ticket not in self.replies, f"answered twice: {reply}"
        self.replies[reply.ticket] = reply
        if reply.outcome != Outcome.DONE:
            return
        if reply.ticket in self.commands:
            self.acknowledged.append(self.commands[reply.ticket])
        elif reply.ticket in self.barriers:
            # Linearizable: it sees whatever was acknowledged before it began.
            seen = set(node.machine.commands)
            missing = [each for each in self.barriers[reply.ticket] if each not in seen]
            assert not missing, f"stale read at {node.id}: {missing}"

    # What must always hold.

    def check(self, node: Node) -> None:
        replica = node.replica
        assert replica is not None
        log = replica.raft.log
        limit = min(log.commit, log.durable)
        for index in range(max(node.commit, log.base_index) + 1, limit + 1):
            entry = log.at(index)
            chosen = self.chosen.setdefault(index, (entry.term, entry.data))
            assert chosen == (entry.term, entry.data), f"index {index} differs at {node.id}"
        node.commit = max(node.commit, limit)
        if replica.raft.role == LEADER and self.leader_is_new(node):
            for index, (term, _) in self.chosen.items():
                if index > log.base_index:
                    assert log.term_at(index) == term, f"leader {node.id} lacks {index}"

    def leader_is_new(self, node: Node) -> bool:
        return bool(self.events) and self.events[-1][1:3] == (node.id, "became-leader")

    def leader(self) -> int | None:
        leading = [
            node
            for node in self.nodes.values()
            if node.replica is not None and node.replica.raft.role == LEADER
        ]
        best = max(leading, key=lambda node: node.replica.raft.term, default=None)
        return best.id if best else None

    def heal(self) -> None:
        self.cut.clear()
        self.loss = self.duplicate = 0.0
        self.delay_us = (200, 2_000)
        for n, node in self.nodes.items():
            if node.replica is None and node.boots:
                self.start(n)

    def agree(self, ids: Any = None) -> None:
        """Everyone alive has applied the same, and nothing acknowledged is missing or double."""
        nodes = [self.nodes[n] for n in ids or range(1, self.size + 1)]
        states = {node.id: node.machine.commands for node in nodes}
        first = states[nodes[0].id]
        for n, state in states.items():
            assert state == first, f"{n} differs from {nodes[0].id}: {len(state)} {len(first)}"
        assert len(set(first)) == len(first), "something was applied twice"
        assert set(self.acknowledged) <= set(first), "something acknowledged is lost"
        refused = {
            self.commands[ticket]
            for ticket, reply in self.replies.items()
            if reply.outcome == Outcome.REFUSED and ticket in self.commands
        }
        assert not refused & set(first), "something refused happened"
