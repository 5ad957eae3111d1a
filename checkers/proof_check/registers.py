"""What proofs say of registers: who read, wrote and replaced which value, and what came first."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from squall.checkers.history import Operation, OpType
from squall.checkers.linearizability.registers import freeze, swapped
from squall.checkers.proof_check.facts import expects, held_values, puts, sees
from squall.checkers.proof_check.grammar import Contradicted, clause, require, sentence, summary
from squall.checkers.proof_check.proof import Proof, Told
from squall.checkers.text.proof import phrase, value_phrase, who


def says(found: tuple[Any] | None, text: str) -> bool:
    """Whether a value is written as this text."""
    return found is not None and value_phrase(found[0]) == text


def saw(one: Operation) -> str:
    """What an operation found, as a predicate."""
    found = expects(one)
    text = value_phrase(found[0]) if found is not None else "nothing"
    if one.f == "cas":
        new = puts(one)
        return f"replaced {text} by {value_phrase(new[0])}" if new is not None else f"saw {text}"
    return f"read {text}"


def found_it(one: Told, value: str) -> None:
    """Check that an operation reports a value."""
    require(says(expects(one.real), value), f"{one.name} {saw(one.real)}")


def written_by(proof: Proof, text: str, ops: Iterable[Operation]) -> list[Operation]:
    """Operations on the proof's key that may have written a value, given as text."""
    known = {freeze(one[0]): one[0] for op in ops for one in (expects(op), puts(op)) if one}
    for value in known.values():
        if value_phrase(value) == text:
            return proof.facts.may_have_written(proof.key, value)
    # A value of nobody introduced: look at all of the key.
    return [one for one in proof.facts.of_key(proof.key) if says(puts(one), text)]


def cast_ops(proof: Proof) -> list[Operation]:
    """The operations that were introduced."""
    return [one.real for one in proof.cast.values()]


def once(proof: Proof, value: str, *, until_ns: int | None = None) -> Operation:
    """Check that a value was written once; return who wrote it."""
    writers = written_by(proof, value, cast_ops(proof))
    if until_ns is not None:
        writers = [one for one in writers if one.invoked_ns <= until_ns]
    require(len(writers) == 1, f"{len(writers)} operations on {proof.key} may have written {value}")
    require(value != at_first(proof), f"{proof.key} was {value} at the start, too")
    return writers[0]


def at_first(proof: Proof) -> str:
    """What a register held at first, as text."""
    return value_phrase(proof.begun)


def never(proof: Proof, value: str) -> None:
    """Check that nobody wrote a value."""
    writers = written_by(proof, value, cast_ops(proof))
    require(not writers, f"op {writers[0].index if writers else ''} may have written {value}")


# --- what the cast says of itself


@sentence("{w:op} was never answered, but it happened, because {r:op} found {value}.")
def _it_happened(proof: Proof, w: Told, r: Told, value: str) -> None:
    require(w.real.outcome is OpType.INFO, f"{w.name} was answered")
    require(says(puts(w.real), value), f"{w.name} is {phrase(w.real)}")
    found_it(r, value)
    others = [one for one in written_by(proof, value, [w.real]) if one.index != w.real.index]
    require(not others, f"op {others[0].index if others else ''} may have written {value}, too")


# --- a value nobody wrote


@sentence("Then {value} was the value of {key} once: {r:op} found it.")
def _was_the_value(proof: Proof, value: str, key: str, r: Told) -> None:
    proof.about(key)
    found_it(r, value)
    proof.memory["value"] = value


@sentence("However, no operation on {key} wrote {value}, and it was not there at the start.")
def _nobody_wrote(proof: Proof, key: str, value: str) -> None:
    proof.about(key)
    require(value == proof.memory.get("value", value), "another value was read")
    require(value != at_first(proof), f"{key} was {value} at the start")
    never(proof, value)


@sentence(
    "However, only {w:op} would have written {value}, and its client was told that it did not "
    "happen and never will.",
    "However, only {w:op} would have written {value}, and its client was told that it did not "
    "happen and never will ({error}).",
)
def _only_a_failed_one(proof: Proof, w: Told, value: str, error: str | None = None) -> None:
    require(value == proof.memory.get("value", value), "another value was read")
    given = w.real.input if w.real.f == "write" else (w.real.input or [None])[-1]
    require(value_phrase(given) == value, f"{w.name} is {phrase(w.real)}")
    require(w.real.outcome is OpType.FAIL, f"{w.name} did not fail")
    require((error or "") == (w.real.error or ""), f"its error is {w.real.error!r}")
    others = [
        one
        for one in proof.facts.would_write(proof.key, given)
        if one.index != w.real.index and (one.outcome is OpType.FAIL or puts(one) is not None)
    ]
    require(not others, f"op {others[0].index if others else ''} would have written it, too")


@sentence("However, all that would have written {value} failed for certain, as {names} did.")
def _all_failed(proof: Proof, value: str, names: str) -> None:
    require(value == proof.memory.get("value", value), "another value was read")
    for name in (each for part in names.split(", ") for each in part.split(" and ")):
        one = proof.named(name)
        given = one.real.input if one.real.f == "write" else (one.real.input or [None])[-1]
        require(value_phrase(given) == value, f"{name} is {phrase(one.real)}")
        require(one.real.outcome is OpType.FAIL, f"{name} did not fail")
    never(proof, value)


# --- two that replaced the same value


_GONE = (
    ": once the first of them had replaced it, it was gone for good, and the second must have been "
    "refused."
)


@sentence("Then {one:op} and {other:op} each found {value} and replaced it.")
def _both_replaced(proof: Proof, one: Told, other: Told, value: str) -> None:
    require(one.real.index != other.real.index, "they are one operation")
    for each in (one, other):
        require(
            each.real.f == "cas" and puts(each.real) is not None, f"{each.name} {saw(each.real)}"
        )
        found_it(each, value)
    proof.memory["value"] = value


@sentence("However, {value} was written only once" + _GONE)
def _written_once(proof: Proof, value: str) -> None:
    require(value == proof.memory.get("value"), "another value was replaced")
    once(proof, value)


@sentence("However, nobody removed it" + _GONE)
def _nobody_removed(proof: Proof) -> None:
    require(proof.begun is None, f"{proof.key} was {at_first(proof)} at the start")
    require(proof.memory.get("value") == "nil", "the value was not nil")
    never(proof, "nil")


@sentence("However, {value} was there at the start, and nobody wrote it" + _GONE)
def _was_there(proof: Proof, value: str) -> None:
    require(value == proof.memory.get("value"), "another value was replaced")
    require(value == at_first(proof), f"{proof.key} was {at_first(proof)} at the start")
    never(proof, value)


# --- compare-and-sets in a circle


@clause(
    "{after:op} comes after {before:op}, because it replaced {value}, which only {only:op} wrote"
)
def _replaced_what_only(
    proof: Proof, after: Told, before: Told, value: str, only: Told
) -> tuple[Told, Told]:
    require(after.real.f == "cas" and puts(after.real), f"{after.name} replaced nothing")
    found_it(after, value)
    require(only is before, f"{only.name} is not {before.name}")
    require(says(puts(before.real), value), f"{before.name} is {phrase(before.real)}")
    once(proof, value)
    return before, after


@sentence("However, that is a circle: none of them can have been the first.")
def _that_is_a_circle(proof: Proof) -> None:
    proof.closes()


@summary(
    "{n:int} compare-and-sets on {key} each succeeded on a value that only another of them could "
    "have written."
)
def _several_in_a_circle(proof: Proof, n: int, key: str) -> None:
    proof.about(key)
    require(n == len(proof.edges), f"the circle has {len(proof.edges)}")


# --- one stretch of time


def reached_from(one: Told, glue: Sequence[Told]) -> set[Hashable]:
    """The values an operation saw or wrote, and those which swaps turn into each other."""
    links: dict[Hashable, set[Hashable]] = {}
    for each in glue:
        old, new = expects(each.real), puts(each.real)
        if each.real.f == "cas" and old is not None and new is not None:
            links.setdefault(freeze(old[0]), set()).add(freeze(new[0]))
            links.setdefault(freeze(new[0]), set()).add(freeze(old[0]))
    reached = set(held_values(one.real))
    todo = list(reached)
    while todo:
        for value in links.get(todo.pop(), ()):
            if value not in reached:
                reached.add(value)
                todo.append(value)
    return reached


def joined(one: Told, other: Told, glue: Sequence[Told]) -> bool:
    """Whether two operations saw or wrote values of one stretch of time."""
    return not reached_from(one, glue).isdisjoint(held_values(other.real))


def glued(proof: Proof, names: str | None) -> list[Told]:
    """The compare-and-sets that are said to join values; each must have replaced one."""
    glue = [proof.named(name) for name in names.split(", ")] if names else []
    for each in glue:
        require(
            each.real.f == "cas" and puts(each.real) is not None,
            f"{each.name} replaced nothing: it {saw(each.real)}",
        )
    return glue


_GLUE = " ({links} replaced one of these values by the next, with nothing in between)"


@sentence(
    "Then {w:op} came before {r:op}, because {again:op} found {value}, and nobody else wrote "
    "{wrote}.",
    "Then {w:op} came before {r:op}, because {again:op} found what came of {value}"
    + _GLUE
    + ", and nobody else wrote {wrote}.",
)
def _writer_came_first(
    proof: Proof,
    w: Told,
    r: Told,
    again: Told,
    value: str,
    wrote: str,
    links: str | None = None,
) -> None:
    require(r is again, f"{again.name} is not {r.name}")
    require(value == wrote, f"{value} is not {wrote}")
    require(says(puts(w.real), wrote), f"{w.name} is {phrase(w.real)}")
    require(once(proof, wrote).index == w.real.index, f"{w.name} did not write it")
    if links is None:
        found_it(r, value)
    else:
        require(joined(w, r, glued(proof, links)), f"{r.name} {saw(r.real)}")
    proof.claims(w, r)


@sentence(
    "Then {late:op} came before {early:op}, because {c:op} replaced {old} by {new}; and {value} "
    "was never written again.",
    "Then {late:op} came before {early:op}, because {c:op} replaced {old} by {new}, and {e:op} "
    "found what came of it; and {value} was never written again.",
    "Then {late:op} came before {early:op}, because {c:op} replaced {old} by {new}, and {e:op} "
    "found what came of it" + _GLUE + "; and {value} was never written again.",
)
def _replaced_for_good(
    proof: Proof,
    late: Told,
    early: Told,
    c: Told,
    old: str,
    new: str,
    value: str,
    e: Told | None = None,
    links: str | None = None,
) -> None:
    require(value == old, f"{value} is not {old}")
    require(c.real.f == "cas" and says(puts(c.real), new), f"{c.name} {saw(c.real)}")
    found_it(c, old)
    found_it(late, old)
    if e is None:
        require(c is early, f"{c.name} is not {early.name}")
    else:
        require(e is early, f"{e.name} is not {early.name}")
        require(joined(c, e, glued(proof, links)), f"{e.name} {saw(e.real)}")
    writers = written_by(proof, value, cast_ops(proof))
    once_more = value != at_first(proof)
    require(len(writers) == once_more, f"{len(writers)} operations may have written {value}")
    proof.claims(late, early)


@sentence(
    "Then the time in which {key} was {value} came before {a:op}: {same} was {begun} at the start, "
    "and nobody wrote {again} again.",
    "Then the time in which {key} was {value} came before {a:op}: {same} was {begun} at the start, "
    "and nobody wrote {again} again" + _GLUE + ".",
)
def _begun_came_first(
    proof: Proof,
    key: str,
    value: str,
    a: Told,
    same: str,
    begun: str,
    again: str,
    links: str | None = None,
) -> None:
    proof.about(key)
    proof.about(same)
    require(value == begun == again, "these are several values")
    require(begun == at_first(proof), f"{key} was {at_first(proof)} at the start")
    never(proof, begun)
    proof.memory["stretch"] = (None, a, glued(proof, links))


@sentence("Then {one:op} came before {other:op}, because {order:order}.")
def _before_in_time(proof: Proof, one: Told, other: Told, order: tuple[Told, Told]) -> None:
    require(order == (one, other), f"{order[0].name} came before {order[1].name}")
    proof.claims(one, other)
    proof.memory["first"] = order


@sentence(
    "And {value} was written only once, so {key} held it during one unbroken stretch of time, "
    "which therefore ended before {following} took its place.",
    "And {value} was written only once, so {key} held it during one unbroken stretch of time, "
    "which therefore ended before {following} took its place" + _GLUE + ".",
)
def _one_stretch(
    proof: Proof,
    value: str,
    key: str,
    following: str,
    links: str | None = None,
) -> None:
    proof.about(key)
    once(proof, value)
    first = proof.memory.get("first")
    if first is None:
        raise Contradicted("nothing was said of what came first")
    before, after = first
    held = puts(after.real) or expects(after.real)
    require(says(held, following), f"{after.name} {saw(after.real)}")
    proof.memory["stretch"] = (before, after, glued(proof, links))
    proof.memory["value"] = value


@sentence("However, {order:order}, and {r:op} still {what}.")
def _still(proof: Proof, order: tuple[Told, Told], r: Told, what: str) -> None:
    then, again = order
    require(again is r, f"{r.name} is not {again.name}")
    require(saw(r.real) == what, f"{r.name} {saw(r.real)}")
    stretch = proof.memory.get("stretch")
    if stretch is None:
        raise Contradicted("nothing was said of a stretch of time")
    before, after, glue = stretch
    found = expects(r.real)
    value = proof.memory.get("value") if before is not None else None
    if value is not None:
        require(says(found, value), f"{r.name} {saw(r.real)}")
    for one, other in ((before, r), (after, then)):
        start = (
            freeze(proof.begun) in reached_from(other, glue)
            if one is None
            else joined(one, other, glue)
        )
        name = "the start" if one is None else one.name
        require(start, f"nothing joins what {name} and {other.name} saw")
    require(not joined(after, r, glue), f"{after.name} and {r.name} saw the same stretch")


@sentence("However, {order:order}.")
def _but_in_time(proof: Proof, order: tuple[Told, Told]) -> None:
    proof.refuted(*order)


# --- refused, and yet


@sentence(
    "Then {key} did not hold {value} when {c:op} took effect, because {again:op} was refused."
)
def _did_not_hold(proof: Proof, key: str, value: str, c: Told, again: Told) -> None:
    proof.about(key)
    require(c is again, f"{again.name} is not {c.name}")
    refused = c.real.outcome is OpType.OK and c.real.f == "cas" and not swapped(c.real.output)
    require(refused, f"{c.name} was not refused")
    require(value_phrase(c.real.input[0]) == value, f"{c.name} expected something else")
    proof.memory["value"] = value


@sentence("However, {c:op} itself reports that it saw {value}.")
def _reports(proof: Proof, c: Told, value: str) -> None:
    found_it(c, value)
    require(value == proof.memory.get("value"), "it expected something else")


# --- summaries


@summary("A compare-and-set on {key} succeeded on a value that nobody else wrote.")
def _on_its_own(proof: Proof, key: str) -> None:
    _several_in_a_circle(proof, 1, key)


@summary("{p:who} found {value} in {key}, which nobody ever wrote there.")
def _found_unwritten(proof: Proof, p: str, value: str, key: str) -> None:
    proof.about(key)
    proof.someone(p, f"found {value}", lambda one: says(expects(one.real), value))
    require(value != at_first(proof), f"{key} was {value} at the start")
    never(proof, value)


@summary(
    "{p:who} found {value} in {key}, although the only write of it had failed.",
    "{p:who} found {value} in {key}, although every write of it had failed.",
)
def _found_though_failed(proof: Proof, p: str, value: str, key: str) -> None:
    proof.about(key)
    proof.someone(p, f"found {value}", lambda one: says(expects(one.real), value))
    require(not written_by(proof, value, cast_ops(proof)), "somebody may have written it")


@summary("{p:who} and {q:who} both replaced the same {value} in {key}: one update is lost.")
def _both_the_same(proof: Proof, p: str, q: str, value: str, key: str) -> None:
    proof.about(key)
    names = [
        who(one.real)
        for one in proof.cast.values()
        if puts(one.real) and says(expects(one.real), value)
    ]
    require({p, q} <= set(names) and (p != q or names.count(p) > 1), f"{names} replaced {value}")


@summary(
    "{p:who} {what} in {key} before {writer} was called.",
    "{p:who} {what} from {key}, after {other} had returned.",
    "{p:who} {what} in {key}, after {other} had returned.",
    "{p:who} {what} from {key}, after {other:who} had seen {value}.",
    "{p:who} {what} in {key}, after {other:who} had seen {value}.",
)
def _against_time(
    proof: Proof,
    p: str,
    what: str,
    key: str,
    writer: str | None = None,
    other: str | None = None,
    value: str | None = None,
) -> None:
    proof.about(key)
    ops = list(proof.cast.values())

    def is_other(one: Told) -> bool:
        if value is not None:
            return who(one.real) == other and says(expects(one.real), value)
        return phrase(one.told) == (writer or other)

    for mine in ops:
        if who(mine.real) != p or saw(mine.real) != what:
            continue
        for its in filter(is_other, ops):
            first, second = (mine, its) if writer is not None else (its, mine)
            returned = first.real.completed_ns
            if returned is not None and returned < second.real.invoked_ns:
                return
    raise Contradicted("no two operations of the proof did that in this order")


@summary("{p:who}'s compare-and-set on {key} was refused although it saw what it expected.")
def _refused_though_equal(proof: Proof, p: str, key: str) -> None:
    proof.about(key)

    def equal(one: Told) -> bool:
        found = sees(one.real)
        refused = one.real.f == "cas" and found is not None and not swapped(one.real.output)
        return refused and freeze(found[0]) == freeze(one.real.input[0])  # type: ignore[index]

    proof.someone(p, "was refused although it saw what it expected", equal)
