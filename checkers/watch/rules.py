"""The guarantees of a watch: the store's changes, all of them, once each, in order, from its start.

A watch is an operation `watch` that ends when its stream does. Its input is the request, its answer
holds every response in the order of arrival:

    input   {"key", "end"?, "start"?: revision, "filters"?: ["put" | "delete"], "prev"?: bool}
    answer  {"created": revision, "responses": [{"revision", "events": [...], "progress"?: bool}]}
    event   [type, key, value, mod_revision, prev_value?]     type is put or delete

The expected events are taken from acknowledged changes (`put`, `delete` and `txn` operations, as
`squall.checkers.etcd.model` has them) and from what other watches were sent. Each rule has a kind
of anomaly; the first four, `resumable` and `bookmarkable` are named as in etcd's documentation:

    ordered       revisions never go back
    unique        no event twice
    atomic        the events of one revision come in one response
    reliable      no change within its range is missing
    resumable     nothing from before `start`
    no-past       without `start`, nothing from before it was created
    filtered      nothing that was filtered out
    bookmarkable  after progress to a revision, nothing at or below it
    prev-kv       the previous value is the one the change replaced
    agreed        two watches never show two different changes of a key at one revision
    unwritten     nothing was put that no request of the history, called by then, could have put

The last applies to keys that the history itself puts: others may have other writers. One pass over
the events of each watch, O(n log n). A change after the last revision that a stream vouched for
(event or progress) cannot be missed: that it is late is not judged.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from squall.checkers.answers import mismatches, tell_mismatch
from squall.checkers.etcd.requests import ran, requests_of
from squall.checkers.evidence import Evidence
from squall.checkers.history import History, MalformedHistory, Operation, OpType
from squall.checkers.linearizability.registers import FOREVER, freeze
from squall.checkers.text.lanes import value_text
from squall.checkers.text.proof import Cast, anomaly, in_part, who
from squall.checkers.text.words import counted, listed
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "Every watch is sent every change it asked for, once, in order."

ANOMALIES_MAX: Final = 20
"""Anomalies reported in full; the rest is counted."""


CHANGES: Final = frozenset({"put", "delete", "txn"})
"""Operations whose answers state what they changed."""

READS: Final = frozenset({"watch", "get", "read", "range"})
"""Operations that change nothing."""

FIRST_REVISION: Final = 2
"""The revision of the first change of an empty store: etcd's begins at 1."""

NEED_OTHERS: Final = frozenset({"reliable", "prev-kv", "agreed", "unwritten"})
"""Rules whose violation is visible only together with other operations."""

SILENT: Final = "a watch that was never answered: what it was sent is not known"
"""Why a watch is not judged."""

OTHERS_MAX: Final = 4
"""Changes and watches shown besides the one that breaks a rule."""


class Event(NamedTuple):
    """A change as sent to a watch."""

    type: str
    key: str
    value: Any
    mod: int
    prev: Any = None


_mod = attrgetter("mod")


class _Watch(NamedTuple):
    """One stream: its events with the number of their response, and its bookmarks."""

    operation: Operation
    events: list[tuple[int, Event]]
    progress: list[tuple[int, int]]  # (how many events came before it, revision)
    created: int
    last: int

    def wants(self, event: Event) -> bool:
        """Whether an event matches the watch's request."""
        asked = self.operation.input
        end = asked.get("end")
        mine = event.key == asked["key"] if end is None else asked["key"] <= event.key < end
        return mine and event.type not in asked.get("filters", ())

    @property
    def start(self) -> int:
        """The first revision requested: without one, the one after its creation."""
        return int(self.operation.input.get("start") or self.created + 1)


class _Broken(NamedTuple):
    """A broken rule; `revisions` are those of the events that show it."""

    rule: str
    watch: Operation
    summary: str
    then: str
    however: str
    revisions: tuple[int, ...] = ()


def watches() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_watches(history)

    return Checker(name="watch", check=check)


def check_watches(history: History) -> Verdict:
    """Judge every watch of a history. Raises MalformedHistory on a misshapen one."""
    wrong = mismatches(history)
    watched = [one for one in history.operations if one.f == "watch"]
    streams = [
        _read(one)
        for one in watched
        if one.outcome is not OpType.FAIL and one.output is not None and one.index not in wrong
    ]
    changes = _acknowledged([one for one in history.operations if one.index not in wrong])
    acknowledged = {revision for revision, _ in changes}
    broken: list[_Broken] = []
    for watch in streams:
        for _, event in watch.events:
            known = changes.setdefault((event.mod, event.key), event)
            if (known.type, known.value) != (event.type, event.value):
                broken.append(_disagrees(watch, event, known))
    canonical = sorted(changes.values(), key=_mod)
    past = _Past(history.operations, canonical, acknowledged)
    for watch in streams:
        broken += _own_rules(watch)
        broken += _reliable(watch, canonical)
        broken += past.check(watch)
    strangers = {one.f for one in history.operations} - CHANGES - READS - {"compact"}
    if not strangers:
        puts = _Puts(history.operations)
        for watch in streams:
            broken += puts.check(watch, changes)
    others = [one for one in history.operations if one.index in wrong]
    anomalies = [tell_mismatch(one, wrong[one.index]) for one in others]
    anomalies += [_explain(one, history) for one in broken[:ANOMALIES_MAX]]
    silent = sum(one.outcome is OpType.INFO and one.output is None for one in watched)
    sent = sum(len(watch.events) for watch in streams)
    reason = None
    if not streams:
        reason = "vacuous: nothing was watched"
    elif not sent:
        reason = "vacuous: no watch was sent an event"
    elif strangers:
        reason = f"a watched store has no operation {listed(sorted(strangers))}"
    counts: dict[str, int] = {"mismatch": len(others)} if others else {}
    for one in broken:
        counts[one.rule] = counts.get(one.rule, 0) + 1
    return Verdict(
        checker="watch",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(len(streams), 'watch').replace('watchs', 'watches')}, "
        f"{counted(sent, 'event')}, {counted(len(acknowledged), 'acknowledged change')}",
        reason=None if anomalies else reason,
        method="one pass over each stream",
        anomalies=tuple(anomalies[:ANOMALIES_MAX]),
        stats={
            "watches": len(streams),
            "events": sent,
            "anomalies": counts,
            **({"left_out": {SILENT: silent}} if silent else {}),
        },
    )


def _read(one: Operation) -> _Watch:
    try:
        events: list[tuple[int, Event]] = []
        progress: list[tuple[int, int]] = []
        last = int(one.output.get("created") or 0)
        for number, response in enumerate(one.output["responses"]):
            if response.get("progress"):
                progress.append((len(events), int(response["revision"])))
            last = max(last, int(response["revision"]))
            for kind, key, value, mod, *prev in response.get("events", ()):
                event = Event(str(kind), str(key), value, int(mod), *prev[:1])
                events.append((number, event))
        one.input["key"] + ""
        return _Watch(one, events, progress, int(one.output.get("created") or 0), last)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise MalformedHistory(f"op {one.index}: a misshapen watch: {error!r}") from None


def _acknowledged(operations: Sequence[Operation]) -> dict[tuple[int, str], Event]:
    """Changes of single keys that were acknowledged to their clients, by revision and key."""
    found: dict[tuple[int, str], Event] = {}
    for one in operations:
        if one.outcome is not OpType.OK or one.f not in CHANGES:
            continue
        asked, answer = one.input, one.output
        if not isinstance(asked, dict) or not isinstance(answer, dict):
            continue
        revision = answer.get("revision")
        if not isinstance(revision, int):
            continue
        made = ran(asked, answer) if one.f == "txn" else ((one.f, asked, answer),)
        for f, request, said in made:
            if f == "put" or (f == "delete" and said.get("deleted") and not request.get("end")):
                key = str(request.get("key"))
                found[revision, key] = Event(f, key, request.get("value"), revision)
    return found


def _own_rules(watch: _Watch) -> Iterator[_Broken]:
    """Check the rules that need nothing but the stream itself."""
    operation = watch.operation
    latest, latest_response = 0, -1
    seen: dict[tuple[int, str], Event] = {}
    floor, bookmarks = 0, iter([*watch.progress, (len(watch.events) + 1, 0)])
    at_count, at_revision = next(bookmarks)
    for place, (number, event) in enumerate(watch.events):
        while place >= at_count:
            floor = max(floor, at_revision)
            at_count, at_revision = next(bookmarks)
        what = _phrase(event)
        if (event.mod, event.key) in seen:
            yield _repeated(watch, event, seen[event.mod, event.key])
        elif event.mod < latest:
            yield _Broken(
                "ordered",
                operation,
                f"{who(operation)}'s watch was sent revision {event.mod} after {latest}.",
                f"Then what follows revision {latest} is not of an earlier revision.",
                f"However, {what} followed it.",
                (latest, event.mod),
            )
        elif event.mod == latest and number != latest_response:
            yield _Broken(
                "atomic",
                operation,
                f"{who(operation)}'s watch was sent revision {event.mod} in two pieces.",
                f"Then all changes of revision {event.mod} come in one response, because they "
                f"were one request's.",
                f"However, {what} came in another response than the one before it.",
                (event.mod,),
            )
        yield from _unwanted(watch, event, floor)
        seen.setdefault((event.mod, event.key), event)
        if event.mod >= latest:
            latest, latest_response = event.mod, number


def _unwanted(watch: _Watch, event: Event, floor: int) -> Iterator[_Broken]:
    """Check that an event was due: after the last progress, and among what was asked for."""
    operation, what = watch.operation, _phrase(event)
    if event.mod <= floor:
        yield _Broken(
            "bookmarkable",
            operation,
            f"{who(operation)}'s watch was sent {what} after progress to revision {floor}.",
            f"Then everything up to revision {floor} had been sent, because progress said so.",
            f"However, {what} came after it.",
            (event.mod,),
        )
    if event.mod < watch.start:
        asked = operation.input.get("start")
        yield _Broken(
            "resumable" if asked else "no-past",
            operation,
            f"{who(operation)}'s watch was sent {what}, from before its start.",
            f"Then nothing before revision {watch.start} is sent, because "
            + (
                "it was asked to start there."
                if asked
                else f"it was created at revision {watch.created} and asked for no past."
            ),
            f"However, {what} was sent.",
            (event.mod,),
        )
    if not watch.wants(event):
        yield _Broken(
            "filtered",
            operation,
            f"{who(operation)}'s watch was sent {what}, which it had not asked for.",
            f"Then it is sent only what it asked for: {value_text(operation.input)}.",
            f"However, {what} was sent.",
            (event.mod,),
        )


def _repeated(watch: _Watch, event: Event, first: Event) -> _Broken:
    """Report a repeated event: its key and revision were sent before."""
    what, whose = _phrase(event), f"{who(watch.operation)}'s watch"
    summary = f"{whose} was sent {what} twice."
    however = f"However, {what} came a second time."
    if first[:4] != event[:4]:
        summary = f"{whose} was sent {what} after {_phrase(first)}."
        however = f"However, {what} came after {_phrase(first)}, of the same key and revision."
    then = "Then each change is sent once."
    return _Broken("unique", watch.operation, summary, then, however, (event.mod,))


def _reliable(watch: _Watch, canonical: Sequence[Event]) -> Iterator[_Broken]:
    """Check that nothing is missing up to the last revision the stream vouched for."""
    got = {(event.mod, event.key) for _, event in watch.events}
    upto = max([event.mod for _, event in watch.events], default=0)
    upto = max([upto, *(revision for _, revision in watch.progress)])
    latest = next((event for _, event in reversed(watch.events) if event.mod == upto), None)
    vouched = f"progress to revision {upto}" if latest is None else _phrase(latest)
    first = bisect_left(canonical, watch.start, key=_mod)
    for event in canonical[first : bisect_right(canonical, upto, key=_mod)]:
        if watch.wants(event) and (event.mod, event.key) not in got:
            yield _Broken(
                "reliable",
                watch.operation,
                f"{who(watch.operation)}'s watch was never sent {_phrase(event)}.",
                f"Then it was sent every change from revision {watch.start} to {upto}, "
                f"because it was sent {vouched}.",
                f"However, {_phrase(event)} happened, and was not sent.",
                (event.mod, upto),
            )


class _Past:
    """The value each change replaced, as far as that can be known.

    An unreported change may lie in a revision of which nothing is known; or in one of which a watch
    showed a part, when an unanswered transaction may have made it. A previous value
    that a compaction may have removed may be missing.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        canonical: Sequence[Event],
        acknowledged: set[int],
    ) -> None:
        changing = [one for one in operations if one.f not in READS | {"compact"}]
        self._whole = all(
            one.outcome is OpType.FAIL or (one.outcome is OpType.OK and one.f in CHANGES)
            for one in changing
        )
        several = any(one.outcome is not OpType.FAIL and _hides(one) for one in changing)
        self._known = sorted(
            {event.mod for event in canonical if not several or event.mod in acknowledged}
        )
        self._compacted = max(
            (_compaction(one) for one in operations if one.f == "compact"), default=0
        )
        self._before: dict[tuple[int, str], Event] = {}
        latest: dict[str, Event] = {}
        for event in canonical:
            if event.key in latest:
                self._before[event.mod, event.key] = latest[event.key]
            latest[event.key] = event

    def check(self, watch: _Watch) -> Iterator[_Broken]:
        """Check the previous values, if they were requested."""
        if not watch.operation.input.get("prev"):
            return
        for _, event in watch.events:
            old = self._before.get((event.mod, event.key))
            if self._gap(event, old) and (old is None or not self._whole):
                continue
            if event.prev is None and event.mod <= self._compacted:
                continue
            expected = old.value if old is not None and old.type == "put" else None
            if event.prev != expected:
                yield _replaced(watch, event, old, expected)

    def _gap(self, event: Event, old: Event | None) -> bool:
        """Whether there are unknown revisions between two changes of a key."""
        known, since = self._known, FIRST_REVISION - 1 if old is None else old.mod
        between = bisect_left(known, event.mod) - bisect_right(known, since)
        return between < event.mod - since - 1


def _hides(one: Operation) -> bool:
    """Whether a change may affect keys that neither its answer nor each of its events names."""
    if one.f == "txn":
        return one.outcome is not OpType.OK
    return isinstance(one.input, dict) and bool(one.input.get("end"))


def _compaction(one: Operation) -> int:
    """The revision that a compaction may have reached."""
    asked = one.input if isinstance(one.input, dict) else {}
    return 0 if one.outcome is OpType.FAIL else int(asked.get("revision") or 0)


def _replaced(watch: _Watch, event: Event, old: Event | None, expected: Any) -> _Broken:
    left = f"that is what {_phrase(old)} left" if old else "nothing had been put there yet"
    return _Broken(
        "prev-kv",
        watch.operation,
        f"{who(watch.operation)}'s watch was told that {_phrase(event)} replaced "
        f"{value_text(event.prev)}.",
        f"Then it replaced {value_text(expected)}, because {left}.",
        f"However, the event says {value_text(event.prev)}.",
        (old.mod if old else event.mod, event.mod),
    )


def _disagrees(watch: _Watch, event: Event, known: Event) -> _Broken:
    return _Broken(
        "agreed",
        watch.operation,
        f"{who(watch.operation)}'s watch was sent {_phrase(event)}, where {_phrase(known)} was "
        f"seen, too.",
        f"Then revision {known.mod} of {known.key} is {_phrase(known)}, because it was "
        f"acknowledged, or sent to this watch or another.",
        f"However, this watch was sent {_phrase(event)}.",
        (event.mod,),
    )


class _Puts:
    """What the requests of a history may have put."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._called: dict[tuple[str, Hashable], int] = {}  # (key, value) -> its earliest call
        self._keys: dict[str, int] = {}  # key -> a revision of it that was acknowledged, or 0
        for one in operations:
            if one.f not in CHANGES or one.outcome is OpType.FAIL:
                continue
            if not isinstance(one.input, dict):
                continue
            for request in requests_of(one.f, one.input):
                if "value" in request:
                    key = str(request.get("key"))
                    self._keys[key] = self._keys.get(key) or _revision_of(one) or 0
                    put = key, freeze(request["value"])
                    self._called[put] = min(self._called.get(put, FOREVER), one.invoked_ns)

    def check(self, watch: _Watch, changes: dict[tuple[int, str], Event]) -> Iterator[_Broken]:
        """Check that each value was put by a request called before the watch ended.

        A different known change at its revision is reported by rule `agreed` instead.
        """
        ended = watch.operation.completed_ns
        until = FOREVER if ended is None else ended
        told: set[tuple[str, Hashable]] = set()
        for _, event in watch.events:
            put = event.key, freeze(event.value)
            if event.type != "put" or event.key not in self._keys or put in told:
                continue
            known = changes[event.mod, event.key]
            if (known.type, known.value) != (event.type, event.value):
                continue
            if self._called.get(put, FOREVER) > until or put not in self._called:
                told.add(put)
                beside = self._keys[event.key] or event.mod
                yield _unwritten(watch, event, beside, later=put in self._called)


def _unwritten(watch: _Watch, event: Event, beside: int, *, later: bool) -> _Broken:
    """Report a value that no request put; `beside` is the revision of another change of the key."""
    what = f"{value_text(event.value)} to {event.key}"
    when = "before the watch ended" if later else "that may have happened"
    return _Broken(
        "unwritten",
        watch.operation,
        f"{who(watch.operation)}'s watch was sent {_phrase(event)}, which nobody put.",
        f"Then some request put {what}, because the watch was sent {_phrase(event)}.",
        f"However, no request {when} puts {what}.",
        (event.mod, beside),
    )


def _phrase(event: Event) -> str:
    bare = event.type != "put" and event.value is None
    value = "" if bare else f" {value_text(event.value)}"
    return f"`{event.type} {event.key}{value}` of revision {event.mod}"


def _explain(broken: _Broken, history: History) -> Anomaly:
    """Report a broken rule by the events that matter, and the changes and watches concerned.

    Other revisions are removed from all operations shown: they do not depend on each other.
    """
    shown = []
    for one in history.operations:
        if one.f == "watch" and isinstance(one.output, dict):
            small = restricted(one, broken.revisions)
            mine = one.index == broken.watch.index
            if mine or any(response.get("events") for response in small.output["responses"]):
                shown.append(small)
        elif one.f in CHANGES and _revision_of(one) in broken.revisions:
            shown.append(one)
    watch = next(one for one in shown if one.index == broken.watch.index)
    others = [one for one in shown if one is not watch]
    if broken.rule not in NEED_OTHERS:
        others = []
    return anomaly(
        f"watch-{broken.rule}",
        broken.summary,
        [broken.then, broken.however],
        Cast([watch]),
        shown=[*others[:OTHERS_MAX], watch],
    )


def _revision_of(one: Operation) -> int | None:
    revision = one.output.get("revision") if isinstance(one.output, dict) else None
    return revision if isinstance(revision, int) else None


def restricted(watch: Operation, revisions: Sequence[int]) -> Operation:
    """Restrict a watch to the events of these revisions, and its progress."""
    responses = []
    vouched = False
    for response in watch.output["responses"]:
        events = [event for event in response.get("events", ()) if int(event[3]) in revisions]
        vouches = bool(response.get("progress")) and response["revision"] >= max(revisions)
        if events:
            responses.append({**response, "events": events})
        elif vouches and not vouched:
            responses.append({name: response[name] for name in ("revision", "progress")})
        vouched = vouched or vouches
    part = msgspec.structs.replace(watch, output={**watch.output, "responses": responses})
    return in_part(watch, part)
