"""Raft safety of a run, from the evidence collected from its nodes.

White box: WALs, digests of the state machines, the nodes' logs. The properties of the Raft paper
are those of `squall.checkers.raft.properties`. Besides them there are five that depend on the run:

    durability          what a node applied is in its log on disk, and it starts from that disk
                        again, unless a fault damaged the disk
    final-state         after recovery all nodes hold the same
    node-assertions     no node stopped by itself, unless a fault damaged its disk
    evidence-whole      every WAL could be read to its end, unless a fault damaged it
    observed-rules      the simulator observed no broken rule (only in the simulator)

Nothing is ordered by a node's clock. Missing or damaged evidence makes a property unknown, unless
the remaining evidence already proves it broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from squall.checkers.campaign.recovery import recovered
from squall.checkers.evidence import Evidence, NodeEvidence
from squall.checkers.faults import fault_windows
from squall.checkers.history import History
from squall.checkers.raft.properties import PROPERTIES, broken, conclude, election_safety
from squall.checkers.text.words import listed
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict, worst

DISK_FAULTS: Final = ("disk", "corrupt", "bitflip", "truncate", "lose")
"""Kinds of fault that damage a disk on purpose; damage on their targets proves nothing."""

MESSAGE_CHARS_MAX: Final = 2_000
"""Characters of a node's assertion message that are reported."""


def raft_safety() -> Checker:
    """Return the white-box checker; its children are the properties."""

    def check(history: History, evidence: Evidence, _budget: Budget) -> Verdict:
        return check_raft_safety(history, evidence)

    return Checker(name="raft-safety", check=check)


def check_raft_safety(history: History, evidence: Evidence) -> Verdict:
    """Judge every property."""
    nodes = tuple(evidence.nodes.values())
    damaged_by_us = {
        target
        for window in fault_windows(history)
        if window.kind.startswith(DISK_FAULTS)
        for target in window.targets
    }
    children = (election_safety(nodes, history), *(judge(nodes) for judge in PROPERTIES))
    children += (
        _durability(nodes, damaged_by_us),
        _final_state(nodes, evidence),
        _assertions(nodes, damaged_by_us),
        _evidence_whole(nodes, damaged_by_us),
    )
    if evidence.breaches:
        children = (_observed(evidence), *children)
    entries = sum(len(node.entries) for node in nodes)
    validity = worst([child.validity for child in children])
    return Verdict(
        checker="raft-safety",
        validity=validity,
        claim="The nodes kept Raft's promises to each other.",
        evidence=f"{len(nodes)} nodes, {entries:,} log entries",
        reason=next((child.reason for child in children if child.reason), None)
        if validity is Validity.UNKNOWN
        else None,
        method="nodes' WALs and logs",
        children=children,
    )


def _durability(nodes: tuple[NodeEvidence, ...], damaged_by_us: set[str]) -> Verdict:
    """Raft 5: what a node applied was durable before.

    The logs are copied after the last status was requested, so each must reach at least that far.
    """
    judged = [
        (node.node, int(node.final.get("applied") or 0), node.entries[-1].index)
        for node in nodes
        if node.final and node.entries and not node.damage and node.node not in damaged_by_us
    ]

    def find() -> Iterator[Anomaly]:
        for name, applied, last in judged:
            if last < applied:
                yield broken(
                    "not-durable",
                    f"{name} had applied index {applied}, but its log on disk ends at {last}.",
                    f"Let I be index {applied}, which {name} said it had applied when the run "
                    f"ended.\nThen entry I was on {name}'s disk, because a node applies, and "
                    f"vouches for, only what a power failure cannot take away.\nHowever, its log, "
                    f"copied after that, ends at index {last}.",
                    node=name,
                    applied=applied,
                    last=last,
                )
        for node in nodes:
            for text in node.refusals:
                if node.node not in damaged_by_us:
                    yield _refused(node.node, text[:MESSAGE_CHARS_MAX])

    refused = [node.node for node in nodes if node.refusals and node.node in damaged_by_us]
    # Without logs, or without a status, nothing was checked; other properties report that.
    reason = None if judged else "no node gave both a log and a last status"
    if refused:
        reason = f"{listed(refused)} would not start after a fault had damaged the disk"
    return conclude(
        "durability",
        "What a node applied is in its log on disk, from which it can start again.",
        len(judged),
        "nodes' logs beside their last status",
        find(),
        reason=reason,
    )


def _refused(name: str, text: str) -> Anomaly:
    return broken(
        "refused-own-disk",
        f"{name} would not start from its own disk, which no fault had damaged.",
        f"Let D be the data directory of {name}, to which only {name} ever wrote and which only "
        f"crashes of {name} touched.\nThen {name} starts from D, because what a crash may leave of "
        f"unsynced writes is cut off, and all else is as it was written.\nHowever, {name} says: "
        f"{text}",
        nodes=[name],
    )


def _final_state(nodes: tuple[NodeEvidence, ...], evidence: Evidence) -> Verdict:
    """After recovery all nodes are at one index and hold the same."""
    finals = [(node.node, node.final) for node in nodes if node.final]
    known: dict[int, tuple[str, Any]] = {}

    def find() -> Iterator[Anomaly]:
        for name, final in finals:
            state = (final.get("revision"), final.get("digest"))
            other, there = known.setdefault(int(final.get("applied") or 0), (name, state))
            if there != state:
                yield broken(
                    "state-diverged",
                    f"At the end {other} and {name} differ in state at the same index.",
                    f"Let I be index {final.get('applied')}, which {other} and {name} had both "
                    f"applied when all was healed.\nThen they hold the same state.\nHowever, "
                    f"{other} had revision {there[0]} and digest {there[1]}, and {name} revision "
                    f"{state[0]} and digest {state[1]}.",
                    nodes=[other, name],
                )

    anomalies = list(find())
    agree = evidence.recovery.get("digests_agree")
    if agree is False and not anomalies:
        anomalies = [_disagreement(evidence.recovery.get("digests") or {})]
    silent = [node.node for node in nodes if not node.final]
    reason = None
    if silent:
        reason = f"{listed(silent)} gave no final status"
    elif recovered(evidence) and agree is None and len(known) > 1:
        spread = ", ".join(f"{name} at {index}" for index, (name, _) in sorted(known.items()))
        reason = f"the nodes' last status is of different moments ({spread})"
    return conclude(
        "final-state",
        "When all is healed, every node holds the same.",
        len(finals),
        "nodes",
        iter(anomalies),
        reason=reason,
    )


def _disagreement(found: dict[str, dict[str, Any]]) -> Anomaly:
    held = ", ".join(
        f"{name} {facts.get('digest')} at revision {facts.get('revision')}"
        for name, facts in sorted(found.items())
    )
    return broken(
        "state-diverged",
        "When all was healed and every node stood at the same index, they held different states.",
        f"Let D be the digests of what each node held: {held}.\nThen they are equal, because all "
        f"nodes had applied the same index.\nHowever, they differ.",
        nodes=sorted(found),
    )


def _assertions(nodes: tuple[NodeEvidence, ...], damaged_by_us: set[str]) -> Verdict:
    """Report nodes that stopped by themselves: their own assertion failed.

    One whose disk a fault damaged must stop, unless it logged that its own assertion failed.
    """
    expected = [
        node.node
        for node in nodes
        if node.node in damaged_by_us and any("AssertionError" not in a for a in node.assertions)
    ]

    def find() -> Iterator[Anomaly]:
        for node in nodes:
            for text in node.assertions:
                if node.node in expected and "AssertionError" not in text:
                    continue
                if any(words in text for words in node.refusals):
                    continue  # reported as a violation of durability instead
                lines = text.strip().splitlines() or ["(no words)"]
                # The essence of a traceback is in its last line, that of a message in its first.
                point = lines[-1] if lines[0].startswith("Traceback ") else lines[0]
                yield broken(
                    "node-assertion",
                    f"{node.node} stopped by itself: {point}",
                    text[-MESSAGE_CHARS_MAX:],
                    nodes=[node.node],
                )

    return conclude(
        "node-assertions",
        "No node stopped by itself.",
        len(nodes),
        "nodes",
        find(),
        reason=f"{listed(expected)} stopped when a fault took its disk" if expected else None,
    )


def _evidence_whole(nodes: tuple[NodeEvidence, ...], damaged_by_us: set[str]) -> Verdict:
    """Damage that no crash explains is an error of the WAL's writer, unless a fault caused it."""

    def find() -> Iterator[Anomaly]:
        for node in nodes:
            if node.damage and node.node not in damaged_by_us:
                yield broken(
                    "wal-damaged",
                    f"The WAL of {node.node} is damaged, and no fault touched its disk.",
                    f"Let D be the damage: {node.damage}.\nThen {node.node} wrote it, because a "
                    f"crash can only cut the tail of the last segment.",
                    nodes=[node.node],
                )

    expected = [node.node for node in nodes if node.damage and node.node in damaged_by_us]
    missing = [node.node for node in nodes if node.log_missing]
    reason = None
    if missing:
        reason = f"no log or WAL was collected from {listed(missing)}"
    elif expected:
        reason = f"the WAL of {listed(expected)} ends where a fault damaged it"
    return conclude(
        "evidence-whole",
        "Every node's log could be read to its end.",
        len(nodes),
        "nodes",
        find(),
        reason=reason,
    )


_CLAIMS: Final = {
    "election safety": "A term has at most one leader (Raft, section 5.2).",
    "leader completeness": "What was committed in an earlier term is in the log of every leader "
    "of a later one (Raft, section 5.4).",
    "state machine safety": "What one node applied or committed at an index, no other node "
    "applies or commits differently (Raft, section 5.4.3).",
    "commitment": "A leader counts as committed only what a majority of its voters has "
    "acknowledged as durable (Raft, section 5.3).",
    "order": "A node applies every index once, and in order.",
    "monotone": "The term, commit index and revision of a running node never go back.",
    "convergence": "Nodes that applied the same index hold the same state.",
    "durability": "What a node vouched for is on its disk when it starts again.",
}


def _observed(evidence: Evidence) -> Verdict:
    """Report the rule that the simulator observed broken, and at which it ended the run."""

    def find() -> Iterator[Anomaly]:
        for breach in evidence.breaches:
            at = f"{breach.at_ns / 1e9:.6f} s"
            claim = _CLAIMS.get(breach.rule, f"The simulator's rule: {breach.rule}.")
            yield msgspec.structs.replace(
                broken(
                    breach.rule.replace(" ", "-"),
                    f"{breach.node} {_sentence(breach.text)}",
                    f"Let B be what the simulator saw {breach.node} do at {at}.\nThen B keeps the "
                    f"rule: {claim}\nHowever, {breach.node} {_sentence(breach.text)} The simulator "
                    f"ended the run there.",
                    nodes=[breach.node],
                    rule=breach.rule,
                ),
                window_ns=(breach.at_ns, breach.at_ns),
            )

    verdict = conclude(
        "observed-rules",
        "No node broke a rule of Raft before the simulator's eyes.",
        len(evidence.breaches),
        "broken rules",
        find(),
    )
    return msgspec.structs.replace(verdict, evidence="what the simulator watched")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
