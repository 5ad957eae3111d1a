"""What a reader sees of a run: (Run, History, Verdict, Evidence, node logs) -> bytes.

Pure: nothing here opens a file of a run, reads a clock or uses randomness. The same run gives the
same bytes, and a report can be rebuilt from a run's folder at any time.

    view/       the parts of the view model: what there is to show, one noun a module
    proof/      a counterexample: its card, and the drawing of its operations
    report.py   the view model of a run: everything that any output shows
    output/     the view model as HTML, JUnit XML, Markdown, terminal lines; the index of runs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from squall.checkers.evidence import Evidence
from squall.checkers.history import History
from squall.checkers.run import Run
from squall.checkers.verdict import Verdict


def render_all(
    run: Run,
    history: History,
    verdict: Verdict,
    evidence: Evidence,
    node_logs: Mapping[str, Sequence[str]],
    *,
    folder: str = "",
) -> dict[str, bytes]:
    """Render every file of a report: name -> content.

    `node_logs` holds the log lines of each node; `folder` is the run's folder as the reader would
    type it, by default where the store keeps it.
    """
    from squall.reports.output import html, junit, summary
    from squall.reports.report import Report

    report = Report.of(run, history, verdict, evidence, node_logs, folder=folder)
    return {
        "report.html": html.render(report),
        "junit.xml": junit.render(report),
        "summary.md": summary.render(report),
    }


__all__ = ["render_all"]

assert __name__ == "squall.reports", "import squall.reports: the folder is no package of its own"
