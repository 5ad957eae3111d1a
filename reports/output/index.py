"""The index of a store: one row a run, newest first, as text for terminals and as one page.

A row is made from `run.json` and `verdict.json` alone, so that a thousand runs list quickly. A
folder whose run never finished is listed as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from squall.checkers.evidence import Evidence
from squall.checkers.run import Run
from squall.checkers.verdict import Verdict
from squall.reports import formatting
from squall.reports.view import judgement


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One run of the store. `folder` is relative to the store."""

    folder: str
    glyph: str
    word: str
    workload: str
    faults: str
    cluster: str
    seed: int
    started_at: str
    commit: str
    finding: str


def index_row(
    folder: str, run: Run, verdict: Verdict | None, evidence: Evidence | None = None
) -> IndexRow:
    """Return the row of one run; without a verdict it never finished."""
    if verdict is None:
        verdict_word, finding = "UNKNOWN", "never judged: squall check may still judge its history"
    else:
        verdict_word = judgement.word(verdict, evidence or Evidence())
        rows = judgement.properties(verdict)
        finding = next(
            (row.anomalies[0].summary for row in rows if row.anomalies),
            ", ".join(f"{row.glyph} {row.name}" for row in rows),
        )
    return IndexRow(
        folder=folder,
        glyph=formatting.GLYPHS[verdict_word.lower()],
        word=verdict_word,
        workload=run.workload,
        faults=",".join(run.faults) or "none",
        cluster=run.cluster,
        seed=run.seed,
        started_at=run.started_at,
        commit=run.commit + ("+" if run.dirty else ""),
        finding=finding,
    )


def table(rows: Sequence[IndexRow]) -> str:
    """Render the rows as aligned text, newest first."""
    ordered = newest_first(rows)
    cells = [
        (
            f"{row.glyph} {row.word}",
            row.workload,
            row.faults,
            row.cluster,
            str(row.seed),
            row.folder,
        )
        for row in ordered
    ]
    head = ("verdict", "workload", "faults", "cluster", "seed", "folder")
    widths = [max(len(cell[at]) for cell in [head, *cells]) for at in range(len(head))]
    lines = [
        "  ".join(f"{text:<{width}}" for text, width in zip(cell, widths, strict=True)).rstrip()
        for cell in [head, *cells]
    ]
    return "\n".join(lines) + "\n"


def page(rows: Sequence[IndexRow]) -> bytes:
    """Render the rows as one page that links to every report."""
    from markupsafe import Markup

    from squall.reports.output import html

    style = html.asset("report.css")
    text = (
        html.environment()
        .get_template("index.html.j2")
        .render(
            rows=newest_first(rows),
            policy=html.policy(style, ""),
            style=Markup(style),  # noqa: S704 - our own file
        )
    )
    return text.encode("utf-8")


def newest_first(rows: Sequence[IndexRow]) -> list[IndexRow]:
    """Return the rows by start, newest first, then by folder."""
    return sorted(rows, key=lambda row: (row.started_at, row.folder), reverse=True)
