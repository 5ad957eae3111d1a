"""What the terminal shows: progress while a run lasts, and its last lines.

Text in, text out: the caller decides about streams, widths and colour. `styled` marks text up for
rich where colour is wanted; every line reads the same without it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.text import Text

from squall.checkers.evidence import Evidence
from squall.checkers.run import Run
from squall.checkers.text.words import counted
from squall.checkers.verdict import Anomaly, Validity, Verdict
from squall.reports import formatting
from squall.reports.view import judgement, reproduce
from squall.reports.view.judgement import Property

NAME_WIDTH_MAX = 28
FINDING_CHARS_MAX = 160
BAR_WIDTH = 32
TROUBLE_MAX = 5
NOTE_WIDTH = 90
REASON_CHARS_MAX = 600
PROOF_CHARS_MAX = 4_000
FURTHER_MAX = 5
"""Anomalies shown in a sentence each, where there is no report to show them."""

_STYLES = {"✓": "green", "✗": "bold red", "?": "yellow", "!": "bold magenta"}
_WORD_STYLES = {"VALID": "green", "INVALID": "red", "UNKNOWN": "yellow", "ERROR": "magenta"}


def final_lines(
    run: Run,
    verdict: Verdict,
    folder: str | None,
    evidence: Evidence | None = None,
    *,
    elapsed_s: float | None = None,
    operations: int | None = None,
    width: int | None = None,
) -> str:
    """Return the last lines of a run; the very last one is the verdict.

    `folder` is the run's folder as the reader would type it, None for a history without one:
    as there is no report, everything is shown here, and lanes are folded at `width` columns where
    that is given. `elapsed_s` counts from the start of the first container; `operations` is
    how many were judged.
    """
    evidence = evidence or Evidence()
    rows = judgement.properties(verdict)
    verdict_word = judgement.word(verdict, evidence)
    if folder is None:
        blocks = [_properties_in_full(rows), *_anomalies_in_full(rows, operations, width)]
        blocks.append([*_hint(verdict), *_accounting(verdict)])
    else:
        blocks = [_property_lines(rows), *_anomaly_blocks(rows, operations)]
    if evidence.trouble:
        blocks.append(
            [f"! {formatting.shortened(text, 400)}" for text in evidence.trouble[:TROUBLE_MAX]]
        )
    if folder is not None:
        anchor = "#anomaly=1" if any(row.anomalies for row in rows) else ""
        commands = [("report", f"{folder}/report.html{anchor}")]
        for each in reproduce.commands(run, folder):
            commands += [(each.name, each.line)]
            if each.name == reproduce.REPEAT:  # its note says what is not repeated
                commands += [("", line) for line in textwrap.wrap(each.note, NOTE_WIDTH)]
        blocks.append([f"{name:<8} {line}" for name, line in commands])
    took = f" in {elapsed_s:.0f} s" if elapsed_s is not None else ""
    last = f"{verdict_word}{took}" + (f"  seed {run.seed}" if folder is not None else "")
    if folder is None:
        blocks.append([last])
        last = ""
    return "\n\n".join("\n".join(block) for block in blocks if block) + f"\n{last}".rstrip() + "\n"


def _hint(verdict: Verdict) -> list[str]:
    """Return what an invalid verdict depends on, where the user can state it with an option."""
    if verdict.validity is not Validity.INVALID or "--" not in (verdict.reason or ""):
        return []
    return [f"hint: {formatting.shortened(verdict.reason or '', REASON_CHARS_MAX)}"]


def _accounting(verdict: Verdict) -> list[str]:
    """Return how many operations of a file were judged and left out, and how it was read."""
    accounting = verdict.stats.get("accounting")
    if not accounting:
        return []
    left_out = accounting["left_out"]
    reasons = "; ".join(f"{reason} ({count:,})" for reason, count in left_out.items())
    counts = [
        counted(accounting["operations"], "operation"),
        f"{accounting['judged']:,} judged",
        *([f"{sum(left_out.values()):,} left out: {reasons}"] if left_out else ()),
    ]
    return [
        f"read {counted(accounting['lines'], 'line')}: {', '.join(counts)}",
        *(f"note: {note}" for note in accounting["notes"]),
    ]


def _property_lines(rows: Sequence[Property]) -> list[str]:
    names = [formatting.shortened(row.name, NAME_WIDTH_MAX) for row in rows]
    width = max(map(len, names), default=0)
    lines = []
    for name, row in zip(names, rows, strict=True):
        finding = formatting.shortened(row.finding, FINDING_CHARS_MAX)
        lines.append(f"{row.glyph} {name:<{width}}  {finding}".rstrip())
        lines += [f"  ! {formatting.shortened(flaw, REASON_CHARS_MAX)}" for flaw in row.flaws]
    return lines


def _properties_in_full(rows: Sequence[Property]) -> list[str]:
    lines = []
    for row in rows:
        finding = formatting.shortened(" ".join(row.finding.split()), REASON_CHARS_MAX)
        lines.append(f"{row.glyph} {row.name}  {finding}".rstrip())
        lines += [f"  ! {formatting.shortened(flaw, REASON_CHARS_MAX)}" for flaw in row.flaws]
        if row.claim:
            lines.append(f"  claim: {row.claim}")
        if row.method and row.method != "none":
            took = f", in {row.elapsed_s:.2f} s" if row.elapsed_s else ""
            lines.append(f"  decided by {row.method}{took}")
    return lines


def _anomalies_in_full(
    rows: Sequence[Property], operations: int | None, width: int | None
) -> list[list[str]]:
    """Return the first anomaly with proof and lanes, further ones in a sentence each."""
    picked = [anomaly for _, anomaly in judgement.ranked(list(rows), 1 + FURTHER_MAX)]
    if not picked:
        return []
    anomaly, *further = picked
    blocks = [[_headline(anomaly, operations)]]
    if proof := anomaly.explanation.strip("\n"):
        blocks.append([formatting.shortened(proof, PROOF_CHARS_MAX)])
    if anomaly.lanes.strip():
        blocks.append(_folded(anomaly.lanes.strip("\n").splitlines(), width))
    if further:
        left = sum(row.found for row in rows) - 1 - len(further)
        block = [f"also {one.kind}: {one.summary}" for one in further]
        if left > 0:
            block.append(f"and {counted(left, 'more anomaly', 'more anomalies')}")
        blocks.append(block)
    return blocks


def _folded(lanes: list[str], width: int | None) -> list[str]:
    """Cut lanes that are wider than the terminal into pieces, one below the other."""
    widest = max(map(len, lanes))
    if width is None or widest <= width:
        return lanes
    margin = max(lane.index(":") for lane in lanes) + 2
    room = max(20, width - margin)
    folded: list[str] = []
    for at in range(margin, widest, room):
        piece = [(lane[:margin], lane[at : at + room].rstrip()) for lane in lanes]
        folded += ["", *(name + text for name, text in piece if text)]
    return folded[1:]


def _headline(anomaly: Anomaly, operations: int | None) -> str:
    total = f" of {operations:,}" if operations else ""
    shown = f"  ({counted(len(anomaly.ops), 'op')}{total})" if anomaly.ops else ""
    return f"{anomaly.kind}: {anomaly.summary}{shown}"


def _anomaly_blocks(rows: Sequence[Property], operations: int | None) -> list[list[str]]:
    picked = judgement.ranked(list(rows), 1)
    if not picked:
        return []
    _, anomaly = picked[0]
    blocks = [[_headline(anomaly, operations)]]
    if anomaly.lanes.strip():
        blocks.append([f"  {line}" for line in anomaly.lanes.strip("\n").splitlines()])
    left = sum(row.found for row in rows) - 1
    if left:
        blocks.append([f"and {counted(left, 'more anomaly', 'more anomalies')}"])
    return blocks


def heading(run: Run, folder: str) -> str:
    """Return the first line of a run; it begins with the seed."""
    faults = ",".join(run.faults) or "none"
    return (
        f"seed {run.seed}  {run.workload} · faults {faults} · {len(run.nodes)} nodes "
        f"({run.cluster}) · {run.time_limit_s:g} s  {folder}"
    )


def progress_line(
    *,
    elapsed_s: float,
    time_limit_s: float,
    ok: int,
    info: int,
    fail: int,
    leader: str = "",
    term: int = 0,
    faults: Sequence[str] = (),
    width: int = 110,
) -> str:
    """Return the line that is redrawn while the load runs, at most `width` columns.

    `faults` are the ids of the faults now in force.
    """
    share = min(1.0, elapsed_s / time_limit_s) if time_limit_s > 0 else 1.0
    rate = (ok + info + fail) / elapsed_s if elapsed_s > 0 else 0.0
    who = f"leader {leader} (term {term})" if leader else "no leader seen"
    counts = f"{rate:,.0f} op/s  ok {ok:,}  info {info:,}  fail {fail:,}  {who}"
    in_force = f"  ▲ {' '.join(faults)}" if faults else ""
    head = f"{elapsed_s:5.1f} s "
    room = width - len(head) - len(counts) - len(in_force) - 2
    bar = _bar(share, min(BAR_WIDTH, room)) + "  " if room >= 8 else ""
    return f"{head}{bar}{counts}{in_force}"[:width]


def _bar(share: float, width: int) -> str:
    full = int(share * width)
    tip = "╸" if full < width and share > 0 else ""
    return ("━" * full + tip).ljust(width, "─")


def fault_line(at_s: float, name: str, detail: str, *, healed: bool = False) -> str:
    """Return the line printed when a fault begins (▲) or ends (▽)."""
    return f"{at_s:5.1f} s  {'▽' if healed else '▲'} {name}  {detail}".rstrip()


def styled(text: str) -> Text:
    """Mark up glyphs and verdict words; rich drops the colour where there is none."""
    made = Text(text)
    for glyph, style in _STYLES.items():
        made.highlight_regex(rf"(?m)^{'[?]' if glyph == '?' else glyph} .*?(?=  |$)", style)
    for verdict_word, style in _WORD_STYLES.items():
        made.highlight_regex(rf"(?m)^{verdict_word}\b", f"bold {style}")
    made.highlight_regex(r"(?m)^(report|check|repeat) ", "dim")
    return made


__all__ = [
    "fault_line",
    "final_lines",
    "heading",
    "progress_line",
    "styled",
]
