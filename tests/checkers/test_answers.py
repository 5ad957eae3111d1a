"""Answers to other questions, values out of thin air, and objects that are told apart by key."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from squall.checkers.answers import KIND
from squall.checkers.collections.counters import check_counters
from squall.checkers.collections.leases import check_leases
from squall.checkers.collections.locks import check_locks
from squall.checkers.collections.sets import check_sets
from squall.checkers.etcd.order import check_etcd_order
from squall.checkers.files import check_file
from squall.checkers.history import History, Op, OpType
from squall.checkers.linearizability.checker import check_linearizability, choices_of
from squall.checkers.linearizability.models import MODELS, UNKNOWN, CasRegister, Given
from squall.checkers.linearizability.registers import FOREVER
from squall.checkers.linearizability.search import Call
from squall.checkers.registry import judge_of
from squall.checkers.verdict import Budget, Validity, Verdict
from squall.checkers.watch.rules import check_watches
from tests.checkers.collections import test_locks_and_leases as holders
from tests.checkers.collections.test_sets import drawn as set_drawn
from tests.checkers.etcd import test_order as stores
from tests.checkers.linearizability.test_objects import DRAWS, drawn
from tests.checkers.oracle import brute_force, history, merged, random_calls
from tests.checkers.seeds import SEEDS
from tests.checkers.test_definitions import counting

REPEATING = ("write", "put", "append", "add", "remove", "enqueue", "cas", "txn")
"""Functions whose completions repeat their argument."""


def used(name: str, seed: int) -> list[Call]:
    """Use an object of a model; some answers may be wrong, none answers another question."""
    if name == "cas-register":
        return random_calls(Random(seed))
    return drawn(name, seed)


def with_echoes(random: Random, calls: list[Call]) -> list[Call]:
    """Let completions repeat the argument, or only say that it was done."""
    return [
        one._replace(answer=random.choice([one.given[1], None, True, "ok", "OK"]))
        if one.given[0] in set(REPEATING) - {"cas", "txn"} and one.ret != FOREVER
        else one
        for one in calls
    ]


def answered_otherwise(random: Random, calls: list[Call]) -> list[Call] | None:
    """Let one completion repeat another argument than its own; None if there is none to choose."""
    chosen = [
        at
        for at, one in enumerate(calls)
        if one.ret != FOREVER and one.given[0] in REPEATING and one.answer is not UNKNOWN
    ]
    if not chosen:
        return None
    at = random.choice(chosen)
    f, given = calls[at].given
    if f == "cas":
        if not calls[at].answer["swapped"]:
            return None
        answer: Any = random.choice(
            [[given[0], 77], [88, given[1]], [given[0]], {"swapped": True, "seen": 88}]
        )
    elif f == "txn":
        mops = [list(mop) for mop in calls[at].answer]
        damage = random.choice(["shorter", "longer", "key", "f", "value"])
        if damage == "value" and all(mop[0] == "r" for mop in mops):
            damage = "f"
        mop = random.choice([one for one in mops if damage != "value" or one[0] == "w"])
        mops = mops[:-1] if damage == "shorter" else mops
        mops += [["r", "x", 1]] if damage == "longer" else []
        mop[1] = "z" if damage == "key" else mop[1]
        mop[0] = ("w" if mop[0] == "r" else "r") if damage == "f" else mop[0]
        mop[2] = 77 if damage == "value" else mop[2]
        answer = mops
    else:
        answer = 77 if isinstance(given, int) else "another"
    return [*calls[:at], calls[at]._replace(answer=answer), *calls[at + 1 :]]


@pytest.mark.parametrize("name", ["cas-register", *DRAWS])
def test_an_answer_to_another_question_is_found_in_every_model(name: str) -> None:
    """Whatever else is wrong or right; and what repeats its question changes no verdict."""
    found = 0
    for seed in range(SEEDS):
        random = Random(f"{name}{seed} answers")
        calls = with_echoes(random, used(name, seed))
        verdict = check_linearizability(history(calls), Budget(), MODELS[name])
        if not (verdict.reason or "").startswith("vacuous"):
            truth = brute_force(MODELS[name](), calls)
            assert (verdict.validity is Validity.VALID) is truth, (seed, calls)
        assert KIND not in {one.kind for one in verdict.anomalies}, (seed, calls)
        wrong = answered_otherwise(random, calls)
        if wrong is not None:
            found += 1
            verdict = check_linearizability(history(wrong), Budget(), MODELS[name])
            assert verdict.validity is Validity.INVALID, (seed, wrong)
            assert [one.kind for one in verdict.anomalies] == [KIND], (seed, wrong)
    assert found > SEEDS // 4 or name in {"mutex", "fenced-mutex"}


@pytest.mark.parametrize("name", ["cas-register", *DRAWS])
def test_an_answer_of_another_key_is_found_in_every_model(name: str) -> None:
    """Of a user's own model, too: what a key is does not depend on it."""
    for seed in range(SEEDS // 4):
        random = Random(f"{name}{seed} keys")
        made = history(used(name, seed), "x")
        told = [op for op in made if op.type is OpType.OK and op.value is not None]
        if not told:
            continue
        one = random.choice(told)
        ops = [msgspec.structs.replace(op, key="y") if op is one else op for op in made]
        verdict = check_linearizability(History(ops), Budget(), MODELS[name])
        assert [one.kind for one in verdict.anomalies] == [KIND], (seed, ops)


def unrelated(random: Random, op: Op, asked: Any) -> Op | None:
    """Turn an answer of a store into one to another request; None if nothing is at hand."""
    answer = dict(op.value)
    if op.f == "range":
        ways = [
            {"kvs": [*answer["kvs"], ["z", 1, 2, 2, 1]], "count": answer["count"] + 1},
            {"deleted": 0},
        ]
        ways += [] if "end" in asked else [{"count": 2}]
        ways += [{"kvs": answer["kvs"] * 2, "count": 2 * answer["count"]}] if answer["kvs"] else []
    elif op.f == "delete":
        ways = [{"deleted": 2}, {"prev_kvs": [["z", 1, 2, 2, 1]]}, {"kvs": [], "count": 0}]
    elif op.f == "put":
        ways = [{"prev_kv": ["z", 1, 2, 2, 1]}, {"deleted": 0}, {"succeeded": True}]
    elif op.f == "txn":
        ways = [
            {"answers": answer["answers"][:-1]},
            {"answers": [*answer["answers"], {}]},
            {"answers": [{"kvs": [["z", 1, 2, 2, 1]], "count": 1}, *answer["answers"][1:]]},
        ]
    else:
        return None
    return msgspec.structs.replace(op, value=answer | random.choice(ways))


def test_an_answer_of_a_store_to_another_request_is_found() -> None:
    """Keys outside of the range, other answers than the branch has, another key's value before.

    Of a right store nothing of the kind is told.
    """
    kinds = set()
    for seed in range(SEEDS):
        random = Random(f"{seed} store")
        ops = stores.drawn(seed)
        verdict = check_etcd_order(History(ops))
        assert KIND not in {one.kind for one in verdict.anomalies}, seed
        told = [at for at, op in enumerate(ops) if op.type is OpType.OK]
        if not told:
            continue
        at = random.choice(told)
        asked = next(op for op in ops[:at][::-1] if op.process == ops[at].process).value
        wrong = unrelated(random, ops[at], asked)
        if wrong is None:
            continue
        kinds.add(wrong.f)
        verdict = check_etcd_order(History([*ops[:at], wrong, *ops[at + 1 :]]))
        assert verdict.validity is Validity.INVALID, (seed, wrong)
        assert [one.kind for one in verdict.anomalies] == [KIND], (seed, wrong)
        searched = judge_of("etcd")(History([*ops[:at], wrong, *ops[at + 1 :]]), Budget())
        assert searched.validity is Validity.INVALID
    assert kinds == {"put", "range", "delete", "txn"}


def _op(at: int, process: int, kind: OpType, f: str, value: Any, key: str | None = "x") -> Op:
    return Op(index=at, time_ns=at, process=process, type=kind, f=f, value=value, key=key)


def _one(f: str, given: Any, answer: Any, key: str | None = "x") -> History:
    return History([_op(0, 0, OpType.INVOKE, f, given, key), _op(1, 0, OpType.OK, f, answer, key)])


def test_answers_of_leases_locks_and_watches_belong_to_what_was_asked() -> None:
    """Another id, another name; and events outside of what is watched have a name of their own."""
    other_id = _one("keepalive", {"id": 7}, {"id": 8, "ttl_ms": 100})
    assert [one.kind for one in check_leases(other_id).anomalies] == [KIND]
    other_name = _one("acquire", None, {"key": "gate", "token": 3}, "door")
    assert [one.kind for one in check_locks(other_name).anomalies] == [KIND]
    same_name = _one("acquire", {"name": "door"}, {"name": "door", "token": 3}, "door")
    assert check_locks(same_name).validity is Validity.VALID
    event = {"revision": 2, "events": [["put", "z", 1, 2]]}
    watch = _one("watch", {"key": "a"}, {"created": 1, "responses": [event]})
    assert [one.kind for one in check_watches(watch).anomalies] == ["watch-filtered"]


def edn(*steps: str) -> bytes:
    """A file of `process type f value` lines, as Jepsen writes them."""
    lines = []
    for step in steps:
        process, kind, f, value = step.split(" ", 3)
        lines.append(f"{{:process {process} :type :{kind} :f :{f} :value {value}}}")
    return "\n".join(lines).encode()


OTHER_TOOLS = {
    "write": edn("0 invoke write 6", "0 ok write 7", "1 invoke read nil", "1 ok read 7"),
    "cas": edn("0 invoke write 1", "0 ok write 1", "0 invoke cas [1 2]", "0 ok cas [1 3]"),
    "versions": edn("0 invoke write {:v 1}", "0 ok write {:value {:v 1} :version 1}"),
    "set": edn("0 invoke add 1", "0 ok add 2", "1 invoke read nil", "1 ok read #{2}"),
    "counter": edn("0 invoke add 1", "0 ok add 2", "1 invoke read nil", "1 ok read 2"),
    "key": edn(
        *("0 invoke write [1 5]", "0 ok write [1 5]"),
        *("1 invoke read [1 nil]", "1 ok read [2 5]"),
    ),
}


@pytest.mark.parametrize("name", OTHER_TOOLS)
def test_an_answer_to_another_question_in_another_tools_file_is_invalid(name: str) -> None:
    """Neither believed nor skipped."""
    verdict = check_file("h.edn", OTHER_TOOLS[name], None, Budget())
    assert verdict.validity is Validity.INVALID
    assert [one.kind for one in verdict.anomalies] == [KIND]


# --- values out of thin air


THIN = 999


def test_a_value_that_nobody_wrote_is_invalid_unless_it_is_said_to_be_the_first() -> None:
    """As trying all orders from the stated initial value says.

    Whatever may be the initial value is told as such.
    """
    outcomes = set()
    for seed in range(SEEDS):
        random = Random(f"{seed} thin air")
        calls = random_calls(random, noise=0.0)
        answered = [
            at for at, one in enumerate(calls) if one.given[0] == "read" and one.answer is None
        ]
        for at in random.sample(answered, min(len(answered), random.randint(1, 3))):
            calls[at] = calls[at]._replace(answer=THIN)
        if not any(one.answer == THIN for one in calls):
            continue
        verdict = check_linearizability(history(calls), Budget())
        assert verdict.validity is Validity.INVALID, (seed, calls)
        given = check_linearizability(history(calls), Budget(), lambda: CasRegister(THIN))
        truth = brute_force(CasRegister(THIN), calls)
        assert (given.validity is Validity.VALID) is truth, (seed, calls)
        if truth:
            assert verdict.reason is not None, (seed, calls)
            assert f"--initial '{THIN}'" in verdict.reason
        if _written_before(calls):
            assert verdict.reason is None, (seed, calls)
        outcomes.add(truth)
    assert outcomes == {True, False}


def test_what_nobody_wrote_is_found_where_values_repeat_as_well() -> None:
    """Without a search, whatever was written twice; and what a failed write would have written."""
    for seed in range(SEEDS // 2):
        random = Random(f"{seed} thin air")
        calls = random_calls(random, values=2, opaque=True, ops_max=12)
        reads = [at for at, one in enumerate(calls) if one.given[0] == "read"]
        if not reads:
            continue
        at = random.choice(reads)
        calls[at] = calls[at]._replace(answer=THIN)
        verdict = check_linearizability(history(calls), Budget())
        assert verdict.validity is Validity.INVALID, (seed, calls)
        assert verdict.anomalies[0].kind in {
            "unwritten-value",
            "refused-though-equal",
            "lost-update",
        }
        assert verdict.stats["states_visited"] == 0


def _written_before(calls: list[Call]) -> bool:
    """Whether the value was read after a write that had been acknowledged."""
    writes = [
        one.ret
        for one in calls
        if one.given[0] == "write"
        or (one.answer is not UNKNOWN and one.answer == {"swapped": True})
    ]
    return any(one.answer == THIN and one.call > min(writes, default=FOREVER) for one in calls)


@pytest.mark.parametrize(
    "name", [one for one in DRAWS if one in {"kv", "set", "counter"} or "queue" in one]
)
def test_what_nobody_put_into_an_object_is_never_valid(name: str) -> None:
    """Texts, elements and amounts out of thin air, whatever the path that decides."""
    strange: dict[str, Any] = {"kv": "air", "set": [THIN]}
    reads = {"kv": "get", "set": "read", "counter": "read"}.get(name, "dequeue")
    judge = {"set": check_sets, "counter": check_counters}.get(name)
    for seed in range(SEEDS):
        random = Random(f"{name} {seed} thin air")
        calls = drawn(name, seed)
        mine = [at for at, one in enumerate(calls) if one.given[0] == reads and one.ret != FOREVER]
        if not mine:
            continue
        at = random.choice(mine)
        calls[at] = calls[at]._replace(answer=strange.get(name, THIN))
        verdict = check_linearizability(history(calls), Budget(), MODELS[name])
        assert verdict.validity is Validity.INVALID, (seed, calls)
        if judge is not None and not any(one.given[0] == "remove" for one in calls):
            assert judge(history(calls)).validity is Validity.INVALID, (seed, calls)


def test_elements_and_totals_that_were_there_at_the_start_may_be_said() -> None:
    """Then they are judged from there; what was there and is gone is lost."""
    outcomes = set()
    for seed in range(SEEDS):
        calls, _ = set_drawn(seed)
        begun = [
            one._replace(answer=[50, *one.answer]) if one.given[0] == "read" else one
            for one in calls
        ]
        reads = [at for at, one in enumerate(begun) if one.given[0] == "read"]
        if reads and seed % 3 == 0:
            begun[reads[0]] = begun[reads[0]]._replace(answer=calls[reads[0]].answer)
        told = check_sets(history(begun, "s"), initial=[50])
        model = MODELS["set"]()
        model.init = frozenset([50])
        truth = brute_force(model, begun)
        assert (told.validity is not Validity.INVALID) is truth, (seed, begun)
        outcomes.add(truth)
        counted = counting(Random(seed))
        later = [
            one._replace(answer=one.answer + 7) if one.given[0] == "read" else one
            for one in counted
        ]
        first, second = (
            check_counters(history(counted, "c")),
            check_counters(history(later, "c"), initial=7),
        )
        assert first.validity is second.validity, seed
    assert outcomes == {True, False}


def test_a_watch_that_shows_what_nobody_put_is_invalid() -> None:
    """Nor what was put only after the watch had ended; but another program's keys are its own."""

    def watched(value: int, key: str = "a", *, late: bool = False) -> Verdict:
        event = {"revision": 3, "events": [["put", key, value, 3]]}
        puts = [
            _op(0, 1, OpType.INVOKE, "put", {"key": "a", "value": 1}),
            _op(1, 1, OpType.OK, "put", {"revision": 2}),
        ]
        unanswered = [_op(2, 2, OpType.INVOKE, "put", {"key": "a", "value": 5})]
        watch = [
            _op(3, 3, OpType.INVOKE, "watch", {"key": "a", "end": "c", "start": 3}),
            _op(4, 3, OpType.OK, "watch", {"created": 2, "responses": [event]}),
        ]
        ops = [*puts, *watch, *unanswered] if late else [*puts, *unanswered, *watch]
        made = [msgspec.structs.replace(op, index=at, time_ns=at) for at, op in enumerate(ops)]
        return check_watches(History(made))

    assert watched(5).validity is Validity.VALID
    assert watched(9, "b").validity is Validity.VALID
    assert [one.kind for one in watched(9).anomalies] == ["watch-unwritten"]
    assert [one.kind for one in watched(5, late=True).anomalies] == ["watch-unwritten"]


# --- objects by key


def _keyed(parts: list[tuple[list[Call], str]]) -> History:
    made, processes = [], 0
    for calls, key in parts:
        made.append((history(calls, key), processes))
        processes += len(calls)
    return merged(made)


@pytest.mark.parametrize("name", ["cas-register", *DRAWS])
def test_objects_of_several_keys_are_judged_one_by_one(name: str) -> None:
    """Wrong is what is wrong by itself; each anomaly names the key, and no other key's."""
    outcomes = set()
    for seed in range(SEEDS // 2):
        parts = [(used(name, 3 * seed + n), f"k{n}") for n in range(3)]
        wrong = {key for calls, key in parts if not brute_force(MODELS[name](), calls)}
        verdict = check_linearizability(_keyed(parts), Budget(), MODELS[name])
        found = {one.key for one in verdict.anomalies}
        assert wrong - _open_choices(name, parts) <= found <= wrong, (seed, parts)
        outcomes.add(len(wrong))
    assert {0, 1} <= outcomes or name == "mutex"


def _open_choices(name: str, parts: list[tuple[list[Call], str]]) -> set[str]:
    """Keys of which an unanswered call may have had an effect that the model does not try."""
    choices = choices_of(MODELS[name]())
    return {
        key
        for calls, key in parts
        if any(one.ret == FOREVER and one.given[0] in choices for one in calls)
    }


@pytest.mark.parametrize("name", ["set", "counter", "lock"])
def test_sets_counters_and_locks_of_several_keys_are_judged_one_by_one(name: str) -> None:
    """In a pass as well."""
    judge = {"set": check_sets, "counter": check_counters, "lock": check_locks}[name]
    several = 0
    for seed in range(SEEDS // 2):
        parts = []
        for at, key in enumerate(("k0", "k1", "k2")):
            random = Random(3 * seed + at)
            if name == "lock":
                parts.append(holders.recorded(holders.locking(random), key))
            else:
                calls = set_drawn(3 * seed + at)[0] if name == "set" else counting(random)
                parts.append(history(calls, key))
        wrong = {part[0].key for part in parts if judge(part).validity is Validity.INVALID}
        verdict = judge(_together(parts))
        assert {one.key for one in verdict.anomalies} == wrong, seed
        several += len(wrong) > 1
    assert several


def _together(parts: list[History]) -> History:
    """Merge histories of other processes each, in which a process may answer and call at once."""
    ops = [
        msgspec.structs.replace(op, process=100 * at + op.process)
        for at, part in enumerate(parts)
        for op in part
    ]
    ops.sort(key=lambda op: op.time_ns)
    return History([msgspec.structs.replace(op, index=at) for at, op in enumerate(ops)])


def test_a_set_with_removals_does_not_hide_what_another_one_lost() -> None:
    """And is counted as not judged."""
    removals = [Call(0, 1, ("add", 1), None), Call(2, 3, ("remove", 1), None)]
    lost = [Call(0, 1, ("add", 1), None), Call(2, 3, ("read", None), [])]
    verdict = check_sets(_keyed([(removals, "s"), (lost, "t")]))
    assert [(one.kind, one.key) for one in verdict.anomalies] == [("lost-element", "t")]
    assert sum(verdict.stats["left_out"].values()) == 2


# --- what is a read


class Adder:
    """A model of a user's own: a total that is answered when something is added to it."""

    name = "adder"
    init = 0

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Any]:
        after = state + (given[1] or 0)
        return answer is UNKNOWN or answer == after, after

    def read_only(self, given: Given, answer: Any) -> bool:
        return not given[1]

    def describe(self, given: Given, answer: Any) -> str:
        return f"{given[0]} {given[1]} -> {answer}"


@pytest.mark.parametrize("f", ["add-and-get", "add-and-read", "read", "thread"])
def test_what_changes_something_is_judged_so_whatever_it_is_called(f: str) -> None:
    """An unanswered addition explains a total, even one whose name ends like that of a read."""
    outcomes = set()
    for seed in range(SEEDS // 4):
        random = Random(seed)
        calls, total = [], 0
        for at in range(random.randint(2, 6)):
            amount, crashed = random.choice([0, 1, 2]), random.random() < 0.4
            total += amount if not crashed or random.random() < 0.5 else 0
            wrong = random.random() < 0.1
            answer = UNKNOWN if crashed else total + wrong
            calls.append(Call(2 * at, FOREVER if crashed else 2 * at + 1, (f, amount), answer))
        truth = brute_force(Adder(), calls)
        verdict = check_linearizability(history(calls), Budget(), Adder)
        if not (verdict.reason or "").startswith("vacuous"):
            assert (verdict.validity is Validity.VALID) is truth, (seed, calls)
            outcomes.add(truth)
    assert outcomes == {True, False}


def test_serializable_reads_are_counted_as_left_out() -> None:
    """They have no part in what linearizability says."""
    calls = [Call(0, 1, ("write", 1), 1), Call(2, 3, ("serializable-read", None), None)]
    calls.append(Call(4, 5, ("read", None), 1))
    verdict = check_linearizability(history(calls), Budget())
    assert verdict.validity is Validity.VALID
    assert list(verdict.stats["left_out"].values()) == [1]
