"""Whether each completion answers its own invocation: the same object, arguments, micro-operations.

Every completion that is `ok` is compared with its invocation before anything else is concluded: a
judge that skipped a mismatched answer, or took it for the right one, could miss violations behind
it. A completion that repeats nothing of the request (no value, `true`, `"ok"`) is an
acknowledgement and matches. One pass, O(n).

`RULES` holds a rule for each function; a function without one may answer anything. A rule is given
the operation and returns what is wrong with its answer in a few words, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from squall.checkers.etcd.requests import unrelated
from squall.checkers.history import History, MalformedHistory, Operation, OpType
from squall.checkers.linearizability.registers import freeze, swapped
from squall.checkers.text.lanes import value_text
from squall.checkers.text.proof import Cast, anomaly, who
from squall.checkers.text.words import counted
from squall.checkers.verdict import Anomaly

KIND: Final = "answer-mismatch"

Rule = Callable[[Operation], str | None]
"""Returns what is wrong with an answer, as text that follows "was answered with ...:"; or None."""


def repeats(one: Operation) -> str | None:
    """The answer, if it has a value, repeats the argument."""
    asked, answer = one.input, one.output
    if answer is None or _same(answer, asked) or acknowledges(answer, asked):
        return None
    if answer is False and one.f not in NEVER_FALSE:
        return None  # an element that is added was there already, or one that is removed was not
    if freeze(answer) == freeze(asked) or str(answer) == str(asked):
        return None
    return f"{value_text(asked)} was asked, {value_text(answer)} answered"


def _same(answer: Any, asked: Any) -> bool:
    """Whether two values are equal: 1 and 1.0 are, 1 and true are not."""
    if type(answer) is type(asked) and isinstance(answer, int | str):
        return bool(answer == asked)
    mixed = isinstance(answer, bool) is not isinstance(asked, bool)
    if mixed or isinstance(answer, list | tuple | dict):
        return freeze(answer) == freeze(asked)
    return bool(answer == asked)


def acknowledges(answer: Any, asked: Any) -> bool:
    """Whether an answer only acknowledges, without stating what was done.

    A map without the field `value` (a revision, a number of rows) is such an answer as well.
    """
    if isinstance(answer, bool):
        return answer and not isinstance(asked, bool)
    if isinstance(answer, dict):
        return not isinstance(asked, dict) and "value" not in answer
    return isinstance(answer, str) and answer.lower() == "ok"


NEVER_FALSE: Final = frozenset(
    {"write", "put", "append", "enqueue", "acquire", "release", "transfer"}
)
"""Functions that have not succeeded if they answered false."""


def swaps(one: Operation) -> str | None:
    """A compare-and-set repeats [expected, new], or says whether it swapped and what it saw."""
    asked, answer = one.input, one.output
    if not isinstance(asked, list | tuple) or len(asked) != 2:
        return None  # misshapen: left to the judge of the model
    if isinstance(answer, list | tuple):
        same = freeze(list(answer)) == freeze(list(asked))
        return None if same else f"{value_text(asked)} was asked, {value_text(answer)} answered"
    if isinstance(answer, dict) and swapped(answer) and "seen" in answer:
        seen, expected = answer["seen"], asked[0]
        if freeze(seen) != freeze(expected):
            return f"it swapped, expecting {value_text(expected)}, and saw {value_text(seen)}"
    return None


def micro_operations(one: Operation) -> str | None:
    """A transaction answers each micro-operation of its request, in order; reads get values."""
    asked, answer = one.input, one.output
    if isinstance(asked, dict):
        return unrelated(one.f, asked, answer)
    if not _is_txn(asked) or not _is_txn(answer):
        return None  # misshapen: left to the judge of the model
    if len(asked) != len(answer):
        many = counted(len(asked), "micro-operation")
        return f"{many} asked, {len(answer)} answered"
    for mine, its in zip(asked, answer, strict=True):
        same = mine[0] == its[0] and freeze(mine[1]) == freeze(its[1])
        if same and mine[0] != "r":
            same = freeze(mine[2]) == freeze(its[2])
        if not same:
            return f"{value_text(its)} answers {value_text(mine)}"
    return None


def _is_txn(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(mop, list | tuple) and len(mop) == 3 for mop in value
    )


_NAMES: Final = ("id", "key", "name", "lock", "from", "to", "amount")
"""Fields of an answer that identify what was asked for."""


def names(one: Operation) -> str | None:
    """An answer that is a map identifies the same objects as the request, if it identifies any."""
    asked, answer = one.input, one.output
    if not isinstance(answer, dict):
        return None
    fields = asked if isinstance(asked, dict) else {}
    for name in _NAMES:
        if name not in answer:
            continue
        expected = fields.get(name)
        if expected is None and name in {"key", "name", "lock"} and not fields:
            expected = one.key if asked is None else asked
        if expected is not None and str(expected) != str(answer[name]):
            told = value_text(answer[name])
            return f"the {name} {value_text(expected)} was asked, {told} answered"
    return None


def stored(one: Operation) -> str | None:
    """A put or a request of an etcd-like store, whichever the argument is."""
    if isinstance(one.input, dict):
        return unrelated(one.f, one.input, one.output)
    return repeats(one)


RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(("write", "append", "add", "remove", "enqueue", "guarded"), repeats),
    **dict.fromkeys(("put", "range", "delete", "compact"), stored),
    **dict.fromkeys(("acquire", "release", "transfer"), names),
    **dict.fromkeys(("grant", "keepalive", "attach", "revoke", "probe"), names),
    "cas": swaps,
    "txn": micro_operations,
}
"""Functions whose answers are compared with the request, each with its rule."""


def mismatches(history: History, rules: Mapping[str, Rule] = RULES) -> dict[int, str]:
    """Return what is wrong with mismatched answers, by index of the operation.

    `rules` are {} for a model whose functions only its author knows; keys are compared even then.
    A completion without a key or a value names none. Raises MalformedHistory where something is
    said to have been done and not to have been done at once.
    """
    found: dict[int, str] = {}
    events = list(history)
    if not rules and len({op.key for op in events}) < 2:
        return found
    in_place = bool(events) and events[0].index == 0 and events[-1].index == len(events) - 1
    at_index = events if in_place else {op.index: op for op in events}
    ok = OpType.OK
    for one in history.operations:
        answer = one.output
        if answer is None or one.outcome is not ok:
            continue
        key = at_index[one.completion_index].key  # type: ignore[index]
        if key != one.key and key is not None:
            asked = "no key" if one.key is None else f"the key {one.key}"
            found[one.index] = f"{asked} was asked, {key} answered"
            continue
        rule = rules.get(one.f)
        if answer is False and one.f in NEVER_FALSE and not isinstance(one.input, bool):
            raise MalformedHistory(
                f"op {one.index}: {one.f} is ok and answered false; what did not happen is a "
                f"fail, and what may not have happened an info"
            )
        if rule is None or (rule is repeats and _same(answer, one.input)):
            continue
        wrong = rule(one)
        if wrong is not None:
            found[one.index] = wrong
    return found


def tell_mismatch(one: Operation, wrong: str) -> Anomaly:
    """Return the anomaly of an answer to another question."""
    cast = Cast([one])
    name = cast.name(one)
    asked = value_text(one.input) if one.input is not None else f"key {one.key}"
    answered = value_text(one.output)
    of = f" of {one.key}" if one.key is not None else ""
    return anomaly(
        KIND,
        f"{who(one)}'s {one.f}{of} was answered with something else than was asked: {wrong}.",
        [
            f"Then {name} is answered about what it asked for: {asked}.",
            f"However, {name} was answered with {answered}: {wrong}.",
        ],
        cast,
        data={"asked": asked, "answered": answered, "wrong": wrong},
    )


BLIND: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("register", "cas-register"), frozenset({"write"})),
    "kv": frozenset({"put", "append"}),
    "set": frozenset({"add", "remove"}),
    "counter": frozenset({"add"}),
    "bank": frozenset({"transfer"}),
    **dict.fromkeys(("queue", "fifo-queue", "unordered-queue"), frozenset({"enqueue"})),
}
"""By model: functions that every state allows with every answer. A history of these alone is
vacuous: no answer in it could be wrong."""

__all__ = [
    "BLIND",
    "KIND",
    "RULES",
    "Rule",
    "acknowledges",
    "mismatches",
    "repeats",
    "tell_mismatch",
]
