"""Answers to other questions, values out of thin air, future reads, values written twice.

Random transactions are damaged in one of these ways and judged; what is right is found by trying
all orders, with every initial state that could explain a value which nobody wrote.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from squall.checkers.files import check_file
from squall.checkers.history import History, MalformedHistory, Op, OpType
from squall.checkers.text.lanes import parse
from squall.checkers.transactions.checker import LIST_APPEND, RW_REGISTER, check_isolation
from squall.checkers.transactions.long_fork import check_long_fork
from squall.checkers.transactions.operations import UNSTATED, mismatch
from squall.checkers.verdict import Budget, Validity, Verdict
from tests.checkers.seeds import SEEDS
from tests.checkers.transactions.test_transactions import Plan, brute_force, drawn, history

SERIALIZABLE, STRICT = "serializable", "strict-serializable"
LEVELS = (SERIALIZABLE, "strong-session-serializable", STRICT)


def judge(plans: list[Plan], data: str, level: str, **options: Any) -> Verdict:
    excerpt = options.pop("excerpt", False)
    events = history(plans)
    if excerpt:
        events = History(list(events), header={"excerpt": True})
    return check_isolation(events, Budget(), data=data, level=level, **options)


def explained(
    plans: list[Plan], data: str, level: str, start: dict[str, Any] | None = None
) -> bool:
    return brute_force(
        plans,
        appends=data == LIST_APPEND,
        realtime=level == STRICT,
        process=level != SERIALIZABLE,
        start=start,
    )


def vacuous(verdict: Verdict) -> bool:
    return (verdict.reason or "").startswith("vacuous: ")


def told(verdict: Verdict) -> set[str]:
    return {one.kind for one in verdict.anomalies}


def answered(plans: list[Plan]) -> list[Plan]:
    return [plan for plan in plans if plan.outcome is OpType.OK and plan.answered]


# Answers to other questions


def answer_something_else(random: Random, plan: Plan, *, appends: bool) -> str:
    """Change what a transaction was answered so that it is no answer to what it asked."""
    mops = [list(mop) for mop in plan.answered]
    at = random.randrange(len(mops))
    f, key, value = mops[at]
    how = random.choice(["key", "function", "fewer", "more", "value", "order"])
    if how == "key":
        mops[at][1] = "z"
    elif how == "function":
        mops[at] = (
            ["append" if appends else "w", key, 99]
            if f == "r"
            else ["r", key, [] if appends else 1]
        )
    elif how == "fewer":
        del mops[at]
    elif how == "more":
        mops.insert(at, random.choice([["r", key, None], ["append" if appends else "w", key, 98]]))
    elif how == "value" and f != "r":
        mops[at][2] = random.choice([97, str(value), True, None])
    elif how == "order" and len({tuple(mop[:2]) for mop in mops}) > 1:
        mops.sort(key=lambda mop: mop[:2])
        if [mop[:2] for mop in mops] == [mop[:2] for mop in plan.answered]:
            mops.reverse()
    plan.answered = mops
    return how


@pytest.mark.parametrize("data", [LIST_APPEND, RW_REGISTER])
def test_an_answer_to_another_question_is_told_and_leaves_the_rest_judged(data: str) -> None:
    """It is invalid whatever the rest is; the rest is accused of what no order explains only."""
    ways: dict[str, int] = {}
    others = missed = 0
    for seed in range(SEEDS):
        random = Random(seed)
        appends = data == LIST_APPEND
        plans = drawn(random, appends=appends, noise=random.choice([0.0, 0.5]))
        if not (right := answered(plans)):
            continue
        plan = random.choice(right)
        how = answer_something_else(random, plan, appends=appends)
        asked, level = [list(mop) for mop in plan.asked], random.choice(LEVELS)
        if all(
            one[:2] == other[:2] and (one[0] == "r" or one == other)
            for one, other in itertools.zip_longest(asked, plan.answered, fillvalue=["", ""])
        ):
            continue
        ways[how] = ways.get(how, 0) + 1
        closed = random.random() < 0.5
        verdict = judge(plans, data, level, closed=closed)
        assert verdict.validity is Validity.INVALID, seed
        assert verdict.stats["anomalies"]["answer-mismatch"] == 1, seed
        assert f"(op {op_of(plans, plan)})" in verdict.anomalies[0].summary, seed
        # The others are judged as if nobody had answered: what was asked may have happened.
        plan.outcome, plan.answered = OpType.INFO, asked
        truth = explained(plans, data, level)
        others += not truth
        if told(verdict) - {"answer-mismatch"}:
            assert not truth, (seed, told(verdict))
        elif not truth:
            assert not appends, seed
            missed += 1
    assert set(ways) == {"key", "function", "fewer", "more", "value", "order"}
    assert others > SEEDS // 50
    assert missed <= others // 5, (missed, others)


def op_of(plans: list[Plan], plan: Plan) -> int:
    """The index of a transaction's invocation."""
    events = sorted(
        event
        for at, one in enumerate(plans)
        for event in ((one.call, 0, at), (one.ret, 1, at))
        if not (event[1] and one.outcome is OpType.INFO)
    )
    return events.index((plan.call, 0, plans.index(plan)))


# Values that nobody wrote


def out_of_thin_air(random: Random, plans: list[Plan], *, appends: bool) -> None:
    """Let one read, or all reads of a key from some moment on, show a value that nobody wrote."""
    reads = [mop for plan in answered(plans) for mop in plan.answered if mop[0] == "r"]
    if not reads:
        return
    key = random.choice(reads)[1]
    reads = [mop for mop in reads if mop[1] == key]
    strangers = random.choice([[77], [77], [77, 78]])
    if not appends:
        if random.random() < 0.5:
            for mop in reads:  # it was there at first, or is a mere mistake now and then
                if mop[2] is None and random.random() < 0.9:
                    mop[2] = strangers[0]
        else:
            random.choice(reads)[2] = random.choice(strangers)
        return
    at = random.choice([0, 0, 0, 1, 2])
    for mop in reads if random.random() < 0.7 else [random.choice(reads)]:
        if random.random() < 0.93 and len(mop[2]) >= at:
            mop[2] = [*mop[2][:at], *strangers, *mop[2][at:]]


def strangers_of(plans: list[Plan]) -> dict[str, set[int]]:
    """The values of each key that were read and never written."""
    written = {(key, value) for plan in plans for f, key, value in plan.asked if f != "r"}
    found: dict[str, set[int]] = {}
    for plan in answered(plans):
        for f, key, value in plan.answered:
            if f == "r":
                for one in value if isinstance(value, list) else [value]:
                    if one is not None and (key, one) not in written:
                        found.setdefault(key, set()).add(one)
    return found


def starts(plans: list[Plan], *, appends: bool) -> Iterator[dict[str, Any]]:
    """Every initial state that could explain what nobody wrote."""
    strangers = strangers_of(plans)
    choices = []
    for key in "xy":
        mine = strangers.get(key, set())
        options: list[Any] = [[] if appends else None]
        if appends:
            for plan in answered(plans):
                for f, of_key, value in plan.answered:
                    if f == "r" and of_key == key:
                        front = list(itertools.takewhile(mine.__contains__, value))
                        options += [front[:n] for n in range(1, len(front) + 1)]
        else:
            options += sorted(mine)
        choices.append([(key, option) for option in options])
    for state in itertools.product(*choices):
        yield {key: value for key, value in state if value not in (None, [])}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("data", [LIST_APPEND, RW_REGISTER])
def test_what_nobody_wrote_may_be_initial_exactly_where_an_initial_state_explains_it(
    data: str, level: str
) -> None:
    """Where the initial state is not known: no false alarm, and nothing passed in silence."""
    appends = data == LIST_APPEND
    wrong = missed = initial = 0
    for seed in range(SEEDS):
        random = Random(seed)
        plans = drawn(random, appends=appends, noise=random.choice([0.0, 0.0, 0.2]))
        out_of_thin_air(random, plans, appends=appends)
        strangers = strangers_of(plans)
        verdict = judge(plans, data, level, closed=False)
        truth = any(
            explained(plans, data, level, start) for start in starts(plans, appends=appends)
        )
        if verdict.validity is Validity.INVALID:
            assert not truth, (seed, told(verdict))
            wrong += 1
        elif not vacuous(verdict) and not truth:
            assert not appends, seed
            missed += 1
        if strangers and verdict.validity is Validity.VALID:
            assert verdict.stats["left_out"], seed
            assert "of unknown origin" in verdict.evidence, seed
            initial += 1
    assert initial > SEEDS // 50, initial
    assert wrong > SEEDS // 50, wrong
    assert missed <= wrong // 10, (missed, wrong)


@pytest.mark.parametrize("data", [LIST_APPEND, RW_REGISTER])
def test_what_nobody_wrote_is_wrong_where_the_initial_state_is_known(data: str) -> None:
    """In a history of ours, and where the user says so."""
    appends, found = data == LIST_APPEND, 0
    for seed in range(SEEDS):
        random = Random(seed)
        plans = drawn(random, appends=appends, noise=0.0)
        out_of_thin_air(random, plans, appends=appends)
        known: dict[str, Any] = random.choice([{}, {"closed": False, "initial": None}])
        verdict = judge(plans, data, random.choice(LEVELS), **known)
        if strangers_of(plans):
            assert verdict.validity is Validity.INVALID, seed
            found += 1
        else:
            assert verdict.validity is not Validity.INVALID, seed
    assert found > SEEDS // 5


@pytest.mark.parametrize("level", [SERIALIZABLE, STRICT])
def test_registers_begin_with_the_value_that_is_stated(level: str) -> None:
    """A read of it before any write is right, a read of nil never is."""
    outcomes = set()
    for seed in range(SEEDS):
        random = Random(seed)
        plans = drawn(random, appends=False, noise=random.choice([0.0, 0.3]))
        wrong = random.random() < 0.1
        for plan in plans:
            for mop in plan.answered:
                if mop[0] == "r" and mop[2] is None and not (wrong and random.random() < 0.5):
                    mop[2] = 0
        verdict = judge(plans, RW_REGISTER, level, closed=False, initial=0)
        truth = explained(plans, RW_REGISTER, level, {"x": 0, "y": 0})
        outcomes.add((truth, verdict.validity))
        if verdict.validity is Validity.INVALID:
            assert not truth, (seed, told(verdict))
        elif not truth and not vacuous(verdict):
            nil = any(m[0] == "r" and m[2] is None for p in answered(plans) for m in p.answered)
            assert not nil, seed
    assert {(True, Validity.VALID), (False, Validity.INVALID)} <= outcomes


@pytest.mark.parametrize("data", [LIST_APPEND, RW_REGISTER])
def test_an_excerpt_is_accused_only_of_what_no_missing_writer_explains(data: str) -> None:
    """Whoever wrote what is read may be outside of it: each value has a writer of its own."""
    appends, found = data == LIST_APPEND, 0
    for seed in range(SEEDS):
        random = Random(seed)
        plans = drawn(random, appends=appends, noise=random.choice([0.0, 0.0, 0.2]))
        out_of_thin_air(random, plans, appends=appends)
        level = random.choice([SERIALIZABLE, STRICT])
        verdict = judge(plans, data, level, closed=False, excerpt=True)
        if verdict.validity is Validity.INVALID:
            hidden = []
            for key, values in strangers_of(plans).items():
                for value in values:
                    plan = Plan(100 + value, -1, 10**6, OpType.INFO)
                    plan.asked = plan.answered = [["append" if appends else "w", key, value]]
                    hidden.append(plan)
            assert not explained([*plans, *hidden], data, level), (seed, told(verdict))
            found += 1
        elif strangers_of(plans) and verdict.validity is Validity.VALID:
            assert verdict.stats["left_out"], seed
    assert found > SEEDS // 50


# Future reads


@pytest.mark.parametrize("data", [LIST_APPEND, RW_REGISTER])
def test_a_transaction_that_reads_what_it_writes_later_is_never_passed(data: str) -> None:
    """In histories of ours and of others, alone and among others, whatever it wrote between."""
    appends, found = data == LIST_APPEND, 0
    for seed in range(SEEDS):
        random = Random(seed)
        plans = drawn(random, appends=appends, noise=0.0)[: random.randint(1, 6)]
        pairs = [
            (plan, one, other)
            for plan in answered(plans)
            for one, other in itertools.combinations(range(len(plan.answered)), 2)
            if plan.answered[one][0] == "r"
            and plan.answered[other][0] != "r"
            and plan.answered[one][1] == plan.answered[other][1]
            and not any(
                mop[0] != "r" and mop[1] == plan.answered[one][1] for mop in plan.answered[:one]
            )
        ]
        if not pairs:
            continue
        plan, one, other = random.choice(pairs)
        value = plan.answered[other][2]
        read = plan.answered[one]
        read[2] = [*read[2], value] if appends else value
        found += 1
        for closed in (True, False):
            verdict = judge(plans, data, random.choice(LEVELS), closed=closed)
            assert verdict.validity is Validity.INVALID, seed
            assert "internal" in verdict.stats["anomalies"], seed
            assert "lost-update" not in verdict.stats["anomalies"], seed
    assert found > SEEDS // 20


# Values written twice


def write_twice(random: Random, plans: list[Plan]) -> bool:
    """Let one write write what another writes, and readers see that; say whether it counts."""
    writes = [(plan, at) for plan in plans for at, mop in enumerate(plan.asked) if mop[0] != "r"]
    pairs = [
        (one, other)
        for one, other in itertools.permutations(writes, 2)
        if one[0].asked[one[1]][1] == other[0].asked[other[1]][1]
    ]
    if not pairs:
        return False
    (plan, at), (other, its) = random.choice(pairs)
    _, key, old = plan.asked[at]
    new = other.asked[its][2]
    plan.asked[at] = plan.answered[at] = [plan.asked[at][0], key, new]
    for one in plans:
        for mop in one.answered:
            if mop[0] == "r" and mop[1] == key:
                if isinstance(mop[2], list):
                    mop[2] = [new if value == old else value for value in mop[2]]
                elif mop[2] == old:
                    mop[2] = new
    return OpType.FAIL not in (plan.outcome, other.outcome)


@pytest.mark.parametrize("level", [SERIALIZABLE, STRICT])
@pytest.mark.parametrize("data", [LIST_APPEND, RW_REGISTER])
def test_a_value_written_twice_is_the_workloads_fault_and_hides_no_other(
    data: str, level: str
) -> None:
    """Unknown with both operations named, unless something is wrong whoever wrote the value."""
    appends = data == LIST_APPEND
    counts = {True: 0, False: 0}
    invalid = 0
    for seed in range(SEEDS):
        random = Random(seed)
        plans = drawn(random, appends=appends, noise=random.choice([0.0, 0.3]))
        counted = write_twice(random, plans)
        counts[counted] += 1
        verdict = judge(plans, data, level, closed=random.random() < 0.5)
        truth = explained(plans, data, level)
        if verdict.validity is Validity.INVALID:
            assert not truth, (seed, told(verdict))
            invalid += 1
        elif counted:
            assert verdict.validity is Validity.UNKNOWN, seed
            assert str(verdict.reason).startswith("workload: p"), seed
            assert "write" in str(verdict.reason), seed
        elif not vacuous(verdict):
            assert truth or not appends, seed
    assert min(counts.values()) > SEEDS // 10
    assert invalid > SEEDS // 20


# In text


def events(*lines: tuple[int, str, Any]) -> History:
    return History(
        [
            Op(
                index=at,
                time_ns=at * 10**6,
                process=process,
                type=OpType(kind),
                f="txn",
                value=value,
            )
            for at, (process, kind, value) in enumerate(lines)
        ]
    )


def test_a_request_in_two_places_is_a_read() -> None:
    """As Jepsen's histories often are written."""
    verdict = check_isolation(
        events((0, "invoke", [["r", "x"]]), (0, "ok", [["r", "x", []]])), Budget()
    )
    assert verdict.validity is Validity.VALID


@pytest.mark.parametrize(
    ("asked", "answered", "complaint"),
    [
        ([["r", "x", None]], None, "op 0: a transaction that succeeded is answered with its"),
        ([["r", "x", None]], 3, "op 0: a transaction is a list of micro-operations, not 3"),
        ([["r", "x", None]], [["r", "x"]], "op 0: a micro-operation is answered with"),
        ([["r", "x", None]], [["r", "x", 3]], r"op 0: \['r', 'x', 3\] reads no list"),
        ({"r": "x"}, [["r", "x", []]], "op 0: a transaction is a list of micro-operations"),
        (
            [["q", "x", None]],
            [["q", "x", []]],
            r"op 0: a micro-operation is \[append|r, key, value",
        ),
        (None, [["r", "x", []]], "op 0: a transaction is a list of micro-operations, not None"),
    ],
)
def test_what_cannot_be_a_transaction_is_refused_with_its_operation(
    asked: Any, answered: Any, complaint: str
) -> None:
    """Such a file is wrong, not the database."""
    with pytest.raises(MalformedHistory, match=complaint):
        check_isolation(events((0, "invoke", asked), (0, "ok", answered)), Budget())


def test_what_fits_is_said_by_one_function() -> None:
    """Reads are free, everything else is what was asked; true is not 1."""
    asked = [["w", "x", 1], ["r", "y", None]]
    assert mismatch(asked, [["w", "x", 1], ["r", "y", 7]]) is None
    for other in (
        [["w", "x", 2], ["r", "y", 7]],
        [["w", "x", True], ["r", "y", 7]],
        [["w", "x", 1], ["r", "z", 7]],
        [["w", "x", 1], ["w", "y", 7]],
        [["w", "x", 1]],
        [["w", "x", 1], ["r", "y", 7], ["r", "y", 7]],
        [["r", "y", 7], ["w", "x", 1]],
    ):
        assert mismatch(asked, other) is not None, other


SESSION = (
    "p0: |-txn r:a:[] r:c:[9]-|\n"
    "p1:                          |-txn append:a:9-|   |-txn r:c:[]-|\n"
    "p2:                                                                |-txn append:c:9-|\n"
)


def test_a_session_that_goes_back_to_an_older_snapshot_breaks_the_levels_of_sessions() -> None:
    """Those whose base is snapshot isolation, and those above; none without sessions."""
    found = {
        level: check_isolation(parse(SESSION), Budget(), level=level).validity
        for level in (
            "strong-session-read-committed",
            "snapshot-isolation",
            "strong-session-snapshot-isolation",
            "strong-snapshot-isolation",
            SERIALIZABLE,
            "strong-session-serializable",
        )
    }
    valid = {"strong-session-read-committed", "snapshot-isolation", SERIALIZABLE}
    assert found == {
        level: Validity.VALID if level in valid else Validity.INVALID for level in found
    }


def test_a_history_without_order_is_judged_at_the_level_that_asks_for_none() -> None:
    """And says so."""
    verdict = check_isolation(parse(SESSION), Budget(), realtime=False)
    assert verdict.validity is Validity.VALID
    assert verdict.stats["level"] == SERIALIZABLE
    assert verdict.evidence.endswith("judged as serializable: nothing says what came first")


def test_an_element_written_as_the_initial_value_names_no_writer() -> None:
    """Whether a read of it saw the write or the beginning is not known."""
    lanes = parse("p0: |-txn w:x:0-|\np1:                  |-txn r:x:0-|\n")
    verdict = check_isolation(lanes, Budget(), data=RW_REGISTER, initial=0)
    assert verdict.reason == (
        "workload: p0 (op 0) writes 0 to x, which it holds at first; each value may be written to "
        "a key once"
    )
    assert check_isolation(lanes, Budget(), data=RW_REGISTER, initial=UNSTATED).validity == "valid"


THIN_AIR = """\
{:index 0 :process 0 :type :invoke :f :txn :value [[:w :x 5]]}
{:index 1 :process 0 :type :ok :f :txn :value [[:w :x 5]]}
{:index 2 :process 0 :type :invoke :f :txn :value [[:r :x] [:w :y 1]]}
{:index 3 :process 0 :type :ok :f :txn :value [[:r :x 6] [:w :y 1]]}
{:index 4 :process 1 :type :invoke :f :txn :value [[:r :y nil]]}
{:index 5 :process 1 :type :ok :f :txn :value [[:r :y 1]]}
"""


def test_a_value_that_nobody_wrote_is_no_initial_one_after_an_acknowledged_write() -> None:
    """A file says nothing of what was there at first; that does not excuse every value."""
    verdict = check_file("h.edn", THIN_AIR.encode(), None, Budget())
    assert [one.kind for one in verdict.anomalies] == ["unwritten-value"]
    assert "because p0 had itself called T2, which set x to 5, before T1" in (
        verdict.anomalies[0].explanation
    )
    allowed = check_file("h.edn", THIN_AIR.encode(), "rw-register:serializable", Budget())
    assert allowed.validity is Validity.VALID
    assert allowed.stats["left_out"] == {
        "it reads a value of unknown origin that may be initial": 1
    }


def test_a_file_whose_indexes_have_gaps_is_an_excerpt() -> None:
    """Who wrote what is read may be missing; that is counted, and the rest is judged."""
    excerpt = THIN_AIR.replace(":index 4", ":index 14").replace(":index 5", ":index 15")
    verdict = check_file("h.edn", excerpt.encode(), None, Budget())
    assert verdict.validity is Validity.VALID
    assert verdict.stats["left_out"] == {
        "it reads a value of unknown origin that may be initial": 1
    }
    nothing = "".join(excerpt.splitlines(keepends=True)[:4]).replace(":index 3", ":index 13")
    assert check_file("h.edn", nothing.encode(), None, Budget()).reason == (
        "vacuous: nothing was read (1 left out: it reads a value of unknown origin that may be "
        "initial)"
    )


def test_a_success_without_an_answer_is_refused_with_its_line() -> None:
    """Nobody kept what was read: the recorder should have written an info."""
    text = THIN_AIR.replace("[[:r :y 1]]", "nil")
    with pytest.raises(MalformedHistory, match=r"h\.edn:6: a transaction that succeeded"):
        check_file("h.edn", text.encode(), None, Budget())


def test_a_long_fork_of_others_may_begin_with_what_nobody_wrote() -> None:
    """Until a read finds the key without it."""
    begins = [
        (0, "invoke", [["w", 1, 1]]),
        (0, "ok", [["w", 1, 1]]),
        *(
            (process, kind, [["r", 1, value], ["r", 2, 7]])
            for process, value in ((1, 1), (2, None))
            for kind in ("invoke", "ok")
        ),
    ]
    verdict = check_long_fork(events(*begins), closed=False)
    assert verdict.validity is Validity.VALID
    assert verdict.stats["left_out"] == {
        "it reads a value of unknown origin that may be initial": 1
    }
    begins += [(3, kind, [["r", 1, 1], ["r", 2, None]]) for kind in ("invoke", "ok")]
    verdict = check_long_fork(events(*begins), closed=False)
    assert [one.kind for one in verdict.anomalies] == ["unwritten-value", "long-fork"]


def test_what_a_client_did_not_wait_for_may_come_behind_what_it_did_next() -> None:
    """A harness may let a client go on after a timeout: its append then comes when it comes."""
    lanes = parse(
        "p0: |-txn append:x:1-?     |-txn r:x:[]-|\n"
        "p1:                                         |-txn r:x:[1]-|\n"
    )
    for level in LEVELS:
        assert check_isolation(lanes, Budget(), level=level).validity is Validity.VALID
