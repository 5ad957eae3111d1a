"""An anomaly as a card: its proof in sentences, its operations as text lanes and as a drawing.

Everything the page, the summary and the JUnit file show of one anomaly is computed here, once. What
is too long is cut at a stated bound; verdict.json has all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from squall.checkers.history import Operation
from squall.checkers.text.lanes import render
from squall.checkers.text.words import counted
from squall.checkers.verdict import Anomaly
from squall.reports import formatting
from squall.reports.proof.drawing import Drawing, RunIndex, draw, leader_until

WITNESSES_MAX = 24
"""Most operations drawn of one proof; a longer one keeps its sentences and its table."""
PROOF_LINES_MAX = 60
LINE_CHARS_MAX = 2_000
LANES_CHARS_MAX = 20_000
KEYS_NAMED_MAX = 6
LEADERS_MAX = 8
"""Most periods of a leader named in a card's sentence."""

_LEADS = {"Let", "Then", "And", "However", "But", "So", "Therefore", "Because"}


@dataclass(frozen=True, slots=True)
class Card:
    """One anomaly as it is shown. `ended_ns` is of every operation, by index."""

    number: int
    property: str
    anomaly: Anomaly
    proof: tuple[tuple[str, str], ...]  # leading word or "", rest of the sentence
    leaders: tuple[str, ...]  # which nodes reported to lead meanwhile
    keys: tuple[str, ...]  # of the witnesses, in order of first use
    witnesses: tuple[Operation, ...]
    through: Mapping[int, str]  # index of a witness -> the node it was sent to, and its role
    ended_ns: Mapping[int, int]
    extent: str
    data: tuple[tuple[str, str], ...]
    ascii: str
    window_ns: tuple[int, int] | None
    link: str
    drawing: Drawing | None
    omitted: int


def card(number: int, owner: str, anomaly: Anomaly, run: RunIndex) -> Card:
    """Build the card of one anomaly."""
    found = [run.operations[index] for index in anomaly.ops if index in run.operations]
    witnesses = sorted(found, key=lambda each: each.index)
    shown = _ends(witnesses)
    window = anomaly.window_ns or _window(witnesses, run)
    keys = tuple(dict.fromkeys(each.key for each in witnesses if each.key is not None))
    if not witnesses and anomaly.key is not None:
        keys = (anomaly.key,)
    extent = f"{counted(len(witnesses), 'operation')} of {len(run.operations):,}"
    if keys:
        on_keys = sum(len(run.by_key.get(key, ())) for key in keys)
        extent += f", of which {on_keys:,} were on {_listed(keys)}"
    return Card(
        number=number,
        property=owner,
        anomaly=anomaly,
        proof=tuple(_proof(anomaly.explanation)),
        leaders=tuple(_leaders(window, run)),
        keys=keys,
        witnesses=tuple(shown),
        through={each.index: _through(each, run) for each in shown},
        ended_ns=run.ended_ns,
        extent=extent if witnesses else "",
        data=tuple(formatting.facts(anomaly.data)),
        ascii=formatting.shortened(anomaly.lanes.strip("\n") or render(shown), LANES_CHARS_MAX),
        window_ns=window,
        link=_link(keys, witnesses, window),
        drawing=draw(anomaly, keys, shown, window, run) if shown else None,
        omitted=len(witnesses) - len(shown),
    )


def _window(witnesses: Sequence[Operation], run: RunIndex) -> tuple[int, int] | None:
    if not witnesses:
        return None
    ends = [run.ended_ns.get(each.index, each.invoked_ns) for each in witnesses]
    return min(each.invoked_ns for each in witnesses), max(ends)


def _ends(witnesses: list[Operation]) -> list[Operation]:
    """Bound the witnesses: a third from the beginning, the rest from the end."""
    if len(witnesses) <= WITNESSES_MAX:
        return witnesses
    begin = WITNESSES_MAX // 3
    return witnesses[:begin] + witnesses[begin - WITNESSES_MAX :]


def _listed(keys: Sequence[str]) -> str:
    more = len(keys) - KEYS_NAMED_MAX
    return ", ".join(keys[:KEYS_NAMED_MAX]) + (f" and {more:,} more" if more > 0 else "")


def _leaders(window: tuple[int, int] | None, run: RunIndex) -> list[str]:
    """Name every node that reported to lead during a window, and when."""
    if window is None:
        return []
    leader_periods = run.leadership.leaders_between(*window)
    sentences = [
        f"{node} called itself leader of term {period.term} (asked at "
        f"{formatting.seconds(period.from_ns)}; {leader_until(node, period, run)})"
        for node, period in leader_periods[:LEADERS_MAX]
    ]
    if len(leader_periods) > LEADERS_MAX:
        sentences.append(
            f"{len(leader_periods) - LEADERS_MAX:,} more stretches of a leader are in the run"
        )
    return ["Meanwhile " + "; ".join(sentences) + "."] if sentences else []


def _through(operation: Operation, run: RunIndex) -> str:
    """Name the node an operation was sent to, and its term if it reported to lead then."""
    if not operation.node:
        return ""
    ended_ns = run.ended_ns.get(operation.index, operation.invoked_ns)
    leader_periods = run.leadership.leaders_between(operation.invoked_ns, ended_ns)
    own = [period for node, period in leader_periods if node == operation.node]
    if not own:
        return operation.node
    newer = any(period.term > own[0].term for _, period in leader_periods)
    still = "still " if newer else ""
    return f"{operation.node}, which {still}called itself leader of term {own[0].term}"


def _link(
    keys: tuple[str, ...], witnesses: Sequence[Operation], window: tuple[int, int] | None
) -> str:
    """Link to the time axis around a window; filtered by key if that hides no witness."""
    if window is None:
        return ""
    margin_ns = max(100_000_000, (window[1] - window[0]) // 4)
    begin, end = max(0, window[0] - margin_ns) / 1e9, (window[1] + margin_ns) / 1e9
    one = len(keys) == 1 and all(each.key is not None for each in witnesses)
    key = f"&key={quote(keys[0], safe='')}" if one else ""
    return f"#t={begin:.3f}-{end:.3f}{key}"


def _proof(explanation: str) -> list[tuple[str, str]]:
    """Split a proof into lines, each into its leading word ("Let", "Then" ...) and the rest."""
    found = []
    lines = explanation.splitlines()
    for whole in lines[:PROOF_LINES_MAX]:
        line = formatting.shortened(whole, LINE_CHARS_MAX)
        first, _, rest = line.strip().partition(" ")
        if first.rstrip(":,") in _LEADS:
            found.append((first.rstrip(":,"), rest))
        elif line.strip():
            found.append(("", line.strip()))
    if len(lines) > PROOF_LINES_MAX:
        found.append(("", f"… {len(lines) - PROOF_LINES_MAX:,} more lines in verdict.json"))
    return found
