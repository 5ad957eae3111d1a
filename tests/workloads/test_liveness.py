"""The writes of the liveness phase: judged among all changes, no part of one data type's model."""

from __future__ import annotations

import msgspec

from squall.checkers.etcd.order import etcd_order
from squall.checkers.evidence import Evidence
from squall.checkers.history import History, Op, OpType
from squall.checkers.verdict import Budget, Checker, Validity, Verdict
from squall.workloads import liveness
from squall.workloads.client import Definite, Indefinite, PutAnswer


def history(*written: object, last: int) -> History:
    """One put at revision 2, one liveness write for each outcome, and a read at revision `last`."""
    ops: list[Op] = []

    def add(process: int | str, kind: OpType, f: str, value: object, **more: object) -> None:
        at = len(ops)
        ops.append(
            Op(index=at, time_ns=at, process=process, type=kind, f=f, value=value, **more)  # type: ignore[arg-type]
        )

    add(0, OpType.INVOKE, "put", {"key": "k", "value": "1"})
    add(0, OpType.OK, "put", {"revision": 2})
    for at, outcome in enumerate(written):
        recorded = liveness.recorded(liveness.write(at))
        process = f"{liveness.LIVENESS}-{at}"
        add(process, OpType.INVOKE, recorded["f"], recorded["value"], meta=recorded["meta"])
        if outcome is not None:
            end = liveness.completion(outcome)  # type: ignore[arg-type]
            add(process, end.type, "put", end.value, error=end.error, meta=end.meta)
    add(1, OpType.INVOKE, "range", {"key": "k"})
    add(1, OpType.OK, "range", {"revision": last, "kvs": [["k", "1", 2, 2, 1]], "count": 1})
    return History(ops)


def ordered(found: History) -> Verdict:
    verdict: Verdict = etcd_order().check(found, Evidence(), Budget())
    return verdict


def test_an_acknowledged_write_explains_the_revision_it_made():
    assert ordered(history(PutAnswer(3), last=3)).validity is Validity.VALID


def test_one_without_an_answer_may_have_made_a_revision_or_none():
    for last in (2, 3):
        assert ordered(history(Indefinite("timed out"), last=last)).validity is Validity.VALID
        assert ordered(history(None, last=last)).validity is Validity.VALID


def test_a_revision_that_no_request_can_have_made_is_not_explained_away():
    """Nothing stands in for a request that is not in the history."""
    assert ordered(history(last=3)).validity is not Validity.VALID
    assert ordered(history(Definite("refused"), last=3)).validity is not Validity.VALID
    assert ordered(history(PutAnswer(3), last=4)).validity is not Validity.VALID


def test_a_model_of_one_data_type_is_not_shown_them_and_its_verdict_counts_them():
    seen: list[History] = []

    def check(given: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        seen.append(given)
        return Verdict(checker="own", validity=Validity.VALID, stats={"left_out": {"other": 2}})

    judge = liveness.apart(Checker(name="own", check=check))
    whole = history(PutAnswer(3), None, last=3)
    verdict = judge.check(whole, Evidence(), Budget())
    assert [op.process for op in seen[0]] == [0, 0, 1, 1]
    assert verdict.stats["left_out"] == {"other": 2, liveness.LEFT_OUT: 2}
    without = history(last=2)
    assert judge.check(without, Evidence(), Budget()).stats == {"left_out": {"other": 2}}
    assert seen[1] is without


def test_only_a_definite_error_proves_that_a_write_never_happened():
    ends = [liveness.completion(Definite("no")), liveness.completion(Indefinite("?"))]
    assert [end.type for end in ends] == [OpType.FAIL, OpType.INFO]
    answered = liveness.completion(PutAnswer(7, None, 3))
    assert msgspec.structs.asdict(answered)["value"] == {"revision": 7}
