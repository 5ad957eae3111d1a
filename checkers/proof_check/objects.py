"""What proofs say of sets, counters, banks, locks and leases."""

from __future__ import annotations

import re
from typing import Any

from squall.checkers.history import Operation, OpType
from squall.checkers.linearizability.registers import freeze
from squall.checkers.proof_check.grammar import (
    Contradicted,
    NotThis,
    moment,
    require,
    sentence,
    summary,
)
from squall.checkers.proof_check.proof import Proof, Told
from squall.checkers.text.lanes import value_text
from squall.checkers.text.proof import who

NS_PER_MS = 1_000_000


# --- sets


def elements(one: Told | Operation) -> list[str]:
    """The elements that a read shows, as text."""
    real = one.real if isinstance(one, Told) else one
    output = real.output if real.outcome is OpType.OK else None
    return list(map(value_text, output)) if isinstance(output, list | tuple) else []


def holds(one: Operation, value: str) -> bool:
    """Whether a read shows an element; a number is looked for as such, for sets may be large."""
    output = one.output
    if re.fullmatch(r"-?\d+", value) and isinstance(output, list | tuple):
        number = int(value)
        if number not in output and value not in output:
            return False
    return value in elements(one)


def adds(proof: Proof, key: str | None, value: str) -> list[Operation]:
    """The operations that add an element to a set, failed ones included."""
    return [
        one for one in proof.facts.of_key(key) if one.f == "add" and value_text(one.input) == value
    ]


def shows_it(one: Told, value: str) -> None:
    """Check that a read shows an element."""
    require(value in elements(one), f"{one.name} does not show {value}")


def lacks_it(one: Told, value: str) -> None:
    """Check that a read was answered and lacks an element."""
    require(one.real.f == "read" and one.real.outcome is OpType.OK, f"{one.name} is no read")
    require(not holds(one.real, value), f"{one.name} shows {value}")


def began_with(proof: Proof, value: str) -> bool:
    """Whether an element was in the set at the start."""
    return value in map(value_text, proof.begun or ())


def only_grows(proof: Proof) -> None:
    """Check that nothing is removed from the set."""
    removed = next((one for one in proof.facts.of_key(proof.key) if one.f == "remove"), None)
    require(removed is None, f"op {removed.index if removed else ''} removes an element")


@summary("{p:who} read {value} twice in one answer.")
def _twice(proof: Proof, p: str, value: str) -> None:
    proof.someone(p, f"shows {value} twice", lambda one: elements(one).count(value) > 1)


@sentence("Then the set {key} holds {value} twice, because {r:op} shows it twice.")
def _holds_twice(proof: Proof, key: str, value: str, r: Told) -> None:
    proof.about(key, "the set")
    require(
        elements(r).count(value) > 1, f"{r.name} shows {value} {elements(r).count(value)} times"
    )


@sentence("However, a set holds each element once.")
def _each_once(proof: Proof) -> None:
    pass


@summary("{p:who} read {value}, which nobody ever added.")
def _unexpected(proof: Proof, p: str, value: str) -> None:
    proof.someone(p, f"shows {value}", lambda one: value in elements(one))
    require(not adds(proof, proof.key, value), "somebody added it")
    require(not began_with(proof, value), "it was there at the start")


@summary("{p:who} read {value}, which was refused when it was added.")
def _refused_element(proof: Proof, p: str, value: str) -> None:
    proof.someone(p, f"shows {value}", lambda one: value in elements(one))
    failed = [one.outcome is OpType.FAIL for one in adds(proof, proof.key, value)]
    require(failed and all(failed), "it was not refused")
    require(not began_with(proof, value), "it was there at the start")


@sentence("Then {value} was added to {key} once: {r:op} shows it.")
def _was_added(proof: Proof, value: str, key: str, r: Told) -> None:
    proof.about(key, "the set")
    shows_it(r, value)
    proof.memory["value"] = value


@sentence("However, {a:op} is its only add, and failed for certain.")
def _only_failed_add(proof: Proof, a: Told) -> None:
    value = proof.memory.get("value", "")
    others = adds(proof, proof.key, value)
    require(
        [one.index for one in others] == [a.real.index], f"{len(others)} operations add {value}"
    )
    require(a.real.outcome is OpType.FAIL, f"{a.name} did not fail")


@sentence("However, no operation adds {value}, and the set was empty at the start.")
def _no_add(proof: Proof, value: str) -> None:
    require(value == proof.memory.get("value"), "another element was shown")
    require(not proof.begun, f"it held {proof.begun} at the start")
    found = adds(proof, proof.key, value)
    require(not found, f"op {found[0].index if found else ''} adds {value}")


@summary("{value} was in {key} at the start and is gone: {p:who} did not find it.")
def _begun_is_gone(proof: Proof, value: str, key: str, p: str) -> None:
    proof.about(key, "the set")
    require(began_with(proof, value), f"it held {proof.begun} at the start")
    require(proof.memory.get("value", value) == value, "its proof is of another element")
    proof.someone(
        p, f"lacks {value}", lambda one: one.real.f == "read" and not holds(one.real, value)
    )


@sentence("Then {value} is in {key}, because it was at the start, and nothing removes it.")
def _is_still_there(proof: Proof, value: str, key: str) -> None:
    proof.about(key, "the set")
    require(began_with(proof, value), f"it held {proof.begun} at the start")
    only_grows(proof)
    proof.memory["value"] = value


@sentence("However, {r:op} lacks it.")
def _lacks_what_began(proof: Proof, r: Told) -> None:
    value = proof.memory.get("value")
    if value is None:
        raise Contradicted("nothing was said of an element")
    lacks_it(r, value)


@summary("{p:who} found {x} and not {y}, {q:who} found {z} and not {w}.")
def _found_and_not(proof: Proof, p: str, x: str, y: str, q: str, z: str, w: str) -> None:
    require((x, y) == (w, z), "they do not disagree about two elements")
    for each, shown, lacked in ((p, x, y), (q, z, w)):
        proof.someone(
            each,
            f"shows {shown} and lacks {lacked}",
            lambda one, s=shown, k=lacked: s in elements(one) and k not in elements(one),  # type: ignore[misc]
        )


@sentence(
    "Then {x} was added before {y}, because {r:op} shows {shown} and lacks {lacked}, and nothing "
    "removes an element."
)
def _added_before(proof: Proof, x: str, y: str, r: Told, shown: str, lacked: str) -> None:
    require((x, y) == (shown, lacked), f"{r.name} shows something else")
    shows_it(r, x)
    lacks_it(r, y)
    only_grows(proof)
    proof.memory["added"] = (x, y)


@sentence("However, {r:op} shows {y} and lacks {x}, so {its} was added before {mine}.")
def _added_otherwise(proof: Proof, r: Told, y: str, x: str, its: str, mine: str) -> None:
    require((x, y) == proof.memory.get("added"), "something else was said")
    require((its, mine) == (y, x), f"that shows {y} before {x}")
    shows_it(r, y)
    lacks_it(r, x)


@summary("{p:who} found {shown} in {key}, but not {value}, added before it.")
def _out_of_order(proof: Proof, p: str, shown: str, key: str, value: str) -> None:
    proof.about(key, "the set")
    proof.someone(
        p,
        f"shows {shown} and lacks {value}",
        lambda one: shown in elements(one) and value not in elements(one),
    )


@sentence("Then {x} was in {key} before {y}, because {order:order}.")
def _was_in_before(proof: Proof, x: str, key: str, y: str, order: tuple[Told, Told]) -> None:
    proof.about(key, "the set")
    for one, value in zip(order, (x, y), strict=True):
        require(
            one.real.f == "add" and value_text(one.real.input) == value,
            f"{one.name} does not add {value}",
        )
    others = [one for one in adds(proof, proof.key, y) if one.outcome is not OpType.FAIL]
    require(len(others) == 1, f"{len(others)} operations add {y}")
    require(order[0].real.outcome is OpType.OK, f"{order[0].name} was not acknowledged")
    proof.memory["added"] = (x, y)


@sentence("However, {r:op} shows {y} and lacks {x}.")
def _shows_and_lacks(proof: Proof, r: Told, y: str, x: str) -> None:
    require((x, y) == proof.memory.get("added"), "something else was said")
    shows_it(r, y)
    lacks_it(r, x)


@summary("{p:who} read {value} before it was added.")
def _before_added(proof: Proof, p: str, value: str) -> None:
    proof.someone(p, f"shows {value}", lambda one: value in elements(one))


@sentence("Then {a:op} came before {r:op}, because no other add of {value} was called before it.")
def _first_to_add(proof: Proof, a: Told, r: Told, value: str) -> None:
    shows_it(r, value)
    found = [one for one in adds(proof, proof.key, value) if one.outcome is not OpType.FAIL]
    first = min(found, key=lambda one: one.invoked_ns, default=None)
    require(first is not None and first.invoked_ns == a.real.invoked_ns, f"{first} was")
    require(a.real.index in {one.index for one in found}, f"{a.name} adds something else")
    proof.claims(a, r)


@sentence("Then {a:op} came before {r:op}, because only it added {value}.")
def _only_it_added(proof: Proof, a: Told, r: Told, value: str) -> None:
    shows_it(r, value)
    found = [one for one in adds(proof, proof.key, value) if one.outcome is not OpType.FAIL]
    require(
        [one.index for one in found] == [a.real.index],
        f"ops {[one.index for one in found]} may have added {value}",
    )
    proof.claims(a, r)


@summary("{value} was added to {key} and is gone: {p:who} no longer found it.")
def _is_gone(proof: Proof, value: str, key: str, p: str) -> None:
    proof.about(key, "the set")
    require(proof.memory.get("known", (value,))[0] == value, "its proof is of another element")
    proof.someone(
        p, f"lacks {value}", lambda one: one.real.f == "read" and value not in elements(one)
    )


@summary("{p:who} did not find {value} in {key}, after it had been added.")
def _not_found(proof: Proof, p: str, value: str, key: str) -> None:
    proof.about(key, "the set")
    require(proof.memory.get("known", (value,))[0] == value, "its proof is of another element")
    proof.someone(
        p, f"lacks {value}", lambda one: one.real.f == "read" and value not in elements(one)
    )


@sentence(
    "Then {value} was in {key} from {since:ns} on, because {k:op} was acknowledged, and nothing "
    "removes an element.",
    "Then {value} was in {key} from {since:ns} on, because {k:op} showed {again}, and nothing "
    "removes an element.",
)
def _was_in_from(
    proof: Proof, value: str, key: str, since: str, k: Told, again: str | None = None
) -> None:
    proof.about(key, "the set")
    require(k.real.outcome is OpType.OK, f"{k.name} was not acknowledged")
    returned = moment(k.real.completed_ns or 0, since)
    require(returned == since, f"{k.name} returned at {returned}")
    if again is None:
        require(
            k.real.f == "add" and value_text(k.real.input) == value, f"{k.name} does not add it"
        )
    else:
        require(again == value, f"{again} is not {value}")
        shows_it(k, value)
    only_grows(proof)
    proof.memory["known"] = (value, k)


@sentence(
    "However, {r:op} was called at {at:ns}, and lacks it (and so does every read after it).",
    "However, {r:op} was called at {at:ns}, and lacks it; {again:op} shows it again.",
    "However, {r:op} was called at {at:ns}, and lacks it.",
)
def _lacks(proof: Proof, r: Told, at: str, again: Told | None = None) -> None:
    said = proof.memory.get("known")
    if said is None:
        raise Contradicted("nothing was said of an element")
    value, k = said
    lacks_it(r, value)
    called = moment(r.real.invoked_ns, at)
    require(called == at, f"{r.name} was called at {called}")
    require((k.real.completed_ns or 0) < r.real.invoked_ns, f"{k.name} had not returned then")
    if again is not None:
        shows_it(again, value)
        return
    for one in proof.facts.of_key(proof.key):
        if (
            one.f == "read"
            and one.outcome is OpType.OK
            and one.invoked_ns > (r.real.completed_ns or 0)
        ):
            require(not holds(one, value), f"op {one.index} shows it again")


# --- counters


def _sums(proof: Proof, read: Operation) -> tuple[int, int]:
    """The least and the most that a read of a counter can show, by the definition."""
    low = high = proof.begun or 0
    for one in proof.facts.of_key(read.key):
        if one.f != "add" or one.outcome is OpType.FAIL:
            continue
        must = one.completed_ns is not None and one.completed_ns < read.invoked_ns
        may = read.completed_ns is None or one.invoked_ns <= read.completed_ns
        low += one.input if must and one.input > 0 else one.input if may and one.input < 0 else 0
        high += one.input if may and one.input > 0 else one.input if must and one.input < 0 else 0
    return low, high


@summary(
    "{p:who} read {value:int} from {key}, which must have been at least {least:int}.",
    "{p:who} read {value:int} from {key}, which must have been at most {most:int}.",
)
def _beyond(
    proof: Proof, p: str, value: int, key: str, least: int | None = None, most: int | None = None
) -> None:
    proof.about(key, "the counter")
    one = proof.someone(p, f"read {value}", lambda one: one.real.output == value)
    low, high = _sums(proof, one.real)
    require(least in {None, low} and most in {None, high}, f"it must be from {low} to {high}")
    require(value < low if least is not None else value > high, f"it is from {low} to {high}")


@sentence(
    "Then {r:op} shows at least {low:int}, the sum of what had been acknowledged when it was "
    "called at {called:ns}, and at most {high:int}, the sum of all that had been called when it "
    "answered at {answered:ns}.",
    "Then {r:op} shows at least {low:int}, {least:int} at the start and the sum of what had been "
    "acknowledged when it was called at {called:ns}, and at most {high:int}, {most:int} at the "
    "start and the sum of all that had been called when it answered at {answered:ns}.",
)
def _bounds(
    proof: Proof,
    r: Told,
    low: int,
    called: str,
    high: int,
    answered: str,
    least: int = 0,
    most: int = 0,
) -> None:
    real = r.real
    begun = proof.begun or 0
    require(least == most == begun, f"it was {begun} at the start")
    require(
        moment(real.invoked_ns, called) == called, f"{r.name} was called at {real.invoked_ns} ns"
    )
    require(
        moment(real.completed_ns or 0, answered) == answered,
        f"{r.name} answered at {real.completed_ns} ns",
    )
    sums = _sums(proof, real)
    require(sums == (low, high), f"these sums are {sums[0]} and {sums[1]}")
    proof.memory["bounds"] = (r, sums)


@sentence("However, {r:op} answered {value:int}.")
def _answered(proof: Proof, r: Told, value: int) -> None:
    require(r.real.output == value, f"{r.name} answered {r.real.output}")
    said = proof.memory.get("bounds")
    require(said is not None and said[0] is r, "something else was said")
    assert said is not None
    require(not said[1][0] <= value <= said[1][1], "that is within the bounds")


# --- banks


def balances(one: Told) -> dict[str, Any]:
    """What a read of all accounts found."""
    found = one.real.output
    require(isinstance(found, dict) and one.real.outcome is OpType.OK, f"{one.name} read nothing")
    return dict(found)


@summary("{p:who} found {what}.")
def _found_accounts(proof: Proof, p: str, what: str) -> None:
    if proof.anomaly.kind != "wrong-accounts":
        raise NotThis
    require(proof.memory.get("what") == what, "its proof says something else")
    reader = proof.memory["reader"]
    require(who(reader.real) == p, f"{reader.name} is {who(reader.real)}'s")


@sentence("Then the accounts are those {r:op} shows: none is ever opened or closed.")
def _the_accounts(proof: Proof, r: Told) -> None:
    proof.memory["accounts"] = set(balances(r))


@sentence("However, {r:op} found nothing in {names}.", "However, {r:op} found an account {extra}.")
def _other_accounts(
    proof: Proof, r: Told, names: str | None = None, extra: str | None = None
) -> None:
    known, found = proof.memory.get("accounts"), balances(r)
    if known is None:
        raise Contradicted("nothing was said of accounts")
    proof.memory["reader"] = r
    if names is not None:
        gone = [name for name, balance in found.items() if balance is None] or (known - set(found))
        require(names == ", ".join(sorted(gone)), f"nothing is in {', '.join(sorted(gone))}")
        proof.memory["what"] = f"nothing in {names}"
    else:
        more = sorted(set(found) - known)
        require(extra == ", ".join(more), f"the accounts that are new are {', '.join(more)}")
        proof.memory["what"] = f"an account {extra}"


@summary("{p:who} found {sum:int} in all accounts together, where {total:int} must be.")
def _found_sum(proof: Proof, p: str, sum: int, total: int) -> None:  # noqa: A002
    proof.someone(p, f"found {sum}", lambda one: _total(balances(one)) == sum)
    require(total == proof.memory.get("total"), "its proof says another total")
    require(sum != total, "that is the total")


def _total(found: dict[str, Any]) -> int:
    return sum(balance or 0 for balance in found.values())


@sentence(
    "Then all accounts hold {total:int} together at any moment, because {r:op} found that, and a "
    "transfer takes from one what it gives to another.",
    "Then all accounts hold {total:int} together at any moment, because that is what they were "
    "given.",
)
def _hold_together(proof: Proof, total: int, r: Told | None = None) -> None:
    if r is not None:
        require(_total(balances(r)) == total, f"{r.name} found {_total(balances(r))}")
    proof.memory["total"] = total


@sentence("However, {r:op} found {terms} = {sum:int}: it saw one half of some transfer.")
def _found_terms(proof: Proof, r: Told, terms: str, sum: int) -> None:  # noqa: A002
    found = balances(r)
    require(terms == " + ".join(str(one) for one in found.values()), f"{r.name} found {found}")
    require(_total(found) == sum, f"that is {_total(found)}")
    require(sum != proof.memory.get("total", sum), "that is the total")


@summary("{p:who} found account {name} at {balance:int}.")
def _overdrawn(proof: Proof, p: str, name: str, balance: int) -> None:
    proof.someone(p, f"found {balance} in {name}", lambda one: _in(one, name) == balance)
    require(balance < 0, f"{balance} is not below 0")


def _in(one: Told, name: str) -> Any:
    return next((held for account, held in balances(one).items() if str(account) == name), None)


@sentence("Then no account is below 0: a transfer that would overdraw is refused.")
def _none_below(proof: Proof) -> None:
    pass


@sentence("However, {r:op} found {balance:int} in account {name}.")
def _found_below(proof: Proof, r: Told, balance: int, name: str) -> None:
    require(_in(r, name) == balance, f"{r.name} found {_in(r, name)} there")
    require(balance < 0, f"{balance} is not below 0")


# --- locks


def token_of(one: Told) -> Any:
    """The token that an acquisition was given, or that a use names."""
    if one.real.f == "guarded":
        return one.real.input[0]
    answer = one.real.output
    return answer.get("token") if isinstance(answer, dict) else answer


def _end_of_hold(proof: Proof, acquire: Operation) -> int | None:
    """Until when a holder is sure: its own release, or the earliest end of its lease."""
    mine = proof.facts.by_process[acquire.process]
    until: int | None = None
    for one in mine[mine.index(acquire) + 1 :]:
        if one.key == acquire.key and one.f == "acquire" and one.outcome is OpType.OK:
            break
        if one.key == acquire.key and one.f == "release" and one.outcome is not OpType.FAIL:
            until = one.invoked_ns
            break
    answer = acquire.output
    ttl_ms = answer.get("ttl_ms") if isinstance(answer, dict) else None
    if ttl_ms is not None:
        lease = acquire.invoked_ns + ttl_ms * NS_PER_MS
        until = lease if until is None else min(until, lease)
    return acquire.completed_ns if until is None else until


@summary("{p:who} and {q:who} held {key} at one time.")
def _held_both(proof: Proof, p: str, q: str, key: str) -> None:
    require(key == str(proof.key), f"the lock is {proof.key}")
    real = [who(one.real) for one in proof.cast.values() if one.real.f == "acquire"]
    require([p, q] == real, f"they are {real}")


@sentence(
    "Then {p:who} held it from {since:ns} to {until:ns} at least: from the answer to {a:op} to its "
    "own release, or to the earliest end of its lease."
)
def _held_from(proof: Proof, p: str, since: str, until: str, a: Told) -> None:
    require(who(a.real) == p, f"{a.name} is {who(a.real)}'s")
    acquired(a)
    is_since = moment(a.real.completed_ns or 0, since)
    end = _end_of_hold(proof, a.real) or 0
    is_until = moment(end, until)
    require((since, until) == (is_since, is_until), f"it was sure from {is_since} to {is_until}")
    proof.memory["hold"] = (a, a.real.completed_ns, end)


def acquired(a: Told) -> None:
    """Check that a lock was acquired."""
    require(a.real.f == "acquire" and a.real.outcome is OpType.OK, f"{a.name} acquired nothing")


@sentence("However, {b:op} was answered at {at:ns}: then {q:who} held it, too.")
def _held_too(proof: Proof, b: Told, at: str, q: str) -> None:
    acquired(b)
    require(who(b.real) == q, f"{b.name} is {who(b.real)}'s")
    answered = b.real.completed_ns or 0
    require(moment(answered, at) == at, f"{b.name} was answered at {moment(answered, at)}")
    said = proof.memory.get("hold")
    require(said is not None and said[0] is not b, "something else was said")
    assert said is not None
    a, since, until = said
    require(a.real.key == b.real.key, "they are two locks")
    end = _end_of_hold(proof, b.real) or 0
    require(since < end and answered < until, "the two holds do not overlap")


@summary("{p:who} was given token {token:int}, after token {other:int} had been given.")
def _given_token(proof: Proof, p: str, token: int, other: int) -> None:
    require(who(list(proof.cast.values())[-1].real) == p, "it was another client")
    real = [token_of(one) for one in proof.cast.values()]
    require(real == [other, token], f"the tokens were {real}")
    require(token <= other, f"{token} is greater")


@sentence("Then the token of {b:op} is greater than that of {a:op}, because {order:order}.")
def _token_greater(proof: Proof, b: Told, a: Told, order: tuple[Told, Told]) -> None:
    require(order == (a, b), f"{order[0].name} came before {order[1].name}")
    for one in order:
        acquired(one)
    proof.memory["tokens"] = order


@sentence("However, {a:op} was given {one:int} and {b:op} {other:int}.")
def _were_given(proof: Proof, a: Told, one: int, b: Told, other: int) -> None:
    require((a, b) == proof.memory.get("tokens"), "something else was said")
    real = token_of(a), token_of(b)
    require(real == (one, other), f"they were given {real[0]} and {real[1]}")
    require(other <= one, f"{other} is greater than {one}")


@summary("{p:who} and {q:who} were both given token {token:int}.")
def _gave_both_one_token(proof: Proof, p: str, q: str, token: int) -> None:
    cast = list(proof.cast.values())
    require([who(one.real) for one in cast] == [p, q], "it was another client")
    require([token_of(one) for one in cast] == [token, token], "the tokens differ")


@sentence(
    "Then {a:op} and {b:op} have different tokens, because each acquisition is given a greater one "
    "than all before it."
)
def _tokens_differ(proof: Proof, a: Told, b: Told) -> None:
    require(a.real.index != b.real.index, "it is one acquisition")
    for one in (a, b):
        acquired(one)
    proof.memory["tokens"] = (a, b)


@sentence("However, both were given {token:int}.")
def _both_were_given(proof: Proof, token: int) -> None:
    real = [token_of(one) for one in proof.memory.get("tokens", ())]
    require(real == [token, token], f"the tokens were {real}")


@summary("{p:who} used {key} under token {token:int}, after token {other:int} had been used.")
def _used_late(proof: Proof, p: str, key: str, token: int, other: int) -> None:
    require(key == str(proof.key), f"the lock is {proof.key}")
    require(who(list(proof.cast.values())[-1].real) == p, "it was another client")
    real = [token_of(one) for one in proof.cast.values()]
    require(real == [other, token], f"the tokens were {real}")


@sentence("Then {b:op} is refused, because {order:order}, under the greater token {token:int}.")
def _is_refused(proof: Proof, b: Told, order: tuple[Told, Told], token: int) -> None:
    require(order[1] is b, f"{order[1].name} is not {b.name}")
    require(token_of(order[0]) == token, f"{order[0].name} used token {token_of(order[0])}")
    require(token_of(b) < token, f"{b.name} used token {token_of(b)}")
    require(order[0].real.outcome is OpType.OK, f"{order[0].name} was not acknowledged")
    proof.memory["tokens"] = order


@sentence(
    "However, {b:op} was acknowledged with token {token:int}; {a:op} no longer protects what it "
    "did."
)
def _was_acknowledged(proof: Proof, b: Told, token: int, a: Told) -> None:
    require((a, b) == proof.memory.get("tokens"), "something else was said")
    require(b.real.outcome is OpType.OK, f"{b.name} was not acknowledged")
    require(token_of(b) == token, f"{b.name} used token {token_of(b)}")


# --- leases


def lease_of(one: Operation) -> Any:
    """The lease an operation is about."""
    source = one.output if one.f == "grant" else one.input
    return source.get("id") if isinstance(source, dict) else None


def looked_for(one: Told) -> str:
    """The key of a probe or an attachment."""
    return str(one.real.input.get("key")) if isinstance(one.real.input, dict) else ""


def probed(one: Told, key: str, *, found: bool) -> None:
    """Check that a probe looked for a key and found it, or did not."""
    require(one.real.f == "probe" and one.real.outcome is OpType.OK, f"{one.name} is no probe")
    require(looked_for(one) == key, f"{one.name} looked for {looked_for(one)}")
    require(bool(one.real.output) is found, f"{one.name} was told {one.real.output}")


def attached(one: Told, key: str) -> None:
    """Check that an operation attached a key."""
    require(
        one.real.f == "attach" and one.real.outcome is not OpType.FAIL,
        f"{one.name} attached nothing",
    )
    require(looked_for(one) == key, f"{one.name} attached {looked_for(one)}")


@summary("{p:who} did not find {key}, whose lease could not have ended yet.")
def _not_there(proof: Proof, p: str, key: str) -> None:
    proof.someone(
        p, f"did not find {key}", lambda one: looked_for(one) == key and not one.real.output
    )


@sentence(
    "Then the lease lasts until {until:ns} at least, because {g:op} was called at {at:ns} and "
    "promised {ms:int} ms; {a:op} attached {key} to it, and nobody had called a revoke."
)
def _lasts(proof: Proof, until: str, g: Told, at: str, ms: int, a: Told, key: str) -> None:
    require(
        g.real.outcome is OpType.OK and g.real.f in {"grant", "keepalive"},
        f"{g.name} promised nothing",
    )
    promised = g.real.output.get("ttl_ms")
    require(promised == ms, f"{g.name} promised {promised} ms")
    require(
        moment(g.real.invoked_ns, at) == at,
        f"{g.name} was called at {moment(g.real.invoked_ns, at)}",
    )
    end = g.real.invoked_ns + ms * NS_PER_MS
    require(moment(end, until) == until, f"it lasts until {moment(end, until)}")
    attached(a, key)
    require(freeze(lease_of(a.real)) == freeze(lease_of(g.real)), "they are of two leases")
    proof.memory["lease"] = (lease_of(g.real), end, key, a)


@sentence("However, {r:op} had already been answered at {at:ns} that the key is gone.")
def _already_gone(proof: Proof, r: Told, at: str) -> None:
    said = proof.memory.get("lease")
    if said is None:
        raise Contradicted("nothing was said of a lease")
    lease, end, key, a = said
    probed(r, key, found=False)
    answered = r.real.completed_ns or 0
    require(moment(answered, at) == at, f"{r.name} was answered at {moment(answered, at)}")
    require(answered < end, "the lease may have ended by then")
    require((a.real.completed_ns or answered) < r.real.invoked_ns, f"{a.name} had not returned")
    for one in proof.facts.history.operations:
        if one.f == "revoke" and one.outcome is not OpType.FAIL and lease_of(one) == lease:
            require(one.invoked_ns > answered, f"op {one.index} had called a revoke")


@summary("{p:who} found {key}, whose lease had been revoked.")
def _found_revoked(proof: Proof, p: str, key: str) -> None:
    proof.someone(p, f"found {key}", lambda one: looked_for(one) == key and one.real.output is True)


@sentence(
    "Then {key} is gone, because {a:op} had attached it to the lease which {x:op} revoked, and "
    "{order:order}."
)
def _gone_by_revoke(proof: Proof, key: str, a: Told, x: Told, order: tuple[Told, Told]) -> None:
    attached(a, key)
    require(x.real.f == "revoke" and x.real.outcome is OpType.OK, f"{x.name} revoked nothing")
    require(freeze(lease_of(a.real)) == freeze(lease_of(x.real)), "they are of two leases")
    require(order[0] is x, f"{order[0].name} is not {x.name}")
    require(looked_for(order[1]) == key, f"{order[1].name} looked for something else")
    proof.memory["gone"] = (key, order[1])


@sentence("However, {r:op} found it.")
def _found_it(proof: Proof, r: Told) -> None:
    said = proof.memory.get("gone")
    require(said is not None and said[1] is r, "something else was said")
    assert said is not None
    probed(r, said[0], found=True)


@summary("{p:who} found {key}, which was gone with its lease.")
def _found_again(proof: Proof, p: str, key: str) -> None:
    proof.someone(p, f"found {key}", lambda one: looked_for(one) == key and one.real.output is True)


@sentence(
    "Then {key} stays gone, because {r:op} no longer found it after {a:op} had attached it, and "
    "nobody attached it again."
)
def _stays_gone(proof: Proof, key: str, r: Told, a: Told) -> None:
    probed(r, key, found=False)
    attached(a, key)
    returned = a.real.completed_ns
    require(
        returned is not None and returned < r.real.invoked_ns, f"{a.name} had not returned then"
    )
    proof.memory["gone"] = (key, r, a)


@sentence("However, {again:op} found it, and {order:order}.")
def _found_after(proof: Proof, again: Told, order: tuple[Told, Told]) -> None:
    said = proof.memory.get("gone")
    require(
        said is not None and len(said) == 3 and order == (said[1], again), "something else was said"
    )
    assert said is not None
    key, _, a = said
    probed(again, key, found=True)
    until = again.real.completed_ns or 0
    for one in proof.facts.history.operations:
        if one.f == "attach" and one.outcome is not OpType.FAIL and one.index != a.real.index:
            later = one.completed_ns is None or one.completed_ns >= a.real.invoked_ns
            mine = str(one.input.get("key")) == key
            require(not (mine and later and one.invoked_ns <= until), f"op {one.index} attached it")


@summary("{p:who} kept a lease alive whose key {key} was already gone.")
def _kept_alive(proof: Proof, p: str, key: str) -> None:
    proof.someone(p, "kept a lease alive", lambda one: one.real.f == "keepalive")
    require(any(looked_for(one) == key for one in proof.cast.values()), f"nobody looked for {key}")


@sentence(
    "Then the lease had ended, because {r:op} no longer found {key}, which {a:op} had attached to "
    "it."
)
def _had_ended(proof: Proof, r: Told, key: str, a: Told) -> None:
    _stays_gone(proof, key, r, a)


@sentence("However, {k:op} was told that it lives on, and {order:order}.")
def _lives_on(proof: Proof, k: Told, order: tuple[Told, Told]) -> None:
    said = proof.memory.get("gone")
    require(
        said is not None and len(said) == 3 and order == (said[1], k), "something else was said"
    )
    assert said is not None
    require(k.real.f == "keepalive" and k.real.outcome is OpType.OK, f"{k.name} is no keepalive")
    require(k.real.output.get("ttl_ms", 0) > 0, f"{k.name} was told that it is gone")
    require(freeze(lease_of(k.real)) == freeze(lease_of(said[2].real)), "they are of two leases")
