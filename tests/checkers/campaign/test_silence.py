"""Silence, terms and what a quorum promises, against their definitions by brute force."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from squall.checkers.campaign.availability import with_quorum
from squall.checkers.campaign.silence import (
    IDLE_NS,
    Service,
    first_served_ns,
    longest_silence,
    service,
)
from squall.checkers.evidence import NodeEvidence
from squall.checkers.faults import FaultWindow
from squall.checkers.history import History, Op, OpType
from squall.checkers.raft.terms import leaders_by_term

STEP = IDLE_NS // 4
"""One unit of the small times drawn here: four of them without a question are a rest."""

SPANS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 6), st.sampled_from(("ok", "info", "fail"))),
    max_size=8,
)


def history_of(spans: list[tuple[int, int, str]]) -> History:
    events: list[tuple[int, int, dict[str, Any]]] = []
    for process, (begin, length, outcome) in enumerate(spans):
        events.append((begin * STEP, 0, {"process": process, "type": OpType.INVOKE}))
        done = {"process": process, "type": OpType(outcome)}
        events.append(((begin + length) * STEP, 1, done))
    events.sort(key=lambda event: event[:2])
    return History(
        [Op(index=i, time_ns=at, f="read", **event) for i, (at, _, event) in enumerate(events)]
    )


@settings(max_examples=500, deadline=None)
@given(SPANS, st.integers(0, 46), st.integers(0, 46))
def test_the_longest_silence_is_the_longest_time_of_asking_without_success(
    spans: list[tuple[int, int, str]], one: int, other: int
) -> None:
    """Second by second: somebody asks or rests shortly, and nobody succeeds within."""
    begin, end = min(one, other), max(one, other)
    asking = [False] * 50  # whether the unit from i to i + 1 is one of asking
    for first, length, _ in spans:
        for at in range(first, first + length):
            asking[at] = True
    busy = sorted((first, first + length) for first, length, _ in spans)
    until = -99
    for first, last in busy:
        if 0 <= first - until <= 4:  # a short rest does not interrupt the asking
            for at in range(until, first):
                asking[at] = True
        until = max(until, last)
    served = {first + length for first, length, outcome in spans if outcome == "ok"}
    best = run = 0
    for at in range(begin, end):
        if at in served:
            run = 0
        run = run + 1 if asking[at] else 0
        best = max(best, run)
    found = longest_silence(service(history_of(spans)), begin * STEP, end * STEP)
    assert (found[1] - found[0]) // STEP == best


@given(st.lists(st.integers(0, 50)), st.integers(0, 60))
def test_the_first_success_after_a_moment_is_the_least_that_is_not_before_it(
    served: list[int], moment: int
) -> None:
    seen = Service(asking=(), served=tuple(sorted(served)))
    assert first_served_ns(seen, moment) == min((at for at in served if at >= moment), default=None)


WINDOWS = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.one_of(st.none(), st.integers(0, 30)),
        st.sampled_from(("available", "unavailable", "")),
    ),
    max_size=4,
)


@settings(max_examples=500, deadline=None)
@given(WINDOWS, st.integers(0, 40))
def test_a_quorum_is_promised_while_one_fault_alone_is_at_work_and_leaves_one(
    drawn: list[tuple[int, int | None, str]], end: int
) -> None:
    windows = [
        FaultWindow(
            id=f"f-{number}",
            kind="f",
            from_ns=begin,
            until_ns=None if length is None else begin + length,
            expect=expect,
        )
        for number, (begin, length, expect) in enumerate(drawn)
    ]
    promised = {
        (window.id, at)
        for window, begin, until in with_quorum(windows, end)
        for at in range(begin, until)
    }
    expected = set()
    for at in range(end):
        active = [
            window
            for window in windows
            if window.from_ns <= at and (window.until_ns is None or window.until_ns > at)
        ]
        if len(active) == 1 and active[0].expect == "available":
            expected.add((active[0].id, at))
    assert promised == expected


def test_a_term_is_led_by_whoever_says_so_in_its_log_or_when_asked() -> None:
    """A node that did not answer says nothing, whatever is written beside it."""
    seen = {
        "n1": {"role": "leader", "term": 4, "reachable": True},
        "n2": {"role": "follower", "term": 4, "reachable": True},
        "n3": {"role": "leader", "term": 0, "reachable": False},
    }
    asked = Op(index=0, time_ns=0, process="observer", type=OpType.INFO, f="observe", value=seen)
    logs = [NodeEvidence(node="n2", led_terms=(3, 4))]
    assert leaders_by_term(logs, History([asked])) == {3: ("n2",), 4: ("n1", "n2")}
