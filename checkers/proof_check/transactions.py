"""What proofs say of transactions: who read, wrote, appended what, and who came first by that."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator
from typing import Any, Final

from checkers.explain import value_phrase, who
from checkers.history import Operation, OpType
from checkers.lanes import value_text
from checkers.proof_check.facts import Micro, expects
from checkers.proof_check.grammar import (
    Contradicted,
    because,
    clause,
    read,
    require,
    sentence,
    summary,
)
from checkers.proof_check.proof import Proof, Told
from checkers.registers import freeze

APPEND, READ = "append", "r"


def mops(one: Told, f: str, key: str) -> Iterator[tuple[Any, Any]]:
    """The shown micro-operations of one function on a key, each with the real one."""
    return ((told, real) for told, real in one.pairs if told[0] == f and value_text(told[1]) == key)


def key_of(proof: Proof, key: str) -> Hashable:
    """The key of this name that an introduced transaction touches; raises Contradicted."""
    for one in proof.cast.values():
        for told, _ in one.pairs:
            if value_text(told[1]) == key:
                return freeze(told[1])
    raise Contradicted(f"no transaction of the proof touches a key {key}")


def wrote(one: Told, key: str, value: str) -> Any:
    """Check that a transaction writes or appends a value; return it."""
    for told, _ in one.pairs:
        if told[0] != READ and value_text(told[1]) == key and value_text(told[2]) == value:
            return told[2]
    raise Contradicted(f"{one.name} does not write {value} to {key}")


def reads(one: Told, key: str, value: str) -> Any:
    """Check that a transaction read a key as a value; return the real value."""
    for told, real in mops(one, READ, key):
        shown = told[2]
        if value_text(shown) == value or (value == "empty" and not shown):
            return real[2]
    found = ", ".join(value_text(told[2]) for told, _ in mops(one, READ, key))
    raise Contradicted(
        f"{one.name} read {key} as {found}" if found else f"{one.name} did not read {key}"
    )


def happened(proof: Proof, one: Told) -> None:
    """Check that a transaction took effect: it was acknowledged, or somebody saw what it wrote."""
    if one.real.outcome is OpType.OK:
        return
    require(one.real.outcome is OpType.INFO, f"{one.name} failed")
    for f, key, value in one.real.input:
        if f != READ:
            for other in proof.facts.reads_of(key):
                if shows(other, value):
                    return
    raise Contradicted(f"{one.name} was never answered, and nobody saw what it wrote")


def shows(one: Micro, value: Any) -> bool:
    """Whether a read found a value, or an element."""
    if isinstance(one.value, list):
        return value in one.value
    return bool(one.value == value) and type(one.value) is type(value)


def orders(proof: Proof, key: Hashable) -> Iterator[tuple[Operation, list[Any]]]:
    """Every list that was read of a key, with its reader."""
    for one in proof.facts.reads_of(key):
        if isinstance(one.value, list):
            yield one.operation, one.value


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


@because("{order:order}")
def _by_time(proof: Proof, order: tuple[Told, Told]) -> tuple[Told, Told]:
    return order


@because("{p:who} called {after:op} after {before:op}")
def _by_client(proof: Proof, p: str, after: Told, before: Told) -> tuple[Told, Told]:
    require({who(after.real), who(before.real)} == {p}, f"they are not both {p}'s")
    require(before.real.index < after.real.index, f"{after.name} was called first")
    for one in (before, after):
        happened(proof, one)
    return before, after


@because("{r:op} read {key} as {value}, whose last element {w:op} appended")
def _by_last_element(proof: Proof, r: Told, key: str, value: str, w: Told) -> tuple[Told, Told]:
    for told, _ in mops(r, READ, key):
        if value_text(told[2]) == value and told[2]:
            element = told[2][-1]
            wrote(w, key, value_text(element))
            return w, r
    reads(r, key, value)
    raise Contradicted(f"{r.name} read {key} as {value}")


@because("{one:op} appended {x} to {key}, and {other:op} appended {y} behind it")
def _by_lists(proof: Proof, one: Told, x: str, key: str, other: Told, y: str) -> tuple[Told, Told]:
    first, second = wrote(one, key, x), wrote(other, key, y)
    of_key, seen = key_of(proof, key), False
    for reader, found in orders(proof, of_key):
        at = found.index(first) if first in found else -1
        behind = found.index(second) if second in found else -1
        if behind >= 0 and at >= 0:
            require(at < behind, f"op {reader.index} found {value_text(found)}")
            return one, other
        require(behind < 0, f"op {reader.index} found {y} without {x}")
        seen = seen or at >= 0
    require(seen, f"no read of {key} shows {x}")
    happened(proof, other)  # it was appended, and not before what was read
    return one, other


@because("{r:op} read {key} as {value}, without the {x} that {w:op} appended")
def _by_absence(proof: Proof, r: Told, key: str, value: str, x: str, w: Told) -> tuple[Told, Told]:
    found = reads(r, key, value)
    element = wrote(w, key, x)
    require(element not in (found or ()), f"{r.name} read {key} as {value_text(found)}")
    happened(proof, w)
    return r, w


@because("{r:op} read {key} as {value}, which {w:op} wrote")
def _by_value(proof: Proof, r: Told, key: str, value: str, w: Told) -> tuple[Told, Told]:
    reads(r, key, value)
    wrote(w, key, value)
    return w, r


@because(
    "{one:op} set {key} to {old}, and {other:op} set it to {new} later",
)
def _by_versions(
    proof: Proof, one: Told, key: str, old: str, other: Told, new: str
) -> tuple[Told, Told]:
    comes_next(proof, key_of(proof, key), wrote(one, key, old), wrote(other, key, new))
    happened(proof, one)
    happened(proof, other)
    return one, other


@because("{r:op} read {key} as {old}, before {w:op} set it to {new}")
def _by_later_version(
    proof: Proof, r: Told, key: str, old: str, w: Told, new: str
) -> tuple[Told, Told]:
    comes_next(proof, key_of(proof, key), reads(r, key, old), wrote(w, key, new))
    happened(proof, w)
    return r, w


def comes_next(proof: Proof, key: Hashable, old: Any, new: Any) -> None:
    """Check that one value of a register came before another, by a reason that is certain.

    The old one is the initial one; or somebody found or wrote the one and then wrote the other; or
    who had the one had returned when who touched the other first was called.
    """
    if old is None and new is not None:
        return
    if first_or_then(proof, key, old, new):
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
        if old in values and operation.completed_ns is not None:
            ended.append(operation.completed_ns)
        if new in values:
            begun.append(operation.invoked_ns)
    return bool(ended) and bool(begun) and min(ended) < max(begun)


_MEANINGS: Final = {
    "G0": "writes of several transactions are interleaved",
    "G1c": "transactions read from each other in a circle",
    "G-single": "a transaction saw one part of what another did and missed the other part",
    "G-nonadjacent": "transactions missed what others did in a way no snapshot allows",
    "G2-item": "transactions missed each other's writes in a circle",
}

_COUNTS: Final = {"Two": 2, "Three": 3, "Four": 4, "Five": 5}


@summary("{n:who} transactions of {names} have no order: {meaning}.")
def _no_order(proof: Proof, n: str, names: str, meaning: str) -> None:
    number = len(proof.cast)
    require(_COUNTS.get(n, n) in {number, str(number)}, f"they are {number}")
    said = [each for name in names.split(", ") for each in name.split(" and ")]
    real = list(dict.fromkeys(who(one.real) for one in proof.cast.values()))
    require(sorted(said) == sorted(real), f"they are of {', '.join(real)}")
    base = proof.anomaly.kind.removesuffix("-process").removesuffix("-realtime")
    real_meaning = _MEANINGS[base]
    if proof.anomaly.kind.endswith("-realtime"):
        real_meaning += ", against real time"
        if base == "G-single" and number == 2:
            real_meaning = "one missed what the other had finished before it was called"
    elif proof.anomaly.kind.endswith("-process"):
        own = "what the same client had done before"
        missed = base == "G-single"
        real_meaning = f"one missed {own}" if missed else f"{real_meaning}, against {own}"
    require(meaning == real_meaning, f"{proof.anomaly.kind} is that {real_meaning}")
    edges = proof.anomaly.data.get("edges")
    require(edges is None or len(edges) == number, f"the circle has {number} edges")


# --- what needs no circle


@summary("{p:who} read {value} in {key}, which {q:who}'s aborted transaction wrote.")
def _read_aborted(proof: Proof, p: str, value: str, key: str, q: str) -> None:
    writer = proof.someone(q, "failed", lambda one: one.real.outcome is OpType.FAIL)
    wrote(writer, key, value)
    proof.someone(p, f"found {value}", lambda one: _finds(one, key, value))


def _finds(one: Told, key: str, value: str) -> bool:
    if one.real.outcome is not OpType.OK:
        return False
    for told, real in mops(one, READ, key):
        if isinstance(real[2], list):
            if value in map(value_text, real[2]):
                return True
        elif value_text(told[2]) == value:
            return True
    return False


@sentence("Then {w:op} had an effect, because {r:op} found its {value} in {key}.")
def _had_an_effect(proof: Proof, w: Told, r: Told, value: str, key: str) -> None:
    wrote(w, key, value)
    require(_finds(r, key, value), f"{r.name} did not find {value} in {key}")
    _only_writer(proof, w, key, value)
    proof.memory["effect"] = w


def _only_writer(proof: Proof, w: Told, key: str, value: str) -> None:
    """Check that what was found can be of nobody else."""
    for other in proof.facts.writes_of(key_of(proof, key)):
        mine = other.operation.index == w.real.index
        if (
            not mine
            and value_text(other.value) == value
            and other.operation.outcome is not OpType.FAIL
        ):
            raise Contradicted(f"op {other.operation.index} writes {value} to {key}, too")


@sentence(
    "However, its client was told that {w:op} did not happen and never will.",
    "However, its client was told that {w:op} did not happen and never will ({error}).",
)
def _told_it_failed(proof: Proof, w: Told, error: str | None = None) -> None:
    require(w is proof.memory.get("effect", w), f"{w.name} is not the one that had an effect")
    require(w.real.outcome is OpType.FAIL, f"{w.name} did not fail")
    require((error or "") == (w.real.error or ""), f"its error is {w.real.error!r}")


@summary("{p:who} read {value} in {key}, which {q:who}'s transaction itself replaced.")
def _read_intermediate(proof: Proof, p: str, value: str, key: str, q: str) -> None:
    proof.someone(q, f"wrote {value} and then more", lambda one: _replaced(one, key, value))
    proof.someone(p, f"found {value}", lambda one: _finds(one, key, value))


def _replaced(one: Told, key: str, value: str) -> bool:
    written = [
        value_text(real[2])
        for told, real in one.pairs
        if told[0] != READ and value_text(told[1]) == key
    ]
    return value in written[:-1]


@sentence(
    "Then {r:op} looked into the middle of {w:op}, because it found {value} as the latest in {key}."
)
def _looked_into(proof: Proof, r: Told, w: Told, value: str, key: str) -> None:
    wrote(w, key, value)
    for _, real in mops(r, READ, key):
        last = real[2][-1] if isinstance(real[2], list) and real[2] else real[2]
        if value_text(last) == value:
            _only_writer(proof, w, key, value)
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
    proof.someone(p, f"wrote {key}", lambda one: any(f[0] != READ for f, _ in one.pairs))
    key_of(proof, key)


@sentence(
    "Then {other:op} came after {w:op}, because its {value} stands behind an element of {again:op} "
    "in {key}."
)
def _stands_behind(proof: Proof, other: Told, w: Told, value: str, again: Told, key: str) -> None:
    require(w is again, f"{again.name} is not {w.name}")
    element = wrote(other, key, value)
    mine = [real[2] for told, real in one_key(w, key)]
    for _, found in orders(proof, key_of(proof, key)):
        if element in found and any(one in found[: found.index(element)] for one in mine):
            proof.memory["effect"] = w
            return
    raise Contradicted(f"no read of {key} shows {value} behind an element of {w.name}")


def one_key(one: Told, key: str) -> Iterator[tuple[Any, Any]]:
    """The writes of a transaction to a key."""
    return (
        (told, real) for told, real in one.pairs if told[0] != READ and value_text(told[1]) == key
    )


@sentence("However, {w:op} did not happen: its client was told that it failed.")
def _did_not_happen(proof: Proof, w: Told) -> None:
    _told_it_failed(proof, w, w.real.error)


@summary("{p:who} found {value} in {key}, which nobody ever wrote there.")
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
    require(_finds(r, key, value), f"{r.name} did not find {value} in {key}")
    proof.memory["value"] = (value, key)


@sentence("However, no transaction of the whole history writes {value} to {key}.")
def _no_transaction(proof: Proof, value: str, key: str) -> None:
    require((value, key) == proof.memory.get("value"), "another value was found")
    for other in proof.facts.writes_of(key_of(proof, key)):
        require(value_text(other.value) != value, f"op {other.operation.index} does")


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


@sentence("Then {value} was in {key} only after {w:op} had written it, which nobody else did.")
def _only_after(proof: Proof, value: str, key: str, w: Told) -> None:
    wrote(w, key, value)
    for other in proof.facts.writes_of(key_of(proof, key)):
        if other.operation.index != w.real.index and value_text(other.value) == value:
            raise Contradicted(f"op {other.operation.index} writes {value} to {key}, too")
    mine = [real for _, real in one_key(w, key) if value_text(real[2]) == value]
    require(len(mine) == 1, f"{w.name} writes it {len(mine)} times")
    proof.memory["value"] = (w, key, value)


@sentence("However, {w:op} had found {value} there before that.")
def _had_found(proof: Proof, w: Told, value: str) -> None:
    said = proof.memory.get("value")
    require(said is not None and (said[0], said[2]) == (w, value), "something else was said")
    assert said is not None
    key = said[1]
    require(_before_writing(w, key, value), f"{w.name} did not find {value} before")


@summary("{p:who}'s transaction contradicts itself about {key}.")
def _contradicts_itself(proof: Proof, p: str, key: str) -> None:
    proof.someone(
        p, f"touched {key}", lambda one: any(value_text(told[1]) == key for told, _ in one.pairs)
    )


@sentence(
    "Then within {t:op} {key} ends in {value}, by what it had read and written before.",
    "Then within {t:op} {key} is {value}, by what it had read or written before.",
)
def _within(proof: Proof, t: Told, key: str, value: str) -> None:
    proof.memory["within"] = (t, key, value)
    require(value in _states(t, key), f"within {t.name} {key} is never {value}")


def _states(t: Told, key: str) -> list[str]:
    """What a key must be within a transaction, after each of its micro-operations."""
    texts = []
    for shown in (0, 1):  # what is shown of it, and the whole of it
        known: Any = None
        own: list[Any] = []
        for f, of_key, value in (pair[shown] for pair in t.pairs):
            if value_text(of_key) != key:
                continue
            if f == APPEND:
                own = [*own, value]
                known = None if known is None else [*known, value]
                texts.append(value_text(own if known is None else known))
            else:
                known = value
                texts.append(value_text(value))
    return texts


@sentence("However, the same {t:op} then read {key} as {value}.")
def _then_read(proof: Proof, t: Told, key: str, value: str) -> None:
    said = proof.memory.get("within")
    require(said is not None and said[:2] == (t, key), "something else was said")
    assert said is not None
    expected = said[2]
    seen = False
    for told, _ in t.pairs:
        if value_text(told[1]) != key:
            continue
        if seen and told[0] == READ and value_text(told[2]) == value:
            require(value != expected, f"that is {expected}")
            return
        seen = seen or expected in _states(t, key)
    raise Contradicted(f"{t.name} did not read {key} as {value} after that")


@summary("{p:who} read {value} twice in {key}.")
def _read_twice(proof: Proof, p: str, value: str, key: str) -> None:
    proof.someone(p, f"read {value} twice", lambda one: _has_twice(one, key, value))


def _has_twice(one: Told, key: str, value: str) -> bool:
    return any(
        isinstance(real[2], list) and list(map(value_text, real[2])).count(value) > 1
        for _, real in mops(one, READ, key)
    )


@sentence("Then {value} was appended to {key} twice, because {r:op} found {found}.")
def _appended_twice(proof: Proof, value: str, key: str, r: Told, found: str) -> None:
    reads(r, key, found)
    require(_has_twice(r, key, value), f"{r.name} found {value} once")
    proof.memory["value"] = (value, key)


@sentence(
    "However, only one micro-operation of the whole history appends {value}: it took effect twice."
)
def _only_one_appends(proof: Proof, value: str) -> None:
    said = proof.memory.get("value")
    require(said is not None and said[0] == value, "another element was found")
    assert said is not None
    writers = [
        one
        for one in proof.facts.writes_of(key_of(proof, said[1]))
        if value_text(one.value) == value
    ]
    require(len(writers) == 1, f"{len(writers)} micro-operations append {value} to {said[1]}")


@summary(
    "{p:who} and {q:who} both wrote {value} to {key}: the history does not show which of them a "
    "read saw."
)
def _both_wrote(proof: Proof, p: str, q: str, value: str, key: str) -> None:
    for each in (p, q):
        found = proof.by(each, lambda one: _writes(one, key, value))
        require(found, f"{each} did not write {value} to {key}")


def _writes(one: Told, key: str, value: str) -> bool:
    return any(value_text(told[2]) == value for told, _ in one_key(one, key))


@sentence(
    "Then a read of {value} shows whether {one:op} happened, because each value of a key is "
    "written once."
)
def _shows_whether(proof: Proof, value: str, one: Told) -> None:
    keys = [
        value_text(told[1])
        for told, _ in one.pairs
        if told[0] != READ and value_text(told[2]) == value
    ]
    require(keys, f"{one.name} does not write {value}")
    proof.memory["value"] = (value, one)


@sentence("However, {other:op} wrote the same {value} to {key}. The workload broke its own rule.")
def _the_same(proof: Proof, other: Told, value: str, key: str) -> None:
    said = proof.memory.get("value")
    require(
        said is not None and said[0] == value and said[1] is not other, "something else was said"
    )
    assert said is not None
    wrote(other, key, value)
    wrote(said[1], key, value)


@summary(
    "{p:who} and {q:who} saw two pasts of {key}, of which neither is a beginning of the other."
)
def _two_pasts(proof: Proof, p: str, q: str, key: str) -> None:
    for each in (p, q):
        require(proof.by(each, lambda one: any(mops(one, READ, key))), f"{each} did not read {key}")


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
    happened(proof, w)
    proof.memory["torn"] = (first, second, key)


@sentence("However, it does not in what {r:op} found.")
def _not_in(proof: Proof, r: Told) -> None:
    said = proof.memory.get("torn")
    if said is None:
        raise Contradicted("nothing was said of what follows what")
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
            empty = {"empty": told[2] == [], "unset": told[2] is None}.get(value, False)
            return bool(told[0] == READ and (shown == value or empty))
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
    for reader, writer in itertools.product((one, other), repeat=2):
        first = next(real[2] for _, real in mops(reader, READ, key))
        for _, real in one_key(writer, key):
            found = real[2] in first if isinstance(first, list) else real[2] == first
            require(
                not found, f"{reader.name} read what {writer.name} wrote: {value_text(real[2])}"
            )


@summary("The values {values} of {key} each came before the next, and the last before the first.")
def _cyclic(proof: Proof, values: str, key: str) -> None:
    said = proof.memory.get("values")
    require(said is not None and values == ", ".join(said[0]) and key == said[1], "it is not so")


@sentence(
    "Then {steps} in {key}, because some transaction found or wrote the one and then wrote the "
    "other, or had returned when one that found or wrote the other was called.",
    "Then {steps} in {key}, because some transaction found or wrote the one and then wrote the "
    "other, or had returned when one that found or wrote the other was called, and nil was there "
    "at the start.",
)
def _values_in_order(proof: Proof, steps: str, key: str) -> None:
    values: list[str] = []
    for step in steps.split(", "):
        one, middle, other = step.partition(" came before ")
        require(middle and (not values or values[-1] == one), f"{step!r} does not go on")
        values = values or [one]
        values.append(other)
    for one, other in itertools.pairwise(values):
        comes_next_text(proof, key, one, other)
    proof.memory["values"] = (values, key)


def comes_next_text(proof: Proof, key: str, one: str, other: str) -> None:
    """Check that a value came before another, both given as text."""
    of_key = key_of(proof, key)
    known = {value_text(each.value): each.value for each in proof.facts.micro(of_key)}
    for text in (one, other):
        require(text in known, f"nobody touched {text}")
    require(
        known[one] is None or first_or_then(proof, of_key, known[one], known[other]),
        f"nothing shows that {one} came before {other}",
    )


@sentence("However, for such a reason {last} came before {first}: a circle.")
def _and_last_before_first(proof: Proof, last: str, first: str) -> None:
    said = proof.memory.get("values")
    require(said is not None and (said[0][-1], said[0][0]) == (last, first), "that is no circle")
    assert said is not None
    comes_next_text(proof, said[1], last, first)
