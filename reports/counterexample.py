"""An anomaly as a card: the proof in sentences, its operations as lanes, the storm above them.

The drawing squeezes time. Every event keeps its place in the order, and a longer wait is never
drawn shorter than a shorter one; but seconds of silence do not push milliseconds of proof off the
page. The page says so under each drawing; the true times stand on the axis and in the table.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from checkers.faults import FaultWindow
from checkers.history import Operation, OpType, process_name
from checkers.lanes import render
from checkers.verdict import Anomaly
from reports import words
from reports.leadership import Leadership, Stretch

WITNESSES_MAX = 24
"""Most operations drawn of one proof; a longer one keeps its sentences and its table."""
CONTEXT_MAX = 8
PROOF_LINES_MAX = 60
LINE_CHARS_MAX = 2_000
LANES_CHARS_MAX = 20_000
OPEN_CONTEXT_MAX = 3
KEYS_NAMED_MAX = 6
LEADERS_MAX = 8
"""Stretches of a leader told in a card's sentence."""

GUTTER, WIDTH, LANE, BAND = 96, 984, 40, 18
_INNER = WIDTH - GUTTER - 52
_TICK_GAP = 66
_LEADS = {"Let", "Then", "And", "However", "But", "So", "Therefore", "Because"}


@dataclass(frozen=True, slots=True)
class Bar:
    """An operation in the drawing; pixels."""

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
    """A fault or a reign above the lanes; pixels."""

    x: float
    y: float
    width: float
    label: str
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything the SVG needs."""

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


@dataclass(frozen=True, slots=True)
class Card:
    """One anomaly, ready to be shown."""

    number: int
    property: str
    anomaly: Anomaly
    proof: tuple[tuple[str, str], ...]  # leading word or "", the rest of the sentence
    leaders: tuple[str, ...]  # who called itself leader then
    keys: tuple[str, ...]  # of the witnesses, in order of first use
    witnesses: tuple[Operation, ...]
    through: Mapping[int, str]  # index of a witness -> the node it went through, and its role then
    ended_ns: Mapping[int, int]
    extent: str
    data: tuple[tuple[str, str], ...]
    ascii: str
    window_ns: tuple[int, int] | None
    link: str
    drawing: Drawing | None
    omitted: int


@dataclass(frozen=True, slots=True)
class Scenery:
    """What a card may draw from: the whole run, indexed."""

    operations: Mapping[int, Operation]
    by_key: Mapping[str | None, Sequence[Operation]]
    ended_ns: Mapping[int, int]
    windows: Sequence[FaultWindow]
    led: Leadership
    end_ns: int


def card(number: int, owner: str, anomaly: Anomaly, scenery: Scenery) -> Card:
    """Build the card of one anomaly."""
    found = [scenery.operations[index] for index in anomaly.ops if index in scenery.operations]
    witnesses = sorted(found, key=lambda each: each.index)
    shown = _ends(witnesses)
    window = anomaly.window_ns or _window(witnesses, scenery)
    keys = tuple(dict.fromkeys(each.key for each in witnesses if each.key is not None))
    if not witnesses and anomaly.key is not None:
        keys = (anomaly.key,)
    extent = f"{words.plural(len(witnesses), 'operation')} of {len(scenery.operations):,}"
    if keys:
        on_keys = sum(len(scenery.by_key.get(key, ())) for key in keys)
        extent += f", of which {on_keys:,} were on {_listed(keys)}"
    return Card(
        number=number,
        property=owner,
        anomaly=anomaly,
        proof=tuple(_proof(anomaly.explanation)),
        leaders=tuple(_leaders(window, scenery)),
        keys=keys,
        witnesses=tuple(shown),
        through={each.index: _through(each, scenery) for each in shown},
        ended_ns=scenery.ended_ns,
        extent=extent if witnesses else "",
        data=tuple(words.facts(anomaly.data)),
        ascii=words.shortened(anomaly.lanes.strip("\n") or render(shown), LANES_CHARS_MAX),
        window_ns=window,
        link=_link(keys, witnesses, window),
        drawing=_draw(anomaly, keys, shown, window, scenery) if shown else None,
        omitted=len(witnesses) - len(shown),
    )


def _window(witnesses: Sequence[Operation], scenery: Scenery) -> tuple[int, int] | None:
    if not witnesses:
        return None
    ends = [scenery.ended_ns.get(each.index, each.invoked_ns) for each in witnesses]
    return min(each.invoked_ns for each in witnesses), max(ends)


def _ends(witnesses: list[Operation]) -> list[Operation]:
    """Choose what is drawn of many witnesses: what it began with and, above all, how it ended."""
    if len(witnesses) <= WITNESSES_MAX:
        return witnesses
    begin = WITNESSES_MAX // 3
    return witnesses[:begin] + witnesses[begin - WITNESSES_MAX :]


def _listed(keys: Sequence[str]) -> str:
    more = len(keys) - KEYS_NAMED_MAX
    return ", ".join(keys[:KEYS_NAMED_MAX]) + (f" and {more:,} more" if more > 0 else "")


def _leaders(window: tuple[int, int] | None, scenery: Scenery) -> list[str]:
    """Say of every node that called itself leader in a window when it did."""
    if window is None:
        return []
    reigns = scenery.led.leaders_between(*window)
    said = [
        f"{node} called itself leader of term {reign.term} (asked at "
        f"{words.seconds(reign.from_ns)}; {_until(node, reign, scenery)})"
        for node, reign in reigns[:LEADERS_MAX]
    ]
    if len(reigns) > LEADERS_MAX:
        said.append(f"{len(reigns) - LEADERS_MAX:,} more stretches of a leader are in the run")
    return ["Meanwhile " + "; ".join(said) + "."] if said else []


def _until(node: str, reign: Stretch, scenery: Scenery) -> str:
    if scenery.led.nodes[node][-1] is reign:
        return "to the end"
    return f"by {words.seconds(reign.until_ns)} no longer"


def _through(operation: Operation, scenery: Scenery) -> str:
    """Name the node an operation went through, and whether it called itself leader then."""
    if not operation.node:
        return ""
    ended_ns = scenery.ended_ns.get(operation.index, operation.invoked_ns)
    reigns = scenery.led.leaders_between(operation.invoked_ns, ended_ns)
    own = [reign for node, reign in reigns if node == operation.node]
    if not own:
        return operation.node
    newer = any(reign.term > own[0].term for _, reign in reigns)
    still = "still " if newer else ""
    return f"{operation.node}, which {still}called itself leader of term {own[0].term}"


def _link(
    keys: tuple[str, ...], witnesses: Sequence[Operation], window: tuple[int, int] | None
) -> str:
    """Link to the run around a window, filtered by key only where that hides no witness."""
    if window is None:
        return ""
    margin_ns = max(100_000_000, (window[1] - window[0]) // 4)
    begin, end = max(0, window[0] - margin_ns) / 1e9, (window[1] + margin_ns) / 1e9
    one = len(keys) == 1 and all(each.key is not None for each in witnesses)
    key = f"&key={quote(keys[0], safe='')}" if one else ""
    return f"#t={begin:.3f}-{end:.3f}{key}"


def _proof(explanation: str) -> list[tuple[str, str]]:
    """Split a proof into its lines, each with its leading word apart."""
    found = []
    lines = explanation.splitlines()
    for whole in lines[:PROOF_LINES_MAX]:
        line = words.shortened(whole, LINE_CHARS_MAX)
        first, _, rest = line.strip().partition(" ")
        if first.rstrip(":,") in _LEADS:
            found.append((first.rstrip(":,"), rest))
        elif line.strip():
            found.append(("", line.strip()))
    if len(lines) > PROOF_LINES_MAX:
        found.append(("", f"… {len(lines) - PROOF_LINES_MAX:,} more lines in verdict.json"))
    return found


class _Squeezed:
    """A monotone map from nanoseconds to pixels that spends its width on events, not on silence."""

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
        at = bisect_right(self.moments, at_ns)
        if at == 0:
            return self.places[0] - 12
        if at == len(self.moments):
            return self.places[-1] + (0 if at_ns == self.moments[-1] else 14)
        begin, end = self.moments[at - 1], self.moments[at]
        share = (at_ns - begin) / (end - begin)
        return self.places[at - 1] + share * (self.places[at] - self.places[at - 1])


def _context(
    keys: Sequence[str], shown: Sequence[Operation], window: tuple[int, int], scenery: Scenery
) -> list[Operation]:
    """Pick what else happened to the keys meanwhile: the nearest in time, failures left out."""
    drawn = {each.index for each in shown}
    last_ns = shown[-1].invoked_ns
    beside = [
        each
        for key in keys
        for each in scenery.by_key.get(key, ())
        if each.index not in drawn
        and each.outcome is not OpType.FAIL
        and each.invoked_ns <= window[1]
        and (each.completed_ns is None or each.completed_ns >= window[0])
    ]
    beside.sort(key=lambda each: abs(each.invoked_ns - last_ns))
    closed = [each for each in beside if each.outcome is OpType.OK][:CONTEXT_MAX]
    still_open = [each for each in beside if each.outcome is OpType.INFO][:OPEN_CONTEXT_MAX]
    return closed + still_open


def _draw(
    anomaly: Anomaly,
    keys: Sequence[str],
    shown: Sequence[Operation],
    window: tuple[int, int] | None,
    scenery: Scenery,
) -> Drawing:
    window = window or (0, scenery.end_ns)
    drawn = [*shown, *_context(keys, shown, window, scenery)]
    drawn.sort(key=lambda each: each.index)
    witness = {each.index for each in shown}
    ends = scenery.ended_ns
    moments = [each.invoked_ns for each in shown] + [ends[each.index] for each in shown]
    low, high = min(moments), max(moments)
    for each in drawn:
        moments += [at for at in (each.invoked_ns, ends[each.index]) if low <= at <= high]
    place = _Squeezed(moments)
    bands, names, top = _bands(low, high, place, scenery)
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


def _bar(operation: Operation, y: float, place: _Squeezed, ended_ns: int, witness: bool) -> Bar:
    label = words.shortened(words.exchange(operation), 60)
    begin = place(operation.invoked_ns)
    still_open = operation.outcome is OpType.INFO
    end = float(WIDTH - 8) if still_open else max(begin + 3, place(ended_ns))
    fits = begin + 7.2 * len(label) < WIDTH - 6
    heard = {OpType.OK: "answered", OpType.FAIL: "failed"}.get(operation.outcome, "stopped waiting")
    title = (
        f"op {operation.index}: {process_name(operation.process)} {words.exchange(operation)}, "
        f"invoked {words.seconds(operation.invoked_ns)}, {heard} {words.seconds(ended_ns)}"
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
    low: int, high: int, place: _Squeezed, scenery: Scenery
) -> tuple[list[Band], list[tuple[float, str]], int]:
    """Place the reigns, one row a node, and the faults, one row each; returns the lanes' top."""
    bands: list[Band] = []
    names: list[tuple[float, str]] = []
    y = 6
    reigns = [
        (node, reign)
        for node, reign in scenery.led.reigns
        if reign.until_ns >= low and reign.from_ns <= high
    ]
    for leader in dict.fromkeys(node for node, _ in reigns):
        names.append((y + 12, f"leader {leader}"))
        for node, reign in reigns:
            if node != leader:
                continue
            title = (
                f"{node} called itself leader of term {reign.term}: asked at "
                f"{words.seconds(reign.from_ns)}; {_until(node, reign, scenery)}"
            )
            label = f"{node} · term {reign.term}"
            bands.append(_band(reign.from_ns, reign.until_ns, y, place, label, "leader", title))
        y += BAND + 4
    for window in scenery.windows:
        until_ns = scenery.end_ns if window.until_ns is None else window.until_ns
        if window.outcome == "skipped" or until_ns < low or window.from_ns > high:
            continue
        names.append((y + 12, window.kind))
        detail = window.detail or ", ".join(window.targets)
        title = (
            f"{window.id}: {detail}, {words.seconds(window.from_ns)} to {words.seconds(until_ns)}"
        )
        bands.append(_band(window.from_ns, until_ns, y, place, detail, window.kind, title))
        y += BAND + 4
    return bands, names, y + 8


def _band(
    from_ns: int, until_ns: int, y: float, place: _Squeezed, label: str, kind: str, title: str
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


def _ticks(marks: Sequence[int], place: _Squeezed) -> list[tuple[float, str]]:
    """Label the events' times, leaving out what would overprint its neighbour."""
    found: list[tuple[float, str]] = []
    for at_ns in marks:
        x = round(place(at_ns), 1)
        if not found or x - found[-1][0] >= _TICK_GAP:
            found.append((x, words.seconds(at_ns)))
    return found
