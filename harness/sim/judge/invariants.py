"""What must hold at every apply; the first broken rule stops the run, with its evidence.

Each rule costs O(1) where it is checked, so all of them are always on. They look at what the nodes
do from outside (messages sent, entries applied, what a restart found), and share no code with the
node: this is the white-box judge of a simulated run.

    election safety       at most one leader a term (Raft, figure 3)
    leader completeness   a new leader's log holds all that was applied in earlier terms
    state machine safety  at one index every node applies the same command of the same term, and
                          what one node commits there is of the same term as what another did
    order                 applied indexes have no repetition and never go back while a node runs
    commitment            what a leader counts as committed, a majority of its voters has made
                          durable; to no follower it announces more than that one acknowledged
    monotone              term (also over restarts), commit, applied, revision never go back
    convergence           equal state digest at equal index; a restored state is the one that the
                          snapshot was taken of
    durability            what a node finds after a crash covers everything it promised (its term,
                          its vote, the entries it acknowledged), and it accepts a disk that no
                          fault touched
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from squall.checkers.text.words import listed
from squall.harness.sim.judge.states import Parts, differing, identity

DIED = "node died by itself"
"""The rule that a node's own exception breaks; the exception is the evidence."""


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that did not hold: which, where, when, and what was seen, in one sentence."""

    rule: str
    node: str
    at_us: int
    text: str

    def sentence(self) -> str:
        """Return it as one sentence: when, where, what."""
        return f"{self.rule}: at {self.at_us / 1e6:.6f} s {self.node} {self.text}"


class _Seen:
    """The highest values a node was seen at, and what it promised."""

    __slots__ = (
        "acked",
        "acked_at",
        "applied",
        "commit",
        "promised_term",
        "revision",
        "term",
        "votes",
    )

    def __init__(self) -> None:
        self.term = 0
        self.commit = 0
        self.applied = 0
        self.revision = 0
        self.promised_term = 0
        self.votes: dict[int, int] = {}
        self.acked = 0  # highest index acknowledged ...
        self.acked_at = 0  # ... in this term, to its leader


Stop = Callable[[Broken], None]


class Invariants:
    """The rules over one run. `stop` is called with the first one broken, and never again."""

    def __init__(
        self, nodes: tuple[str, ...], now_us: Callable[[], int], stop: Stop | None = None
    ) -> None:
        self.broken: Broken | None = None
        self._nodes = nodes
        self._now_us = now_us
        self._stop = stop
        self._leaders: dict[int, int] = {}
        self._reached: dict[int, int] = {}  # term -> the highest index committed by a node in it
        self._chosen: dict[int, tuple[int, bytes]] = {}
        self._committed: dict[int, int] = {}  # index at which some node's commit stood -> its term
        self._digests: dict[int, tuple[str, int]] = {}
        self._seen = [_Seen() for _ in nodes]
        self._snapshots: dict[bytes, tuple[Parts, int]] = {}  # identity -> state, whose
        self._states: dict[int, tuple[Parts, int]] = {}  # applied index -> state, whose
        self._vouched: dict[int, dict[int, int]] = {}  # term -> member id -> highest index
        self._counted: dict[int, tuple[int, int]] = {}  # node -> term, index it counted itself for

    # While a node runs.

    def leads(self, node: int, term: int, last_index: int, term_at: Callable[[int], int]) -> None:
        """Check election safety and leader completeness (Raft, figure 3).

        `node` says that it leads `term`, its log ends at `last_index`, and `term_at` tells the term
        of each of its entries (below 0 where it does not know). What was committed for a node that
        stood in an earlier term was so in that term or before; by log matching, a leader that holds
        the last of it holds all of it.
        """
        reached = max((i for at, i in self._reached.items() if at < term), default=0)
        if last_index < reached:
            self._break(
                "leader completeness",
                node,
                f"became leader of term {term} with a log that ends at {last_index}, when "
                f"{reached} had been committed in an earlier term",
            )
        elif reached and (held := term_at(reached)) >= 0 and held != self._committed[reached]:
            self._break(
                "leader completeness",
                node,
                f"became leader of term {term} with an entry of term {held} at index {reached}, "
                f"where one of term {self._committed[reached]} had been committed in an earlier "
                "term",
            )
        other = self._leaders.setdefault(term, node)
        if other != node:
            self._break(
                "election safety",
                node,
                f"became leader of term {term}, whose leader was {self._nodes[other]}",
            )

    def applies(self, node: int, index: int, term: int, command: bytes) -> None:
        """Check state machine safety and order, before a command is applied."""
        seen = self._seen[node]
        if index <= seen.applied:
            self._break("order", node, f"applies index {index} after index {seen.applied}")
        seen.applied = index
        chosen = self._chosen.get(index)
        if chosen is None:
            self._chosen[index] = (term, command)
        elif chosen[0] != term or chosen[1] != command:
            self._break(
                "state machine safety",
                node,
                f"applies term {term}, {_short(command)} at index {index}, where another node "
                f"applied term {chosen[0]}, {_short(chosen[1])}",
            )

    def applied(self, node: int, index: int, revision: int, digest: str) -> None:
        """Check convergence and the revision, after everything up to `index` was applied."""
        seen = self._seen[node]
        if revision < seen.revision:
            self._break("monotone", node, f"went from revision {seen.revision} to {revision}")
        seen.revision = revision
        if index > seen.applied:
            seen.applied = index
        known = self._digests.get(index)
        if known is None:
            self._digests[index] = (digest, node)
        elif known[0] != digest:
            self._break(
                "convergence",
                node,
                f"has state {digest} after index {index}, where {self._nodes[known[1]]} "
                f"has {known[0]}",
            )

    def takes_snapshot(self, node: int, data: bytes, state: Parts) -> None:
        """Remember of what state a node took a snapshot; `data` identifies the snapshot."""
        self._snapshots.setdefault(data, (state, node))

    def restored(
        self, node: int, revision: int, data: bytes = b"", state: Parts | None = None
    ) -> None:
        """Check a state that came from a snapshot.

        It does not take a running node back, and the state is the one that the snapshot was taken
        of: `state` is read from what the node holds now, `data` identifies the snapshot.
        """
        taken = self._snapshots.get(data)
        if state is not None and taken is not None and (wrong := differing(taken[0], state)):
            self._break(
                "convergence",
                node,
                f"restored another state at revision {revision} than the one of which "
                f"{self._nodes[taken[1]]} took the snapshot: {', '.join(wrong)} differ",
            )
        seen = self._seen[node]
        if revision < seen.revision:
            self._break(
                "monotone", node, f"restored revision {revision} over revision {seen.revision}"
            )
        seen.revision = revision

    def holds(self, node: int, index: int, state: Parts) -> None:
        """Check that the state of a node which applied `index` is that of others which did."""
        known, other = self._states.setdefault(index, (state, node))
        if wrong := differing(known, state):
            self._break(
                "convergence",
                node,
                f"differs from {self._nodes[other]} after index {index}: {', '.join(wrong)}",
            )

    def stands(self, node: int, term: int, commit: int, committed: int) -> None:
        """Check that term and commit of a running node never go back, and what is committed.

        `committed` is the term of its entry at `commit`, below 0 where it does not know.
        """
        seen = self._seen[node]
        if term < seen.term:
            self._break("monotone", node, f"went from term {seen.term} to {term}")
        if commit < seen.commit:
            self._break("monotone", node, f"went from commit {seen.commit} to {commit}")
        seen.term, seen.commit = term, commit
        if not commit or committed < 0:
            return
        known = self._committed.setdefault(commit, committed)
        if known != committed:
            self._break(
                "state machine safety",
                node,
                f"has an entry of term {committed} committed at index {commit}, where another node "
                f"has one of term {known}",
            )
        if commit > self._reached.get(term, 0):
            self._reached[term] = commit

    def commits(
        self, node: int, term: int, index: int, durable: int, voters: tuple[tuple[int, str], ...]
    ) -> None:
        """Check that a leader counts as committed only what a majority holds durably.

        `node` leads `term`, its commit index has become `index`, and it says that its own log is
        durable up to `durable`; `voters` are the ids and names of the voters of its configuration.
        A follower vouches for an index with its acknowledgement of this term. A leader vouches for
        itself: where the majority needs it, its disk must have the entry after a crash (see
        `restarts`).
        """
        vouched, itself = self._vouched.get(term, {}), self._nodes[node]
        holding = {
            name for member, name in voters if name != itself and vouched.get(member, 0) >= index
        }
        needed = len(voters) // 2 + 1
        if len(holding) >= needed:
            return
        if durable >= index and any(name == itself for _, name in voters):
            holding.add(itself)
            self._counted[node] = (term, index)
        if len(holding) < needed:
            self._break(
                "commitment",
                node,
                f"counts index {index} as committed as the leader of term {term}, which "
                f"{_names(holding)} of its {len(voters)} voters had made durable, where {needed} "
                "must have",
            )

    def announces(self, node: int, term: int, commit: int, target: int, name: str) -> None:
        """Check a leader's heartbeat to member `target`, called `name`: it says `commit`."""
        vouched = self._vouched.get(term, {}).get(target, 0)
        if commit > vouched:
            self._break(
                "commitment",
                node,
                f"announces as the leader of term {term} that {name} holds index {commit}, for "
                f"which {name} never vouched in that term (only up to {vouched})",
            )

    # What leaves a node and depends on its disk.

    def promises_vote(self, node: int, term: int, candidate: int) -> None:
        """Check that a node votes once a term, and remember the promise."""
        seen = self._seen[node]
        if seen.votes.setdefault(term, candidate) != candidate:
            self._break(
                "election safety",
                node,
                f"votes for {candidate} in term {term}, in which it voted for {seen.votes[term]}",
            )
        if term > seen.promised_term:
            seen.promised_term = term

    def promises_entries(self, node: int, term: int, index: int, member: int = 0) -> None:
        """Remember that a node acknowledged all entries up to `index` to the leader of `term`.

        `member` is the id under which it did.
        """
        vouched = self._vouched.setdefault(term, {})
        if index > vouched.get(member, 0):
            vouched[member] = index
        seen = self._seen[node]
        if term > seen.acked_at or (term == seen.acked_at and index > seen.acked):
            seen.acked, seen.acked_at = index, term
        if term > seen.promised_term:
            seen.promised_term = term

    def recovers(self, node: int) -> None:
        """Note that a node begins to recover from its disk: it applies from the start again."""
        seen = self._seen[node]
        seen.commit = seen.applied = seen.revision = 0

    def restarts(self, node: int, term: int, vote: int, last_index: int) -> None:
        """Check durability: what a node found on its disk covers what it promised before.

        The last index may fall short of an acknowledgement only if a newer leader had entries cut
        off, and then the durable term is newer than the acknowledgement's.
        """
        seen = self._seen[node]
        if term < seen.promised_term:
            self._break(
                "durability", node, f"restarts in term {term}, having promised {seen.promised_term}"
            )
        promised = seen.votes.get(term)
        if promised is not None and promised != vote:
            self._break(
                "durability",
                node,
                f"restarts with vote {vote} in term {term}, having voted for {promised}",
            )
        if last_index < seen.acked and term == seen.acked_at:
            self._break(
                "durability",
                node,
                f"restarts with {last_index} as its last index in term {term}, in which it had "
                f"acknowledged {seen.acked}",
            )
        counted_in, counted = self._counted.get(node, (0, 0))
        if last_index < counted and term == counted_in:
            self._break(
                "durability",
                node,
                f"restarts with {last_index} as its last index in term {term}, whose leader it "
                f"was: it had counted itself in the majority that committed {counted}",
            )
        seen.term = term

    def refuses(self, node: int, words: str) -> None:
        """Report that a node refuses its own disk, which no fault touched."""
        self._break(
            "durability", node, f"refuses to start from a disk that nothing had damaged: {words}"
        )

    def revision(self) -> int:
        """Return the highest revision any node was seen at."""
        return max(seen.revision for seen in self._seen)

    def forget(self, node: int) -> None:
        """Forget a node's promises: its disk was replaced, and it is a new member."""
        self._seen[node] = _Seen()
        self._counted.pop(node, None)

    def fails(self, rule: str, node: int, text: str) -> None:
        """Report a rule that was found broken elsewhere."""
        self._break(rule, node, text)

    def _break(self, rule: str, node: int, text: str) -> None:
        if self.broken is None:
            name = self._nodes[node] if node >= 0 else "cluster"
            self.broken = Broken(rule=rule, node=name, at_us=self._now_us(), text=text)
            if self._stop is not None:
                self._stop(self.broken)


class WatchedMachine:
    """A state machine whose every apply and restore is checked by the invariants."""

    __slots__ = ("_invariants", "_node", "_state", "machine")

    def __init__(
        self,
        machine: Any,
        invariants: Invariants,
        node: int,
        state: Callable[[], Parts] = dict,
    ) -> None:
        """`state` digests the machine's whole state, read from what it holds."""
        self.machine = machine
        self._invariants = invariants
        self._node = node
        self._state = state

    def apply(self, index: int, term: int, command: bytes) -> Any:
        """Apply one command, checked before and after."""
        invariants, node, machine = self._invariants, self._node, self.machine
        invariants.applies(node, index, term, command)
        result = machine.apply(index, term, command)
        invariants.applied(node, index, machine.revision, machine.digest())
        return result

    def snapshot(self) -> bytes:
        """Return the whole state."""
        data: bytes = self.machine.snapshot()
        self._invariants.takes_snapshot(self._node, identity(data), self._state())
        return data

    def pieces(self) -> Iterator[bytes]:
        """Return the whole state, to be encoded bit by bit."""
        return self._pieces(self.machine.pieces(), self._state())

    def _pieces(self, pieces: Iterator[bytes], state: Parts) -> Iterator[bytes]:
        made = []
        for piece in pieces:
            made.append(piece)
            yield piece
        self._invariants.takes_snapshot(self._node, identity(b"".join(made)), state)

    def restore(self, data: bytes) -> None:
        """Replace the whole state, checked after."""
        self.machine.restore(data)
        self._invariants.restored(self._node, self.machine.revision, identity(data), self._state())

    @property
    def revision(self) -> int:
        """Return the store's revision."""
        revision: int = self.machine.revision
        return revision

    def digest(self) -> str:
        """Return the state's digest."""
        digest: str = self.machine.digest()
        return digest


def _names(names: set[str]) -> str:
    return f"only {listed(sorted(names))}" if names else "none"


def _short(command: bytes) -> str:
    return repr(command if len(command) <= 60 else command[:57] + b"...")
