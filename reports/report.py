"""The view model: everything a reader is told about a run, worked out before anything is written.

`Report.of` turns (run, history, verdict, evidence, node logs) into plain data; the page, the step
summary, the JUnit file and the terminal only lay it out. It looks nothing up and reads no clock, so
the same run gives the same report to the last byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checkers.evidence import Evidence
from checkers.faults import fault_windows, mending_ns
from checkers.history import History, OpType
from checkers.run import Run
from checkers.silence import longest_silence, service
from checkers.verdict import Verdict
from reports import columns, errors, judgement, nodes, repeat, words
from reports.attempts import Attempt, Phase, Stretches, attempts, stretches
from reports.counterexample import Card, Scenery, card
from reports.faults import FaultRow, KindRow, by_kind, fault_rows
from reports.judgement import Property
from reports.leadership import Leadership, leadership
from reports.logs import TAIL_LINES, LogLine, around, log_lines, members_of
from reports.numbers import NumbersRow, Rates, numbers, outcome_counts, rates
from reports.scene import scene

CARDS_MAX = 20
"""Most anomalies shown in full; verdict.json has them all."""
EXCERPTS_MAX = 5
DETAIL_ROWS_MAX = 240


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What the nodes said around one anomaly."""

    title: str
    lines: list[LogLine]
    omitted: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the history and the logs show by themselves, whatever the verdict says of it."""

    events: int
    end_ns: int
    storm: Stretches
    tried: list[Attempt]
    led: Leadership
    logs: dict[str, list[LogLine]]
    faults: list[FaultRow]
    silence: tuple[int, int]
    rates: Rates

    @property
    def injected(self) -> int:
        return sum(row.window.outcome != "skipped" for row in self.faults)

    @classmethod
    def of(
        cls, history: History, evidence: Evidence, node_logs: Mapping[str, Sequence[str]]
    ) -> _Seen:
        end_ns = history.duration_ns
        windows = fault_windows(history)
        storm = stretches(windows, end_ns)
        tried = attempts(history, storm)
        asked = service(history)
        led = leadership(history, evidence)
        return cls(
            events=len(history),
            end_ns=end_ns,
            storm=storm,
            tried=tried,
            led=led,
            logs=log_lines(node_logs, _zero(history), members_of(evidence.nodes.values())),
            faults=fault_rows(windows, tried, asked, led, end_ns, mending_ns(history)),
            silence=longest_silence(asked),
            rates=rates(tried, end_ns),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """A run as it is told. Times in nanoseconds since the start."""

    run: Run
    folder: str
    word: str
    title: str
    sentence: str
    properties: list[Property]
    cards: list[Card]
    anomalies: int
    kinds: list[tuple[str, int]]
    trouble: tuple[str, ...]
    seen: _Seen
    outcomes: dict[str, int]
    numbers: list[NumbersRow]
    fault_kinds: list[KindRow]
    unsupported: dict[str, str]
    errors: list[errors.ErrorRow]
    errors_omitted: int
    nodes: list[nodes.NodeRow]
    agreement: tuple[bool | None, str]
    recovery: list[tuple[str, str]]
    recovery_rest: dict[str, Any]
    excerpts: list[Excerpt]
    commands: list[repeat.Command]
    parameters: list[tuple[str, list[tuple[str, str]]]]
    scene: dict[str, Any]
    packed: str
    carried: int

    @classmethod
    def of(
        cls,
        run: Run,
        history: History,
        verdict: Verdict,
        evidence: Evidence,
        node_logs: Mapping[str, Sequence[str]],
        *,
        folder: str = "",
    ) -> Report:
        """Work everything out. `folder` is where the run is kept, as the reader would type it."""
        folder = folder or repeat.folder_of(run)
        seen = _Seen.of(history, evidence, node_logs)
        verdict_word = judgement.word(verdict, evidence)
        rows = judgement.properties(verdict)
        cards = _cards(rows, history, seen)
        error_table, errors_omitted = errors.error_rows(seen.tried, seen.logs, seen.end_ns)
        node_table = nodes.node_rows(run, evidence, seen.led, seen.logs)
        plain, nested = _plain_and_nested(evidence.recovery)
        carried = _carried(seen.tried, cards)
        drawn = scene(
            tried=carried,
            faults=seen.faults,
            led=seen.led,
            rate=seen.rates,
            cards=cards,
            end_ns=seen.end_ns,
            started_at="" if run.cluster == "sim" else _zero(history),  # no wall clock ran there
        )
        return cls(
            run=run,
            folder=folder,
            word=verdict_word,
            title=judgement.title(run, verdict_word),
            sentence=judgement.sentence(
                verdict,
                evidence,
                operations=len(seen.tried),
                faults=seen.injected,
                outage_ns=seen.silence[1] - seen.silence[0],
            ),
            properties=rows,
            cards=cards,
            anomalies=sum(row.found for row in rows),
            kinds=_kinds(rows),
            trouble=evidence.trouble,
            seen=seen,
            outcomes=outcome_counts(seen.tried),
            numbers=numbers(seen.tried, seen.storm),
            fault_kinds=by_kind(seen.faults),
            unsupported={**run.unsupported, **evidence.unsupported_faults},
            errors=error_table,
            errors_omitted=errors_omitted,
            nodes=node_table,
            agreement=nodes.agreement(node_table),
            recovery=words.facts(plain),
            recovery_rest=nested,
            excerpts=_excerpts(cards, seen.logs),
            commands=repeat.commands(run, folder),
            parameters=repeat.parameter_groups(run),
            scene=drawn,
            packed=columns.encode(carried, drawn["processes"]),
            carried=len(carried),
        )

    @property
    def operations(self) -> int:
        """How many operations clients began."""
        return len(self.seen.tried)

    @property
    def events(self) -> int:
        """How many events the history has."""
        return self.seen.events

    @property
    def end_ns(self) -> int:
        """Time of the last event."""
        return self.seen.end_ns

    @property
    def silence(self) -> tuple[int, int]:
        """The longest stretch in which clients asked and no operation succeeded."""
        return self.seen.silence

    @property
    def rates(self) -> Rates:
        """Completions over time."""
        return self.seen.rates

    @property
    def led(self) -> Leadership:
        """Who led, when."""
        return self.seen.led

    @property
    def faults(self) -> list[FaultRow]:
        """The storm, fault by fault."""
        return self.seen.faults

    @property
    def injected(self) -> int:
        """How many faults were injected; those that were skipped are none."""
        return self.seen.injected

    @property
    def phases(self) -> list[tuple[str, int]]:
        """The phases of the run with their lengths (ns)."""
        return [(phase.value, self.seen.storm.length_ns(phase)) for phase in Phase]

    @property
    def tails(self) -> dict[str, list[LogLine]]:
        """The last lines of every node."""
        return {node: said[-TAIL_LINES:] for node, said in self.seen.logs.items()}

    @property
    def glyph(self) -> str:
        """The verdict's glyph: colour never speaks alone."""
        return words.GLYPHS[self.word.lower()]

    @property
    def failure_text(self) -> str:
        """The whole failure as text, to be pasted into an issue or a chat."""
        parts = [f"{self.glyph} {self.word}  {self.title[2:]}", self.sentence]
        for each in self.cards[:3]:
            body = [f"{each.anomaly.kind}: {each.anomaly.summary}"]
            body += [f"{lead} {rest}".strip() for lead, rest in each.proof]
            body += each.leaders
            body.append(each.ascii)
            parts.append("\n".join(text for text in body if text))
        parts.append("\n".join(f"{each.name}: {each.line}" for each in self.commands))
        return "\n\n".join(parts)

    @property
    def rate_rows(self) -> list[tuple[int, int, int, int]]:
        """Completions a second or longer step: start (ns), ok, info, fail; few enough to read."""
        rate = self.rates
        per = max(1, round(1e9 / rate.bucket_ns))
        per = max(per, -(-len(rate.ok) // DETAIL_ROWS_MAX))
        return [
            (
                at * rate.bucket_ns,
                sum(rate.ok[at : at + per]),
                sum(rate.info[at : at + per]),
                sum(rate.fail[at : at + per]),
            )
            for at in range(0, len(rate.ok), per)
        ]

    @property
    def rate_sentence(self) -> str:
        """Describe the rate band to who cannot see it."""
        mean = self.operations / (self.end_ns / 1e9) if self.end_ns else 0.0
        begin, end = self.silence
        return (
            f"{self.operations:,} operations in {self.end_ns / 1e9:.1f} s, {mean:,.0f} a second on "
            f"average. The longest silence, in which clients asked and no operation succeeded, "
            f"lasted {words.duration(end - begin)}, from {words.seconds(begin)} to "
            f"{words.seconds(end)}."
        )

    @property
    def latency_sentence(self) -> str:
        """Describe the latency band to who cannot see it."""
        said = [
            f"{row.f} p50 {words.duration(cell.p50_ns)}, p99 {words.duration(cell.p99_ns)}"
            for row in self.numbers
            if row.outcome == "ok" and (cell := row.cells[0]) is not None
        ]
        return "Latency while calm: " + ("; ".join(said) or "nothing succeeded then") + "."

    @property
    def leader_sentence(self) -> str:
        """Describe the leaders' band to who cannot see it."""
        if not self.led.readings:
            known = f", whose logs name {words.plural(self.led.elections, 'term')} with a leader"
            return f"Nobody asked the nodes for their roles{known if self.led.terms else ''}."
        longest = max((end - begin for begin, end in self.led.leaderless), default=0)
        alone = f", the longest for {words.duration(longest)}" if longest else ""
        return (
            f"{words.plural(self.led.elections, 'term')} with a leader; "
            f"{words.plural(len(self.led.leaderless), 'time')} no node that answered said to "
            f"lead{alone}. What the nodes answered was recorded {self.led.readings:,} times, "
            f"{words.duration(self.led.resolution_ns)} apart at the median; nothing finer is known."
        )

    @property
    def fault_sentence(self) -> str:
        """Describe the faults' band to who cannot see it."""
        if not self.fault_kinds:
            return "No fault was injected."
        said = ", ".join(words.plural(kind.n, kind.kind) for kind in self.fault_kinds)
        return f"Faults: {said}."


def _zero(history: History) -> str:
    """When the history's clock began, by the controller's wall clock; "" where nobody noted it."""
    return str(history.header.get("started_at") or "")


def _cards(rows: list[Property], history: History, seen: _Seen) -> list[Card]:
    picked = judgement.ranked(rows, CARDS_MAX)
    if not picked:
        return []
    scenery = Scenery(
        operations={each.operation.index: each.operation for each in seen.tried},
        by_key=history.by_key,
        ended_ns={each.operation.index: each.ended_ns for each in seen.tried},
        windows=[row.window for row in seen.faults],
        led=seen.led,
        end_ns=seen.end_ns,
    )
    return [card(at, owner, found, scenery) for at, (owner, found) in enumerate(picked, start=1)]


def _plain_and_nested(found: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keep what fits a line from what needs room; what is empty needs neither."""
    kept = {name: held for name, held in found.items() if held not in ("", None, [], {}, ())}
    nested = {name: held for name, held in kept.items() if isinstance(held, dict | list | tuple)}
    return {name: held for name, held in kept.items() if name not in nested}, nested


def _kinds(rows: list[Property]) -> list[tuple[str, int]]:
    counted: dict[str, int] = {}
    for row in rows:
        for anomaly in row.anomalies:
            counted[anomaly.kind] = counted.get(anomaly.kind, 0) + 1
        if row.found > len(row.anomalies):
            more = f"more of {row.name}"
            counted[more] = counted.get(more, 0) + row.found - len(row.anomalies)
    return list(counted.items())


def _excerpts(cards: list[Card], logs: Mapping[str, list[LogLine]]) -> list[Excerpt]:
    found = []
    for each in cards[:EXCERPTS_MAX]:
        if each.window_ns is not None:
            lines, omitted = around(logs, each.window_ns)
            if lines:
                title = f"Around anomaly {each.number}: {each.anomaly.kind}"
                found.append(Excerpt(title, lines, omitted))
    return found


def _carried(tried: list[Attempt], cards: list[Card]) -> list[Attempt]:
    """Choose what the page carries: everything, or the anomalies' keys if that is too much."""
    if len(tried) <= columns.OPS_MAX:
        return tried
    keys = {key for each in cards for key in (each.anomaly.key, *each.keys)}
    shown = {operation.index for each in cards for operation in each.witnesses}
    chosen = [
        each
        for each in tried
        if each.operation.key in keys
        or each.operation.index in shown
        or each.operation.outcome is OpType.INFO
    ]
    return chosen[: columns.OPS_MAX]
