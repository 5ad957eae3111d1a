"""A run as people read it: (Run, History, Verdict, Evidence, node logs) -> bytes.

Pure: nothing here opens a file of a run, asks a clock or draws lots, so a report can be rebuilt
from a run's folder at any time by newer code, and the same run gives the same bytes.
`reports.report` works out what there is to say; `html`, `summary`, `junit` and `terminal` only say
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from checkers.evidence import Evidence
from checkers.history import History
from checkers.run import Run
from checkers.verdict import Verdict


def render_all(
    run: Run,
    history: History,
    verdict: Verdict,
    evidence: Evidence,
    node_logs: Mapping[str, Sequence[str]],
    *,
    folder: str = "",
) -> dict[str, bytes]:
    """Write every file of a report: name -> content.

    `node_logs` holds each node's log lines; `folder` is the run's folder as the reader would type
    it (by default where the store keeps it).
    """
    from reports import html, junit, summary
    from reports.report import Report

    report = Report.of(run, history, verdict, evidence, node_logs, folder=folder)
    return {
        "report.html": html.render(report),
        "junit.xml": junit.render(report),
        "summary.md": summary.render(report),
    }


__all__ = ["render_all"]
