"""Directives that drive Raft members with disks of their own and explicit message delivery.

Directives:
    members N [option=value ...]    voters 1..N; options are RaftSettings's, learner=K adds one
    lead N                          N campaigns and everything is delivered; told in one line
    timeout N                       N's election timeout passes (and N alone notices)
    elapse MS                       time passes; each timer fires when it is due
    late N MS                       N is suspended for so long; its timers fire only afterwards
    stabilize [N ...]               ready, save and deliver until nothing is left (among these)
    ready N / save N                what N owes; its batch becomes durable
    deliver N [from=M] / drop A->B  take the messages on their way to N; lose those from A to B
    repeat A->B / reverse A->B      send a second copy of each; have them arrive in reverse order
    cut A->B ... / heal             lose what is sent from A to B from now on; no longer
    propose N TEXT, read N TEXT     a client's request at N
    change N add|learner|remove|promote M, transfer N M
    snapshot N KEEP                 N snapshots durably what is committed, keeps KEEP entries
    install A->B                    a copy of A's whole snapshot is on its way to B
    append A->B PREV COUNT          so is an AppendEntries of COUNT entries of A behind PREV
    crash N                         N loses what is not durable and starts again
    log [N ...], status             what there is
"""

from __future__ import annotations

from typing import Any

import crc32c

from squall.node.raft import membership_changes, transfer
from squall.node.raft.log import RaftLog
from squall.node.raft.membership import (
    ADD,
    ADD_LEARNER,
    PROMOTE,
    REMOVE,
    Change,
    ChangeRejectedError,
    Configuration,
    ConfigurationEntry,
    ConfigurationLog,
    Member,
    decode_entry,
    encode_entry,
)
from squall.node.raft.messages import (
    CONFIGURATION,
    NORMAL,
    AppendEntries,
    AppendReply,
    Entry,
    HardState,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    RequestVote,
    Snapshot,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
)
from squall.node.raft.raft import Raft
from squall.node.raft.roles import LEADER, ROLE_NAMES
from squall.node.raft.settings import RaftSettings

KINDS = {"add": ADD, "learner": ADD_LEARNER, "remove": REMOVE, "promote": PROMOTE}


class Steady:
    """Dice that always fall the same, so that every timeout is one and a half election timeouts."""

    def random(self) -> float:
        return 0.5


class Disk:
    """What one member has made durable."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.entries: list[Entry] = []
        self.base = (0, 0)
        self.snapshot: Snapshot | None = None

    def write(
        self, snapshot: Snapshot | None, entries: list[Entry], state: HardState | None
    ) -> None:
        if snapshot is not None:
            self.snapshot = snapshot
            self.base = (snapshot.index, snapshot.term)
            self.entries = []
        for entry in entries:
            del self.entries[entry.index - self.base[0] - 1 :]
            self.entries.append(entry)
        if state is not None:
            self.hard_state = state


class Stage:
    """Interprets directives."""

    def __init__(self) -> None:
        self.rafts: dict[int, Raft] = {}
        self.disks: dict[int, Disk] = {}
        self.batches: dict[int, tuple[Any, ...] | None] = {}
        self.wires: list[tuple[int, int, Message]] = []
        self.cuts: set[tuple[int, int]] = set()
        self.options: dict[str, Any] = {}
        self.now_us = 0
        self.sequence = 0
        self.out: list[str] = []

    def perform(self, line: str) -> list[str]:
        """Perform one directive; gives the lines of what came of it."""
        name, *words = line.split()
        self.out = []
        getattr(self, f"do_{name}")(*words)
        return self.out

    # Set-up.

    def do_members(self, count: str, *options: str) -> None:
        self.__init__()  # type: ignore[misc]
        self.options = {"election_us": 1_000_000, "heartbeat_us": 100_000, "commit_notice_us": 0}
        given = dict(option.split("=") for option in options)
        members = [Member(n, f"n{n}") for n in range(1, int(count) + 1)]
        learner = given.pop("learner", None)
        if learner:
            members.append(Member(int(learner), f"n{learner}", is_learner=True))
        for key, value in given.items():
            self.options[key.replace("-", "_")] = {"on": True, "off": False}.get(value) or (
                int(value) if value.isdigit() else False
            )
        first = ConfigurationEntry(0, 0, 0, Configuration(tuple(members)))
        for member in members:
            self._new_disk(member.id, [Entry(1, 1, CONFIGURATION, encode_entry(first))])

    def do_join(self, n: str) -> None:
        self._new_disk(int(n), [])

    def _new_disk(self, n: int, entries: list[Entry]) -> None:
        disk = self.disks[n] = Disk()
        disk.entries = entries
        disk.hard_state = HardState(1, 0, 1) if entries else HardState()
        self._start(n)

    def _start(self, n: int) -> None:
        disk = self.disks[n]
        log = RaftLog(*disk.base)
        log.append(disk.entries)
        log.batched = log.durable = log.last_index
        log.commit = max(log.commit, disk.hard_state.commit)
        taken = disk.snapshot
        history = ConfigurationLog(
            taken.index if taken else 0, taken.configuration if taken else Configuration()
        )
        for entry in disk.entries:
            if entry.kind == CONFIGURATION and entry.index > history.index:
                history.append(entry.index, decode_entry(entry.data).configuration)
        self.rafts[n] = Raft(
            n,
            RaftSettings(**self.options),
            log,
            disk.hard_state,
            history,
            taken,
            Steady(),
            self.now_us,  # type: ignore[arg-type]
        )
        self.batches[n] = None

    # Time.

    def do_timeout(self, n: str) -> None:
        raft = self.rafts[int(n)]
        raft.election_deadline_us = self.now_us
        raft.tick(self.now_us)
        self._events()

    def do_lead(self, n: str) -> None:
        self.do_timeout(n)
        self.do_stabilize()
        raft = self.rafts[int(n)]
        assert raft.role == LEADER, self.out
        self.out = [f"{n} leads term {raft.term}"]

    def do_elapse(self, ms: str) -> None:
        end_us = self.now_us + int(ms) * 1000
        while True:
            due = min((raft.deadline_us, n) for n, raft in self.rafts.items())
            if due[0] > end_us:
                break
            self.now_us = max(self.now_us, due[0])
            self.rafts[due[1]].tick(self.now_us)
            self._events()
        self.now_us = end_us

    def do_late(self, n: str, ms: str) -> None:
        self.now_us += int(ms) * 1000
        self.rafts[int(n)].tick(self.now_us)
        self._events()

    # Obligations.

    def do_ready(self, n: str) -> None:
        self._ready(int(n))

    def do_save(self, n: str) -> None:
        self._save(int(n))

    def do_stabilize(self, *names: str) -> None:
        chosen = [int(n) for n in names] or sorted(self.rafts)
        for _ in range(200):
            before = len(self.out)
            busy = False
            for n in chosen:
                busy |= self._ready(n)
                if self.batches[n] is not None:
                    self._save(n)
                    busy = True
            for n in chosen:
                busy |= self._deliver(n, None)
            if not busy and len(self.out) == before:
                return
        raise AssertionError("it does not come to rest")

    def _ready(self, n: int) -> bool:
        raft = self.rafts[n]
        commit = raft.log.commit
        ready = raft.ready(self.batches[n] is None)
        if ready is None:
            assert raft.log.commit == commit
            return False
        if ready.save:
            assert ready.hard_state is not None
            self.batches[n] = (ready.snapshot, ready.entries, ready.hard_state)
            state = ready.hard_state
            parts = [f"term={state.term} vote={state.vote}"]
            if ready.snapshot:
                parts.append(f"snapshot={ready.snapshot.index}/{ready.snapshot.term}")
            parts += [show_entry(entry) for entry in ready.entries]
            self.out.append(f"{n} saves {' '.join(parts)}")
        for target, message in ready.messages:
            lost = (n, target) in self.cuts
            self.out.append(f"{n}->{target} {show(message)}{' (lost)' if lost else ''}")
            if not lost:
                self.wires.append((n, target, message))
        for index, context in ready.reads:
            self.out.append(f"{n} may read {context!r} at {index}")
        assert raft.log.commit == commit
        return bool(ready.messages or ready.reads or ready.save)

    def _save(self, n: int) -> None:
        batch = self.batches[n]
        assert batch is not None, n
        self.disks[n].write(*batch)
        self.batches[n] = None
        self._watching(n, lambda: self.rafts[n].saved(self.now_us))

    def _watching(self, n: int, act: Any) -> None:
        raft = self.rafts[n]
        commit = raft.log.commit
        act()
        self._events()
        if raft.log.commit != commit:
            self.out.append(f"{n} commits up to {raft.log.commit}")

    # The network.

    def do_deliver(self, n: str, source: str = "") -> None:
        only = int(source.removeprefix("from=")) if source else None
        self._deliver(int(n), only)

    def _deliver(self, n: int, only: int | None) -> bool:
        mine = [each for each in self.wires if each[1] == n and only in (None, each[0])]
        self.wires = [each for each in self.wires if each not in mine]
        for _, target, message in mine:
            if target in self.rafts:
                raft = self.rafts[target]
                self._watching(target, lambda r=raft, m=message: r.step(m, self.now_us))
        return bool(mine)

    def do_drop(self, link: str) -> None:
        source, target = (int(n) for n in link.split("->"))
        for each in self.wires:
            if each[:2] == (source, target):
                self.out.append(f"lost: {source}->{target} {show(each[2])}")
        self.wires = [each for each in self.wires if each[:2] != (source, target)]

    def do_repeat(self, link: str) -> None:
        source, target = (int(n) for n in link.split("->"))
        self.wires += [each for each in self.wires if each[:2] == (source, target)]

    def do_reverse(self, link: str) -> None:
        source, target = (int(n) for n in link.split("->"))
        chosen = [each for each in self.wires if each[:2] == (source, target)]
        self.wires = [each for each in self.wires if each[:2] != (source, target)] + chosen[::-1]

    def do_install(self, link: str) -> None:
        source, target = (int(n) for n in link.split("->"))
        raft = self.rafts[source]
        taken = raft.snapshot
        assert taken is not None, link
        message = InstallSnapshot(
            raft.term,
            source,
            taken.index,
            taken.term,
            taken.configuration,
            0,
            len(taken.data),
            crc32c.crc32c(taken.data),
            taken.data,
        )
        self.wires.append((source, target, message))

    def do_append(self, link: str, prev: str, count: str) -> None:
        source, target = (int(n) for n in link.split("->"))
        log = self.rafts[source].log
        first = int(prev) + 1
        entries = log.slice(first, int(count), 1 << 20) if int(count) else []
        message = AppendEntries(
            self.rafts[source].term, source, first - 1, log.term_at(first - 1), log.commit, entries
        )
        self.out.append(f"{source}->{target} {show(message)}")
        self.wires.append((source, target, message))

    def do_cut(self, *links: str) -> None:
        for link in links:
            source, target = link.split("->")
            self.cuts.add((int(source), int(target)))

    def do_isolate(self, n: str) -> None:
        for other in self.rafts:
            self.cuts |= {(int(n), other), (other, int(n))}
        self.wires = [each for each in self.wires if int(n) not in each[:2]]

    def do_heal(self) -> None:
        self.cuts.clear()

    # Requests.

    def do_propose(self, n: str, text: str) -> None:
        taken = self.rafts[int(n)].propose(NORMAL, text.encode())
        self.out.append("taken" if taken else "dropped")

    def do_read(self, n: str, text: str) -> None:
        if not self.rafts[int(n)].read_index(text):
            self.out.append("not leader")

    def do_change(self, n: str, kind: str, target: str) -> None:
        self.sequence += 1
        change = Change(KINDS[kind], Member(int(target), f"n{target}"))
        try:
            taken = membership_changes.propose(self.rafts[int(n)], int(n), 1, self.sequence, change)
            self.out.append("taken" if taken else "not now")
        except ChangeRejectedError as error:
            self.out.append(f"rejected: {error}")
        self._events()

    def do_transfer(self, n: str, target: str) -> None:
        begun = transfer.begin(self.rafts[int(n)], int(target))
        self.out.append("begun" if begun else "refused")

    def do_snapshot(self, n: str, keep: str) -> None:
        raft = self.rafts[int(n)]
        index = raft.log.commit
        configuration = raft.configurations.at(index)
        taken = Snapshot(index, raft.log.term_at(index), configuration, b"state up to %d" % index)
        raft.compact(taken, int(keep))
        disk = self.disks[int(n)]
        disk.snapshot = taken
        kept = raft.log.base_index - disk.base[0]
        disk.entries = disk.entries[kept:]
        disk.base = (raft.log.base_index, raft.log.base_term)
        self.out.append(f"{n} keeps {raft.log.base_index + 1}..{raft.log.last_index}")

    def do_crash(self, n: str) -> None:
        self._start(int(n))

    # What there is.

    def do_log(self, *names: str) -> None:
        for n in [int(n) for n in names] or sorted(self.rafts):
            log = self.rafts[n].log
            shown = " ".join(
                show_entry(entry) + ("" if entry.index <= log.durable else "~")
                for entry in log.entries
            )
            base = f"[{log.base_index}/{log.base_term}] " if log.base_index else ""
            self.out.append(f"{n}: {base}{shown} | commit {log.commit}")

    def do_status(self) -> None:
        for n, raft in sorted(self.rafts.items()):
            voters = ",".join(str(voter) for voter in raft.voter_ids)
            self.out.append(
                f"{n} {ROLE_NAMES[raft.role]} term={raft.term} vote={raft.vote} "
                f"leader={raft.leader} commit={raft.log.commit} voters={voters}"
            )
            if raft.leadership is not None:
                self.out += [f"  {progress!r}" for progress in raft.leadership.peers]

    def _events(self) -> None:
        for n, raft in sorted(self.rafts.items()):
            for name, fields in raft.outbox.events:
                shown = " ".join(f"{key}={value}" for key, value in fields.items())
                self.out.append(f"{n} {name} {shown}")
            raft.outbox.events.clear()


def show_entry(entry: Entry) -> str:
    """Show index/term and content."""
    if entry.kind == CONFIGURATION:
        members = decode_entry(entry.data).configuration.members
        content = "{" + ",".join(f"{m.id}{'?' if m.is_learner else ''}" for m in members) + "}"
    else:
        content = entry.data.decode() or "-"
    return f"{entry.index}/{entry.term}:{content}"


def show(message: Message) -> str:
    """Show a message on one line."""
    match message:
        case RequestVote():
            kind = "PreVote?" if message.pre else "Vote?"
            by = " transfer" if message.transfer else ""
            last = f"{message.last_index}/{message.last_term}"
            return f"{kind} term={message.term} last={last}{by}"
        case VoteReply():
            kind = "PreVote" if message.pre else "Vote"
            return f"{kind} term={message.term} {'granted' if message.granted else 'refused'}"
        case AppendEntries():
            shown = "".join(f" {show_entry(entry)}" for entry in message.entries)
            prev = f"{message.prev_index}/{message.prev_term}"
            return f"Append term={message.term} prev={prev} commit={message.commit}{shown}"
        case AppendReply(rejected=True):
            hint = f"{message.hint_index}/{message.hint_term}"
            return f"Rejected term={message.term} at={message.index} hint={hint}"
        case AppendReply():
            return f"Appended term={message.term} up to {message.index}"
        case Heartbeat(round=0):
            return f"Commit term={message.term} {message.commit}"
        case Heartbeat():
            return f"Heartbeat term={message.term} commit={message.commit} round={message.round}"
        case HeartbeatReply():
            return f"HeartbeatReply term={message.term} round={message.round}"
        case InstallSnapshot():
            part = f"{message.offset}+{len(message.data)} of {message.size}"
            at = f"{message.index}/{message.snapshot_term}"
            return f"Snapshot term={message.term} {at} bytes {part}"
        case SnapshotReply():
            return f"SnapshotReply term={message.term} {message.index} has {message.offset}"
        case TimeoutNow():
            return f"TimeoutNow term={message.term}"
    raise AssertionError(message)
