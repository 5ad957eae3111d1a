"""The properties of the Raft paper that can be checked on collected evidence, one function each.

    election-safety     at most one leader a term                                   (section 5.2)
    log-matching        same index and term: same entry, and the same ones before   (section 5.3)
    committed-agree     what one node committed, no other commits differently       (section 5.4)
    hard-state          term and commit never go back; one vote a term              (section 5.1)
    state-machine       equal index, equal state                                    (section 5.4.3)

Sections of Ongaro & Ousterhout, "In search of an understandable consensus algorithm" (2014). Each
function takes every node's evidence and returns a verdict of its own, in one pass over the entries.
The properties hold under every fault, so faults are not considered. Who led a term is known from
the nodes' logs and from the observer's readings, so that property takes the history too. What a log
no longer holds (compacted, or truncated before it was collected) is not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from typing import Any, Final, TypeVar

from squall.checkers.evidence import NodeEvidence
from squall.checkers.history import History
from squall.checkers.raft.terms import leaders_by_term
from squall.checkers.text.words import listed
from squall.checkers.verdict import Anomaly, Validity, Verdict

ANOMALIES_MAX: Final = 20
"""Anomalies reported of each property; the rest is counted."""


def conclude(
    name: str,
    claim: str,
    looked_at: int | Sized,
    of_what: str,
    found: Iterator[Anomaly],
    *,
    reason: str | None = None,
) -> Verdict:
    """Return one property's verdict: invalid if anything was found, unknown if nothing was checked.

    `looked_at` is the number of things checked, or their collection once all was `found`.
    """
    anomalies: list[Anomaly] = []
    total = 0
    for anomaly in found:
        total += 1
        if len(anomalies) < ANOMALIES_MAX:
            anomalies.append(anomaly)
    looked_at = looked_at if isinstance(looked_at, int) else len(looked_at)
    validity = Validity.INVALID if total else Validity.UNKNOWN if reason else Validity.VALID
    if not total and not reason and not looked_at:
        validity, reason = Validity.UNKNOWN, f"no {of_what} to look at"
    return Verdict(
        checker=name,
        validity=validity,
        claim=claim,
        evidence=f"{looked_at:,} {of_what}",
        reason=None if total else reason,
        anomalies=tuple(anomalies),
        stats={"anomalies": total} if total else {},
    )


def broken(kind: str, summary: str, explanation: str, **data: Any) -> Anomaly:
    """Report a broken property; `explanation` is its proof, `data` names nodes and places."""
    return Anomaly(kind=kind, summary=summary, explanation=explanation, data=data)


Said = TypeVar("Said")
Known = dict[int, tuple[Said, str]]
"""The first statement about each index, and the node that made it."""


def contradicted(
    known: Known[Said], index: int, said: Said, node: NodeEvidence
) -> Iterator[tuple[Said, str]]:
    """Yield each node's statement about an index that contradicts the first one."""
    before, other = known.setdefault(index, (said, node.node))
    if before != said:
        yield before, other


def election_safety(nodes: tuple[NodeEvidence, ...], history: History) -> Verdict:
    """Raft 5.2: at most one leader can be elected in a given term."""
    leaders = leaders_by_term(nodes, history)

    def find() -> Iterator[Anomaly]:
        for term, names in leaders.items():
            if len(names) > 1:
                yield broken(
                    "two-leaders",
                    f"{listed(names)} {'both' if len(names) == 2 else 'all'} became leader of "
                    f"term {term}.",
                    f"Let {listed(names)} be the nodes which report that they became leader of "
                    f"term {term}.\nThen each had the votes of a majority, and two majorities "
                    f"share a node.\nHowever, a node votes once a term (Raft, section 5.2).",
                    term=term,
                    nodes=list(names),
                )

    return conclude(
        "election-safety", "A term has at most one leader.", len(leaders), "led terms", find()
    )


def _log_matching(nodes: tuple[NodeEvidence, ...]) -> Verdict:
    """Raft 5.3: (index, term) identifies an entry, and with it the one before it."""
    known: dict[tuple[int, int], tuple[str, int | None, str]] = {}

    def find() -> Iterator[Anomaly]:
        for node in nodes:
            before: int | None = None
            for entry in node.entries:
                place = (entry.index, entry.term)
                digest, previous, other = known.setdefault(place, (entry.digest, before, node.node))
                if digest != entry.digest:
                    yield broken(
                        "log-mismatch",
                        f"{other} and {node.node} hold different entries at index {entry.index}, "
                        f"term {entry.term}.",
                        f"Let E be the entry at index {entry.index} of term {entry.term}.\n"
                        f"Then E was made by the one leader of term {entry.term}, once.\n"
                        f"However, {other} has {digest} there and {node.node} has {entry.digest}.",
                        index=entry.index,
                        term=entry.term,
                        nodes=[other, node.node],
                    )
                elif previous is not None and before is not None and previous != before:
                    yield broken(
                        "log-mismatch",
                        f"{other} and {node.node} agree on index {entry.index} but not on the "
                        f"entry before it.",
                        f"Let E be the entry at index {entry.index} of term {entry.term}, which "
                        f"{other} and {node.node} both hold.\nThen all entries before E are equal "
                        f"too (Raft, section 5.3).\nHowever, the one before it is of term "
                        f"{previous} on {other} and of term {before} on {node.node}.",
                        index=entry.index,
                        term=entry.term,
                        nodes=[other, node.node],
                    )
                elif previous is None and before is not None:
                    known[place] = (digest, before, node.node)
                before = entry.term

    looked_at = sum(len(node.entries) for node in nodes)
    return conclude(
        "log-matching",
        "Entries with equal index and term are equal, and so is all before them.",
        looked_at,
        "entries",
        find(),
    )


def _committed_agree(nodes: tuple[NodeEvidence, ...]) -> Verdict:
    """Raft 5.4: a committed entry never changes, on no node."""
    known: Known[tuple[int, str]] = {}

    def find() -> Iterator[Anomaly]:
        for node in nodes:
            for entry in node.entries:
                if entry.index > node.committed:
                    break
                said = (entry.term, entry.digest)
                for (term, digest), other in contradicted(known, entry.index, said, node):
                    yield broken(
                        "committed-diverge",
                        f"{other} and {node.node} committed different entries at index "
                        f"{entry.index}.",
                        f"Let E be the entry that {other} committed at index {entry.index} (term "
                        f"{term}, {digest}).\nThen every node that commits index {entry.index} "
                        f"commits E.\nHowever, {node.node} committed term {entry.term}, "
                        f"{entry.digest} there.",
                        index=entry.index,
                        nodes=[other, node.node],
                    )
            for index in node.overwrote_committed:
                yield broken(
                    "committed-overwritten",
                    f"{node.node} overwrote entry {index}, which it had committed.",
                    f"Let E be entry {index} on {node.node}.\nThen E was committed, because "
                    f"{node.node}'s own hard state said so.\nHowever, a later record of the same "
                    f"WAL puts something else in its place.",
                    index=index,
                    nodes=[node.node],
                )

    return conclude(
        "committed-agree",
        "What one node committed, no node commits differently, ever.",
        known,
        "committed entries",
        find(),
    )


def _hard_state(nodes: tuple[NodeEvidence, ...]) -> Verdict:
    """Raft 5.1 and 5.2: terms only grow, and a vote given in a term stays."""
    names = {node.member_id: node.node for node in nodes if node.member_id}

    def named(member: int) -> str:
        return names.get(member, f"member {member:x}") if member else "none"

    def find() -> Iterator[Anomaly]:
        for node in nodes:
            for at, (old, new) in enumerate(
                zip(node.hard_states, node.hard_states[1:], strict=False), 1
            ):
                if new.term < old.term:
                    what = f"its term went back from {old.term} to {new.term}"
                elif new.commit < old.commit:
                    what = f"its commit index went back from {old.commit} to {new.commit}"
                elif new.term == old.term and old.vote and new.vote != old.vote:
                    to = f"one for {named(new.vote)}" if new.vote else "none"
                    what = f"its vote for {named(old.vote)} in term {new.term} became {to}"
                else:
                    continue
                yield broken(
                    "hard-state-regressed",
                    f"On {node.node} {what}.",
                    f"Let H1 and H2 be the durable states {at} and {at + 1} in {node.node}'s WAL: "
                    f"(term {old.term}, vote {named(old.vote)}, commit {old.commit}) and "
                    f"(term {new.term}, vote {named(new.vote)}, commit {new.commit}).\n"
                    f"Then H2 may only go forward from H1.\nHowever, {what}.",
                    nodes=[node.node],
                    record=at,
                )

    looked_at = sum(len(node.hard_states) for node in nodes)
    return conclude(
        "hard-state",
        "A node's durable term and commit never go back, and it votes once a term.",
        looked_at,
        "durable states",
        find(),
    )


def _state_machine(nodes: tuple[NodeEvidence, ...]) -> Verdict:
    """Raft 5.4.3: state machines that applied the same index are equal."""
    known: Known[tuple[str, int]] = {}

    def find() -> Iterator[Anomaly]:
        for node in nodes:
            for found in node.digests:
                said = (found.digest, found.revision)
                for (digest, revision), other in contradicted(known, found.index, said, node):
                    yield broken(
                        "state-diverged",
                        f"{_two(other, node.node)} differ in state after applying index "
                        f"{found.index}.",
                        f"Let S be the state after applying index {found.index}.\nThen S is the "
                        f"same on every node, because it is computed from the same commands.\n"
                        f"However, {other} had digest {digest} at revision {revision}, and "
                        f"{node.node} {found.digest} at revision {found.revision}.",
                        index=found.index,
                        nodes=[other, node.node],
                    )

    return conclude(
        "state-machine",
        "Nodes that applied the same index hold the same state.",
        known,
        "indexes with digests",
        find(),
    )


PROPERTIES: Final[tuple[Callable[[tuple[NodeEvidence, ...]], Verdict], ...]] = (
    _log_matching,
    _committed_agree,
    _hard_state,
    _state_machine,
)
"""Every property that needs only the nodes' evidence, in the order of the report."""


def _two(one: str, other: str) -> str:
    return f"{one} and {other}" if one != other else f"Two passes of {one}"
