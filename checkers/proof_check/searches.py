"""What proofs say of histories that were searched: what an object can have held at a moment.

The claim is checked by trying all orders anew, in the plainest way: a configuration is a state and
the set of open operations that have taken effect, and all of them are followed, moment by moment.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

import msgspec

from squall.checkers.etcd.model import EtcdKv
from squall.checkers.history import Operation, OpType
from squall.checkers.linearizability.models import (
    MODELS,
    REGISTERS,
    UNKNOWN,
    Model,
    UnorderedQueue,
)
from squall.checkers.linearizability.registers import IGNORED, freeze, swapped
from squall.checkers.proof_check.facts import held_values, puts, sees
from squall.checkers.proof_check.grammar import (
    Contradicted,
    Unverified,
    moment,
    require,
    sentence,
    summary,
)
from squall.checkers.proof_check.proof import Proof, Told
from squall.checkers.text.lanes import value_text
from squall.checkers.text.proof import phrase, value_phrase

SPECIFICATIONS: Final[dict[str, Callable[..., Model]]] = {**MODELS, EtcdKv.name: EtcdKv}

STATES_MAX: Final = 2_000
"""Configurations followed for one proof; what needs more is not checked."""

STATES_TOLD_MAX: Final = 8


def _model(proof: Proof) -> Model:
    name = proof.anomaly.data.get("model")
    make: Callable[..., Model] | None = SPECIFICATIONS.get(str(name))
    if make is None:
        raise Unverified(f"no specification of {name!r} is at hand")
    data = proof.anomaly.data
    return make(data["begun"]) if "begun" in data else make()


@summary("No order of the operations on {what} explains {phrase}.")
def _no_order_explains(proof: Proof, what: str, phrase: str) -> None:
    _about(proof, what)
    one = next(iter(proof.cast.values()), None)
    require(one is not None and _phrase(one.real) == phrase, "it is another operation")


def _phrase(one: Operation) -> str:
    return phrase(one)


def _about(proof: Proof, what: str) -> None:
    real = "the object" if proof.key is None else str(proof.key)
    require(what == real, f"the operations are on {real}")


@sentence(
    "Then, in every order of the {n:int} operations below that respects real time and explains "
    "what "
    "had answered before {at:ns}, {what} is {states} just before {r:op} answers.",
    "Then, in every order of {n:int} of the operations that respects real time and explains what "
    "had answered before {at:ns}, {what} is {states} just before {r:op} answers.",
    "Then, in every order of the {n:int} operations below that respects real time and explains the "
    "answers, later ones too, of all that takes effect before {late:ns}, {what} is {states} just "
    "before {r:op} answers.",
    "Then, in every order of {n:int} of the operations that respects real time and explains the "
    "answers, later ones too, of all that takes effect before {late:ns}, {what} is {states} just "
    "before {r:op} answers.",
)
def _in_every_order(
    proof: Proof,
    n: int,
    what: str,
    states: str,
    r: Told,
    at: str | None = None,
    late: str | None = None,
) -> None:
    _about(proof, what)
    answered = r.real.completed_ns
    if answered is None:
        raise Contradicted(f"{r.name} was never answered")
    told = at or late or ""
    require(moment(answered, told) == told, f"{r.name} was answered at {moment(answered, told)}")
    require(n == proof.anomaly.data.get("operations"), "it is another number of operations")
    said = proof.anomaly.data.get("states") or []
    shown = list(said)
    if len(shown) > STATES_TOLD_MAX:
        shown = [*shown[:STATES_TOLD_MAX], f"{len(said) - STATES_TOLD_MAX} other states"]
    text = shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"
    require(states == text, f"it is {text}")
    proof.memory["stuck"] = r
    indexes = proof.anomaly.data.get("searched")
    if indexes is None:
        raise Unverified("the proof does not say which operations these are")
    require(len(indexes) == n, f"they are {len(indexes)}")
    model = _model(proof)
    known = proof.facts.by_index
    _nothing_needed_is_left_out(proof, model, answered, whole=late is not None)
    require(all(index in known for index in indexes), "some of them are no operations")
    ops = [known[index] for index in indexes]
    require(r.real.index in indexes, f"{r.name} is not among them")
    require({one.key for one in ops} == {proof.key}, "they are of several keys")
    reached = _reachable(model, ops, r.real, whole=late is not None)
    show = getattr(model, "show", value_phrase)
    real = sorted(map(show, reached))
    require(real == sorted(said), f"it is {', '.join(real) or 'nothing: an earlier answer fails'}")
    proof.memory["reached"] = (model, reached)


def _nothing_needed_is_left_out(proof: Proof, model: Model, until: int, *, whole: bool) -> None:
    """Check that what has no order in part has none as a whole.

    Operations may be left out that were called later, or change nothing; of registers also values,
    with all that wrote them and all that saw them: then another value was there for longer.
    """
    indexes = frozenset(proof.anomaly.data.get("searched") or ())
    mine = [
        one if whole or (one.completed_ns or 0) <= until else _unanswered(one)
        for one in proof.facts.of_key(proof.key)
        if one.invoked_ns <= until and one.outcome is not OpType.FAIL and one.f not in IGNORED
    ]
    shown = [one for one in mine if one.index in indexes]
    held = {value for one in shown for value in held_values(one)}
    opaque = any(one.f == "cas" and _refused(one) and sees(one) is None for one in shown)
    for one in mine:
        answer = one.output if one.outcome is OpType.OK else UNKNOWN
        is_choice = model.name == UnorderedQueue.name and answer is UNKNOWN
        idle = model.read_only((one.f, one.input), answer) and not is_choice
        if one.index not in indexes and not idle:
            value = puts(one) if model.name in REGISTERS else None
            gone = value is not None and not opaque and freeze(value[0]) not in held
            require(gone, f"op {one.index} is left out, which may change what {model.name} holds")


def _unanswered(one: Operation) -> Operation:
    return msgspec.structs.replace(one, outcome=OpType.INFO, completed_ns=None, output=None)


def _refused(one: Operation) -> bool:
    return one.outcome is OpType.OK and not swapped(one.output)


@sentence("What was answered only after that is shown as still open.")
def _shown_as_open(proof: Proof) -> None:
    stuck = proof.memory.get("stuck")
    if stuck is None:
        raise Contradicted("nothing was said of a moment")
    known = proof.facts.by_index
    indexes = proof.anomaly.data.get("searched") or ()
    later = [i for i in indexes if (known[i].completed_ns or 0) > (stuck.real.completed_ns or 0)]
    require(later, "all of them had been answered by then")


@sentence(
    "However, {r:op} was answered (`{told}`), which none of these allows, nor any operation that "
    "was open then."
)
def _none_allows(proof: Proof, r: Told, told: str) -> None:
    require(proof.memory.get("stuck") is r, "something else was said")
    reached = proof.memory.get("reached")
    if reached is None:
        raise Unverified("the states were not checked")
    model, states = reached
    given = (r.real.f, r.real.input)
    is_told = model.describe(given, r.real.output)
    require(told == is_told, f"it was answered `{is_told}`")
    fitting = [one for one in states if model.step(one, given, r.real.output)[0]]
    require(not fitting, f"{fitting[:1]} allows it")


def _reachable(
    model: Model, ops: list[Operation], stuck: Operation, *, whole: bool
) -> set[Hashable]:
    """Every state the object can have just before an operation answers.

    `whole`: what is answered later must fit its answer, too, if it takes effect before.
    """
    until = stuck.completed_ns or 0
    returns = sorted(
        (
            one
            for one in ops
            if one.outcome is OpType.OK
            and one.completed_ns is not None
            and one.completed_ns <= until
        ),
        key=lambda one: (one.completed_ns, one.index),
    )
    returned = {one.index for one in returns}
    given = {one.index: (one.f, one.input) for one in ops}
    configurations: set[tuple[Hashable, frozenset[int]]] = {(model.init, frozenset())}
    spent = 0
    for at in returns:
        open_now = [
            one
            for one in ops
            if one.invoked_ns <= (at.completed_ns or 0) and one.outcome is not OpType.FAIL
        ]
        done_before = {one.index for one in returns[: returns.index(at)]}
        reached = set(configurations)
        todo = list(configurations)
        while todo:
            state, done = todo.pop()
            spent += 1
            if spent > STATES_MAX:
                raise Unverified("there are more orders than are tried")
            for one in open_now:
                if one.index in done or one.index in done_before:
                    continue
                known = one.index in returned or (whole and one.outcome is OpType.OK)
                answer: Any = one.output if known else UNKNOWN
                for after in _after(model, state, given[one.index], answer):
                    following = (after, done | {one.index})
                    if following not in reached:
                        reached.add(following)
                        todo.append(following)
        if at.index == stuck.index:
            return {state for state, done in reached if stuck.index not in done}
        configurations = {(state, done - {at.index}) for state, done in reached if at.index in done}
    return set()


def _after(model: Model, state: Any, given: tuple[str, Any], answer: Any) -> list[Hashable]:
    """The states that a call may leave, by the definition; none if the answer is wrong.

    A dequeue of an unordered queue that nobody answered took any one element, or none: no function
    of the state, so that the model itself cannot say it.
    """
    if model.name == UnorderedQueue.name and given[0] == "dequeue" and answer is UNKNOWN:
        return [state, *((*state[:at], *state[at + 1 :]) for at in range(len(state)))]
    fits, after = model.step(state, given, answer)
    return [after] if fits else []


# --- texts, where they are too many to be searched


def _text(one: Operation) -> str:
    return "" if one.output is None else str(one.output)


@summary("{p:who} got {key} without {value}, after it had been appended.")
def _got_without(proof: Proof, p: str, key: str, value: str) -> None:
    require(key == str(proof.key), f"the key is {proof.key}")
    require(proof.memory.get("appended", ("",))[0] == value, "its proof is of another text")
    proof.someone(p, "got it", lambda one: one.real.f == "get")


@sentence(
    "Then {value} was in {key} when {r:op} was called, because {order:order}, and no text was put "
    "in its place."
)
def _was_in_the_text(proof: Proof, value: str, key: str, r: Told, order: tuple[Told, Told]) -> None:
    require(key == str(proof.key), f"the key is {proof.key}")
    append = order[0].real
    require(order[1] is r, f"{order[1].name} is not {r.name}")
    appended = append.f == "append" and append.outcome is OpType.OK
    require(appended and value_text(append.input) == value, f"{order[0].name} did not append it")
    for one in proof.facts.of_key(proof.key):
        if one.f == "put" and one.outcome is not OpType.FAIL:
            before = one.completed_ns is not None and one.completed_ns < append.invoked_ns
            after = one.invoked_ns > (r.real.completed_ns or 0)
            require(before or after, f"op {one.index} put a text")
    proof.memory["appended"] = (value, append.input, r)


@sentence("However, {r:op} got a text without {value}.")
def _got_a_text_without(proof: Proof, r: Told, value: str) -> None:
    said = proof.memory.get("appended")
    require(said is not None and (said[0], said[2]) == (value, r), "something else was said")
    assert said is not None
    require(r.real.f == "get" and r.real.outcome is OpType.OK, f"{r.name} got nothing")
    require(str(said[1]) not in _text(r.real), f"{r.name} got {value_text(_text(r.real))}")


@summary("No order of the operations on {key} explains what was got.")
@sentence("Then each append stands where the texts that were got show it.")
@sentence("However, these operations cannot all stand where they do and keep to real time.")
def _no_order_of_texts(proof: Proof, key: str | None = None) -> None:
    require(key in {None, str(proof.key)}, f"the key is {proof.key}")
    raise Unverified("texts are not taken apart again")
