"""Checks that no acknowledged write was lost.

An acknowledged write must be in the final state, or have been overwritten by one that can come
later; and it must be in the nodes' logs, overwritten or not. Two sources, each sufficient:

* Final reads. After all faults were healed, every key was read from every node, linearizably and
  from the node's own state. If the value found there was in place before the acknowledged write was
  called, or was replaced by the acknowledged compare-and-set, the write is lost.
* Write-ahead logs. Values are unique, so an entry that carries the value is that write. If no node
  holds it in a log that reaches back to the beginning and is committed past the end, the write is
  lost, even if a later write hides that from every reader.

If both apply, both are reported: an entry in no log was never committed, one that a log holds as
committed was lost between there and the reader.

Nodes must also agree: after catching up, a node's own state equals what the cluster serves. A key
that was not read in the final phase makes the verdict unknown.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from squall.checkers.campaign.recovery import recovered
from squall.checkers.evidence import Evidence
from squall.checkers.faults import FaultWindow, fault_windows
from squall.checkers.history import History, Operation, OpType
from squall.checkers.linearizability.registers import freeze, swapped
from squall.checkers.raft.log_witness import Logs
from squall.checkers.text.proof import Cast, anomaly, observed, phrase, value_phrase, who, written
from squall.checkers.text.words import counted
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "What was acknowledged is still there, or was overwritten by something later."

ANOMALIES_MAX: Final = 20
"""Anomalies reported in full; the rest is counted."""

NAMED_MAX: Final = 8
"""Lost operations named in one anomaly."""

STILL_OPEN: Final = "a write that was never answered may have been applied between final reads"
"""Why a node's own value of a key is not compared with the cluster's."""

LOCAL_READ: Final = "serializable-read"


def lost_commits() -> Checker:
    """Return the checker."""

    def check(history: History, evidence: Evidence, _budget: Budget) -> Verdict:
        return check_lost_commits(history, evidence)

    return Checker(name="lost-commits", check=check)


class _Key(NamedTuple):
    """One key's operations by their role here."""

    name: str
    attempts: dict[Hashable, Operation]  # value -> operations that may have written it
    acknowledged: list[Operation]
    final: list[Operation]  # linearizable
    local: list[Operation]  # from a node's own state
    seen: dict[Hashable, Operation]  # value -> the operation that saw it last


def check_lost_commits(history: History, evidence: Evidence) -> Verdict:
    """Judge every key by its final reads, and every acknowledged write by the nodes' logs."""
    keys = [_key(str(key), operations) for key, operations in history.by_key.items()]
    keys = [key for key in keys if key.attempts or key.final]
    windows = fault_windows(history)
    settled = recovered(evidence)
    anomalies: list[Anomaly] = []
    lost: set[int] = set()
    logs = Logs(evidence.nodes.values(), history)
    for key in keys:
        for found, indexes in _by_final_reads(key, logs, windows, settled=settled):
            anomalies.append(found)
            lost |= indexes
    acknowledged = [one for key in keys for one in key.acknowledged]
    for key in keys:
        missing = [one for one in key.acknowledged if logs.lack(one)]
        anomalies += [
            _lost_from_logs(key, one, logs, windows) for one in missing if one.index not in lost
        ]
        lost |= {one.index for one in missing}
    still_open = sum(len(key.local) for key in keys if settled and _still_open(key))
    unread = [key.name for key in keys if key.acknowledged and not key.final]
    nodes = set(evidence.nodes) or {one.node for one in history.operations if one.node}
    silent = sorted(nodes - {one.node for key in keys for one in (*key.final, *key.local)})
    reason = _reason(acknowledged, unread, silent if keys else [])
    return Verdict(
        checker="lost-commits",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(len(acknowledged), 'acknowledged write')} of "
        f"{counted(len(keys), 'key')}, "
        f"{counted(sum(len(key.final) + len(key.local) for key in keys), 'final read')} from "
        f"{counted(len(nodes) - len(silent), 'node')}",
        reason=None if anomalies else reason,
        method="final reads" + (f", WAL of {logs.judge.node}" if logs.judge else ""),
        anomalies=tuple(anomalies[:ANOMALIES_MAX]),
        stats={
            "acknowledged": len(acknowledged),
            "lost": len(lost),
            "anomalies": len(anomalies),
            "keys": len(keys),
            "keys_never_read_back": len(unread),
            "logs": logs.summary,
            **({"left_out": {STILL_OPEN: still_open}} if still_open else {}),
        },
    )


def _reason(acknowledged: list[Operation], unread: list[str], silent: list[str]) -> str | None:
    if not acknowledged:
        return "no write was ever acknowledged"
    if unread:
        names = ", ".join(unread[:3]) + (" ..." if len(unread) > 3 else "")
        never = "was" if len(unread) == 1 else "were"
        return f"{counted(len(unread), 'key')} {never} never read back at the end ({names})"
    if silent:
        return f"no final read was answered by {', '.join(map(str, silent))}"
    return None


def _key(name: str, operations: Iterable[Operation]) -> _Key:
    key = _Key(name, {}, [], [], [], {})
    for one in operations:
        ok = one.outcome is OpType.OK
        if ok and one.f != "write" and observed(one) is not None:
            value, last = freeze(observed(one)), (one.completed_ns or 0)
            if value not in key.seen or (key.seen[value].completed_ns or 0) < last:
                key.seen[value] = one
        if one.f == "write" or one.f == "cas":
            if one.outcome is OpType.FAIL or (one.f == "cas" and ok and not swapped(one.output)):
                continue
            key.attempts.setdefault(freeze(written(one)), one)
            if ok:
                key.acknowledged.append(one)
        elif ok and (one.meta or {}).get("final"):
            if one.f == "read":
                key.final.append(one)
            elif one.f == LOCAL_READ:
                key.local.append(one)
    return key


def _by_final_reads(
    key: _Key, logs: Logs, windows: tuple[FaultWindow, ...], *, settled: bool
) -> Iterator[tuple[Anomaly, set[int]]]:
    """Compare the final values with the acknowledged writes."""
    told: set[Hashable] = set()
    for read in key.final:
        value = freeze(observed(read))
        if value in told:
            continue
        told.add(value)
        lost = _lost(key, value, read)
        if lost:
            yield _lost_by_read(key, lost, read, logs, windows), {one.index for one in lost}
    if not settled or not key.final or _still_open(key):
        return
    expected = {freeze(observed(read)) for read in key.final}
    for local in key.local:
        if freeze(observed(local)) not in expected:
            yield _disagreement(key, local), set()


def _still_open(key: _Key) -> bool:
    """Whether an indeterminate write was found at the end.

    It may have been applied during the final reads: before one and after another.
    """
    found = {freeze(observed(one)) for one in (*key.final, *key.local)}
    sources = [key.attempts[value] for value in found if value in key.attempts]
    return any(one.outcome is OpType.INFO for one in sources)


def _lost(key: _Key, value: Hashable, read: Operation) -> list[Operation]:
    """Return the acknowledged writes that a final value contradicts."""
    source = key.attempts.get(value)
    if source is None and value is not None:
        return []  # a value without a writer: left to the linearizability checker
    installed = -1 if source is None else source.completed_ns
    # What replaced the value, and what replaced that in turn, cannot be undone: values are unique.
    replaced_by: dict[Hashable, Operation] = {
        freeze(one.input[0]): one for one in key.acknowledged if one.f == "cas"
    }
    chain: list[Operation] = []
    at = value
    while (successor := replaced_by.get(at)) is not None and successor not in chain:
        chain.append(successor)
        at = freeze(written(successor))
    later = [
        one
        for one in key.acknowledged
        if one is not source
        and installed is not None
        and one.invoked_ns > installed
        and (one.completed_ns or 0) < read.invoked_ns
    ]
    found = {
        one.index: one for one in (*chain, *later) if (one.completed_ns or 0) < read.invoked_ns
    }
    return [found[index] for index in sorted(found)]


def _under(operation: Operation, windows: tuple[FaultWindow, ...]) -> list[str]:
    """Name the faults that were in force during an operation."""
    until = operation.completed_ns or operation.invoked_ns
    return [
        f"{window.id} ({window.detail or ', '.join(window.targets) or window.kind})"
        for window in windows
        if window.from_ns <= until
        and (window.until_ns is None or window.until_ns >= operation.invoked_ns)
    ]


def _faults_sentence(
    operation: Operation, name: str, windows: tuple[FaultWindow, ...]
) -> list[str]:
    faults = _under(operation, windows)
    if not windows:
        return []
    return [f"While {name} was under way, {', '.join(faults) or 'no fault'} was at work."]


def _lost_by_read(
    key: _Key,
    lost: list[Operation],
    read: Operation,
    logs: Logs,
    windows: tuple[FaultWindow, ...],
) -> Anomaly:
    value = observed(read)
    source = key.attempts.get(freeze(value)) if value is not None else None
    latest = lost[-1]
    seen = key.seen.get(freeze(written(latest)))
    cast = Cast(
        [*([source] if source else []), *lost[-NAMED_MAX:], *([seen] if seen else []), read]
    )
    name, reader = cast.name(latest), cast.name(read)
    if source is None:
        then = f"Then {name} was acknowledged, and nothing ever removes a value from {key.name}."
    elif latest.f == "cas" and freeze(latest.input[0]) == freeze(value):
        then = f"Then {name} replaced {value_phrase(value)}, which was written only once."
    elif source.completed_ns is not None and source.completed_ns < latest.invoked_ns:
        then = f"Then {name} came after {cast.name(source)}, because {cast.order(source, latest)}."
    else:
        then = f"Then {name} came after {cast.name(source)}, by compare-and-sets which build on it."
    witness = "final read" + (f" and WAL of {logs.judge.node}" if logs.judge else "")
    return anomaly(
        "lost-commit",
        f"{phrase(latest)} to {key.name} was acknowledged"
        + (f" by {latest.node}" if latest.node else "")
        + f", yet at the end {key.name} is {value_phrase(value)}"
        + (f" ({len(lost)} acknowledged writes lost)." if len(lost) > 1 else "."),
        [
            then,
            (
                f"Nothing that could have come later was found in its place, and "
                f"{_held_at_the_end(key, latest)}."
            ),
            *_whereabouts(latest, seen, cast, logs),
            *_faults_sentence(latest, name, windows),
            f"However, {reader}, in the final phase, still found {value_phrase(value)}.",
        ],
        cast,
        data=_data(lost, seen, windows, witness),
    )


def _held_at_the_end(key: _Key, lost: Operation) -> str:
    value = freeze(written(lost))
    seen = [one for one in (*key.final, *key.local) if freeze(observed(one)) == value]
    if seen:
        return f"{', '.join(sorted({one.node or who(one) for one in seen}))} still holds it"
    return "no read of the final phase shows it"


def _disagreement(key: _Key, local: Operation) -> Anomaly:
    read = key.final[-1]
    cast = Cast([read, local])
    node = local.node or "a node"
    return anomaly(
        "replica-diverged",
        f"At the end {node} holds {value_phrase(observed(local))} for {key.name}, while the "
        f"cluster serves {value_phrase(observed(read))}.",
        [
            (
                f"Then {node} holds what {cast.name(read)} found, because every node had applied "
                f"all that was committed, and nobody wrote any more."
            ),
            f"However, {cast.name(local)}, answered from {node}'s own state, found something else.",
        ],
        cast,
    )


def _lost_from_logs(
    key: _Key, lost: Operation, logs: Logs, windows: tuple[FaultWindow, ...]
) -> Anomaly:
    assert logs.judge is not None
    seen = key.seen.get(freeze(written(lost)))
    cast = Cast([lost, *([seen] if seen else [])])
    name, node = cast.name(lost), logs.judge.node
    return anomaly(
        "lost-commit",
        f"{phrase(lost)} to {lost.key} was acknowledged"
        + (f" by {lost.node}" if lost.node else "")
        + f", but no committed entry of {node} carries it.",
        [
            (
                f"Then an entry with the value {value_phrase(written(lost))} was committed, "
                f"because {name} was acknowledged; and every node that commits past it holds it."
            ),
            *_whereabouts(lost, seen, cast, logs),
            *_faults_sentence(lost, name, windows),
            f"However, the log of {node} ({logs.summary}) has no such entry.",
        ],
        cast,
        data=_data([lost], seen, windows, f"WAL of {node}"),
    )


def _whereabouts(lost: Operation, seen: Operation | None, cast: Cast, logs: Logs) -> list[str]:
    """Return when and by which node it was acknowledged, and where it was seen last."""
    by = f" by {lost.node}" if lost.node else ""
    last = (
        f"{cast.name(seen)} saw it last, at {cast.at(seen.completed_ns or 0)}"
        if seen
        else "no read ever showed it"
    )
    acknowledged = cast.at(lost.completed_ns or 0)
    return [
        f"{cast.name(lost)} was acknowledged at {acknowledged}{by}; {last}.",
        *logs.holders(lost),
    ]


def _data(
    lost: list[Operation], seen: Operation | None, windows: tuple[FaultWindow, ...], witness: str
) -> dict[str, Any]:
    latest = lost[-1]
    return {
        "lost": [one.index for one in lost],
        "acknowledged_ns": latest.completed_ns,
        "acknowledged_by": latest.node,
        "last_seen": seen.index if seen else None,
        "faults": _under(latest, windows),
        "witness": witness,
    }
