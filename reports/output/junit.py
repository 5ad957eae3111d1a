"""JUnit XML for CI systems: a suite is a run, a case is a property.

Invalid is <failure>, unknown is <skipped> with the reason, trouble of the harness is <error>, so
that a failure of the harness never looks like one of the database. Characters that XML cannot hold
are written as #xNN, as pytest writes them.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from squall.reports.report import Report
from squall.reports.view.judgement import Property

PROOF_CHARS_MAX = 20_000

# XML 1.0 section 2.2: everything but tab, newline, carriage return and these ranges is forbidden.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report) -> bytes:
    """Render the suite."""
    run = report.run
    name = ".".join(["squall", run.workload, "+".join(run.faults) or "no-faults"])
    suite = ET.Element("testsuite", name=printable(name))
    _head(suite, report)
    listed = ET.SubElement(suite, "properties")
    for key, text in _properties(report):
        ET.SubElement(listed, "property", name=key, value=printable(text))
    for row in report.properties:
        _case(suite, report, row)
    if report.trouble:
        case = ET.SubElement(
            suite, "testcase", classname=printable(name), name="harness", time="0.000"
        )
        error = ET.SubElement(case, "error", message=printable(report.trouble[0]))
        error.text = printable("\n".join(report.trouble))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    data: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def printable(text: str) -> str:
    """Replace characters that XML 1.0 cannot hold by #xNN."""
    return _FORBIDDEN.sub(lambda found: f"#x{ord(found.group()):02X}", text)


def _head(suite: ET.Element, report: Report) -> None:
    rows = report.properties
    suite.set("tests", str(len(rows) + bool(report.trouble)))
    suite.set("failures", str(sum(row.validity == "invalid" for row in rows)))
    suite.set("skipped", str(sum(row.validity == "unknown" for row in rows)))
    suite.set("errors", str(int(bool(report.trouble))))
    suite.set("time", f"{sum(row.elapsed_s for row in rows):.3f}")
    if report.run.started_at:
        suite.set("timestamp", printable(report.run.started_at.rstrip("Z")))


def _properties(report: Report) -> list[tuple[str, str]]:
    run = report.run
    return [
        ("verdict", report.word),
        ("seed", str(run.seed)),
        ("commit", run.commit + (" (dirty)" if run.dirty else "")),
        ("workload", run.workload),
        ("faults", ",".join(run.faults)),
        ("nodes", str(len(run.nodes))),
        ("cluster", run.cluster),
        ("operations", str(report.operations)),
        ("repeat", report.commands[-1].line),
    ]


def _case(suite: ET.Element, report: Report, row: Property) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=printable(str(suite.get("name"))),
        name=printable(row.name),
        time=f"{row.elapsed_s:.3f}",
    )
    if row.validity == "invalid":
        first = row.anomalies[0] if row.anomalies else None
        message = first.summary if first else (row.reason or "broken")
        kind = first.kind if first else row.name
        failure = ET.SubElement(case, "failure", message=printable(message), type=printable(kind))
        failure.text = printable(_proof(report, row))
    elif row.validity == "unknown":
        ET.SubElement(case, "skipped", message=printable(row.finding))


def _proof(report: Report, row: Property) -> str:
    parts = []
    for each in report.cards:
        if each.property == row.name:
            texts = (each.anomaly.summary, each.anomaly.explanation, *each.leaders)
            parts.append("\n".join(filter(None, texts)))
            parts.append(each.ascii)
    parts.append("\n".join(command.line for command in report.commands))
    return "\n\n".join(part for part in parts if part)[:PROOF_CHARS_MAX]
