"""The operations and the time axis as the HTML page holds them."""

from __future__ import annotations

import base64
import gzip
import json

import pytest

from squall.reports.output import columns
from squall.reports.output.timeline import timeline, to_script
from squall.reports.report import Report
from squall.reports.view.attempts import attempts_of, fault_periods
from tests.reports.sample_runs import SampleRun


def test_columns_carry_every_operation(broken: SampleRun) -> None:
    """Unpacked as the page unpacks them, they give the history back."""
    seen = broken[1]
    attempts = attempts_of(seen, fault_periods([], seen.duration_ns))
    processes = list(dict.fromkeys(each.operation.process for each in attempts))
    unpacked = unpack(columns.encode(attempts, processes))
    assert len(unpacked) == len(attempts)
    for row, each in zip(unpacked, attempts, strict=True):
        operation = each.operation
        assert row["start"] == operation.invoked_ns // 1000
        assert row["start"] + row["length"] == each.ended_ns // 1000
        assert row["index"] == operation.index
        assert processes[row["process"]] == operation.process
        assert row["f"] == operation.f
        assert row["key"] == operation.key
        assert row["node"] == operation.node
        assert row["error"] == (operation.error or "")
        if operation.f == "write":
            assert row["input"] == str(operation.input)
        if operation.f == "read" and operation.outcome == "ok":
            expected = "nil" if operation.output is None else str(operation.output)
            assert row["output"] == expected


def unpack(packed: str) -> list[dict[str, object]]:
    """Decode the columns independently of the page's own code."""
    raw = gzip.decompress(base64.b64decode(packed))
    size = int.from_bytes(raw[:4], "little")
    head, at = json.loads(raw[4 : 4 + size]), 4 + size
    numbers: dict[str, list[int]] = {}
    for name, width in head["columns"]:
        planes = [raw[at + plane * head["n"] :][: head["n"]] for plane in range(width)]
        numbers[name] = [
            sum(byte << (8 * at) for at, byte in enumerate(b)) for b in zip(*planes, strict=False)
        ]
        at += width * head["n"]
    rows: list[dict[str, object]] = []
    start = index = highest = 0
    for i in range(head["n"]):
        row: dict[str, object] = {name: column[i] for name, column in numbers.items()}
        start, index = start + numbers["start"][i], index + numbers["index"][i]
        row.update(start=start, index=index)
        for name in ("f", "node", "key", "error"):
            row[name] = head[name][numbers[name][i]]
        for name in ("input", "output"):
            code = numbers[name][i]
            highest += code == 1
            row[name] = head["value"][(0, highest)[code] if code < 2 else highest - code + 2]
        rows.append(row)
    return rows


def test_retired_processes_share_a_lane(broken_report: Report) -> None:
    """The drawing is as high as there were clients, and no lane holds two at once."""
    drawn = timeline(broken_report, broken_report.attempts)
    assert drawn["lanes"] <= 21 < len(drawn["processes"])


def test_json_in_the_page_cannot_end_its_script(broken_report: Report) -> None:
    """No character that markup knows survives, yet the data is the same."""
    nasty = {"text": "</script><!-- & \u2028"}
    written = to_script(nasty)
    assert not set("<>&\u2028") & set(written)
    assert json.loads(written) == nasty


def test_a_run_too_large_for_the_page_keeps_what_matters(
    broken: SampleRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound the anomalies' keys stay, the figures still count all."""
    monkeypatch.setattr(columns, "OPS_MAX", 500)
    report = Report.of(*broken)
    held = columns.on_page(report)
    assert len(held) < 500 < report.operations
    assert sum(report.outcomes.values()) == report.operations
    shown = {operation.index for each in report.cards for operation in each.witnesses}
    assert shown <= {each.operation.index for each in held}
