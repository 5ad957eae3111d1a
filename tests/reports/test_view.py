"""The view model: silence, phases, rates, leaders, faults, logs, columns."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from squall.checkers.campaign.silence import Service, longest_gap, longest_silence, service
from squall.checkers.evidence import Evidence, NodeEvidence
from squall.checkers.faults import FaultWindow, fault_windows
from squall.checkers.history import History
from squall.reports.report import Report
from squall.reports.view import nodes, tables
from squall.reports.view.attempts import Phase, attempts_of, fault_periods
from squall.reports.view.errors import error_rows, strip
from squall.reports.view.faults import FaultRow, fault_rows
from squall.reports.view.leadership import leadership_of
from squall.reports.view.logs import around, log_lines
from squall.reports.view.numbers import numbers, quantile, rates
from tests.reports.histories import MS, history, observations, run, verdict
from tests.reports.sample_runs import SampleRun


def window(kind: str, begin: int, end: int | None, **more: object) -> FaultWindow:
    given: dict[str, object] = {"id": f"{kind}-1", "healed": end is not None, "effective": True}
    given.update(kind=kind, from_ns=begin * MS, until_ns=None if end is None else end * MS)
    return FaultWindow(**{**given, **more})


@given(st.lists(st.integers(0, 100)), st.integers(0, 50), st.integers(51, 100))
def test_the_longest_gap_is_the_longest_of_all_gaps(times: list[int], begin: int, end: int) -> None:
    """Brute force agrees."""
    marks = [begin, *sorted(time for time in times if begin <= time <= end), end]
    widest = max(b - a for a, b in itertools.pairwise(marks))
    found = longest_gap(sorted(times), begin, end)
    assert found[1] - found[0] == widest


def test_a_pause_in_which_nobody_asks_is_no_silence() -> None:
    """The wait before the final reads is not held against the database."""
    seen = history((0, "read", 0, 10, "ok"), (0, "read", 9000, 9040, "ok"))
    assert longest_silence(service(seen)) == (9000 * MS, 9040 * MS)


def test_clients_who_wait_in_vain_are_met_by_silence() -> None:
    """Operations that time out are silence from the last answer to the next."""
    seen = history(
        (0, "read", 0, 10, "ok"),
        (1, "write", 5, 905, "info"),
        (2, "read", 950, 960, "ok"),
    )
    assert longest_silence(service(seen)) == (10 * MS, 960 * MS)


def test_an_operation_belongs_to_the_phase_in_which_it_was_invoked() -> None:
    """Calm until a fault, during while any is in force, calm between, after the last."""
    periods = fault_periods(
        [window("kill", 10, 20), window("pause", 15, 30), window("kill", 40, 50)], 90
    )
    phases = [periods.phase_at(at * MS) for at in (5, 17, 25, 35, 45, 55)]
    calm, during, after = Phase.CALM, Phase.DURING, Phase.AFTER
    assert phases == [calm, during, during, calm, during, after]


def test_a_fault_that_never_healed_lasts_to_the_end() -> None:
    """Nothing after it counts as healed."""
    periods = fault_periods([window("kill", 10, None)], 90 * MS)
    assert periods.phase_at(80 * MS) is Phase.DURING
    assert periods.length_ns(Phase.AFTER) == 0


def test_numbers_are_exact_quantiles_by_kind_outcome_and_phase() -> None:
    """A hundred latencies of 1..100 ms have their 99th percentile at 99 ms, by nearest rank."""
    rows = [(0, "read", at * 200, at * 200 + at, "ok") for at in range(1, 101)]
    seen = history(*rows)
    periods = fault_periods([], seen.duration_ns)
    (row,) = numbers(attempts_of(seen, periods), periods)
    cell = row.cells[0]
    assert cell is not None
    assert (cell.n, cell.p50_ns, cell.p99_ns, cell.max_ns) == (100, 50 * MS, 99 * MS, 100 * MS)
    assert row.cells[1:] == (None, None)


@given(st.lists(st.integers(0, 10**6), min_size=1), st.floats(0, 1))
def test_a_quantile_is_one_of_the_values(values: list[int], share: float) -> None:
    """Nothing is interpolated."""
    assert quantile(sorted(values), share) in values


def test_rates_count_every_completion_once(broken: SampleRun) -> None:
    """The buckets add up to the operations."""
    seen = broken[1]
    attempts = attempts_of(seen, fault_periods([], seen.duration_ns))
    found = rates(attempts, seen.duration_ns)
    assert sum(found.ok) + sum(found.info) + sum(found.fail) == len(attempts)


def test_leaders_follow_the_observers_readings() -> None:
    """A new term begins a new period; a node that does not answer has no role."""
    led = leadership_of(
        observations(
            (0, {"n1": {"role": "leader", "term": 2, "reachable": True}}),
            (100, {"n1": {"role": "leader", "term": 3, "reachable": True}}),
            (200, {"n1": {"reachable": False}}),
            (300, {"n1": {"role": "leader", "term": 4, "reachable": True}}),
        )
    )
    leader_periods = [
        (each.term, each.from_ns // MS, each.until_ns // MS) for _, each in led.leader_periods
    ]
    assert leader_periods == [(2, 0, 100), (3, 100, 200), (4, 300, 300)]
    assert led.leaderless == ((200 * MS, 300 * MS),)
    assert led.leaderless_ns(250 * MS, 900 * MS) == 50 * MS
    assert [period.term for _, period in led.leaders_between(90 * MS, 150 * MS)] == [3, 2]


def test_a_history_without_an_observer_has_no_leaders() -> None:
    """Absent evidence is no evidence."""
    led = leadership_of(history((0, "read", 0, 1, "ok")))
    assert (led.nodes, led.leaderless, led.elections) == ({}, (), 0)


def test_a_fault_shows_what_clients_felt(broken: SampleRun) -> None:
    """Operations in flight, the longest silence, the first answer after the healing."""
    seen = broken[1]
    windows = fault_windows(seen)
    attempts = attempts_of(seen, fault_periods(windows, seen.duration_ns))
    end_ns = seen.duration_ns
    rows = fault_rows(windows, attempts, service(seen), leadership_of(seen), end_ns, end_ns)
    first = rows[0]
    assert first.window.id == "partition-1"
    assert first.targets == (("n1", "leader"),)
    assert 10**9 < first.gap_ns < 2 * 10**9 < first.until_ns - first.from_ns
    assert first.leaderless_ns > 10**9
    assert first.recovered_ns is not None
    assert first.flags == ()


def test_a_fault_without_effect_or_healing_is_flagged() -> None:
    """A green page must not rest on it."""
    windows = [
        window("kill", 0, 10, effective=False),
        window("pause", 0, 10, effective=None),
        window("clock", 0, None),
        window("partition", 0, 10, healed=False),
    ]
    flags = [row.flags for row in measured(windows)]
    assert flags == [
        ("no effect measured",),
        ("effect not measured",),
        ("never ended by the nemesis",),
        ("unknown whether it was healed",),
    ]


def measured(windows: list[FaultWindow], until_ms: int = 7000) -> list[FaultRow]:
    """Measure faults while one client asks without being served until `until_ms`."""
    asked = Service(asking=((0, until_ms * MS),), served=(until_ms * MS,))
    led = leadership_of(history())
    return fault_rows(windows, [], asked, led, until_ms * MS, until_ms * MS)


def test_silence_under_a_fault_that_leaves_a_majority_is_flagged() -> None:
    (row,) = measured([window("partition", 0, 6000, expect="available")])
    assert row.flags == (
        (
            "silent for 6.00 s while no other fault was at work, though this one leaves a "
            "connected majority"
        ),
    )


def test_silence_is_not_held_against_a_fault_during_which_another_killed_a_node() -> None:
    """The majority that the partition left was gone while the kill was in force."""
    both = [
        window("partition", 0, 6000, expect="available"),
        window("kill", 1000, 5500, expect="unavailable"),
    ]
    assert [row.flags for row in measured(both)] == [(), ()]
    assert measured(both)[0].gap_ns == 6000 * MS


def test_a_skipped_fault_kills_no_majority() -> None:
    both = [
        window("partition", 0, 6000, expect="available"),
        window("kill", 1000, 5500, outcome="skipped"),
    ]
    assert [len(row.flags) for row in measured(both)] == [1, 1]


def test_messages_that_differ_in_digits_are_one_error() -> None:
    """And what the nodes warned of stands beside what clients saw."""
    seen = history(
        (0, "read", 0, 10, "fail", {"error": "refused by 10.0.0.1 (try 1)"}),
        (0, "read", 20, 30, "fail", {"error": "refused by 10.0.0.2 (try 2)"}),
    )
    logs = log_lines({"n1": ['{"level": "error", "msg": "disk 7 full"}']}, "")
    attempts = attempts_of(seen, fault_periods([], seen.duration_ns))
    rows, omitted = error_rows(attempts, logs, seen.duration_ns)
    assert [(row.message, row.n, row.source) for row in rows] == [
        ("refused by #.#.#.# (try #)", 2, "client"),
        ("disk # full", 1, "node log"),
    ]
    assert omitted == 0


def test_a_strip_tells_nothing_from_little() -> None:
    """Zero is a dot, the smallest number a block."""
    assert strip([0, 1, 100]) == "·▁█"


def test_logs_are_placed_by_the_host_where_it_stamped_them() -> None:
    """The node's own time serves where there is no other, and is marked as such."""
    lines = log_lines(
        {
            "n1": [
                '2026-11-21T03:54:01.5Z {"ts": "2026-11-21T09:00:00Z", "msg": "skewed"}',
                '{"ts": "2026-11-21T03:54:02Z", "msg": "own clock", "term": 3}',
                "Traceback (most recent call last):",
            ]
        },
        "2026-11-21T03:54:00Z",
    )["n1"]
    assert [(line.at_ns, line.trusted, line.text) for line in lines] == [
        (1_500 * MS, True, "skewed"),
        (2_000 * MS, False, "own clock  term=3"),
        (None, True, "Traceback (most recent call last):"),
    ]
    shown, omitted = around({"n1": lines}, (1_000 * MS, 1_200 * MS))
    assert ([line.text for line in shown], omitted) == (["skewed", "own clock  term=3"], 0)


def test_nodes_that_disagree_at_one_index_are_named() -> None:
    """Equal applied indexes must mean equal states."""

    def judged(**digests: str) -> tuple[bool | None, str]:
        left = {
            node: NodeEvidence(node=node, final={"applied": 7, "digest": digest})
            for node, digest in digests.items()
        }
        empty = leadership_of(History([]))
        rows = nodes.node_rows(run(nodes=()), Evidence(nodes=left), empty, {})
        return nodes.agreement(rows)

    assert judged(n1="aa", n2="aa")[0] is True
    assert judged(n1="aa", n2="bb") == (
        False,
        "The state hashes differ at applied index 7: n1: aa; n2: bb.",
    )
    assert judged(n1="aa")[0] is None


def test_like_mappings_become_a_table() -> None:
    """Nested figures are lifted one level; a lone mapping stays a list of names."""
    table = tables.grid({"read": {"ok": 1, "ms": {"p50": 2}}, "write": {"ok": 3, "extra": 4}})
    assert table is not None
    assert table.columns == ["ok", "ms p50", "extra"]
    assert table.rows == [("read", [1, 2, None]), ("write", [3, None, 4])]
    for shape in ({"a": {"b": 1}}, {"a": 1, "b": 2}, [1, 2], "text", None, {}):
        assert tables.grid(shape) is None


def test_an_empty_history_still_makes_a_report() -> None:
    """A run that fails at once still has a report."""
    report = Report.of(run(), History([]), verdict(), Evidence(), {})
    assert (report.operations, report.silence) == (0, (0, 0))
    assert report.word == "VALID"
