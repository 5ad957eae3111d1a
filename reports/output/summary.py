"""The step summary of a CI job in Markdown: verdict, properties, proofs, faults, commands.

GitHub takes 1 MiB a step, readers far less: the bound is 60 KB, and a cut is stated at its place.
"""

from __future__ import annotations

from collections.abc import Sequence

from squall.checkers.text.words import counted
from squall.reports import formatting
from squall.reports.proof.card import Card
from squall.reports.report import Report
from squall.reports.view.errors import strip

BYTES_MAX = 60_000
CARDS_MAX = 5
LANES_CHARS_MAX = 6_000
STRIP_COLUMNS = 60
LOG_LINES_MAX = 60
CELL_CHARS_MAX = 600


def render(report: Report) -> bytes:
    """Render the summary, within its bound."""
    parts = [
        f"### {report.glyph} {report.word} — {_inline(report.title[2:])}",
        _inline(report.sentence),
        _facts(report),
        _properties(report),
        *(_card(each) for each in report.cards[:CARDS_MAX]),
        _more_cards(report),
        _strips(report),
        _faults(report),
        "```sh\n" + "\n".join(each.line for each in report.commands) + "\n```",
        _logs(report),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    data = text.encode("utf-8")
    if len(data) <= BYTES_MAX:
        return data
    note = "\n\n…cut here; report.html has the rest.\n"
    kept = data[: BYTES_MAX - len(note.encode())].decode("utf-8", "ignore")
    fence = "\n```" if kept.count("```") % 2 else ""
    return (kept[: len(kept) - len(fence)] + fence + note).encode("utf-8")


def _inline(text: str) -> str:
    """Escape text that may come from a database, and put it on one line."""
    flat = " ".join(formatting.shortened(text, CELL_CHARS_MAX).split())
    escaped = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{char}" if char in "\\`*_[]|#@~" else char for char in escaped)


def _fenced(text: str) -> str:
    """Fence a text that may hold fences itself."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def _facts(report: Report) -> str:
    run = report.run
    outcomes = ", ".join(f"{number:,} {name}" for name, number in report.outcomes.items())
    commit = f", commit {run.commit}{' (dirty)' if run.dirty else ''}" if run.commit else ""
    return _inline(
        f"{len(run.nodes)} nodes ({run.cluster}), {report.end_ns / 1e9:.1f} s, "
        f"{counted(report.operations, 'operation')} ({outcomes}), "
        f"{counted(report.injected, 'fault')}, seed {run.seed}{commit}"
    )


def _properties(report: Report) -> str:
    rows = ["| | property | finding | time |", "|---|---|---|--:|"]
    rows += [
        f"| {row.glyph} | {_inline(row.name)} | {_inline(row.finding)} | {row.elapsed_s:.2f} s |"
        for row in report.properties
    ]
    flaws = [f"- {_inline(flaw)}" for row in report.properties for flaw in row.flaws]
    return "\n".join([*rows, *([""] if flaws else []), *flaws])


def _card(card: Card) -> str:
    parts = [
        f"#### {card.number}. {_inline(card.anomaly.kind)}: {_inline(card.anomaly.summary)}",
        "\n".join(
            f"> {f'**{lead}** ' if lead else ''}{_inline(rest)}  " for lead, rest in card.proof
        ),
        "\n".join(f"> {_inline(line)}  " for line in card.leaders),
        _fenced(formatting.shortened(card.ascii, LANES_CHARS_MAX)) if card.ascii else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _more_cards(report: Report) -> str:
    left = report.anomalies - min(CARDS_MAX, len(report.cards))
    return f"{counted(left, 'more anomaly', 'more anomalies')}: see report.html." * (left > 0)


def _strips(report: Report) -> str:
    """Draw successes and faults over the whole run, as wide as a code block."""
    width, end_ns = STRIP_COLUMNS, max(1, report.end_ns)
    succeeded = [0] * width
    for at, number in enumerate(report.rates.ok):
        succeeded[min(width - 1, at * report.rates.bucket_ns * width // end_ns)] += number
    lines = [f"{strip(succeeded)}  ok over time"]
    kinds: dict[str, list[str]] = {}
    for row in report.faults:
        if row.window.outcome == "skipped":
            continue
        marks = kinds.setdefault(row.window.kind, ["·"] * width)
        first, last = (min(width - 1, at * width // end_ns) for at in (row.from_ns, row.until_ns))
        marks[first : last + 1] = "█" * (last - first + 1)
    lines += [f"{''.join(marks)}  {kind}" for kind, marks in sorted(kinds.items())]
    lines.append(f"{'0 s':<{width - 8}}{report.end_ns / 1e9:>6.1f} s")
    return _fenced("\n".join(lines))


def _faults(report: Report) -> str:
    if not report.faults:
        return ""
    rows = ["| fault | whom | from | for | measured effect | longest silence |"]
    rows.append("|---|---|--:|--:|---|--:|")
    for row in report.faults:
        flags = f" ⚠ {'; '.join(row.flags)}" if row.flags else ""
        rows.append(
            f"| {_inline(row.window.id)} | {_inline(row.window.detail)} "
            f"| {formatting.seconds(row.from_ns)} "
            f"| {formatting.duration(row.until_ns - row.from_ns)} "
            f"| {_inline(row.window.effect + flags)} | {formatting.duration(row.gap_ns)} |"
        )
    skipped = len(report.faults) - report.injected
    head = counted(report.injected, "fault") + (f", {skipped} skipped" if skipped else "")
    return _folded(head, "\n".join(rows))


def _logs(report: Report) -> str:
    parts = []
    for excerpt in report.excerpts[:2]:
        lines: Sequence[str] = [
            f"{_moment(line.at_ns):>10}  {line.node}  {line.text}"
            for line in excerpt.lines[:LOG_LINES_MAX]
        ]
        parts.append(_folded(_inline(f"Node logs: {excerpt.title}"), _fenced("\n".join(lines))))
    return "\n\n".join(parts)


def _moment(at_ns: int | None) -> str:
    return "" if at_ns is None else formatting.seconds(at_ns)


def _folded(head: str, body: str) -> str:
    return f"<details><summary>{head}</summary>\n\n{body}\n\n</details>"
