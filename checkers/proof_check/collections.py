"""What proofs say of queues, of banks judged linearizably, of final totals and of ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from squall.checkers.history import Operation, OpType
from squall.checkers.linearizability.registers import freeze, swapped
from squall.checkers.proof_check.facts import expects, sees
from squall.checkers.proof_check.facts import puts as register_puts
from squall.checkers.proof_check.grammar import (
    NotThis,
    Unverified,
    moment,
    number,
    require,
    sentence,
    summary,
)
from squall.checkers.proof_check.proof import Proof, Told
from squall.checkers.text.proof import phrase, value_phrase

# --- queues


def puts(proof: Proof, value: str) -> list[Operation]:
    """The operations that enqueue an element, failed ones included."""
    return [
        one
        for one in proof.facts.of_key(proof.key)
        if one.f == "enqueue" and value_phrase(one.input) == value
    ]


def likely(proof: Proof, value: str) -> list[Operation]:
    """The operations that enqueue an element, or may have."""
    return [one for one in puts(proof, value) if one.outcome is not OpType.FAIL]


def takes(proof: Proof, value: str) -> list[Operation]:
    """The operations that were answered with an element: dequeues, drains and reads."""
    return [one for one in proof.facts.of_key(proof.key) if got(one, value)]


def got(one: Operation, value: str) -> bool:
    """Whether an operation was answered with an element."""
    if one.outcome is not OpType.OK:
        return False
    if one.f == "dequeue":
        return one.output is not None and value_phrase(one.output) == value
    return one.f in {"drain", "read"} and value in map(value_phrase, one.output or ())


def begun(proof: Proof) -> list[str]:
    """The elements that were in a queue at first."""
    return list(map(value_phrase, proof.anomaly.data.get("begun") or ()))


def acknowledged(proof: Proof, value: str) -> list[Operation]:
    """The enqueues of an element that were acknowledged."""
    return [one for one in puts(proof, value) if one.outcome is OpType.OK]


@summary("{p:who} dequeued {value} from {key}, which nobody enqueued.")
@summary("{p:who} got {value} from {key}, which nobody enqueued.")
def _phantom(proof: Proof, p: str, value: str, key: str) -> None:
    proof.about(key)
    proof.someone(p, f"was answered with {value}", lambda one: got(one.real, value))
    require(not puts(proof, value), "somebody enqueued it")
    require(value not in begun(proof), "it was there at first")


@summary("{p:who} dequeued {value} from {key}, which was refused when it was enqueued.")
@summary("{p:who} got {value} from {key}, which was refused when it was enqueued.")
def _refused(proof: Proof, p: str, value: str, key: str) -> None:
    proof.about(key)
    proof.someone(p, f"was answered with {value}", lambda one: got(one.real, value))
    _only_failed(proof, value)


def _only_failed(proof: Proof, value: str) -> None:
    mine = puts(proof, value)
    require(mine and all(one.outcome is OpType.FAIL for one in mine), "it was not refused")


@sentence("Then {value} had been enqueued in {key}, because {d:op} took it out.")
@sentence("Then {value} had been enqueued in {key}, because {d:op} shows it.")
def _had_been(proof: Proof, value: str, key: str, d: Told) -> None:
    proof.about(key)
    require(got(d.real, value), f"{d.name} was not answered with {value}")
    proof.memory["element"] = value


@sentence("However, no operation enqueues {value}, and it was not there at first.")
@sentence("However, no operation enqueues {value}.")
def _nobody_enqueues(proof: Proof, value: str) -> None:
    require(value == proof.memory.get("element"), "another element came out")
    require(not puts(proof, value), "somebody enqueues it")
    require(value not in begun(proof), "it was there at first")


@sentence("However, {e:op} is its only enqueue, and failed for certain.")
def _failed_enqueue(proof: Proof, e: Told) -> None:
    value = str(proof.memory.get("element"))
    require(e.real in puts(proof, value), f"{e.name} does not enqueue {value}")
    _only_failed(proof, value)


_TIMES = {"once": 1, "twice": 2}


def _times(text: str) -> int:
    return _TIMES[text] if text in _TIMES else number(text.removesuffix(" times"))


@summary("{value} came out of {key} {often}, and was in it {had}.")
def _too_often(proof: Proof, value: str, key: str, often: str, had: str) -> None:
    proof.about(key)
    if not re.fullmatch(r"once|twice|\d+ times", had) or not re.fullmatch(
        r"once|twice|\d+ times", often
    ):
        raise NotThis
    require(len(takes(proof, value)) == _times(often), "it came out as often as not")
    require(_times(often) > _times(had), "it did not come out too often")
    _was_in_times(proof, value, had)


def _was_in_times(proof: Proof, value: str, had: str) -> None:
    """Check how often an element was put into a queue, or was in it at first."""
    times = len(likely(proof, value)) + begun(proof).count(value)
    require(times == _times(had), f"it was in it {times} times")


@sentence("Then {value} came out {often}, because {names} each took it.")
def _each_took(proof: Proof, value: str, often: str, names: str) -> None:
    mine = [proof.named(name) for name in names.split(", ")]
    require(all(got(one.real, value) for one in mine), f"not all of them were given {value}")
    require(len({one.real.index for one in mine}) == _times(often), "they are not as many")
    proof.memory["element"], proof.memory["often"] = value, _times(often)


@sentence("However, it was put into {key} {had}, and each dequeue takes one element out.")
def _put_into(proof: Proof, key: str, had: str) -> None:
    proof.about(key)
    value = str(proof.memory.get("element"))
    _was_in_times(proof, value, had)
    require(_times(had) < proof.memory.get("often", 0), "it did not come out more often")


@summary("{p:who} dequeued {value} from {key} before it was enqueued.")
def _before_enqueued(proof: Proof, p: str, value: str, key: str) -> None:
    proof.about(key)
    one = proof.someone(p, f"dequeued {value}", lambda one: got(one.real, value)).real
    ends = one.completed_ns or 0
    mine = likely(proof, value)
    require(mine and all(put.invoked_ns > ends for put in mine), "it had been enqueued")
    require(value not in begun(proof), "it was there at first")


@sentence(
    "Then {value} was not in {key} before {e:op} was called, because no other that enqueued it was "
    "called earlier."
)
def _not_in_before(proof: Proof, value: str, key: str, e: Told) -> None:
    proof.about(key)
    mine = likely(proof, value)
    require(e.real in mine, f"{e.name} does not enqueue {value}")
    require(all(put.invoked_ns >= e.real.invoked_ns for put in mine), "another was called earlier")
    require(value not in begun(proof), "it was there at first")
    proof.memory["element"] = value


@sentence("However, {d:op} took {value} out: {order:order}.")
def _took_out_before(proof: Proof, d: Told, value: str, order: tuple[Told, Told]) -> None:
    require(value == proof.memory.get("element") and got(d.real, value), "it took something else")
    require(order[0] is d, f"{order[0].name} is not {d.name}")
    require(order[1].real in puts(proof, value), f"{order[1].name} does not enqueue {value}")


@summary("{over} came out of {key} before {stayed}, which had gone in before it.")
def _overtook(proof: Proof, over: str, key: str, stayed: str) -> None:
    proof.about(key)
    require(takes(proof, over), f"{over} never came out")
    require(puts(proof, stayed) or stayed in begun(proof), f"{stayed} never went in")


@sentence("Then {x} went into {key} before {y}, because {order:order}.")
def _went_before(proof: Proof, x: str, key: str, y: str, order: tuple[Told, Told]) -> None:
    proof.about(key)
    require(likely(proof, x) == [order[0].real], f"{order[0].name} is not the enqueue of {x}")
    require(likely(proof, y) == [order[1].real], f"{order[1].name} is not the enqueue of {y}")
    proof.memory["fifo"] = (x, y)


@sentence("Then {x} went into {key} before {y}, because that was so at first.")
def _were_there(proof: Proof, x: str, key: str, y: str) -> None:
    proof.about(key)
    first = begun(proof)
    require(x in first and y in first, "they were not there at first")
    require(first.index(x) < first.index(y), "the other was in front")
    proof.memory["fifo"] = (x, y)


@sentence(
    "Then {x} went into {key} before {y}, because it was there at first, and {e:op} enqueued the "
    "other."
)
def _was_there_before(proof: Proof, x: str, key: str, y: str, e: Told) -> None:
    proof.about(key)
    require(x in begun(proof), f"{x} was not there at first")
    require(likely(proof, y) == [e.real], f"{e.name} is not the enqueue of {y}")
    proof.memory["fifo"] = (x, y)


@sentence("And what goes in first comes out first, so {x} came out before {y}.")
def _so_first(proof: Proof, x: str, y: str) -> None:
    require(proof.memory.get("fifo", (x, y)) == (x, y), "another order was shown")
    proof.memory["fifo"] = (x, y)


@sentence("However, {d:op} took {y} out, and no dequeue took {x} out.")
def _never_out(proof: Proof, d: Told, y: str, x: str) -> None:
    require(proof.memory.get("fifo") == (x, y), "other elements were told of")
    require(got(d.real, y), f"{d.name} was not given {y}")
    require(not takes(proof, x), f"{x} came out")
    mine = proof.facts.of_key(proof.key)
    open_ = [one for one in mine if one.f == "dequeue" and one.outcome is OpType.INFO]
    require(not open_, "a dequeue that nobody answered may have taken it")


@sentence("However, {y} came out first: {order:order}.")
def _came_first(proof: Proof, y: str, order: tuple[Told, Told]) -> None:
    x, later = proof.memory.get("fifo", ("", ""))
    require(later == y, "other elements were told of")
    require(got(order[0].real, y), f"{order[0].name} was not given {y}")
    require(takes(proof, x) == [order[1].real], f"{order[1].name} was not given {x}")


@summary("{names} never came out of {key}, while what had gone in later did.")
def _never_came(proof: Proof, names: str, key: str) -> None:
    proof.about(key)
    for value in names.split(", "):
        went_in = acknowledged(proof, value) or value in begun(proof)
        require(went_in and not takes(proof, value), f"{value} came out")


@sentence(
    "{word} {x} went in before {y}, because {order:order}, so it had left when {d:op} answered."
)
def _had_left(proof: Proof, word: str, x: str, y: str, order: tuple[Told, Told], d: Told) -> None:
    if word not in {"Then", "And"}:
        raise NotThis
    require(likely(proof, x) == [order[0].real], f"{order[0].name} is not the enqueue of {x}")
    require(likely(proof, y) == [order[1].real], f"{order[1].name} is not the enqueue of {y}")
    require(got(d.real, y), f"{d.name} was not given {y}")
    proof.memory.setdefault("skipped", {})[x] = d.real.completed_ns or 0


@sentence(
    "{word} {x} went in before {y}, because it was there at first, and {e:op} enqueued the other, "
    "so it had left when {d:op} answered."
)
def _begun_had_left(proof: Proof, word: str, x: str, y: str, e: Told, d: Told) -> None:
    if word not in {"Then", "And"}:
        raise NotThis
    require(x in begun(proof), f"{x} was not there at first")
    require(likely(proof, y) == [e.real], f"{e.name} is not the enqueue of {y}")
    require(got(d.real, y), f"{d.name} was not given {y}")
    proof.memory.setdefault("skipped", {})[x] = d.real.completed_ns or 0


@sentence(
    "{word} {x} went in before {y}, because that was so at first, so it had left when {d:op} "
    "answered."
)
def _both_begun_had_left(proof: Proof, word: str, x: str, y: str, d: Told) -> None:
    if word not in {"Then", "And"}:
        raise NotThis
    first = begun(proof)
    require(x in first and y in first, "they were not there at first")
    require(first.index(x) < first.index(y), "the other was in front")
    require(got(d.real, y), f"{d.name} was not given {y}")
    proof.memory.setdefault("skipped", {})[x] = d.real.completed_ns or 0


@sentence(
    "However, no dequeue was answered with {names}, and of dequeues without an answer {n:int} had "
    "been called by {t:ns}."
)
def _too_few(proof: Proof, names: str, n: int, t: str) -> None:
    skipped: dict[str, int] = proof.memory.get("skipped", {})
    values = names.split(", ")
    require(set(values) == set(skipped), "other elements were told of")
    require(not any(takes(proof, value) for value in values), "one of them came out")
    latest = max(skipped.values(), default=0)
    require(moment(latest, t) == t, "they had to leave by another moment")
    mine = proof.facts.of_key(proof.key)
    called = [one for one in mine if one.f == "dequeue" and one.outcome is OpType.INFO]
    in_time = sum(one.invoked_ns <= latest for one in called)
    require(in_time == n, f"{in_time} had been called")
    require(n < len(values), "they were enough")


@summary(
    "{p:who} found {key} empty, though more was in it than unanswered dequeues could have taken."
)
def _more_than_taken(proof: Proof, p: str, key: str) -> None:
    proof.about(key)
    proof.someone(p, "found it empty", lambda one: _empty(one.real))


@sentence(
    "Then an unanswered dequeue took at most one element each, and there are {n:int} of them."
)
def _at_most_one(proof: Proof, n: int) -> None:
    mine = proof.facts.of_key(proof.key)
    called = [one for one in mine if one.f == "dequeue" and one.outcome is OpType.INFO]
    require(len(called) == n, f"there are {len(called)}")


@sentence(
    "However, whichever elements they took, some dequeue of {key} found it empty while another "
    "element was in it."
)
def _whichever(proof: Proof, key: str) -> None:
    proof.about(key)
    mine = proof.facts.of_key(proof.key)
    first = tuple(sorted(begun(proof)))
    require(not _explained(_bag, mine, first, real_time=True), "one choice explains it")


@summary("{p:who} found {key} empty, though it was not.")
def _not_empty(proof: Proof, p: str, key: str) -> None:
    proof.about(key)
    proof.someone(p, "found it empty", lambda one: _empty(one.real))


def _empty(one: Operation) -> bool:
    return one.f == "dequeue" and one.outcome is OpType.OK and one.output is None


@sentence(
    "{word} {value} was in {key}, because {e:op} had returned at {ack:ns}, until {d:op} was "
    "called at {out:ns}."
)
def _was_in(
    proof: Proof, word: str, value: str, key: str, e: Told, ack: str, d: Told, out: str
) -> None:
    _sure(proof, word, value, key, e, ack)
    require(takes(proof, value) == [d.real], f"{d.name} is not what took {value}")
    require(moment(d.real.invoked_ns, out) == out, f"{d.name} was called at another moment")
    _covers(proof, e.real.completed_ns or 0, d.real.invoked_ns)


@sentence(
    "{word} {value} was in {key}, because {e:op} had returned at {ack:ns}, and no dequeue "
    "took it out."
)
def _was_in_for_good(proof: Proof, word: str, value: str, key: str, e: Told, ack: str) -> None:
    _sure(proof, word, value, key, e, ack)
    require(not takes(proof, value), f"{value} came out")
    mine = proof.facts.of_key(proof.key)
    require(
        not any(one.f == "dequeue" and one.outcome is OpType.INFO for one in mine),
        "a dequeue that nobody answered may have taken it",
    )
    _covers(proof, e.real.completed_ns or 0, None)


@sentence(
    "{word} {value} was in {key}, because it was there at first, until {d:op} was called at "
    "{out:ns}."
)
def _begun_in(proof: Proof, word: str, value: str, key: str, d: Told, out: str) -> None:
    if word not in {"Then", "And"}:
        raise NotThis
    proof.about(key)
    require(value in begun(proof), f"{value} was not there at first")
    require(takes(proof, value) == [d.real], f"{d.name} is not what took {value}")
    require(moment(d.real.invoked_ns, out) == out, f"{d.name} was called at another moment")
    _covers(proof, -1, d.real.invoked_ns)


@sentence("{word} {value} was in {key}, because it was there at first, and no dequeue took it out.")
def _begun_in_for_good(proof: Proof, word: str, value: str, key: str) -> None:
    if word not in {"Then", "And"}:
        raise NotThis
    proof.about(key)
    require(value in begun(proof), f"{value} was not there at first")
    require(not takes(proof, value), f"{value} came out")
    _covers(proof, -1, None)


def _sure(proof: Proof, word: str, value: str, key: str, e: Told, ack: str) -> None:
    if word not in {"Then", "And"}:
        raise NotThis
    proof.about(key)
    require(acknowledged(proof, value) == [e.real], f"{e.name} is not the enqueue of {value}")
    require(moment(e.real.completed_ns or 0, ack) == ack, f"{e.name} returned at another moment")


def _covers(proof: Proof, since: int, until: int | None) -> None:
    proof.memory.setdefault("inside", []).append((since, until))


@sentence("However, {d:op} found {key} empty, at some moment from {since:ns} to {until:ns}.")
def _found_empty(proof: Proof, d: Told, key: str, since: str, until: str) -> None:
    proof.about(key)
    require(_empty(d.real), f"{d.name} did not find it empty")
    called, answered = d.real.invoked_ns, d.real.completed_ns or 0
    require(moment(called, since) == since, f"{d.name} was called at another moment")
    require(moment(answered, until) == until, f"{d.name} was answered at another moment")
    at = called
    inside = sorted(proof.memory.get("inside", []), key=lambda one: one[0])
    require(inside and inside[0][0] < called, "nothing was in it when it was called")
    for begins, ends in inside:
        require(begins < at or at == called, "there is a moment at which nothing was in it")
        at = answered + 1 if ends is None else max(at, ends)
    require(at > answered, "there is a moment at which nothing was in it")


@summary("{value} was acknowledged by {key} and never came out of it.")
def _lost(proof: Proof, value: str, key: str) -> None:
    proof.about(key)
    have, out = len(acknowledged(proof, value)), len(takes(proof, value))
    require(have > out, f"{have} were acknowledged, {out} came out")


@sentence("Then {value} was in {key}, because {order:order}, unless it had come out.")
def _was_there(proof: Proof, value: str, key: str, order: tuple[Told, Told]) -> None:
    proof.about(key)
    require(order[0].real in acknowledged(proof, value), f"{order[0].name} does not enqueue it")
    proof.memory["element"] = value


@sentence(
    "And {n:int} dequeue without an answer took at most one element each, fewer than are missing."
)
@sentence(
    "And {n:int} dequeues without an answer took at most one element each, fewer than are missing."
)
def _fewer_than_missing(proof: Proof, n: int) -> None:
    mine = proof.facts.of_key(proof.key)
    doubt = sum(one.f == "dequeue" and one.outcome is OpType.INFO for one in mine)
    require(n == doubt, f"there are {doubt}")
    acked: dict[str, int] = {}
    for one in mine:
        if one.f == "enqueue" and one.outcome is OpType.OK:
            value = value_phrase(one.input)
            acked[value] = acked.get(value, 0) + 1
    missing = sum(max(0, count - len(takes(proof, value))) for value, count in acked.items())
    require(missing > n, f"{missing} are missing")


@sentence("However, {r:op} took all that was left without {value}, and no other operation got it.")
@sentence("However, {r:op} read all that was left without {value}, and no other operation got it.")
def _all_that_was_left(proof: Proof, r: Told, value: str) -> None:
    require(value == proof.memory.get("element"), "another element was told of")
    require(r.real.f in {"drain", "read"}, f"{r.name} does not read everything")
    require(not got(r.real, value), f"{r.name} shows {value}")
    require(len(takes(proof, value)) < len(acknowledged(proof, value)), "others got it")


# --- what is checked by trying all orders, if they are few

ORDERS_MAX = 20_000
"""Configurations tried for one sentence."""

_Step = Callable[[Any, Operation], list[Any]]


def _explained(step: _Step, ops: Sequence[Operation], begin: Any, *, real_time: bool) -> bool:
    """Whether some order explains all answers: in real time, or of each client's own."""
    ops = [one for one in ops if one.outcome is not OpType.FAIL]
    done = frozenset(at for at, one in enumerate(ops) if one.outcome is OpType.OK)
    seen = set()
    todo = [(begin, frozenset(range(len(ops))))]
    while todo:
        state, left = todo.pop()
        if not left & done:
            return True
        if (state, left) in seen:
            continue
        seen.add((state, left))
        if len(seen) > ORDERS_MAX:
            raise Unverified("there are more orders than are tried")
        if real_time:
            end = min((ops[at].completed_ns or 0) for at in left & done)
            ready = [at for at in left if ops[at].invoked_ns <= end]
        else:
            first: dict[int | str, int] = {}
            for at in sorted(left, key=lambda at: ops[at].index):
                first.setdefault(ops[at].process, at)
            ready = list(first.values())
        for at in ready:
            todo += [(after, left - {at}) for after in step(state, ops[at])]
            if at not in done:
                todo.append((state, left - {at}))
    return False


def _bag(state: Any, one: Operation) -> list[Any]:
    """A queue without order."""
    if one.f == "enqueue":
        return [tuple(sorted((*state, value_phrase(one.input))))]
    if one.outcome is OpType.OK and one.output is None:
        return [] if state else [state]
    wanted = value_phrase(one.output)
    return [
        (*state[:at], *state[at + 1 :])
        for at, value in enumerate(state)
        if one.outcome is OpType.INFO or value == wanted
    ]


def _registers(state: Any, one: Operation) -> list[Any]:
    """Registers as pairs of key and value."""
    held = dict(state)
    value = held.get(one.key)
    told, expected = sees(one), expects(one)
    if (told is not None and freeze(told[0]) != value) or (
        expected is not None and freeze(expected[0]) != value
    ):
        return []
    refused = one.f == "cas" and one.outcome is OpType.OK and not swapped(one.output)
    if refused and freeze(one.input[0]) == value:
        return []
    put = register_puts(one)
    if put is not None:
        held[one.key] = freeze(put[0])
    return [tuple(sorted(held.items(), key=repr))]


def _accounts(state: Any, one: Operation) -> list[Any]:
    """Accounts: what was moved so far, and what they held at first once a read told."""
    moved, opening = dict(state[0]), state[1]
    if one.f == "transfer":
        for account, sign in ((one.input["from"], -1), (one.input["to"], 1)):
            moved[str(account)] = moved.get(str(account), 0) + sign * one.input["amount"]
        return [(tuple(sorted(moved.items())), opening)]
    if one.outcome is not OpType.OK:
        return [state]
    begun = tuple(sorted((a, held - moved.get(a, 0)) for a, held in one.output.items()))
    return [(state[0], begun)] if opening in (None, begun) else []


@summary("{p:who} saw {value} in {key}, which nobody wrote.")
@summary("{p:who} saw {value} in {key}, which certainly was not written.")
def _saw(proof: Proof, p: str, value: str, key: str) -> None:
    proof.about(key)
    proof.someone(p, f"saw {value}", lambda one: _seen(one.real) == value)


def _seen(one: Operation) -> str | None:
    told = sees(one)
    return None if told is None else value_phrase(told[0])


@sentence(
    "Then somebody wrote {value} to {key}, because {r:op} saw it, and at first {k} held {begun}."
)
def _somebody_wrote(proof: Proof, value: str, key: str, r: Told, k: str, begun: str) -> None:
    proof.about(key)
    require(k == key and begun != value, "it was there at first")
    require(begun == value_phrase(proof.begun), f"at first it held {value_phrase(proof.begun)}")
    require(_seen(r.real) == value, f"{r.name} saw {_seen(r.real)}")
    proof.memory["wrote"] = value


def _writers(proof: Proof, value: str) -> list[Operation]:
    found = []
    for one in proof.facts.of_key(proof.key):
        asked = one.input if one.f == "write" else one.input[1] if one.f == "cas" else None
        if one.f in {"write", "cas"} and value_phrase(asked) == value:
            refused = one.f == "cas" and one.outcome is OpType.OK and not swapped(one.output)
            found += [] if refused else [one]
    return found


@sentence("However, no operation writes {value} to {key}.")
def _no_operation_writes(proof: Proof, value: str, key: str) -> None:
    proof.about(key)
    require(value == proof.memory.get("wrote"), "another value was seen")
    require(not _writers(proof, value), "one does")


@sentence("However, only {names} would have written {value} to {key}, and failed for certain.")
def _only_these(proof: Proof, names: str, value: str, key: str) -> None:
    proof.about(key)
    require(value == proof.memory.get("wrote"), "another value was seen")
    told = {proof.named(name).real.index for name in names.split(", ")}
    mine = _writers(proof, value)
    require({one.index for one in mine} == told, "others write it")
    require(all(one.outcome is OpType.FAIL for one in mine), "not all of them failed")


@summary("No order that keeps each client's own explains {what}.")
def _no_own_order(proof: Proof, what: str) -> None:
    require(any(phrase(one.real) == what for one in proof.cast.values()), "nobody did that")


@sentence(
    "Then the {n:int} operations of {m:int} clients have one order, in which each client's are as "
    "it called them and each read shows what was written last."
)
@sentence(
    "Then the {n:int} operation of {m:int} client have one order, in which each client's are as "
    "it called them and each read shows what was written last."
)
@sentence(
    "Then the {n:int} operations of {m:int} client have one order, in which each client's are as "
    "it called them and each read shows what was written last."
)
def _one_own_order(proof: Proof, n: int, m: int) -> None:
    require(n == proof.anomaly.data.get("operations"), "they are another number")
    told = [one.real for one in proof.cast.values()]
    if len(told) == n:
        require(len({one.process for one in told}) == m, "they are of other clients")
        proof.memory["told"] = told


@sentence(
    "However, every order that keeps each client's own has a read that shows something else; all "
    "were tried."
)
def _every_own_order(proof: Proof) -> None:
    told = proof.memory.get("told")
    if told is None:
        raise Unverified("the operations are not all told of")
    held = freeze(proof.anomaly.data.get("begun"))
    keys = dict.fromkeys(one.key for one in told)
    first = tuple(sorted(((key, held) for key in keys), key=repr))
    require(not _explained(_registers, told, first, real_time=False), "some order explains them")


@summary("No order of the transfers explains what {p:who} found.")
def _no_order_of_transfers(proof: Proof, p: str) -> None:
    proof.someone(p, "read the accounts", lambda one: one.real.f == "read")


@sentence("Then {r:op} shows what the accounts held at one moment from {a:ns} to {b:ns}.")
def _one_moment(proof: Proof, r: Told, a: str, b: str) -> None:
    require(r.real in proof.facts.of_key(proof.key), f"{r.name} is of another key")
    require(moment(r.real.invoked_ns, a) == a, f"{r.name} was called at another moment")
    require(moment(r.real.completed_ns or 0, b) == b, f"{r.name} was answered at another moment")


@sentence(
    "However, {r:op} found {found}, and no order of the {n:int} operations called by {t:ns} that "
    "respects real time and explains every read that had answered by then allows that."
)
def _no_order_allows(proof: Proof, r: Told, found: str, n: int, t: str) -> None:
    for each in found.split(", "):
        balance, _, account = each.partition(" in ")
        require(_balance(r.real, account) == number(balance), f"it found another in {account}")
    until = r.real.completed_ns or 0
    require(moment(until, t) == t, f"{r.name} was answered at another moment")
    ops = []
    for one in proof.facts.of_key(proof.key):
        late = (one.completed_ns or 0) > until
        silent = one.f == "read" and (late or one.outcome is not OpType.OK)
        if one.invoked_ns > until or one.outcome is OpType.FAIL or silent:
            continue
        ops.append(
            msgspec.structs.replace(one, outcome=OpType.INFO, completed_ns=None) if late else one
        )
    require(len(ops) == n, f"they are {len(ops)}")
    held = proof.anomaly.data.get("begun")
    first = ((), None if held is None else tuple(sorted(held.items())))
    require(not _explained(_accounts, ops, first, real_time=True), "some order explains them")


# --- banks


@summary(
    "{p:who} found {has:int} in account {account}, which was at least {low:int} and at most "
    "{high:int} then."
)
def _stale_balance(proof: Proof, p: str, has: int, account: str, low: int, high: int) -> None:
    proof.someone(p, f"found {has}", lambda one: _balance(one.real, account) == has)
    require(not low <= has <= high, "that is within the bounds")
    bounds = proof.memory.get("bounds")
    if bounds is not None:
        require(bounds == (low, high), f"the bounds are {bounds[0]} and {bounds[1]}")


def _balance(one: Operation, account: str) -> int | None:
    found = one.output.get(account) if isinstance(one.output, dict) else None
    return found if isinstance(found, int) else None


def _change(one: Operation, account: str) -> int:
    asked = one.input if isinstance(one.input, dict) else {}
    gives = asked.get("amount", 0) if str(asked.get("to")) == account else 0
    return int(gives - (asked.get("amount", 0) if str(asked.get("from")) == account else 0))


@sentence(
    "And between the two came what was called after {r:op} had answered and had returned when "
    "{s:op} was called: {names}."
)
@sentence(
    "And between the two may have come what overlaps one of them or both, or was never answered: "
    "{names}."
)
def _between(proof: Proof, names: str, r: Told | None = None, s: Told | None = None) -> None:
    for one in names.split(", "):
        name, _, change = one.partition(" (")
        told = proof.named(name)
        require(told.real.f == "transfer", f"{name} is no transfer")
        proof.memory.setdefault("changes", {})[name] = int(change.removesuffix(")"))
        if r is not None and s is not None:
            proof.memory.setdefault("sure", set()).add(name)
            after = told.real.invoked_ns > (r.real.completed_ns or 0)
            done = told.real.completed_ns
            require(after and done is not None and done < s.real.invoked_ns, f"{name} overlaps")


@sentence(
    "And no other transfer changes account {account} between them, so from {r:op} to {s:op} it "
    "changed by at least {low:int} and at most {high:int}."
)
@sentence(
    "And no transfer changes account {account} between them, so from {r:op} to {s:op} it changed "
    "by at least {low:int} and at most {high:int}."
)
def _bounds(proof: Proof, account: str, r: Told, s: Told, low: int, high: int) -> None:
    told: dict[str, int] = proof.memory.get("changes", {})
    sure: set[str] = proof.memory.get("sure", set())
    for name, change in told.items():
        require(_change(proof.named(name).real, account) == change, f"{name} is no such change")
    listed = {proof.named(name).real.index for name in told}
    for one in proof.facts.of_key(proof.key):
        if one.f != "transfer" or one.outcome is OpType.FAIL or not _change(one, account):
            continue
        before = one.completed_ns is not None and one.completed_ns < r.real.invoked_ns
        behind = one.invoked_ns > (s.real.completed_ns or 0)
        require(before or behind or one.index in listed, f"op {one.index} may come between them")
    least = sum(change for name, change in told.items() if name in sure or change < 0)
    most = sum(change for name, change in told.items() if name in sure or change > 0)
    require((least, most) == (low, high), f"by at least {least} and at most {most}")
    had = _balance(r.real, account)
    require(had is not None, f"{r.name} does not show account {account}")
    proof.memory["bounds"] = ((had or 0) + least, (had or 0) + most)
    proof.memory["changed"] = (low, high)


@sentence(
    "However, account {account} held {had:int} for {r:op} and {has:int} for {s:op}, a change of "
    "{by:int}."
)
def _changed(proof: Proof, account: str, had: int, r: Told, has: int, s: Told, by: int) -> None:
    require(_balance(r.real, account) == had, f"{r.name} found {_balance(r.real, account)}")
    require(_balance(s.real, account) == has, f"{s.name} found {_balance(s.real, account)}")
    require(has - had == by, f"that is a change of {has - had}")
    low, high = proof.memory.get("changed", (by, by))
    require(not low <= by <= high, "that is a change it may have had")


# --- totals in the end, ids


@summary("{p:who} read {shown:int} from {key} in the end, where {sure:int} was acknowledged.")
@summary(
    "{p:who} read {shown:int} from {key} in the end, where {sure:int} was acknowledged, with the "
    "{begun:int} there was at first."
)
def _wrong_total(proof: Proof, p: str, shown: int, key: str, sure: int, begun: int = 0) -> None:
    proof.about(key)
    _began_with(proof, begun)
    proof.someone(p, f"read {shown}", lambda one: one.real.output == shown)
    require(_acknowledged_sum(proof) == sure, f"{_acknowledged_sum(proof)} was acknowledged")


def _acknowledged_sum(proof: Proof) -> int:
    mine = proof.facts.of_key(proof.key)
    begun = int(proof.begun or 0)
    acked = [int(one.input) for one in mine if one.f == "add" and one.outcome is OpType.OK]
    return begun + sum(acked)


def _began_with(proof: Proof, begun: int) -> None:
    require(begun == (proof.begun or 0), f"at first there was {proof.begun or 0}")


@sentence(
    "Then {r:op} shows {sure:int}, the sum of all that was acknowledged and any selection of "
    "{names}, which nobody acknowledged."
)
@sentence("Then {r:op} shows {sure:int}, the sum of all that was acknowledged.")
@sentence(
    "Then {r:op} shows {sure:int}, the sum of all that was acknowledged, with the {begun:int} "
    "there was at first and any selection of {names}, which nobody acknowledged."
)
@sentence(
    "Then {r:op} shows {sure:int}, the sum of all that was acknowledged, with the {begun:int} "
    "there was at first."
)
def _shows_sum(proof: Proof, r: Told, sure: int, names: str = "", begun: int = 0) -> None:
    require(r.real.f == "read", f"{r.name} is no read")
    _began_with(proof, begun)
    require(_acknowledged_sum(proof) == sure, f"{_acknowledged_sum(proof)} was acknowledged")
    told = {proof.named(name).real.index for name in names.split(", ") if name}
    mine = proof.facts.of_key(proof.key)
    doubtful = {one.index for one in mine if one.f == "add" and one.outcome is OpType.INFO}
    require(told == doubtful, "others were not acknowledged")
    sums = {sure}
    for one in mine:
        if one.index in doubtful:
            sums |= {known + one.input for known in sums}
            if len(sums) > 100_000:
                raise Unverified("too many selections")
    proof.memory["sums"] = sums


@sentence("However, in the end {r:op} showed {shown:int}.")
def _showed(proof: Proof, r: Told, shown: int) -> None:
    require(r.real.output == shown, f"{r.name} showed {r.real.output}")
    require(shown not in proof.memory.get("sums", ()), "some selection explains it")


@summary("{p:who} and {q:who} were both given the id {value}.")
def _both_given(proof: Proof, p: str, q: str, value: str) -> None:
    for each in (p, q):
        proof.someone(each, f"got {value}", lambda one: value_phrase(one.real.output) == value)


@sentence("Then {value} belongs to {r:op}, which was answered with it.")
def _belongs(proof: Proof, value: str, r: Told) -> None:
    require(value_phrase(r.real.output) == value, f"{r.name} was given {r.real.output}")
    proof.memory["id"] = (value, r.name)


@sentence("However, {r:op} was given {value} as well.")
def _given_again(proof: Proof, r: Told, value: str) -> None:
    known, first = proof.memory.get("id", ("", ""))
    require(known == value and first != r.name, "another id was told of")
    require(value_phrase(r.real.output) == value, f"{r.name} was given {r.real.output}")
