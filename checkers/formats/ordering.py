"""The order and the times of the events of a file.

A file has up to three orders: that of its lines, that of its times and that of its indexes. They
are reconciled by these rules, and a file that none of them covers is refused:

* An index that grows from line to line is one recorder's: the order of the lines counts, also where
  times are equal. If the times contradict it on many lines, one of the two is wrong, and the file
  is refused.
* An index that is not in order, but has each number once and leaves none out, is the order: lines
  are sorted by it.
* An index that each process counts for itself does not order processes: it is ignored.
* Without such an index, and if every event has a time, times are the order: events of one clock, in
  a file whose lines may stand in any order, as when the logs of several clients were concatenated.
  Events at one time are concurrent, whatever the order of their lines.
* Without times the order of the lines is the order of events, a millisecond apart. Where only some
  events have one, and no index orders them, the file is refused.

An interval is never made shorter than the file says: an order that nothing in the file justifies
could show a stale read where there is none.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from squall.checkers.formats.translations import Record
from squall.checkers.history import MalformedHistory
from squall.checkers.text.words import counted

UNTIMED_NS: Final = 1_000_000
"""The distance of events in a file without times."""

NS_PER_S: Final = 1_000_000_000

SPAN_S_MAX: Final = 1e7
"""Times with fractions that span more than this are not seconds."""

TIME_MAX: Final = 1 << 61
"""The latest time: indeterminate operations end at twice that."""

OTHER_NAMES: Final = (
    *("timestamp", "ts", "t", "at", "when", "clock", "datetime", "date", "instant"),
    *("wall_time", "wall_clock", "walltime", "time_s", "time_ms", "time_us", "time_ns"),
)
"""Other names of the time field."""

EVENTS_AT_ONCE: Final = 2
"""A client whose events are more than an operation has cannot have done all at one time."""

CONTRADICTIONS: Final = 0.1
"""The share of events whose time may contradict their index: a recorder's threads race a little."""


class Ordered(NamedTuple):
    """Records in order of time, with their times in ns, and notes on how the order was found."""

    records: list[Record]
    times_ns: list[int]
    notes: list[str]


def in_order(records: Sequence[Record], name: str) -> Ordered:
    """Order the clients' events of a file; raises MalformedHistory with the line."""
    notes: list[str] = []
    times = _times(records, name)
    if _placeholders(times):
        times = [None] * len(times)
    elif len(set(times)) == 1 and times[0] is not None and _busiest(records) > EVENTS_AT_ONCE:
        raise MalformedHistory(
            f"{name}:{records[0].line}: the time of every event is {times[0]}, which says nothing "
            f"of their order; give each its own time, or none"
        )
    complete = bool(times) and None not in times
    numbers = [_index(record, name) for record in records]
    strict = _numbered(records, numbers, name, sortable=complete)
    events = list(zip(records, times, strict=True))
    if strict and _back(numbers) is not None:
        events.sort(key=lambda event: event[0].fields["index"])
        notes.append("the lines are not in order of their index: sorted by it")
    known = [(time, record) for record, time in events if time is not None]
    back = _back([time for time, _ in known])
    if not complete:
        if not known:
            _must_not_hide(records, name)
            notes.append("no times: the order of the lines is the order of events")
        elif strict is None or back is not None:
            line = next(record.line for record, time in events if time is None)
            raise MalformedHistory(
                f"{name}:{line}: no time, unlike line {known[0][1].line}, and no index that orders "
                f"all events; give all events a time, or none"
            )
        return _numbers(events, notes, strict=True)
    if back is None:
        return _numbers(events, notes, strict=strict is not None)
    line = known[back][1].line
    if strict is None:
        events = _sorted(events, name)
        notes.append(
            f"times run backwards at line {line}: sorted by time, taken as one clock of all clients"
        )
        return _numbers(events, notes, strict=False)
    disagreeing = _disagreeing([time for time, _ in known])
    if disagreeing > CONTRADICTIONS * len(events):
        raise MalformedHistory(
            f"{name}:{line}: its time is earlier than that of a lower index; index and time "
            f"contradict each other: leave out the one that is wrong"
        )
    notes.append(
        f"{counted(disagreeing, 'time')} {'does' if disagreeing == 1 else 'do'} not agree with the "
        f"index (first at line {line}): the index is the order"
    )
    return _numbers(events, notes, strict=True)


_Event = tuple[Record, Any]


def _times(records: Sequence[Record], name: str) -> list[Any]:
    """Return each event's time as the file has it, None where it has none."""
    times: list[Any] = []
    for line, fields in records:
        time = fields.get("time")
        if time is not None and (
            isinstance(time, bool)
            or not isinstance(time, int | float)
            or not math.isfinite(time)
            or abs(time) > TIME_MAX
        ):
            raise MalformedHistory(f"{name}:{line}: a time is a number, not {time!r:.60}")
        times.append(time)
    return times


def _must_not_hide(records: Sequence[Record], name: str) -> None:
    """Raise if times under another name contradict the order of the lines."""
    for other in records[0].fields if records else ():
        if other.replace("-", "_").lower() not in OTHER_NAMES:
            continue
        times = [_reading(record.fields.get(other)) for record in records]
        if None in times:
            continue
        if (back := _back(times)) is not None:
            raise MalformedHistory(
                f"{name}:{records[back].line}: {other} runs backwards, and there is no time; if it "
                f"is the time of the event, call it time"
            )


def _busiest(records: Sequence[Record]) -> int:
    """How many events the client with the most of them has."""
    return max(Counter(record.fields.get("process") for record in records).values())


_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0}


def _reading(time: Any) -> float | None:
    """What a clock showed, as a number that grows; None if this is no time."""
    if isinstance(time, int | float) and not isinstance(time, bool):
        return float(time) if abs(time) <= TIME_MAX else None
    if not isinstance(time, str):
        return None
    if found := re.fullmatch(r"(\d+(?:\.\d+)?) ?(ns|us|µs|ms|s|)", time):
        return float(found[1]) * _UNITS[found[2]]
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _placeholders(times: Sequence[Any]) -> bool:
    """Whether all times are the same number that means none: Jepsen's is -1."""
    return len(set(times)) == 1 and times[0] is not None and times[0] <= 0


def _back(numbers: Sequence[Any]) -> int | None:
    """Return the first place where numbers decrease, or None."""
    pairs = enumerate(itertools.pairwise(numbers), 1)
    return next((at for at, (before, after) in pairs if after < before), None)


def _numbered(
    records: Sequence[Record], numbers: Sequence[int | None], name: str, *, sortable: bool
) -> bool | None:
    """Return whether indexes order all events: None if they do not.

    `sortable`: the times can decide it. Raises MalformedHistory if nothing does.
    """
    given = [number for number in numbers if number is not None]
    if not given:
        return None
    if len(given) < len(numbers):
        without = records[numbers.index(None)].line
        with_one = next(
            one.line for one, at in zip(records, numbers, strict=True) if at is not None
        )
        raise MalformedHistory(
            f"{name}:{without}: no index, unlike line {with_one}; give all events an index, or none"
        )
    back = _back(given)
    different = len(set(given)) == len(given)
    if different and (back is None or max(given) - min(given) + 1 == len(given)):
        return True
    if sortable:
        return None
    latest: dict[Hashable, int] = {}
    for (line, fields), number in zip(records, given, strict=True):
        process = fields.get("process")
        if process is None or number <= latest.get(process, -1):
            before = latest.get(process, given[(back or 1) - 1])
            raise MalformedHistory(
                f"{name}:{line}: op {number} comes after op {before}: out of order"
            )
        latest[process] = number
    if different:
        line = records[back or 0].line
        raise MalformedHistory(
            f"{name}:{line}: op {given[back or 0]} comes after op {given[(back or 1) - 1]}: out of "
            f"order, and with gaps; leave the index out if each process counts for itself"
        )
    return None


def _index(record: Record, name: str) -> int | None:
    """Return an event's index, None if it has none; raises MalformedHistory."""
    number = record.fields.get("index")
    if isinstance(number, float) and number.is_integer():
        record.fields["index"] = number = int(number)
    if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
        raise MalformedHistory(f"{name}:{record.line}: an index is a number, not {number!r:.60}")
    return number


def _sorted(events: list[_Event], name: str) -> list[_Event]:
    """Sort events by time. A process whose own lines are in order keeps their order."""
    latest: dict[Hashable, Any] = {}
    shuffled: set[Hashable] = set()
    for record, time in events:
        process = record.fields.get("process")
        if time < latest.get(process, time):
            shuffled.add(process)
        latest[process] = time
    events.sort(key=lambda event: event[1])
    if not shuffled:
        return events
    busy: set[Hashable] = set()
    ordered: list[_Event] = []
    for _, group in itertools.groupby(events, key=lambda event: event[1]):
        together = list(group)
        many = Counter(record.fields.get("process") for record, _ in together)
        for process in shuffled & many.keys():
            if many[process] > 2:
                line = together[0][0].line
                raise MalformedHistory(
                    f"{name}:{line}: several operations of process {process} at one time, and its "
                    f"lines are not in order"
                )
            mine = [at for at, one in enumerate(together) if one[0].fields["process"] == process]
            if len(mine) == 2 and _asks(together[mine[0]]) is (process in busy):
                together[mine[0]], together[mine[1]] = together[mine[1]], together[mine[0]]
        for event in together:
            (busy.add if _asks(event) else busy.discard)(event[0].fields.get("process"))
        ordered += together
    return ordered


def _asks(event: _Event) -> bool:
    return event[0].fields.get("type") == "invoke"


def _disagreeing(times: Sequence[Any]) -> int:
    """Count the times that are earlier than one before them."""
    return sum(
        time < latest for time, latest in zip(times, itertools.accumulate(times, max), strict=True)
    )


def _numbers(events: list[_Event], notes: list[str], *, strict: bool) -> Ordered:
    """Give events their times in ns: growing if the order is `strict`, else as they are."""
    records = [record for record, _ in events]
    known = [time for _, time in events if time is not None]
    if not known:
        return Ordered(records, [at * UNTIMED_NS for at in range(len(events))], notes)
    scale = _scale(known)
    if strict:
        times_ns, latest = [], -1
        for _, time in events:
            latest = max(latest + 1, scale(time) if time is not None else 0)
            times_ns.append(latest)
        return Ordered(records, times_ns, notes)
    times_ns = [scale(time) for _, time in events]
    ties = _spread(records, times_ns)
    if ties:
        notes.append(
            f"{counted(ties, 'event')} at the same time as another client's: taken as concurrent"
        )
    return Ordered(records, times_ns, notes)


def _scale(known: Sequence[Any]) -> Any:
    """Return the factor from a file's times to ns: whole numbers are ns, others are seconds."""
    least = min(known)
    if all(isinstance(time, int) for time in known):
        return lambda time: time - min(0, least)
    factor = NS_PER_S if max(known) - least < SPAN_S_MAX else 1
    return lambda time: int((time - least) * factor)


def _spread(records: Sequence[Record], times_ns: list[int]) -> int:
    """Move a process's own events at one time apart; return how many are tied with another's."""
    ties = 0
    for first, end in _groups(times_ns):
        processes = {record.fields.get("process") for record in records[first:end]}
        if len(processes) > 1:
            ties += end - first
            continue
        room = times_ns[end] - times_ns[first] if end < len(times_ns) else end - first
        if room >= end - first:
            for at in range(first, end):
                times_ns[at] += at - first
    return ties


def _groups(times_ns: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the places [first, end) of events at one time, where there are several."""
    first = 0
    for _, group in itertools.groupby(list(times_ns)):
        end = first + sum(1 for _ in group)
        if end - first > 1:
            yield first, end
        first = end
