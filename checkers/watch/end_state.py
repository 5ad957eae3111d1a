"""The final phase's watches: every node sends the same history, and it leads to the node's state.

After all faults were healed each node is asked for every change since the beginning (or since the
last compaction), until it sends progress up to the last revision; and for all keys that it holds.
Then

    same      every node sends the same changes in the same order
    leads-to  replayed, they result in exactly what the node holds

One pass over the events, O(n). Keys that did not change since the compaction are not sent, and
nothing is claimed of them. Revisions above a node's last progress notification were not sent either
by then: that makes the verdict unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from squall.checkers.answers import mismatches, tell_mismatch
from squall.checkers.etcd.requests import covers
from squall.checkers.evidence import Evidence
from squall.checkers.history import History, Operation, OpType
from squall.checkers.text.lanes import value_text
from squall.checkers.text.proof import Cast, anomaly, in_part
from squall.checkers.text.words import counted, listed
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict
from squall.checkers.watch.rules import Event, restricted

CLAIM: Final = "In the end every node tells the same changes, and they lead to what it holds."

ANOMALIES_MAX: Final = 20
"""Anomalies reported in full; the rest is counted."""


LEFT_OUT: Final = "a node's history was not compared with what it holds: no range tells it"
"""Why a watch is not judged by one half of the claim."""


class _Stream(NamedTuple):
    """One node's changes up to the revision of its last progress, and its state afterwards."""

    node: str
    watch: Operation
    start: int
    upto: int
    events: list[Event]
    held: Operation | None


def watch_end() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_watch_end(history)

    return Checker(name="watch-end", check=check)


def check_watch_end(history: History) -> Verdict:
    """Judge the watches and ranges of the final phase."""
    final = [one for one in history.operations if (one.meta or {}).get("final")]
    nodes = sorted({one.node for one in final if one.node})
    held = {one.node: one for one in final if _answered(one) and one.f == "range"}
    streams = [
        _stream(one, held.get(one.node)) for one in final if _answered(one) and one.f == "watch"
    ]
    known = _last_revision(history)
    whole = {stream.node for stream in streams if stream.upto >= known}
    wrong = mismatches(history)
    others = [one for one in history.operations if one.index in wrong]
    anomalies = [tell_mismatch(one, wrong[one.index]) for one in others]
    if not anomalies:
        anomalies += _different(streams)
        anomalies += [found for stream in streams for found in _leads_to(stream)]
    silent = [node for node in nodes if node not in whole]
    reason = None
    if not nodes:
        reason = "no node was asked for its history in the end"
    elif silent:
        reason = f"{listed(silent)} never told the whole history, up to revision {known}"
    elif not known:
        reason = "vacuous: nothing was ever changed"
    apart = sum(_comparable(stream) is None for stream in streams)
    told = sum(len(stream.events) for stream in streams)
    return Verdict(
        checker="watch-end",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(len(streams), 'node')}, {counted(told, 'change')} up to revision "
        f"{known:,}",
        reason=None if anomalies else reason,
        method="one pass over each node's history",
        anomalies=tuple(anomalies[:ANOMALIES_MAX]),
        stats={
            "nodes": len(whole),
            "events": told,
            "anomalies": len(anomalies),
            **({"left_out": {LEFT_OUT: apart}} if apart else {}),
        },
    )


def _answered(one: Operation) -> bool:
    return one.outcome is OpType.OK and isinstance(one.output, dict)


def _last_revision(history: History) -> int:
    """The highest revision of a change that any operation reports."""
    last = 0
    for one in history.operations:
        if not _answered(one):
            continue
        if one.f == "watch":
            for response in one.output["responses"]:
                last = max([last, *(int(event[3]) for event in response.get("events", ()))])
        elif one.f in {"put", "delete", "txn", "range"}:
            last = max(last, int(one.output.get("revision") or 0))
    return last


def _stream(watch: Operation, held: Operation | None) -> _Stream:
    responses = watch.output["responses"]
    upto = max([int(each["revision"]) for each in responses if each.get("progress")], default=0)
    events = [Event(*event[:4]) for each in responses for event in each.get("events", ())]
    told = [event for event in events if event.mod <= upto]
    return _Stream(watch.node or "", watch, int(watch.input.get("start") or 1), upto, told, held)


def _asked(stream: _Stream) -> tuple[Any, ...]:
    """The key range and options of a watch."""
    asked = stream.watch.input
    return asked["key"], asked.get("end"), tuple(asked.get("filters", ()))


def _different(streams: list[_Stream]) -> Iterator[Anomaly]:
    """Compare each node's history with the first one of the same request, as far as both go."""
    for other in streams:
        first = next(one for one in streams if _asked(one) == _asked(other))
        if first is other:
            continue
        since, upto = max(first.start, other.start), min(first.upto, other.upto)
        mine = [event for event in first.events if since <= event.mod <= upto]
        its = [event for event in other.events if since <= event.mod <= upto]
        if mine == its:
            continue
        at = next(
            (at for at, pair in enumerate(zip(mine, its, strict=False)) if pair[0] != pair[1]),
            min(len(mine), len(its)),
        )
        here, there = mine[at : at + 1], its[at : at + 1]
        cast = Cast([_around(first, [*here, *there]), _around(other, [*here, *there])])
        yield anomaly(
            "watch-end-differs",
            f"At the end {first.node} tells {_words(here)} where {other.node} tells "
            f"{_words(there)}.",
            [
                (
                    f"Then both tell the same changes from revision {since} to {upto}, because "
                    "both promised that this was all."
                ),
                (
                    f"However, change {at + 1} differs: {first.node} tells {_words(here)}, "
                    f"{other.node} {_words(there)}."
                ),
            ],
            cast,
        )


def _comparable(stream: _Stream) -> int | None:
    """Return the revision at which a node's state and its history are comparable; None if at none.

    A filtered watch and a limited range are incomplete, and a state of a later revision is not
    covered.
    """
    if stream.held is None or stream.watch.input.get("filters") or stream.held.input.get("limit"):
        return None
    revision = int(stream.held.input.get("revision") or stream.held.output["revision"])
    return revision if revision <= stream.upto else None


def _leads_to(stream: _Stream) -> Iterator[Anomaly]:
    """Replay a node's history, and compare with what it held."""
    revision = _comparable(stream)
    if stream.held is None or revision is None:
        return
    rows = {str(row[0]): row for row in stream.held.output["kvs"]}
    last = {event.key: event for event in stream.events if event.mod <= revision}
    for key in sorted({*rows, *last}):
        if not (covers(stream.watch.input, key) and covers(stream.held.input, key)):
            continue  # covered by only one of the two
        event, row = last.get(key), rows.get(key)
        if event is None:
            assert row is not None
            fits = int(row[3]) < stream.start
        elif event.type == "put":
            fits = row is not None and (row[1], row[3]) == (event.value, event.mod)
        else:
            fits = row is None
        if fits:
            continue
        told = [event] if event is not None else []
        cast = Cast([_around(stream, told), _narrowed(stream.held, key)])
        found = f"{value_text(row[1])} of revision {row[3]}" if row is not None else "nothing"
        yield anomaly(
            "watch-end-state",
            f"At the end {stream.node} holds {found} at {key}, but the last change it tells of is "
            f"{_words(told)}.",
            [
                (
                    f"Then {stream.node} told every change from revision {stream.start} to "
                    f"{stream.upto}."
                ),
                f"However, played back they do not leave {found} at {key}.",
            ],
            cast,
        )


def _around(stream: _Stream, events: list[Event]) -> Operation:
    return restricted(stream.watch, [event.mod for event in events] or [stream.upto])


def _narrowed(held: Operation, key: str) -> Operation:
    rows: list[Any] = [row for row in held.output["kvs"] if row[0] == key]
    output = {**held.output, "kvs": rows, "count": len(rows)}
    return in_part(held, msgspec.structs.replace(held, output=output))


def _words(events: list[Event]) -> str:
    if not events:
        return "nothing more"
    event = events[0]
    bare = event.type != "put" and event.value is None
    value = "" if bare else f" {value_text(event.value)}"
    return f"`{event.type} {event.key}{value}` of revision {event.mod}"
