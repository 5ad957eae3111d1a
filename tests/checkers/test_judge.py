"""All checkers together: what dominates what, and who is never blamed."""

from __future__ import annotations

from checkers.evidence import Evidence, HardState, LogEntry, NodeEvidence, StateDigest
from checkers.history import History
from checkers.judge import judge, standard_checkers
from checkers.lanes import parse
from checkers.verdict import Budget, Checker, Validity, Verdict

GOOD = parse(
    """
p0: |-write x 1 @n1 revision=2-|                                   |-read x 2 @n1 revision=3 mod=3 final-|
p1:                             |-cas x 1 2 @n2 revision=3-|                                                |-serializable-read x 2 @n2 revision=3 mod=3 final-|
p2:                                                         |-read x 2 @n2 revision=3 mod=3-|
nemesis/kill:      |-start kill-1 targets=n3 expect=available-|    |-stop kill-1 effective=true-|
"""  # noqa: E501 - lanes are as long as a history
)
RECOVERED = {"recovered": True, "elapsed_s": 0.4, "digests_agree": True}


def node(name: str, **changes: object) -> NodeEvidence:
    facts: dict[str, object] = {
        "node": name,
        "entries": (
            LogEntry(1, 1, 0, "a"),
            LogEntry(1, 2, 0, "b", (("k/x", "1"),)),
            LogEntry(1, 3, 0, "c", (("k/x", "2"),)),
        ),
        "committed": 3,
        "led_terms": (1,) if name == "n1" else (),
        "hard_states": (HardState(1, 1, 0), HardState(1, 1, 3)),
        "digests": (StateDigest(2, 1, 2, "d"),),
        "final": {"applied": 3, "commit": 3, "revision": 3, "digest": "e"},
    }
    return NodeEvidence(**(facts | changes))  # type: ignore[arg-type]


NODES = {name: node(name) for name in ("n1", "n2")}
EVIDENCE = Evidence(nodes=NODES, recovery=RECOVERED)


def judged(history: History = GOOD, evidence: Evidence = EVIDENCE, **options: object) -> Verdict:
    checkers = standard_checkers(requested_faults=("kill",), **options)  # type: ignore[arg-type]
    return judge(checkers, history, evidence, Budget())


def child(verdict: Verdict, name: str) -> Verdict:
    return next(one for one in verdict.children if one.checker == name)


def test_a_good_run_is_valid_and_every_checker_says_what_it_looked_at() -> None:
    """Nothing is unknown when everything was looked at."""
    verdict = judged()
    assert verdict.validity is Validity.VALID, verdict.reason
    assert all(one.claim and one.evidence for one in verdict.children)
    assert child(verdict, "linearizable").method == "zones: 1 key"
    assert "WAL of n2" in child(verdict, "lost-commits").method


def test_trouble_of_the_harness_makes_a_good_run_unknown() -> None:
    """And it is named first."""
    verdict = judged(evidence=Evidence(nodes=NODES, recovery=RECOVERED, trouble=("exec failed",)))
    assert verdict.validity is Validity.UNKNOWN
    assert (verdict.reason or "").startswith("trouble of the harness: exec failed")


def test_trouble_of_the_harness_never_erases_a_violation() -> None:
    """What was proved stays proved."""
    twice = NODES | {"n3": node("n3", led_terms=(1,))}
    evidence = Evidence(nodes=twice, recovery=RECOVERED, trouble=("exec failed",))
    assert judged(evidence=evidence).validity is Validity.INVALID


def broken(history: History, evidence: Evidence, budget: Budget) -> Verdict:
    raise ZeroDivisionError("a slip")


def test_a_checker_that_raises_is_unknown_with_its_traceback() -> None:
    """A broken judge says nothing about the accused."""
    verdict = judge([Checker(name="broken", check=broken)], GOOD, EVIDENCE, Budget())
    assert verdict.validity is Validity.UNKNOWN
    assert "ZeroDivisionError: a slip" in (verdict.children[0].reason or "")
    assert verdict.children[0].checker == "broken"


def test_a_broken_checker_silences_no_other() -> None:
    """Invalid dominates unknown."""
    bad = parse("p0: |-write x 1-| |-write x 2-| |-read x 1-|")
    checkers = [Checker(name="broken", check=broken), *standard_checkers()]
    assert judge(checkers, bad, EVIDENCE, Budget()).validity is Validity.INVALID


def test_no_checkers_at_all_is_no_pass() -> None:
    """Nothing judged, nothing concluded."""
    assert judge([], GOOD, EVIDENCE, Budget()).validity is Validity.UNKNOWN


def test_the_clock_that_was_handed_in_times_every_checker() -> None:
    """Checkers read no clock of their own."""
    ticks = iter(range(10_000))
    budget = Budget(time_s=1e6, now_s=lambda: float(next(ticks)))
    verdict = judge(standard_checkers(), GOOD, EVIDENCE, budget)
    assert all(one.elapsed_s > 0 for one in verdict.children)


def test_a_missing_log_is_unknown_and_names_the_node() -> None:
    """Evidence that is not there proves nothing."""
    nodes = NODES | {"n3": NodeEvidence(node="n3", log_missing=True)}
    verdict = judged(evidence=Evidence(nodes=nodes, recovery=RECOVERED))
    assert verdict.validity is Validity.UNKNOWN
    assert "no log or WAL was collected from n3" in str(
        [one.reason for one in child(verdict, "raft-safety").children]
    )


def test_damage_is_unknown_where_a_fault_made_it_and_invalid_elsewhere() -> None:
    """What we broke we do not blame on the node."""
    nodes = NODES | {"n3": node("n3", damage="at byte 8: checksum")}
    evidence = Evidence(nodes=nodes, recovery=RECOVERED)
    assert judged(evidence=evidence).validity is Validity.INVALID
    by_us = parse(
        "p0: |-write x 1-|\n"
        "nemesis/disk-corrupt: |-start disk-corrupt-1 targets=n3-| |-stop disk-corrupt-1-|"
    )
    whole = child(judged(by_us, evidence), "raft-safety").children[-1]
    assert whole.validity is Validity.UNKNOWN
    assert "where a fault damaged it" in (whole.reason or "")


def test_states_that_differ_at_one_index_are_found_by_the_harness_s_comparison_too() -> None:
    """The final phase compared digests when all nodes stood at one index."""
    recovery = RECOVERED | {
        "digests_agree": False,
        "digests": {"n1": {"digest": "e", "revision": 3}, "n2": {"digest": "f", "revision": 3}},
    }
    verdict = judged(evidence=Evidence(nodes=NODES, recovery=recovery))
    final = next(
        one for one in child(verdict, "raft-safety").children if one.checker == "final-state"
    )
    assert final.validity is Validity.INVALID
    assert "n2 f at revision 3" in final.anomalies[0].explanation


def test_a_cluster_that_stays_away_after_trouble_is_not_blamed_for_it() -> None:
    """What somebody else broke, the database need not mend; the trouble is named."""
    lost = Evidence(
        nodes=NODES,
        recovery={"recovered": False, "elapsed_s": 10.0, "reason": "not reachable: n2"},
        trouble=("the container of n2 was removed",),
    )
    found = child(judged(evidence=lost), "recovery")
    assert found.validity is Validity.UNKNOWN
    assert "the container of n2 was removed" in (found.reason or "")
