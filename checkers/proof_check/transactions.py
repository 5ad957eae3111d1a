"""What proofs say of transactions: who read, wrote, appended what, and who came first by that.

What a transaction did is what it was answered, if it was answered about what it asked; else what it
asked to write. A value shows who wrote it if one micro-operation alone, of those that did not fail,
writes it to its key.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from squall.checkers.history import Operation, OpType
from squall.checkers.linearizability.registers import freeze
from squall.checkers.proof_check.facts import Micro, believed, expects
from squall.checkers.proof_check.grammar import (
    Contradicted,
    Grammar,
    NotThis,
    Unverified,
    because,
    clause,
    read,
    require,
    sentence,
    summary,
)
from squall.checkers.proof_check.proof import Proof, Told
from squall.checkers.text.lanes import describe, value_text
from squall.checkers.text.proof import value_phrase, who

APPEND, READ = "append", "r"

WW, WR, RW, PROCESS, REALTIME = "ww", "wr", "rw", "process", "realtime"
"""What puts one transaction before another, as an anomaly's `data["edges"]` names it."""


def mops(one: Told, f: str, key: str) -> Iterator[tuple[Any, Any]]:
    """The shown micro-operations of one function on a key, each with the real one."""
    return ((told, real) for told, real in one.pairs if told[0] == f and value_text(told[1]) == key)


def one_key(one: Told, key: str) -> Iterator[tuple[Any, Any]]:
    """The writes of a transaction to a key, as shown and as they are."""
    return (
        (told, real) for told, real in one.pairs if told[0] != READ and value_text(told[1]) == key
    )


def key_of(proof: Proof, key: str) -> Hashable:
    """The key of this name that an introduced transaction touches; raises Contradicted."""
    found = {
        freeze(told[1])
        for one in proof.cast.values()
        for told, _ in one.pairs
        if value_text(told[1]) == key
    }
    if len(found) > 1:
        raise Unverified(f"several keys are written {key}")
    require(found, f"no transaction of the proof touches a key {key}")
    return found.pop()


def wrote(one: Told, key: str, value: str) -> Any:
    """Check that a transaction writes or appends a value; return it."""
    for told, _ in one_key(one, key):
        if value_text(told[2]) == value:
            return told[2]
    raise Contradicted(f"{one.name} does not write {value} to {key}")


def reads(one: Told, key: str, value: str) -> Any:
    """Check that a transaction read a key as a value; return the real value."""
    require(believed(one.real), f"{one.name} was not answered what it read")
    for told, real in mops(one, READ, key):
        if value_text(told[2]) == value or (value == "empty" and told[2] in (None, [])):
            return real[2]
    found = ", ".join(value_text(told[2]) for told, _ in mops(one, READ, key))
    raise Contradicted(
        f"{one.name} read {key} as {found}" if found else f"{one.name} did not read {key}"
    )


def finds(one: Told, key: str, value: str) -> Any:
    """Check that a transaction found a value, or an element, in a key; return it."""
    if believed(one.real):
        for _, real in mops(one, READ, key):
            for each in real[2] if isinstance(real[2], list) else [real[2]]:
                if value_text(each) == value:
                    return each
    raise Contradicted(f"{one.name} did not find {value} in {key}")


def _finds(one: Told, key: str, value: str) -> bool:
    try:
        finds(one, key, value)
    except Contradicted:
        return False
    return True


def writers(proof: Proof, key: str, value: Any) -> list[Operation]:
    """Those which write a value to a key and did not fail, once for each time."""
    frozen = freeze(value)
    return [
        one.operation
        for one in proof.facts.writes_of(key_of(proof, key))
        if freeze(one.value) == frozen and one.operation.outcome is not OpType.FAIL
    ]


def sole_writer(proof: Proof, w: Told, key: str, value: str) -> Any:
    """Check that a transaction, and nothing else that may have happened, writes a value, once."""
    element = wrote(w, key, value)
    for one in writers(proof, key, element):
        require(one.index == w.real.index, f"op {one.index} writes {value} to {key}, too")
    mine = sum(real[2] == element for _, real in one_key(w, key))
    require(mine == 1, f"{w.name} writes {value} to {key} {mine} times")
    return element


def only_aborted(proof: Proof, w: Told, key: str, value: Any) -> None:
    """Check that a transaction failed, and that none which did not fail writes this value."""
    require(w.real.outcome is OpType.FAIL, f"{w.name} did not fail")
    for one in writers(proof, key, value):
        raise Contradicted(f"op {one.index} writes {value_text(value)} to {key}, too")


def happened(proof: Proof, one: Told) -> None:
    """Check that a transaction took effect: it was acknowledged, or somebody saw what it wrote."""
    if believed(one.real):
        return
    require(one.real.outcome is not OpType.FAIL, f"{one.name} failed")
    for mop in one.real.input:
        if mop[0] != READ and any(shows(each, mop[2]) for each in proof.facts.reads_of(mop[1])):
            return
    raise Contradicted(f"{one.name} was never answered, and nobody saw what it wrote")


def shows(one: Micro, value: Any) -> bool:
    """Whether a read found a value, or an element."""
    return bool(value in one.value if isinstance(one.value, list) else one.value == value)


def orders(proof: Proof, key: Hashable) -> Iterator[tuple[Operation, list[Any]]]:
    """Every list that was read of a key, with its reader."""
    for one in proof.facts.reads_of(key):
        if isinstance(one.value, list):
            yield one.operation, one.value


@sentence("Of {names} the lanes show only a part: what the anomaly does not need is left out.")
def _lanes_in_part(proof: Proof, names: str) -> None:
    said = _names(names)
    for name in said:
        whole = f"|-{describe(proof.named(name).told)}-"
        require(proof.anomaly.lanes, "there are no lanes")
        require(whole not in proof.anomaly.lanes, f"they show all that is told of {name}")
    proof.memory["lanes in part"] = frozenset(said)


def _names(text: str) -> list[str]:
    return [each for part in text.split(", ") for each in part.split(" and ")]


# --- who came first


@sentence("Then {steps}.")
def _then_several(proof: Proof, steps: str) -> None:
    for step in steps.replace(";\n    and ", ";\n    ").split(";\n    "):
        proof.claims(*read(clause, proof, step))


@sentence("However, {one:op} also came before {other:op}, because {why}: a circle.")
def _and_round(proof: Proof, one: Told, other: Told, why: str) -> None:
    proof.claims(*_came_before(proof, one, other, why))
    proof.closes()


@clause("{one:op} came before {other:op}, because {why}")
def _came_before(proof: Proof, one: Told, other: Told, why: str) -> tuple[Told, Told]:
    before, after = read(because, proof, why)
    require(
        (before.name, after.name) == (one.name, other.name),
        f"that shows {before.name} before {after.name}",
    )
    return one, other


def _edge(proof: Proof, before: Told, kind: str, after: Told) -> tuple[Told, Told]:
    """Note what puts a transaction before another."""
    known = proof.memory.get("kinds", {})
    proof.memory["kinds"] = {**known, (before.name, after.name): kind}
    return before, after


@because("{order:order}")
def _by_time(proof: Proof, order: tuple[Told, Told]) -> tuple[Told, Told]:
    if order[1].real.f == "txn":
        happened(proof, order[1])
    return _edge(proof, order[0], REALTIME, order[1])


@because("{p:who} called {after:op} after {before:op}")
def _by_client(proof: Proof, p: str, after: Told, before: Told) -> tuple[Told, Told]:
    require({who(after.real), who(before.real)} == {p}, f"they are not both {p}'s")
    require(before.real.index < after.real.index, f"{after.name} was called first")
    # What was not answered may take effect behind what its client did next.
    require(before.real.completed_ns is not None, f"{before.name} was never answered")
    for one in (before, after):
        happened(proof, one)
    return _edge(proof, before, PROCESS, after)


@because("{r:op} read {key} as {value}, whose last element {w:op} appended")
def _by_last_element(proof: Proof, r: Told, key: str, value: str, w: Told) -> tuple[Told, Told]:
    found = reads(r, key, value)
    require(found, f"{r.name} found nothing")
    sole_writer(proof, w, key, value_text(found[-1]))
    return _edge(proof, w, WR, r)


@because("{one:op} appended {x} to {key}, and {other:op} appended {y} behind it")
def _by_lists(proof: Proof, one: Told, x: str, key: str, other: Told, y: str) -> tuple[Told, Told]:
    first, second = sole_writer(proof, one, key, x), sole_writer(proof, other, key, y)
    seen = False
    for reader, found in orders(proof, key_of(proof, key)):
        at = found.index(first) if first in found else -1
        behind = found.index(second) if second in found else -1
        require(behind < 0 or 0 <= at < behind, f"op {reader.index} found {value_text(found)}")
        seen = seen or at >= 0
    require(seen, f"no read of {key} shows {x}")
    happened(proof, other)  # it was appended, and not before what was read
    return _edge(proof, one, WW, other)


@because("{r:op} read {key} as {value}, without the {x} that {w:op} appended")
def _by_absence(proof: Proof, r: Told, key: str, value: str, x: str, w: Told) -> tuple[Told, Told]:
    found = reads(r, key, value)
    element = sole_writer(proof, w, key, x)
    require(element not in (found or ()), f"{r.name} read {key} as {value_text(found)}")
    happened(proof, w)
    return _edge(proof, r, RW, w)


@because("{r:op} read {key} as {value}, which {w:op} wrote")
def _by_value(proof: Proof, r: Told, key: str, value: str, w: Told) -> tuple[Told, Told]:
    require(
        reads(r, key, value) == sole_writer(proof, w, key, value), f"{r.name} read another {value}"
    )
    return _edge(proof, w, WR, r)


@because(
    "{one:op} set {key} to {old}, and {other:op} set it to {new} later",
)
def _by_versions(
    proof: Proof, one: Told, key: str, old: str, other: Told, new: str
) -> tuple[Told, Told]:
    comes_next(proof, key, sole_writer(proof, one, key, old), sole_writer(proof, other, key, new))
    happened(proof, one)
    happened(proof, other)
    return _edge(proof, one, WW, other)


@because("{r:op} read {key} as {old}, before {w:op} set it to {new}")
def _by_later_version(
    proof: Proof, r: Told, key: str, old: str, w: Told, new: str
) -> tuple[Told, Told]:
    comes_next(proof, key, reads(r, key, old), sole_writer(proof, w, key, new))
    happened(proof, w)
    return _edge(proof, r, RW, w)


@because(
    "{r:op} read {key} as {old}, which nobody wrote and which so can only be what it held at "
    "first, before {w:op} set it to {new}"
)
def _by_assumed_version(
    proof: Proof, r: Told, key: str, old: str, w: Told, new: str
) -> tuple[Told, Told]:
    first = reads(r, key, old)
    _unwritten(proof, key, first)
    of_key = key_of(proof, key)
    wrote_it = {freeze(one.value) for one in proof.facts.writes_of(of_key)} | {freeze(first)}
    touched: set[int] = set()
    for one in proof.facts.micro(of_key):
        index = one.operation.index
        if one.f == READ and index not in touched:  # what others left behind
            what = f"op {index} found {value_text(one.value)}, which nobody wrote either"
            require(freeze(one.value) in wrote_it, what)
        touched.add(index)
    _by_later_version(proof, r, key, old, w, new)
    return r, w


def _unwritten(proof: Proof, key: str, value: Any) -> None:
    """Check that no transaction of the history asks to write a value, failed ones included."""
    for one in proof.facts.writes_of(key_of(proof, key)):
        if freeze(one.value) == freeze(value):
            raise Contradicted(f"op {one.operation.index} writes {value_text(value)} to {key}")


def comes_next(proof: Proof, key: str, old: Any, new: Any) -> None:
    """Check that one value of a register came before another, by a reason that is certain.

    The old one is the initial one, as nobody wrote it; or somebody found or wrote the one and then
    wrote the other; or who had the one had returned when who touched the other was called.
    """
    require(old != new, "they are one value")
    if not writers(proof, key, old) or first_or_then(proof, key_of(proof, key), old, new):
        return
    raise Contradicted(f"nothing shows that {value_text(old)} came before {value_text(new)}")


def first_or_then(proof: Proof, key: Hashable, old: Any, new: Any) -> bool:
    """Whether a transaction put one value after the other, or real time did."""
    by_operation: dict[int, list[Micro]] = {}
    for one in proof.facts.micro(key):
        if one.operation.outcome is not OpType.FAIL:
            by_operation.setdefault(one.operation.index, []).append(one)
    ended: list[int] = []  # when those returned which touched the old value
    begun: list[int] = []  # when those were called which touched the new value
    for touched in by_operation.values():
        values = [one.value for one in touched]
        for at, one in enumerate(touched[1:], 1):
            if one.f != READ and one.value == new and old in values[:at]:
                return True
        operation = touched[0].operation
        if old in values and operation.completed_ns is not None and believed(operation):
            ended.append(operation.completed_ns)
        if new in values:
            begun.append(operation.invoked_ns)
    return bool(ended) and bool(begun) and min(ended) < max(begun)


_MEANINGS: Final = {
    "G0": "they overwrote each other in a circle",
    "G1c": "they read from or overwrote each other in a circle",
    "G-single": "one missed a write of another that comes before it",
    "G-nonadjacent": "they missed writes of each other in a way that no snapshot allows",
    "G2-item": "they missed writes of each other in a circle",
}

_AGAINST: Final = {
    "": "",
    PROCESS: ", against a client's own order",
    REALTIME: ", against real time",
}

_MISSED: Final = {
    PROCESS: "one missed what the same client had done before",
    REALTIME: "one missed what the other had finished before it was called",
}

_COUNTS: Final = {"Two": 2, "Three": 3, "Four": 4, "Five": 5}


@summary("{n} transactions of {names} have no order: {meaning}.")
def _no_order(proof: Proof, n: str, names: str, meaning: str) -> None:
    number = len(proof.cast)
    require(_COUNTS.get(n, n) in {number, str(number)}, f"they are {number}")
    real = list(dict.fromkeys(who(one.real) for one in proof.cast.values()))
    require(sorted(_names(names)) == sorted(real), f"they are of {', '.join(real)}")
    kinds = proof.memory.get("kinds", {})
    edges = tuple(kinds.get(edge, REALTIME) for edge in proof.edges)
    kind, means = _class_of(edges)
    called = kind + (means and f"-{means}")
    require(proof.anomaly.kind == called, f"such a circle is called {called}")
    alone = kind == "G-single" and number == 2 and bool(means)
    is_meant = _MISSED[means] if alone else _MEANINGS[kind] + _AGAINST[means]
    require(meaning == is_meant, f"{called} is that {is_meant}")
    listed = proof.anomaly.data.get("edges")
    require(listed is None or tuple(listed) == edges, f"the edges are {', '.join(edges)}")


def _class_of(edges: Sequence[str]) -> tuple[str, str]:
    """Name a circle by its edges (Adya), and say which order it needs beside them."""
    means = next((kind for kind in (REALTIME, PROCESS) if kind in edges), "")
    missed = edges.count(RW)
    if not missed:
        return ("G1c" if WR in edges else "G0"), means
    if missed == 1:
        return "G-single", means
    adjoining = any(edges[at - 1] == one == RW for at, one in enumerate(edges))
    return ("G2-item" if adjoining else "G-nonadjacent"), means


# --- answers to something else


@summary(
    "{p:who}'s transaction (op {index:int}) asked for {asked} and was answered with {count:int}.",
    "{p:who}'s transaction (op {index:int}) asked for `{asked}` and was answered `{answered}`.",
)
def _answered_otherwise(
    proof: Proof, p: str, index: int, asked: str, answered: str = "", count: int | None = None
) -> None:
    one = proof.someone(p, f"is op {index}", lambda one: one.real.index == index)
    said = proof.memory.get("instead")
    instead = answered if count is None else count
    require(said == (one.name, asked, instead), "its proof says something else")


@sentence(
    "Then {t:op} asked for {count:int} micro-operation.",
    "Then {t:op} asked for {count:int} micro-operations.",
)
def _asked_for_so_many(proof: Proof, t: Told, count: int) -> None:
    require(count == len(t.real.input), f"it asked for {len(t.real.input)}")
    proof.memory["asked"] = (t, f"{count:,} micro-operation{'' if count == 1 else 's'}", 0)


@sentence("However, it was answered with {count:int}.")
def _answered_with_so_many(proof: Proof, count: int) -> None:
    if "asked" not in proof.memory:
        raise NotThis
    t, asked, _ = proof.memory["asked"]
    require(t.real.outcome is OpType.OK, f"{t.name} was not answered")
    require(count == len(t.real.output), f"it was answered with {len(t.real.output)}")
    require(count != len(t.real.input), "it asked for as many")
    proof.memory["instead"] = (t.name, asked, count)


@sentence("Then micro-operation {n:int} of {t:op} asked for `{what}`.")
def _place_asked_for(proof: Proof, n: int, t: Told, what: str) -> None:
    require(what in _micro_texts(t.real.input[n - 1]), f"it asked for {t.real.input[n - 1]}")
    proof.memory["asked"] = (t, what, n)


@sentence("However, micro-operation {n:int} of its answer is `{instead}`.")
def _place_answered(proof: Proof, n: int, instead: str) -> None:
    t, what, at = proof.memory["asked"]
    require(n == at, f"micro-operation {at} was spoken of")
    require(t.real.outcome is OpType.OK, f"{t.name} was not answered")
    answer = t.real.output[n - 1]
    require(instead in _micro_texts(answer), f"it is {answer}")
    require(instead != what, "that is what was asked")
    proof.memory["instead"] = (t.name, what, instead)


def _micro_texts(mop: Any) -> tuple[str, str]:
    """A micro-operation in short, without what a read found, and in full."""
    f, key, value = [*mop, None][:3]
    short = f"{f} {value_text(key)}"
    if f != READ:
        short = f"{value_text(f)} {value_text(key)} {value_text(value)}"
    return short, repr([f, key, value])


# --- what needs no circle


@summary(
    "{p:who} read {value} in {key}, which {q:who}'s aborted transaction wrote.",
    "{p:who} read {value} in {key}, which only {q:who}'s aborted transaction wrote.",
)
def _read_aborted(proof: Proof, p: str, value: str, key: str, q: str) -> None:
    writer = proof.someone(q, "failed", lambda one: one.real.outcome is OpType.FAIL)
    only_aborted(proof, writer, key, wrote(writer, key, value))
    proof.someone(p, f"found {value}", lambda one: _finds(one, key, value))


@sentence("Then {w:op} had an effect, because {r:op} found its {value} in {key}.")
def _had_an_effect(proof: Proof, w: Told, r: Told, value: str, key: str) -> None:
    element = wrote(w, key, value)
    require(element == finds(r, key, value), f"{r.name} found another {value}")
    only_aborted(proof, w, key, element)
    proof.memory["effect"] = w


@sentence(
    "However, its client was told that {w:op} did not happen and never will.",
    "However, its client was told that {w:op} did not happen and never will ({error}).",
)
def _told_it_failed(proof: Proof, w: Told, error: str | None = None) -> None:
    require(w is proof.memory.get("effect", w), f"{w.name} is not the one that had an effect")
    require(w.real.outcome is OpType.FAIL, f"{w.name} did not fail")
    require(error in (None, w.real.error), f"its error is {w.real.error!r}")


@summary("{p:who} read {value} in {key}, which {q:who}'s transaction itself replaced.")
def _read_intermediate(proof: Proof, p: str, value: str, key: str, q: str) -> None:
    proof.someone(q, f"wrote {value} and then more", lambda one: _replaced(one, key, value))
    proof.someone(p, f"found {value}", lambda one: _finds(one, key, value))


def _replaced(one: Told, key: str, value: str) -> bool:
    return value in [value_text(real[2]) for _, real in one_key(one, key)][:-1]


@sentence(
    "Then {r:op} looked into the middle of {w:op}, because it found {value} as the latest in {key}."
)
def _looked_into(proof: Proof, r: Told, w: Told, value: str, key: str) -> None:
    element = sole_writer(proof, w, key, value)
    require(r is not w, f"{r.name} is {w.name}")
    require(believed(r.real), f"{r.name} was not answered what it read")
    for _, real in mops(r, READ, key):
        if (real[2][-1] if isinstance(real[2], list) and real[2] else real[2]) == element:
            proof.memory["middle"] = (w, key, value)
            return
    raise Contradicted(f"{value} was not the latest that {r.name} found in {key}")


@sentence("However, {w:op} went on to write {key} again: {value} was never its result.")
def _went_on(proof: Proof, w: Told, key: str, value: str) -> None:
    require((w, key, value) == proof.memory.get("middle"), "something else was said")
    require(_replaced(w, key, value), f"{w.name} wrote nothing to {key} after {value}")


@summary("{p:who}'s transaction built on what an aborted one of {q:who} did to {key}.")
def _built_on(proof: Proof, p: str, q: str, key: str) -> None:
    proof.someone(q, "failed", lambda one: one.real.outcome is OpType.FAIL)
    proof.someone(p, f"wrote {key}", lambda one: any(one_key(one, key)))
    key_of(proof, key)


@sentence(
    "Then {other:op} came after {w:op}, because its {value} stands behind an element of {again:op} "
    "in {key}."
)
def _stands_behind(proof: Proof, other: Told, w: Told, value: str, again: Told, key: str) -> None:
    require(w is again, f"{again.name} is not {w.name}")
    element = sole_writer(proof, other, key, value)
    require(believed(other.real), f"{other.name} was not acknowledged")
    mine = [real[2] for _, real in one_key(w, key) if not writers(proof, key, real[2])]
    for _, found in orders(proof, key_of(proof, key)):
        if element in found:
            last = len(found) - 1 - found[::-1].index(element)
            if any(one in found[:last] for one in mine):
                proof.memory["effect"] = w
                return
    raise Contradicted(f"no read of {key} shows {value} behind an element of {w.name}")


@sentence("However, {w:op} did not happen: its client was told that it failed.")
def _did_not_happen(proof: Proof, w: Told) -> None:
    _told_it_failed(proof, w, w.real.error)


# --- values out of thin air


@summary(
    "{p:who} found {value} in {key}, which nobody ever wrote there.",
    "{p:who} found {value} in {key}, which nobody ever asked to write there.",
)
def _found_unwritten(proof: Proof, p: str, value: str, key: str) -> None:
    def found(one: Told) -> bool:
        if one.pairs:
            return _finds(one, key, value)
        held = expects(one.real)
        return held is not None and value_phrase(held[0]) == value

    one = proof.someone(p, f"found {value}", found)
    if not one.pairs:
        proof.about(key)


@sentence("Then somebody wrote {value} to {key}: {r:op} found it.")
def _somebody_wrote(proof: Proof, value: str, key: str, r: Told) -> None:
    proof.memory["strange"] = (value, key, r, finds(r, key, value))


class _Strange(NamedTuple):
    """A value that nobody wrote, with its key and a transaction that found it."""

    key: str
    value: Any
    reader: Told


_NOBODY: Final = "However, no transaction of the whole history {verb} {value} to {key}"
_NOT_AT_FIRST: Final = f"{_NOBODY}, and it was not there at first"


@sentence(f"{_NOBODY}.")
def _no_transaction(proof: Proof, verb: str, value: str, key: str) -> _Strange:
    if verb not in {"writes", "asks to write"}:
        raise NotThis
    said = proof.memory.get("strange")
    require(said is not None and said[:2] == (value, key), "another value was found")
    assert said is not None
    _, _, reader, real = said
    _unwritten(proof, key, real)
    if verb == "writes":
        claimed = (key_of(proof, key), freeze(real)) in proof.facts.claimed
        require(not claimed, "somebody was answered that he did")
    return _Strange(key, real, reader)


@sentence(f"{_NOBODY}, and {{again}} held {{what}} at first.")
def _held_at_first(proof: Proof, verb: str, value: str, key: str, again: str, what: str) -> None:
    _no_transaction(proof, verb, value, key)  # what was there at first, is what the user says
    require(again == key and what != value, f"{what} in {again} contradicts nothing")


@sentence(f"{_NOT_AT_FIRST}, because {{other:op}} read {{again}} as {{what}}, without it.")
def _missing_elsewhere(
    proof: Proof, verb: str, value: str, key: str, other: Told, again: str, what: str
) -> None:
    strange = _no_transaction(proof, verb, value, key)
    require(again == key, f"{value} was found in {key}")
    found = reads(other, key, what)
    require(isinstance(found, list) or found is None, f"{found} is no list")
    require(strange.value not in (found or ()), f"{other.name} found it, too")


@sentence(
    f"{_NOT_AT_FIRST}, because it stands behind {{what}}, which {{w:op}} asked to append.",
)
def _behind_an_append(proof: Proof, verb: str, value: str, key: str, what: str, w: Told) -> None:
    strange = _no_transaction(proof, verb, value, key)
    element = wrote(w, key, what)
    for _, real in mops(strange.reader, READ, key):
        found = real[2] or []
        if strange.value in found:
            last = len(found) - 1 - found[::-1].index(strange.value)
            if element in found[:last]:
                return
    raise Contradicted(f"{strange.reader.name} did not find {value} behind {what}")


@sentence(
    f"{_NOT_AT_FIRST}, because {{other:op}} found nothing there, and nobody removes a value.",
    f"{_NOT_AT_FIRST}, because {{other:op}} found nothing there.",
)
def _nothing_elsewhere(proof: Proof, verb: str, value: str, key: str, other: Told) -> None:
    _no_transaction(proof, verb, value, key)
    reads(other, key, "nil")


@sentence(
    f"{_NOT_AT_FIRST}, if {{what}} was, which {{other:op}} found and which nobody wrote either.",
    f"{_NOT_AT_FIRST}, if what {{other:op}} found was, which nobody wrote either.",
)
def _another_elsewhere(
    proof: Proof, verb: str, value: str, key: str, other: Told, what: str | None = None
) -> None:
    strange = _no_transaction(proof, verb, value, key)
    found = [real[2] for _, real in mops(other, READ, key) if what in (None, value_text(real[2]))]
    require(believed(other.real) and found, f"{other.name} found something else in {key}")
    require(strange.value not in found, "that is the same value")
    _unwritten(proof, key, found[0])


@sentence(
    f"{_NOT_AT_FIRST}, because {{p:who}} had itself called {{w:op}}, which set {{again}} to "
    f"{{what}}, before {{r:op}}.",
)
def _after_its_own(
    proof: Proof, verb: str, value: str, key: str, p: str, w: Told, again: str, what: str, r: Told
) -> None:
    strange = _no_transaction(proof, verb, value, key)
    require(again == key and r is strange.reader, f"{strange.reader.name} found it in {key}")
    require({who(w.real), who(r.real)} == {p}, f"they are not both {p}'s")
    require(believed(w.real) and w.real.index < r.real.index, f"{w.name} was not answered before")
    wrote(w, key, what)


@sentence(
    f"{_NOT_AT_FIRST} when {{r:op}} read it, because {{w:op}} set {{again}} to {{what}}, and "
    f"{{order:order}}.",
)
def _after_another(
    proof: Proof,
    verb: str,
    value: str,
    key: str,
    r: Told,
    w: Told,
    again: str,
    what: str,
    order: tuple[Told, Told],
) -> None:
    strange = _no_transaction(proof, verb, value, key)
    require(again == key and r is strange.reader, f"{strange.reader.name} found it in {key}")
    require(order == (w, r), f"that is {order[0].name} before {order[1].name}")
    require(believed(w.real), f"{w.name} was not acknowledged")
    wrote(w, key, what)


# --- transactions that contradict themselves


@summary("{p:who}'s transaction found {value} in {key} before it wrote it itself.")
def _found_before_writing(proof: Proof, p: str, value: str, key: str) -> None:
    proof.someone(p, f"found {value} and wrote it", lambda one: _before_writing(one, key, value))


def _before_writing(one: Told, key: str, value: str) -> bool:
    found = False
    for told, real in one.pairs:
        if value_text(told[1]) != key:
            continue
        if told[0] == READ:
            values = real[2] if isinstance(real[2], list) else [real[2]]
            found = found or value in map(value_text, values)
        elif value_text(told[2]) == value:
            return found
    return False


@sentence(
    "Then {value} was in {key} only after {w:op} had written it, which no other transaction that "
    "may have happened did."
)
def _only_after(proof: Proof, value: str, key: str, w: Told) -> None:
    sole_writer(proof, w, key, value)
    proof.memory["value"] = (w, key, value)


@sentence("However, {w:op} had found {value} there before that.")
def _had_found(proof: Proof, w: Told, value: str) -> None:
    said = proof.memory.get("value")
    require(said is not None and (said[0], said[2]) == (w, value), "something else was said")
    assert said is not None
    require(believed(w.real), f"{w.name} was not answered what it read")
    require(_before_writing(w, said[1], value), f"{w.name} did not find {value} before")


@summary("{p:who}'s transaction contradicts itself about {key}.")
def _contradicts_itself(proof: Proof, p: str, key: str) -> None:
    proof.someone(
        p, f"touched {key}", lambda one: any(value_text(told[1]) == key for told, _ in one.pairs)
    )


@sentence("Then within {t:op} {key} {verb} {value}, by what it had read and written before.")
def _within(proof: Proof, t: Told, key: str, verb: str, value: str) -> None:
    if verb not in {"is", "ends in"}:
        raise NotThis
    known = {(one, value_text(state)) for one, state, _ in _within_itself(t, key)}
    require((verb, value) in known, f"within {t.name} {key} is otherwise")
    proof.memory["within"] = (t, key, verb, value)


def _within_itself(t: Told, key: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield for each read of a key within a transaction what it must be, and what was found.

    "ends in": nothing was read before, and so only the end of the list is known.
    """
    verb, state = "", None
    for f, of_key, value in (real for _, real in t.pairs):
        if value_text(of_key) != key:
            continue
        if f == READ:
            found = [] if value is None and isinstance(state, list) else value
            if verb:
                yield verb, state, found
            verb, state = "is", found
        elif f == APPEND:
            verb = "is" if verb == "is" else "ends in"
            state = [*(state or ()), value]
        else:
            verb, state = "is", value


@sentence("However, the same {t:op} then read {key} as {value}.")
def _then_read(proof: Proof, t: Told, key: str, value: str) -> None:
    said = proof.memory.get("within")
    require(said is not None and said[:2] == (t, key), "something else was said")
    assert said is not None
    require(believed(t.real), f"{t.name} was not answered what it read")
    for verb, state, found in _within_itself(t, key):
        if (verb, value_text(state), value_text(found)) == (*said[2:], value):
            end = found[-len(state) :] if verb == "ends in" else found
            require(end != state, f"that {verb} {said[3]}")
            return
    raise Contradicted(f"{t.name} did not read {key} as {value} after that")


# --- lists


@summary("{p:who} read {value} {often} in {key}.")
def _read_often(proof: Proof, p: str, value: str, often: str, key: str) -> None:
    said = proof.memory.get("often")
    if said is None:
        raise NotThis
    require(said[1:] == (value, key, often), "its proof says something else")
    require(who(said[0].real) == p, f"{said[0].name} is {who(said[0].real)}'s")


@sentence("Then {value} was appended to {key} {often}, because {r:op} found {found}.")
def _appended_often(proof: Proof, value: str, key: str, often: str, r: Told, found: str) -> None:
    times = 1 if often == "twice" else _more_than(often)
    count = [value_text(one) for one in reads(r, key, found)].count(value)
    require(count > times, f"{r.name} found {value} {count} times")
    proof.memory["often"] = (r, value, key, often)
    proof.memory["times"] = times


def _more_than(often: str) -> int:
    words = often.split(" ")
    if len(words) != 4 or (words[0], words[1], words[3]) != ("more", "than", "times"):
        raise NotThis
    return int(words[2])


@sentence(
    "However, only one micro-operation of the whole history that did not fail appends {value} to "
    "{key}.",
    "However, only {count:int} micro-operations of the whole history that did not fail append "
    "{value} to {key}.",
)
def _so_many_append(proof: Proof, value: str, key: str, count: int = 1) -> None:
    said = proof.memory.get("often")
    require(said is not None and said[1:3] == (value, key), "another element was found")
    found = sum(
        value_text(one.value) == value and one.operation.outcome is not OpType.FAIL
        for one in proof.facts.writes_of(key_of(proof, key))
    )
    require(found == count, f"{found} micro-operations append {value} to {key}")
    require(proof.memory["times"] == count, "that is no contradiction")


@summary(
    "{p:who} and {q:who} saw two pasts of {key}, of which neither is a beginning of the other."
)
def _two_pasts(proof: Proof, p: str, q: str, key: str) -> None:
    for each in (p, q):
        require(proof.by(each, lambda one: any(mops(one, READ, key))), f"{each} did not read {key}")
    require(proof.memory.get("lists", key) == key, "its proof is about another key")


@sentence(
    "Then what {one:op} read, {mine}, and what {other:op} read, {its}, are moments of one list, to "
    "which elements are only appended: the shorter is a beginning of the longer."
)
def _moments_of_one_list(proof: Proof, one: Told, mine: str, other: Told, its: str) -> None:
    for first, second, key in _lists(one, mine, other, its):
        shorter, longer = sorted((first, second), key=len)
        if longer[: len(shorter)] != shorter:
            proof.memory["lists"] = key
            return
    raise Contradicted("no two such lists of one key were read, or one is a beginning")


def _lists(one: Told, mine: str, other: Told, its: str) -> Iterator[tuple[Any, Any, str]]:
    if not (believed(one.real) and believed(other.real)):
        return
    for told, real in one.pairs:
        for told_too, real_too in other.pairs:
            if (
                (told[0], told_too[0]) == (READ, READ)
                and value_text(told[1]) == value_text(told_too[1])
                and (value_text(told[2]), value_text(told_too[2])) == (mine, its)
                and real is not real_too
            ):
                yield list(real[2] or ()), list(real_too[2] or ()), value_text(told[1])


@sentence("However, it is not: the list was forked, or lost an element.")
def _forked(proof: Proof) -> None:
    require("lists" in proof.memory, "nothing was said of lists")


@summary(
    "{p:who} found {key} without a part of what {q:who}'s transaction appended: {first} and then "
    "{second}."
)
def _found_torn(proof: Proof, p: str, key: str, q: str, first: str, second: str) -> None:
    proof.someone(q, "appended both", lambda one: _appends_both(one, key, first, second))
    proof.someone(p, f"read {key}", lambda one: any(mops(one, READ, key)))


def _appends_both(one: Told, key: str, first: str, second: str) -> bool:
    mine = [value_text(told[2]) for told, _ in one_key(one, key)]
    return first in mine and second in mine[mine.index(first) + 1 :]


@sentence("Then {second} follows {first} in {key}, because {w:op} appended the one and the other.")
def _follows(proof: Proof, second: str, first: str, key: str, w: Told) -> None:
    require(
        _appends_both(w, key, first, second), f"{w.name} did not append {first} and then {second}"
    )
    for each in (first, second):
        sole_writer(proof, w, key, each)
    happened(proof, w)
    proof.memory["torn"] = (first, second, key)


@sentence("However, it does not in what {r:op} found.")
def _not_in(proof: Proof, r: Told) -> None:
    said = proof.memory.get("torn")
    if said is None:
        raise Contradicted("nothing was said of what follows what")
    require(believed(r.real), f"{r.name} was not answered what it read")
    first, second, key = said
    for _, real in mops(r, READ, key):
        found = list(map(value_text, real[2] or ()))
        one = found.index(first) if first in found else None
        other = found.index(second) if second in found else None
        torn = other is not None and (one is None or one > other)
        cut = other is None and one is not None and one + 1 < len(found)
        if torn or cut:
            return
    raise Contradicted(f"{r.name} found {second} behind {first}, or neither")


# --- updates


@summary(
    "{p:who} and {q:who} both saw {key} as {value} and both changed it: one did not see the "
    "other's update."
)
def _both_changed(proof: Proof, p: str, q: str, key: str, value: str) -> None:
    for each in (p, q):
        proof.someone(each, f"saw {key} as {value}", lambda one: _sees_as(one, key, value))


def _sees_as(one: Told, key: str, value: str) -> bool:
    """Whether a transaction read a key as a value before it wrote the key itself."""
    for told, _ in one.pairs:
        if value_text(told[1]) == key:
            shown = value_text(told[2])
            none = told[2] is None
            empty = {"empty": told[2] == [] or none, "unset": none}.get(value, False)
            return bool(believed(one.real) and told[0] == READ and (shown == value or empty))
    return False


@sentence(
    "Then one of {one:op} and {other:op} came second, and must have found what the first left "
    "behind, because both changed {key}."
)
def _one_came_second(proof: Proof, one: Told, other: Told, key: str) -> None:
    require(one is not other, "they are one operation")
    for each in (one, other):
        require(any(one_key(each, key)), f"{each.name} did not change {key}")
        happened(proof, each)
    proof.memory["both"] = (one, other, key)


@sentence(
    "However, each of them read {key} as {value}, as it was before either.",
)
def _as_before_either(proof: Proof, key: str, value: str) -> None:
    said = proof.memory.get("both")
    if said is None:
        raise Contradicted("nothing was said of two that changed it")
    one, other, of_key = said
    require(key == of_key, f"both changed {of_key}")
    for each in (one, other):
        require(_sees_as(each, key, value), f"{each.name} did not read {key} as {value}")
    for reader in (one, other):
        first = next(real[2] for _, real in mops(reader, READ, key))
        for writer in (one, other):
            for _, real in one_key(writer, key):
                found = real[2] in first if isinstance(first, list) else real[2] == first
                require(
                    not found,
                    f"{reader.name} read what {writer.name} wrote: {value_text(real[2])}",
                )


# --- values of a register that each came before the next


class _Value(NamedTuple):
    """A value of a key, as it stands in a circle of values."""

    name: str


why_value: Final = Grammar()
"""Why one value of `proof.memory["key"]` came before another; returns the two, as text."""


@summary("The values {values} of {key} each came before the next, and the last before the first.")
def _cyclic(proof: Proof, values: str, key: str) -> None:
    said = ", ".join(one for one, _ in proof.edges)
    require(values == said and key == proof.memory.get("key"), f"they are {said}")


@clause("{old} came before {new} in {key}, because {why}")
def _value_before(proof: Proof, old: str, new: str, key: str, why: str) -> tuple[_Value, _Value]:
    key_of(proof, key)
    require(proof.memory.get("key", key) == key, "it was about another key")
    proof.memory["key"] = key
    require(old != new, "they are one value")
    shown = read(why_value, proof, why)
    require(shown == (old, new), f"that shows {shown[0]} before {shown[1]}")
    return _Value(old), _Value(new)


@sentence("However, {old} also came before {new} in {key}, because {why}: a circle.")
def _and_the_first(proof: Proof, old: str, new: str, key: str, why: str) -> None:
    one, other = _value_before(proof, old, new, key, why)
    proof.edges.append((one.name, other.name))
    proof.closes()


def _touched(proof: Proof, one: Told) -> list[tuple[str, Any]]:
    """What a transaction that took effect did to the key in question: (function, value)."""
    happened(proof, one)
    key = proof.memory["key"]
    return [(told[0], told[2]) for told, _ in one.pairs if value_text(told[1]) == key]


def _saw_or_wrote(proof: Proof, one: Told, value: str) -> Any:
    for _, each in _touched(proof, one):
        if value_text(each) == value:
            return each
    raise Contradicted(f"{one.name} did not see or write {value}")


@why_value("{t:op} had {old} there and then set it to {new}")
def _had_and_set(proof: Proof, t: Told, old: str, new: str) -> tuple[str, str]:
    values: list[str] = []
    for f, value in _touched(proof, t):
        if f != READ and value_text(value) == new and old in values:
            sole_writer(proof, t, proof.memory["key"], new)
            return old, new
        values.append(value_text(value))
    raise Contradicted(f"{t.name} did not set {new} after {old}")


@why_value("nobody wrote {old}, and {t:op} saw or wrote {new}")
def _nobody_wrote(proof: Proof, old: str, t: Told, new: str) -> tuple[str, str]:
    for one in proof.facts.writes_of(key_of(proof, proof.memory["key"])):
        failed = one.operation.outcome is OpType.FAIL
        require(failed or value_text(one.value) != old, f"op {one.operation.index} writes {old}")
    _saw_or_wrote(proof, t, new)
    return old, new


@why_value("{a:op} saw or wrote {old}, {b:op} saw or wrote {new}, and {order:order}")
def _in_time(
    proof: Proof, a: Told, old: str, b: Told, new: str, order: tuple[Told, Told]
) -> tuple[str, str]:
    require(order == (a, b), f"that is {order[0].name} before {order[1].name}")
    _saw_or_wrote(proof, a, old)
    _saw_or_wrote(proof, b, new)
    return old, new


# --- forks: keys that are written once


def _saw_written(proof: Proof, one: Told, key: str) -> bool:
    """Whether a read found a key otherwise than at first: as written, or as not all found it."""
    for _, (_, _, value) in mops(one, READ, key):
        frozen, of_key = freeze(value), key_of(proof, key)
        wrote_it = any(freeze(other.value) == frozen for other in proof.facts.writes_of(of_key))
        changed = any(freeze(other.value) != frozen for other in proof.facts.reads_of(of_key))
        return believed(one.real) and value is not None and (wrote_it or changed)
    raise Contradicted(f"{one.name} did not read key {key}")


def _lacked(proof: Proof, one: Told, key: str) -> bool:
    """Whether a read found a key as it was at first: with nothing, or with what nobody wrote."""
    return any(not writers(proof, key, real[2]) for _, real in mops(one, READ, key))


def _saw_and_lacked(proof: Proof, one: Told, saw: str, lacked: str) -> None:
    require(
        _saw_written(proof, one, saw) and _lacked(proof, one, lacked),
        f"{one.name} read {one.real.output}",
    )


@summary(
    "{p:who} saw key {first} written and key {second} not yet; {q:who} saw it the other way round."
)
def _other_way_round(proof: Proof, p: str, first: str, second: str, q: str) -> None:
    one, other, *keys = proof.memory.get("fork", (None, None))
    require(keys == [first, second], "its proof is about other keys")
    require((who(one.real), who(other.real)) == (p, q), "its proof is about others' reads")


@sentence(
    "Then the write of key {first} came before that of key {second}, because {one:op} saw the one "
    "and lacked the other."
)
def _write_before(proof: Proof, first: str, second: str, one: Told) -> None:
    _saw_and_lacked(proof, one, first, second)
    for key in (first, second):
        wrote_it = {
            each.operation.index
            for each in proof.facts.writes_of(key_of(proof, key))
            if each.operation.outcome is not OpType.FAIL
        }
        require(len(wrote_it) < 2, f"key {key} is written {len(wrote_it)} times")
    proof.memory["fork"] = (one, None, first, second)


@sentence(
    "However, {other:op} saw key {second} and lacked key {first}, so that one came first: the two "
    "saw different pasts."
)
def _different_pasts(proof: Proof, other: Told, second: str, first: str) -> None:
    one, _, *keys = proof.memory.get("fork", (None, None))
    require(keys == [first, second], "something else was said")
    _saw_and_lacked(proof, other, second, first)
    proof.memory["fork"] = (one, other, first, second)
