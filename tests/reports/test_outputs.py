"""The outputs: formatting, sentences, proofs, lanes, golden files."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from xml.etree import ElementTree as ET

import msgspec
import pytest

from squall import reports
from squall.checkers.evidence import Evidence
from squall.checkers.history import Operation, OpType
from squall.checkers.text.lanes import parse
from squall.checkers.verdict import Anomaly, Validity, Verdict
from squall.reports import formatting
from squall.reports.output import index, junit, summary, terminal
from squall.reports.report import Report
from squall.reports.view import judgement, reproduce
from tests.reports.histories import history, run, verdict
from tests.reports.sample_runs import SampleRun

Golden = Callable[[str, str], None]
STORMS = ("broken", "sound")


@pytest.mark.parametrize("name", STORMS)
def test_the_last_lines_of_the_terminal(
    name: str, request: pytest.FixtureRequest, golden: Golden
) -> None:
    """The verdict is the last line, what failed stands above it, commands can be pasted."""
    told: SampleRun = request.getfixturevalue(name)
    report: Report = request.getfixturevalue(f"{name}_report")
    text = terminal.final_lines(
        told[0], told[2], report.folder, told[3], elapsed_s=71.2, operations=report.operations
    )
    golden(f"{name}.terminal.txt", text)


@pytest.mark.parametrize("name", STORMS)
def test_the_step_summary(name: str, request: pytest.FixtureRequest, golden: Golden) -> None:
    """A CI job's own page: verdict, table, proof, strips, the way to repeat."""
    report: Report = request.getfixturevalue(f"{name}_report")
    data = summary.render(report)
    assert len(data) < summary.BYTES_MAX
    golden(f"{name}.summary.md", data.decode())


@pytest.mark.parametrize("name", STORMS)
def test_the_junit_file(name: str, request: pytest.FixtureRequest, golden: Golden) -> None:
    """A case a property; broken is a failure, undecided is skipped."""
    data = junit.render(request.getfixturevalue(f"{name}_report"))
    suite = ET.fromstring(data).find("testsuite")
    assert suite is not None
    assert int(suite.get("tests", "")) == len(suite.findall("testcase"))
    golden(f"{name}.junit.xml", data.decode())


def test_the_same_run_gives_the_same_bytes(broken: SampleRun) -> None:
    """Nothing in a report depends on when or where it was made."""
    assert reports.render_all(*broken) == reports.render_all(*broken)


def test_every_file_of_a_report_is_made(sound: SampleRun) -> None:
    """The harness writes what it is given."""
    assert set(reports.render_all(*sound)) == {"report.html", "junit.xml", "summary.md"}


def test_trouble_of_the_harness_is_an_error_and_blames_no_database() -> None:
    """But a violation that was proved stays proved."""
    trouble = Evidence(trouble=("n3 never became ready",))
    assert judgement.word(verdict(), trouble) == "ERROR"
    assert judgement.word(verdict(Validity.UNKNOWN), trouble) == "ERROR"
    assert judgement.word(verdict(Validity.INVALID), trouble) == "INVALID"
    report = Report.of(run(), history(), verdict(), trouble, {})
    assert report.sentence.endswith("n3 never became ready")
    suite = ET.fromstring(junit.render(report)).find("testsuite")
    assert suite is not None
    assert (suite.get("errors"), suite.get("failures")) == ("1", "0")


def test_an_undecided_run_says_what_is_undecided_and_why() -> None:
    """The reason is the sentence."""
    open_one = verdict(Validity.UNKNOWN, reason="gave up on k7 after 2,000,000 states")
    report = Report.of(run(), history(), open_one, Evidence(), {})
    assert report.sentence == "Undecided: linearizable: gave up on k7 after 2,000,000 states."


def test_broken_properties_come_first_and_children_stand_for_their_parent() -> None:
    """The reader sees what failed before what held."""
    whole = Verdict(
        checker="register",
        validity=Validity.INVALID,
        children=(
            verdict(checker="held"),
            verdict(Validity.UNKNOWN, checker="open"),
            Verdict(
                checker="group",
                validity=Validity.INVALID,
                children=(verdict(Validity.INVALID, checker="broken"),),
            ),
        ),
    )
    assert [row.name for row in judgement.properties(whole)] == ["broken", "open", "held"]


def test_every_kind_of_anomaly_is_shown_before_any_is_shown_twice() -> None:
    """Twenty stale reads do not hide one lost write."""
    found = [Anomaly(kind="stale read", summary=str(at)) for at in range(20)]
    found.append(Anomaly(kind="lost write", summary="w"))
    rows = judgement.properties(verdict(Validity.INVALID, anomalies=tuple(found)))
    shown = [anomaly.kind for _, anomaly in judgement.ranked(rows, 3)]
    assert shown == ["stale read", "lost write", "stale read"]


def test_lanes_paste_into_a_regression_test(broken_report: Report) -> None:
    """The checkers' own parser reads them, with the same outcomes and the same order."""
    card = broken_report.cards[0]
    read = parse(card.ascii).operations
    drawn = sorted(card.witnesses, key=lambda each: each.invoked_ns)
    shape = [(each.process, each.f, each.key, each.outcome) for each in drawn]
    assert [(each.process, each.f, each.key, each.outcome) for each in read] == shape
    for before, after in itertools.pairwise(read):
        assert before.completed_ns is not None
        assert before.completed_ns < after.invoked_ns


def test_characters_that_xml_cannot_carry_are_spelled_out() -> None:
    """As pytest spells them; the file stays readable by any parser."""
    nasty = "nul \x00 escape \x1b[31m surrogate \ud800 fine \u00e9 \U0001f600 & <tag>"
    anomaly = Anomaly(kind="stale\x00read", summary=nasty, explanation=nasty, lanes=nasty)
    row = verdict(Validity.INVALID, anomalies=(anomaly,), checker="bad\x07name")
    data = junit.render(Report.of(run(workload="w\x01"), history(), row, Evidence(), {}))
    case = ET.fromstring(data).find(".//failure")
    assert case is not None
    message = case.get("message", "")
    assert message.startswith("nul #x00 escape #x1B[31m surrogate #xD800 fine é 😀 & <tag>")


def test_foreign_text_is_no_markup_in_the_summary() -> None:
    """A value of the database can neither mention anybody nor break out of a table or a fence."""
    nasty = "</details> | `x` @everyone <img src=x>\n# head ```"
    anomaly = Anomaly(kind=nasty, summary=nasty, explanation=nasty, lanes=f"p0: |{nasty}|")
    row = verdict(Validity.INVALID, anomalies=(anomaly,), evidence=nasty)
    text = summary.render(Report.of(run(), history(), row, Evidence(), {})).decode()
    fenced = text.split("````")
    assert len(fenced) == 3
    outside = fenced[0] + fenced[2]
    assert "<img" not in outside
    assert "\\@everyone" in outside
    assert "\n# head" not in outside


def test_a_summary_stays_below_its_bound() -> None:
    """A thousand long anomalies are cut with a word, never with an open fence."""
    long = "x" * 50_000
    proof = "\n".join([long] * 60)
    found = tuple(
        Anomaly(kind=f"kind {at}", summary=long, explanation=proof, lanes=long)
        for at in range(1000)
    )
    row = verdict(Validity.INVALID, anomalies=found)
    data = summary.render(Report.of(run(), history(), row, Evidence(), {}))
    assert len(data) <= summary.BYTES_MAX
    assert data.decode().count("```") % 2 == 0
    assert "report.html" in data.decode()


def test_the_progress_line_fits_its_terminal() -> None:
    """One line, whatever the width; the bar is what gives way."""
    told = {"ok": 38_911, "info": 204, "fail": 17, "leader": "n3", "term": 4}
    wide = terminal.progress_line(
        elapsed_s=23.4, time_limit_s=60, width=120, faults=["partition-3"], **told
    )
    assert wide == (
        " 23.4 s ━━━━━━━━━━━━╸───────────────────  1,672 op/s  ok 38,911  info 204  fail 17  "
        "leader n3 (term 4)  ▲ partition-3"
    )
    for width in range(20, 160):
        line = terminal.progress_line(elapsed_s=23.4, time_limit_s=60, width=width, **told)
        assert len(line) <= width
    assert "no leader" in terminal.progress_line(elapsed_s=0, time_limit_s=0, ok=0, info=0, fail=0)


def test_colour_changes_no_character(broken: SampleRun) -> None:
    """NO_COLOR loses nothing."""
    text = terminal.final_lines(broken[0], broken[2], "store/x", broken[3])
    assert terminal.styled(text).plain == text


def test_the_line_that_repeats_a_run_names_its_seed() -> None:
    """Whether it was typed, drawn, or the arguments were never recorded."""
    typed = run(argv=("/usr/bin/squall", "run", "register", "--seed", "5"), seed=5)
    drawn = run(argv=("run", "register", "--keys", "a b"), seed=6)
    absent = run(faults=("kill", "clock"), seed=7, time_limit_s=90.0)
    assert reproduce.repeat_line(typed) == "squall run register --seed 5"
    assert reproduce.repeat_line(drawn) == "squall run register --keys 'a b' --seed 6"
    assert reproduce.repeat_line(absent) == (
        "squall run register --cluster sim --nodes 3 --time 90s --faults kill,clock --seed 7"
    )


@pytest.mark.parametrize(
    "paths",
    [
        ("--store", "/home/me/store"),
        ("--store=/home/me/store",),
        ("--node-source", "/home/me/node"),
        ("--node-source=/home/me/node", "--store", "/var/tmp"),
    ],
)
def test_the_line_that_repeats_a_run_says_nothing_of_where_it_ran(paths: tuple[str, ...]) -> None:
    """Its machine's paths mean nothing elsewhere; that a node's source is missing is said."""
    source = "/home/me/node" if "source" in paths[0] else ""
    typed = run(
        argv=("squall", "run", *paths, "--time", "5s"), seed=7, parameters={"node_source": source}
    )
    _, again = reproduce.commands(typed, "store/x")
    assert again.line == "squall run --time 5s --seed 7"
    assert ("add --node-source" in again.note) == bool(source)


def test_a_path_below_the_working_directory_stays_in_the_line() -> None:
    typed = run(argv=("squall", "run", "--store", "mine", "--node-source=../node"), seed=7)
    assert reproduce.repeat_line(typed) == "squall run --store mine --node-source=../node --seed 7"


def test_what_a_repeated_run_repeats_is_said_beside_the_line(broken: SampleRun) -> None:
    """In containers another verdict may come out; in the simulation the same bytes do."""
    real, simulated = (run(cluster=world, seed=7) for world in ("docker", "sim"))
    assert "timing" in reproduce.commands(real, "store/x")[1].note
    assert "the verdict may differ" in reproduce.commands(real, "store/x")[1].note
    assert "the same run" in reproduce.commands(simulated, "store/x")[1].note
    told = " ".join(terminal.final_lines(real, broken[2], "store/x", broken[3]).split())
    assert reproduce.SAME_DRAWS in told


@pytest.mark.parametrize("cluster", ["--cluster {}", "--cluster={}"])
def test_the_line_that_repeats_a_run_names_the_cluster_that_was_chosen(cluster: str) -> None:
    typed = ("squall", "run", "auto", *cluster.format("auto").split())
    line = reproduce.repeat_line(run(argv=typed, cluster="sim", seed=7))
    assert line == f"squall run auto {cluster.format('sim')} --seed 7"


def test_the_index_lists_newest_first_and_hides_no_unfinished_run(
    broken: SampleRun, sound: SampleRun
) -> None:
    """A folder without a verdict is a row too."""
    rows = [
        index.index_row("register/a", broken[0], broken[2], broken[3]),
        index.index_row("register/b", run(started_at="2026-11-22T00:00:00Z"), None),
    ]
    text = index.table(rows)
    assert text.splitlines()[1].startswith("? UNKNOWN  register  none")
    assert text.splitlines()[2].startswith("✗ INVALID  register  clock,kill,partition,pause")
    page = index.page(rows).decode()
    assert page.index("register/b/report.html") < page.index("register/a/report.html")
    assert "went back in time" in page


@pytest.mark.parametrize(
    ("span_ns", "text"),
    [
        (812_000, "812 µs"),
        (1_840_000, "1.84 ms"),
        (9_996_000, "10.0 ms"),
        (99_960_000, "100 ms"),
        (999_499_999, "999 ms"),
        (1_900_000_000, "1.90 s"),
        (125_000_000_000, "2 min 05 s"),
        (None, "–"),
    ],
)
def test_a_duration_picks_its_unit(span_ns: int | None, text: str) -> None:
    """Three digits, so that columns line up."""
    assert formatting.duration(span_ns) == text


def test_a_transaction_reads_as_what_it_did() -> None:
    """Micro-operations as words; of the answer only what was not known before."""
    asked = [["r", "x", None], ["append", "y", 3], ["r", "y", None]]
    told = [["r", "x", []], ["append", "y", 3], ["r", "y", [1, 3]]]
    txn = Operation(
        index=0,
        completion_index=1,
        process=0,
        f="txn",
        key=None,
        input=asked,
        output=told,
        outcome=OpType.OK,
        invoked_ns=0,
        completed_ns=1,
    )
    assert formatting.request(txn) == "txn r x, append y 3, r y"
    assert formatting.exchange(txn) == "txn r x, append y 3, r y → x [], y [1, 3]"
    blind = msgspec.structs.replace(txn, input=asked[1:2], output=told[1:2])
    assert formatting.exchange(blind) == "txn append y 3"
    lost = msgspec.structs.replace(txn, output=None, outcome=OpType.INFO, completed_ns=None)
    assert formatting.exchange(lost) == "txn r x, append y 3, r y ?"
