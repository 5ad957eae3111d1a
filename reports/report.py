"""The view model of a run: everything its reader is shown, computed before anything is written.

`Report.of` turns (run, history, verdict, evidence, node logs) into plain data; the page, the step
summary, the JUnit file and the terminal only lay it out. It does no I/O and reads no clock, so the
same run gives the same report to the last byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from squall.checkers.campaign.silence import longest_silence, service
from squall.checkers.evidence import Evidence
from squall.checkers.faults import fault_windows, mending_ns
from squall.checkers.history import History
from squall.checkers.run import Run
from squall.checkers.text.words import counted
from squall.checkers.verdict import Verdict
from squall.reports import formatting
from squall.reports.proof.card import Card, card
from squall.reports.proof.drawing import RunIndex
from squall.reports.view import errors, judgement, nodes, reproduce
from squall.reports.view.attempts import Attempt, FaultPeriods, Phase, attempts_of, fault_periods
from squall.reports.view.faults import FaultRow, KindRow, by_kind, fault_rows
from squall.reports.view.judgement import Property
from squall.reports.view.leadership import Leadership, leadership_of
from squall.reports.view.logs import TAIL_LINES, LogLine, around, log_lines, members_of
from squall.reports.view.numbers import NumbersRow, Rates, numbers, outcome_counts, rates

CARDS_MAX = 20
"""Most anomalies shown in full; verdict.json has them all."""
EXCERPTS_MAX = 5
DETAIL_ROWS_MAX = 240


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The nodes' log lines around one anomaly."""

    title: str
    lines: list[LogLine]
    omitted: int


@dataclass(frozen=True, slots=True)
class _Observed:
    """What follows from history and logs alone, whatever the verdict."""

    events: int
    end_ns: int
    periods: FaultPeriods
    attempts: list[Attempt]
    leadership: Leadership
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
    ) -> _Observed:
        end_ns = history.duration_ns
        windows = fault_windows(history)
        periods = fault_periods(windows, end_ns)
        attempts = attempts_of(history, periods)
        served = service(history)
        leadership = leadership_of(history, evidence)
        return cls(
            events=len(history),
            end_ns=end_ns,
            periods=periods,
            attempts=attempts,
            leadership=leadership,
            logs=log_lines(node_logs, _zero(history), members_of(evidence.nodes.values())),
            faults=fault_rows(windows, attempts, served, leadership, end_ns, mending_ns(history)),
            silence=longest_silence(served),
            rates=rates(attempts, end_ns),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """A run as it is shown. Times in nanoseconds of the history's clock.

    `zero` is the wall time at which that clock began, "" where it is unknown or there is none.
    """

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
    observed: _Observed
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
    commands: list[reproduce.Command]
    parameters: list[tuple[str, list[tuple[str, str]]]]
    zero: str

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
        """Compute everything. `folder` is where the run is kept, as the reader would type it."""
        folder = folder or reproduce.folder_of(run)
        observed = _Observed.of(history, evidence, node_logs)
        verdict_word = judgement.word(verdict, evidence)
        rows = judgement.properties(verdict)
        cards = _cards(rows, history, observed)
        error_table, errors_omitted = errors.error_rows(
            observed.attempts, observed.logs, observed.end_ns
        )
        node_table = nodes.node_rows(run, evidence, observed.leadership, observed.logs)
        plain, nested = _plain_and_nested(evidence.recovery)
        return cls(
            run=run,
            folder=folder,
            word=verdict_word,
            title=judgement.title(run, verdict_word),
            sentence=judgement.sentence(
                verdict,
                evidence,
                operations=len(observed.attempts),
                faults=observed.injected,
                outage_ns=observed.silence[1] - observed.silence[0],
            ),
            properties=rows,
            cards=cards,
            anomalies=sum(row.found for row in rows),
            kinds=_kinds(rows),
            trouble=evidence.trouble,
            observed=observed,
            outcomes=outcome_counts(observed.attempts),
            numbers=numbers(observed.attempts, observed.periods),
            fault_kinds=by_kind(observed.faults),
            unsupported={**run.unsupported, **evidence.unsupported_faults},
            errors=error_table,
            errors_omitted=errors_omitted,
            nodes=node_table,
            agreement=nodes.agreement(node_table),
            recovery=formatting.facts(plain),
            recovery_rest=nested,
            excerpts=_excerpts(cards, observed.logs),
            commands=reproduce.commands(run, folder),
            parameters=reproduce.parameter_groups(run),
            zero="" if run.cluster == "sim" else _zero(history),  # no wall clock is simulated
        )

    @property
    def operations(self) -> int:
        """Return how many operations clients invoked."""
        return len(self.observed.attempts)

    @property
    def attempts(self) -> list[Attempt]:
        """Return every client operation, in order of invocation."""
        return self.observed.attempts

    @property
    def events(self) -> int:
        """Return how many events the history has."""
        return self.observed.events

    @property
    def end_ns(self) -> int:
        """Return the time of the last event."""
        return self.observed.end_ns

    @property
    def silence(self) -> tuple[int, int]:
        """Return the longest time in which operations were open and none succeeded."""
        return self.observed.silence

    @property
    def rates(self) -> Rates:
        """Return completions over time."""
        return self.observed.rates

    @property
    def leadership(self) -> Leadership:
        """Who leadership, when."""
        return self.observed.leadership

    @property
    def faults(self) -> list[FaultRow]:
        """Return every fault, in order of its start."""
        return self.observed.faults

    @property
    def injected(self) -> int:
        """Return how many faults were injected, without those that were skipped."""
        return self.observed.injected

    @property
    def phases(self) -> list[tuple[str, int]]:
        """Return the phases of the run with their lengths (ns)."""
        return [(phase.value, self.observed.periods.length_ns(phase)) for phase in Phase]

    @property
    def tails(self) -> dict[str, list[LogLine]]:
        """Return the last log lines of every node."""
        return {node: lines[-TAIL_LINES:] for node, lines in self.observed.logs.items()}

    @property
    def glyph(self) -> str:
        """Return the verdict's glyph, so that colour is never the only mark."""
        return formatting.GLYPHS[self.word.lower()]

    @property
    def failure_text(self) -> str:
        """Return the failure as text, to be pasted into an issue or a chat."""
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
        """Return completions in steps of at least a second: (start in ns, ok, info, fail)."""
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
        """Return the rate band as a sentence, for readers who do not see it."""
        mean = self.operations / (self.end_ns / 1e9) if self.end_ns else 0.0
        begin, end = self.silence
        return (
            f"{self.operations:,} operations in {self.end_ns / 1e9:.1f} s, {mean:,.0f} a second on "
            f"average. The longest silence, in which clients asked and no operation succeeded, "
            f"lasted {formatting.duration(end - begin)}, from {formatting.seconds(begin)} to "
            f"{formatting.seconds(end)}."
        )

    @property
    def latency_sentence(self) -> str:
        """Return the latency band as a sentence."""
        duration = formatting.duration
        parts = [
            f"{row.f} p50 {duration(cell.p50_ns)}, p99 {duration(cell.p99_ns)}"
            for row in self.numbers
            if row.outcome == "ok" and (cell := row.cells[0]) is not None
        ]
        return "Latency while calm: " + ("; ".join(parts) or "nothing succeeded then") + "."

    @property
    def leader_sentence(self) -> str:
        """Return the leaders' band as a sentence."""
        led = self.leadership
        if not led.readings:
            known = f", whose logs name {counted(led.elections, 'term')} with a leader"
            return f"Nobody asked the nodes for their roles{known if led.terms else ''}."
        longest = max((end - begin for begin, end in led.leaderless), default=0)
        alone = f", the longest for {formatting.duration(longest)}" if longest else ""
        return (
            f"{counted(led.elections, 'term')} with a leader; "
            f"{counted(len(led.leaderless), 'time')} no node that answered said to "
            f"lead{alone}. What the nodes answered was recorded {led.readings:,} times, "
            f"{formatting.duration(led.resolution_ns)} apart at the median; nothing finer is known."
        )

    @property
    def fault_sentence(self) -> str:
        """Return the faults' band as a sentence."""
        if not self.fault_kinds:
            return "No fault was injected."
        kinds = ", ".join(counted(kind.n, kind.kind) for kind in self.fault_kinds)
        return f"Faults: {kinds}."


def _zero(history: History) -> str:
    """Return the wall time of the history's zero; "" where it was not recorded."""
    return str(history.header.get("started_at") or "")


def _cards(rows: list[Property], history: History, observed: _Observed) -> list[Card]:
    picked = judgement.ranked(rows, CARDS_MAX)
    if not picked:
        return []
    index = RunIndex(
        operations={each.operation.index: each.operation for each in observed.attempts},
        by_key=history.by_key,
        ended_ns={each.operation.index: each.ended_ns for each in observed.attempts},
        windows=[row.window for row in observed.faults],
        leadership=observed.leadership,
        end_ns=observed.end_ns,
    )
    return [card(at, owner, found, index) for at, (owner, found) in enumerate(picked, start=1)]


def _plain_and_nested(found: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separate values that fit a line from nested ones; empty ones are left out."""
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
