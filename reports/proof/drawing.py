"""The drawing of a counterexample: operations as lanes, faults and leaders as bands above them.

The time axis is not linear. Events keep their order, and a longer gap is never drawn shorter than
a shorter one, but a gap is drawn by the square root of its length: a proof of milliseconds stays
readable beside seconds without events. The page says so under each drawing, and the true times
stand on the axis and in the table. All coordinates are pixels of the SVG.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from squall.checkers.faults import FaultWindow
from squall.checkers.history import Operation, OpType, process_name
from squall.checkers.verdict import Anomaly
from squall.reports import formatting
from squall.reports.view.leadership import Leadership, RolePeriod

CONCURRENT_MAX = 8
CONCURRENT_OPEN_MAX = 3

GUTTER, WIDTH, LANE, BAND = 96, 984, 40, 18
_INNER = WIDTH - GUTTER - 52
_TICK_GAP = 66


@dataclass(frozen=True, slots=True)
class RunIndex:
    """The whole run, indexed for drawing. Times in nanoseconds of the history's clock."""

    operations: Mapping[int, Operation]
    by_key: Mapping[str | None, Sequence[Operation]]
    ended_ns: Mapping[int, int]
    windows: Sequence[FaultWindow]
    leadership: Leadership
    end_ns: int


@dataclass(frozen=True, slots=True)
class Bar:
    """An operation. `anchor` is the SVG text-anchor of its label."""

    x: float
    y: float
    width: float
    label: str
    label_x: float
    anchor: str
    outcome: str
    witness: bool
    title: str
    index: int


@dataclass(frozen=True, slots=True)
class Band:
    """A fault, or a period with one leader, above the lanes."""

    x: float
    y: float
    width: float
    label: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """The whole drawing, as the template writes it."""

    width: int
    height: int
    lanes_top: int
    lanes: tuple[tuple[float, str, bool], ...]  # y, label, whether a witness runs there
    bars: tuple[Bar, ...]
    bands: tuple[Band, ...]
    band_names: tuple[tuple[float, str], ...]
    marks: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]
    title: str


def leader_until(node: str, period: RolePeriod, run: RunIndex) -> str:
    """Write until when a node reported to lead."""
    if run.leadership.nodes[node][-1] is period:
        return "to the end"
    return f"by {formatting.seconds(period.until_ns)} no longer"


class TimeScale:
    """A monotone map from nanoseconds to pixels: each gap gets a least width, the rest by sqrt."""

    def __init__(self, moments: Sequence[int]) -> None:
        self.moments = sorted(set(moments))
        gaps = [b - a for a, b in zip(self.moments, self.moments[1:], strict=False)]
        least = min(44.0, 0.7 * _INNER / max(1, len(gaps)))
        spare = _INNER - least * len(gaps)
        weight = sum(gap**0.5 for gap in gaps) or 1.0
        self.places = [float(GUTTER + 12)]
        for gap in gaps:
            self.places.append(self.places[-1] + least + spare * gap**0.5 / weight)

    def __call__(self, at_ns: int) -> float:
        """Return the place of a time, in pixels from the left."""
        at = bisect_right(self.moments, at_ns)
        if at == 0:
            return self.places[0] - 12
        if at == len(self.moments):
            return self.places[-1] + (0 if at_ns == self.moments[-1] else 14)
        begin, end = self.moments[at - 1], self.moments[at]
        share = (at_ns - begin) / (end - begin)
        return self.places[at - 1] + share * (self.places[at] - self.places[at - 1])


def _concurrent(
    keys: Sequence[str], shown: Sequence[Operation], window: tuple[int, int], run: RunIndex
) -> list[Operation]:
    """Pick other operations on the keys that overlap the window: the nearest, none that failed."""
    drawn = {each.index for each in shown}
    last_ns = shown[-1].invoked_ns
    beside = [
        each
        for key in keys
        for each in run.by_key.get(key, ())
        if each.index not in drawn
        and each.outcome is not OpType.FAIL
        and each.invoked_ns <= window[1]
        and (each.completed_ns is None or each.completed_ns >= window[0])
    ]
    beside.sort(key=lambda each: abs(each.invoked_ns - last_ns))
    closed = [each for each in beside if each.outcome is OpType.OK][:CONCURRENT_MAX]
    still_open = [each for each in beside if each.outcome is OpType.INFO][:CONCURRENT_OPEN_MAX]
    return closed + still_open


def draw(
    anomaly: Anomaly,
    keys: Sequence[str],
    shown: Sequence[Operation],
    window: tuple[int, int] | None,
    run: RunIndex,
) -> Drawing:
    """Draw the operations `shown` with what ran beside them; `window` is None for the whole run."""
    window = window or (0, run.end_ns)
    drawn = [*shown, *_concurrent(keys, shown, window, run)]
    drawn.sort(key=lambda each: each.index)
    witness = {each.index for each in shown}
    ends = run.ended_ns
    moments = [each.invoked_ns for each in shown] + [ends[each.index] for each in shown]
    low, high = min(moments), max(moments)
    for each in drawn:
        moments += [at for at in (each.invoked_ns, ends[each.index]) if low <= at <= high]
    place = TimeScale(moments)
    bands, names, top = _bands(low, high, place, run)
    rows: dict[int | str, float] = {}
    for each in drawn:
        rows.setdefault(each.process, top + LANE * len(rows))
    height = round(top + LANE * len(rows) + 34)
    marks = sorted({at for each in shown for at in (each.invoked_ns, ends[each.index])})
    return Drawing(
        width=WIDTH,
        height=height,
        lanes_top=top,
        lanes=tuple(
            (
                y,
                f"{process_name(process)} {_node_of(drawn, process)}".strip(),
                any(each.process == process and each.index in witness for each in drawn),
            )
            for process, y in rows.items()
        ),
        bars=tuple(
            _bar(each, rows[each.process], place, ends[each.index], each.index in witness)
            for each in drawn
        ),
        bands=tuple(bands),
        band_names=tuple(names),
        marks=tuple(round(place(at), 1) for at in marks),
        ticks=tuple(_ticks(marks, place)),
        title=anomaly.summary,
    )


def _node_of(drawn: Sequence[Operation], process: Any) -> str:
    nodes = {each.node for each in drawn if each.process == process and each.node}
    return nodes.pop() if len(nodes) == 1 else ""


def _bar(operation: Operation, y: float, place: TimeScale, ended_ns: int, witness: bool) -> Bar:
    label = formatting.shortened(formatting.exchange(operation), 60)
    begin = place(operation.invoked_ns)
    still_open = operation.outcome is OpType.INFO
    end = float(WIDTH - 8) if still_open else max(begin + 3, place(ended_ns))
    fits = begin + 7.2 * len(label) < WIDTH - 6
    ended = {OpType.OK: "answered", OpType.FAIL: "failed"}.get(operation.outcome, "stopped waiting")
    title = (
        f"op {operation.index}: {process_name(operation.process)} "
        f"{formatting.exchange(operation)}, invoked {formatting.seconds(operation.invoked_ns)}, "
        f"{ended} {formatting.seconds(ended_ns)}"
    )
    return Bar(
        x=round(begin, 1),
        y=y + 17,
        width=round(end - begin, 1),
        label=label,
        label_x=round(begin if fits else end, 1),
        anchor="start" if fits else "end",
        outcome=operation.outcome.value,
        witness=witness,
        title=title,
        index=operation.index,
    )


def _bands(
    low: int, high: int, place: TimeScale, run: RunIndex
) -> tuple[list[Band], list[tuple[float, str]], int]:
    """Place leaders, one row a node, and faults, one row each; returns the lanes' top too."""
    bands: list[Band] = []
    names: list[tuple[float, str]] = []
    y = 6
    leader_periods = [
        (node, period)
        for node, period in run.leadership.leader_periods
        if period.until_ns >= low and period.from_ns <= high
    ]
    for leader in dict.fromkeys(node for node, _ in leader_periods):
        names.append((y + 12, f"leader {leader}"))
        for node, period in leader_periods:
            if node != leader:
                continue
            title = (
                f"{node} called itself leader of term {period.term}: asked at "
                f"{formatting.seconds(period.from_ns)}; {leader_until(node, period, run)}"
            )
            label = f"{node} · term {period.term}"
            bands.append(_band(period.from_ns, period.until_ns, y, place, label, "leader", title))
        y += BAND + 4
    for window in run.windows:
        until_ns = run.end_ns if window.until_ns is None else window.until_ns
        if window.outcome == "skipped" or until_ns < low or window.from_ns > high:
            continue
        names.append((y + 12, window.kind))
        detail = window.detail or ", ".join(window.targets)
        begin, end = formatting.seconds(window.from_ns), formatting.seconds(until_ns)
        title = f"{window.id}: {detail}, {begin} to {end}"
        bands.append(_band(window.from_ns, until_ns, y, place, detail, window.kind, title))
        y += BAND + 4
    return bands, names, y + 8


def _band(
    from_ns: int, until_ns: int, y: float, place: TimeScale, label: str, kind: str, title: str
) -> Band:
    begin, end = place(from_ns), place(until_ns)
    width = max(2.0, end - begin)
    return Band(
        x=round(begin, 1),
        y=y,
        width=round(width, 1),
        label=label if 6.6 * len(label) < width - 8 else "",
        kind=kind,
        title=title,
    )


def _ticks(marks: Sequence[int], place: TimeScale) -> list[tuple[float, str]]:
    """Label the events' times, leaving out labels that would overlap."""
    found: list[tuple[float, str]] = []
    for at_ns in marks:
        x = round(place(at_ns), 1)
        if not found or x - found[-1][0] >= _TICK_GAP:
            found.append((x, formatting.seconds(at_ns)))
    return found
