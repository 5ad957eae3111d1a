"""Regressions: sentences that were false of some run, with that run."""

from __future__ import annotations

from typing import Any

import pytest

from squall.checkers.evidence import Evidence, NodeEvidence
from squall.checkers.history import History, Op, OpType
from squall.checkers.verdict import Anomaly, Validity
from squall.reports.output import html, summary
from squall.reports.report import Report
from squall.reports.view.logs import log_lines, members_of
from tests.reports.histories import MS, history, numbered, observations, run, verdict


def leads(term: int) -> dict[str, Any]:
    return {"role": "leader", "term": term, "reachable": True}


def follows(term: int) -> dict[str, Any]:
    return {"role": "follower", "term": term, "reachable": True}


def together(*histories: History) -> History:
    """Merge histories in order of time."""
    events = sorted((op for each in histories for op in each), key=lambda op: op.time_ns)
    return History(
        [
            Op(
                index=at,
                time_ns=op.time_ns,
                process=op.process,
                type=op.type,
                f=op.f,
                key=op.key,
                value=op.value,
                error=op.error,
                node=op.node,
            )
            for at, op in enumerate(events)
        ]
    )


def report_on(seen: History, ops: tuple[int, ...], **more: Any) -> Report:
    """The report of a run with one anomaly, whose witnesses are `ops`."""
    anomaly = Anomaly(**{"kind": "stale-read", "summary": "A stale read.", "ops": ops} | more)
    broken = verdict(Validity.INVALID, anomalies=(anomaly,))
    return Report.of(run(), seen, broken, more.pop("evidence", Evidence()), {})


SPLIT = together(
    observations(
        (0, {"n1": leads(4), "n2": follows(4), "n3": follows(4)}),
        (30, {"n1": leads(4), "n2": leads(5), "n3": follows(5)}),
        (300, {"n1": follows(5), "n2": leads(5), "n3": follows(5)}),
    ),
    history(
        (0, "write", 100, 110, "ok", {"input": 2}),
        (1, "read", 120, 130, "ok", {"output": 1}),
    ),
)
"""n1 is behind a partition and still calls itself leader of term 4; every operation goes there."""


def test_every_node_that_called_itself_leader_is_named_with_its_term() -> None:
    card = report_on(SPLIT, (2, 4)).cards[0]
    assert card.leaders == (
        (
            "Meanwhile n2 called itself leader of term 5 (asked at 0.030 s; to the end); n1 called "
            "itself leader of term 4 (asked at 0.000 s; by 0.300 s no longer)."
        ),
    )
    assert set(card.through.values()) == {"n1, which still called itself leader of term 4"}
    assert card.drawing is not None
    assert [name for _, name in card.drawing.band_names] == ["leader n1", "leader n2"]


def test_a_report_in_text_names_the_leaders_too() -> None:
    report = report_on(SPLIT, (2, 4))
    for text in (report.failure_text, summary.render(report).decode()):
        assert "n1 called itself leader of term 4" in text


def test_the_only_leader_is_not_called_the_last_of_two() -> None:
    alone = together(observations((0, {"n1": leads(4)})), history((0, "write", 10, 20, "ok")))
    (card,) = report_on(alone, (1,)).cards
    assert card.through == {1: "n1, which called itself leader of term 4"}


KEYS = history(
    (0, "write", 0, 10, "ok", {"key": "a", "input": 1}),
    (1, "write", 20, 30, "ok", {"key": "b", "input": 1}),
    (2, "read", 40, 50, "ok", {"key": "a", "output": None}),
)


def test_the_key_stands_on_every_operation_of_a_card() -> None:
    card = report_on(KEYS, (0, 2, 4), key="a").cards[0]
    assert card.drawing is not None
    assert [bar.label for bar in card.drawing.bars] == ["write a 1", "write b 1", "read a → nil"]
    assert card.keys == ("a", "b")
    assert card.extent == "3 operations of 3, of which 3 were on a, b"


def test_a_link_into_the_run_does_not_filter_a_witness_away() -> None:
    assert report_on(KEYS, (0, 2, 4), key="a").cards[0].link == "#t=0.000-0.150"
    assert report_on(KEYS, (0, 4), key="a").cards[0].link == "#t=0.000-0.150&key=a"
    odd = history((0, "read", 0, 1, "ok", {"key": "a&t=9 %"}))
    assert report_on(odd, (0,)).cards[0].link == "#t=0.000-0.101&key=a%26t%3D9%20%25"


def test_of_many_witnesses_the_last_is_drawn() -> None:
    """The operation that contradicts all others comes last."""
    many = history(*((at, "write", 20 * at, 20 * at + 10, "ok") for at in range(40)))
    card = report_on(many, tuple(range(0, 80, 2))).cards[0]
    assert [card.witnesses[0].index, card.witnesses[-1].index] == [0, 78]
    assert (len(card.witnesses), card.omitted) == (24, 16)


def test_an_operation_that_failed_was_not_answered() -> None:
    seen = history((0, "write", 0, 10, "fail", {"input": 1, "error": "timeout"}))
    drawing = report_on(seen, (0,)).cards[0].drawing
    assert drawing is not None
    assert drawing.bars[0].title.endswith("invoked 0.000 s, failed 0.010 s")


def test_what_a_node_that_could_not_be_asked_stands_at_is_unknown() -> None:
    """It is not in term 0 with commit 0."""
    seen = observations((0, {"n1": leads(3), "n2": {"role": "", "term": 0, "reachable": False}}))
    left = {name: NodeEvidence(node=name) for name in ("n1", "n2")}
    report = Report.of(run(nodes=("n1", "n2")), seen, verdict(), Evidence(nodes=left), {})
    asked, silent = report.nodes
    assert (silent.term, silent.commit, silent.applied, silent.role, silent.clock) == (
        *(None, None, None),
        "–",
        "–",
    )
    assert silent.remarks == (
        "could not be asked at the end: its role, term and indexes are unknown",
    )
    assert (asked.term, asked.role) == (3, "leader")
    assert asked.remarks == ("could not be asked at the end; this is what it said at 0.000 s",)


def test_members_are_called_by_their_names_in_log_lines() -> None:
    left = [
        NodeEvidence(node="n1", member_id=0x8E9E05C52164694D),
        NodeEvidence(node="n2", member_id=2),
    ]
    lines = [
        '{"event": "granted-vote", "term": 2, "candidate": 10276657743932975437}',
        '{"event": "peer-unreachable", "member": "8e9e05c52164694d"}',
        '{"event": "configuration", "members": ["8e9e05c52164694d", "2", "7"], "index": 2}',
    ]
    (said,) = log_lines({"n2": lines}, "", members_of(left)).values()
    assert [line.text for line in said] == [
        "granted-vote  term=2 candidate=n1",
        "peer-unreachable  member=n1",
        'configuration  members=["n1", "n2", "7"] index=2',
    ]


def test_log_lines_are_placed_on_the_clock_of_the_history() -> None:
    """Its zero is noted when the load begins; the moment the program was called is another."""
    events = history((0, "read", 0, 10, "ok"))
    seen = History(list(events), header={"started_at": "2026-11-21T03:54:10Z"})
    logs = {"n1": ['2026-11-21T03:54:11.500000Z {"event": "became-leader", "term": 2}']}
    started = run(started_at="2026-11-21T03:54:00Z", cluster="docker")
    report = Report.of(started, seen, verdict(), Evidence(), logs)
    assert report.tails["n1"][0].at_ns == 1500 * MS
    assert report.zero == "2026-11-21T03:54:10Z"
    unknown = Report.of(started, events, verdict(), Evidence(), logs)
    assert unknown.tails["n1"][0].at_ns is None


def test_terms_are_counted_alike_whoever_told_of_them() -> None:
    """One term was seen by the observer, one by a log, one by both."""
    seen = observations((0, {"n1": leads(2)}), (100, {"n1": leads(3)}))
    left = {"n1": NodeEvidence(node="n1", led_terms=(3, 4))}
    report = Report.of(run(), seen, verdict(), Evidence(nodes=left), {})
    assert report.leadership.terms == {2: ("n1",), 3: ("n1",), 4: ("n1",)}
    assert report.leader_sentence.startswith("3 terms with a leader;")


def test_a_run_without_logs_does_not_say_that_no_node_warned() -> None:
    quiet = Report.of(run(), history((0, "read", 0, 1, "ok")), verdict(), Evidence(), {})
    page = html.render(quiet).decode()
    assert "no node&#39;s log was kept" in page or "no node's log was kept" in page
    assert "no node warned of anything" not in page


def test_equal_hashes_are_told_as_the_nodes_own_word() -> None:
    left = {
        name: NodeEvidence(node=name, final={"applied": 7, "digest": "aa"}) for name in ("n1", "n2")
    }
    report = Report.of(run(), history(), verdict(), Evidence(nodes=left), {})
    assert report.agreement == (
        True,
        "2 nodes reported the same state hash (aa) at applied index 7.",
    )


def test_anomalies_that_are_only_counted_are_counted() -> None:
    few = tuple(Anomaly(kind="log-mismatch", summary=str(at)) for at in range(2))
    row = verdict(Validity.INVALID, anomalies=few, stats={"anomalies": 31}, evidence="9 entries")
    report = Report.of(run(), history(), row, Evidence(), {})
    assert report.anomalies == 31
    assert report.properties[0].finding == "31 anomalies in 9 entries"
    assert report.kinds == [("log-mismatch", 2), ("more of linearizable", 29)]


@pytest.mark.parametrize(("healed", "until_ms"), [(True, 40), (False, 100)])
def test_after_the_healing_means_that_it_worked(healed: bool, until_ms: int) -> None:
    """A fault whose healing is not confirmed is in force until the end."""
    fault = {"process": "nemesis/kill", "key": "kill-1"}
    outcome = OpType.OK if healed else OpType.INFO
    events = [
        (10, dict(fault, type=OpType.INVOKE, f="start", value={"kind": "kill"})),
        (20, dict(fault, type=OpType.OK, f="start", value={"targets": ["n1"]})),
        (30, dict(fault, type=OpType.INVOKE, f="stop", value={})),
        (40, dict(fault, type=outcome, f="stop", value={"healed": healed})),
    ]
    faults = numbered([(at * MS, 0, event) for at, event in events])
    seen = together(faults, history((0, "read", 0, 100, "ok")))
    report = Report.of(run(), seen, verdict(), Evidence(), {})
    assert dict(report.phases)["during faults"] == (until_ms - 10) * MS
