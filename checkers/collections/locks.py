"""Locks: mutual exclusion between certain holds, and fencing tokens.

A client certainly holds a lock only from its answer to `acquire` until it calls `release` (or until
the lease behind it can have run out, if the answer states one). Two such certain holds that overlap
are a violation, whatever a fencing token says.

A lock whose answer carries a token is *fenced*: tokens must rise with every acquisition, and a
`write` that carries a token must be refused once a greater one was used on the same resource (M.
Kleppmann, "How to do distributed locking", 2016). A lock without tokens is reported as unfenced:
nothing protects a resource from a holder that lost its lock without noticing.

    acquire  -> {"token"?: int, "ttl_ms"?: int} | token | None       release
    guarded  [token, value]: a use of the resource under the lock, acknowledged or refused

One pass over the holds in order of time, O(n log n). Holds without a known end are certain at the
moment of their answer only; what they may overlap later is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from squall.checkers.answers import acknowledges, mismatches, tell_mismatch
from squall.checkers.evidence import Evidence
from squall.checkers.history import History, MalformedHistory, Operation, OpType
from squall.checkers.linearizability.registers import FOREVER, IGNORED
from squall.checkers.text.proof import Cast, anomaly, who
from squall.checkers.text.words import counted, listed
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "No two clients hold one lock at one time, and no late holder does harm."

ANOMALIES_MAX: Final = 20
"""Anomalies reported in full; the rest is counted."""


FUNCTIONS: Final = frozenset({"acquire", "release", "guarded"})
"""The functions of a lock."""

STRANGE: Final = "a lock has no such operation"
"""Why an operation of another function has no part in the verdict, which is unknown then."""

IGNORED_READ: Final = "a serializable read promises less than a read"
"""Why operations of `registers.IGNORED` have no part in the verdict."""

ENDLESS: Final = "no release and no lease says how long a lock was held"
"""Why an acquisition that another one followed is certain at the moment of its answer only."""

UNCERTAIN: Final = "the lease of an acquisition may have ended before it was answered"
"""Why an acquisition has no part in the verdict."""


class _Hold(NamedTuple):
    """An interval in which a client certainly held a lock."""

    since: int
    until: int
    token: int | None
    acquire: Operation
    release: Operation | None = None


def locks() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_locks(history)

    return Checker(name="lock", check=check)


def check_locks(history: History) -> Verdict:
    """Judge every lock of a history, one a key."""
    anomalies: list[Anomaly] = []
    held = fenced = uses = 0
    wrong = mismatches(history)
    left_out: dict[str, int] = {}
    strangers: set[str] = set()
    for operations in history.by_key.values():
        other = next((one for one in operations if one.index in wrong), None)
        if other is not None:
            anomalies.append(tell_mismatch(other, wrong[other.index]))
            continue
        strange = [one for one in operations if one.f not in FUNCTIONS and one.f not in IGNORED]
        strangers |= {one.f for one in strange}
        _count(left_out, STRANGE, len(strange))
        _count(left_out, IGNORED_READ, sum(one.f in IGNORED for one in operations))
        holds = _holds(operations)
        acquired = sum(one.f == "acquire" and one.outcome is OpType.OK for one in operations)
        _count(left_out, UNCERTAIN, acquired - len(holds))
        _count(left_out, ENDLESS, sum(_endless(holds)))
        held += len(holds)
        fenced += sum(hold.token is not None for hold in holds)
        anomalies += _overlaps(holds)
        anomalies += _tokens(holds) + _shared_tokens(holds)
        guarded = [one for one in operations if one.f == "guarded" and one.outcome is OpType.OK]
        uses += len(guarded)
        anomalies += _late_uses(guarded)
    reason = None
    if strangers:
        reason = f"a lock has no operation {listed(sorted(strangers))}"
    elif not held:
        reason = "vacuous: no lock was ever acquired"
    kind = "fenced" if fenced == held else "unfenced" if not fenced else "partly fenced"
    return Verdict(
        checker="lock",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(held, 'acquisition')}, {kind}, {counted(uses, 'guarded use')}"
        + ("" if fenced == held else "; an unfenced lock cannot stop a late holder"),
        reason=None if anomalies else reason,
        method="certain holds in order of time",
        anomalies=tuple(anomalies[:ANOMALIES_MAX]),
        stats={
            "acquisitions": held,
            "fenced": fenced,
            "uses": uses,
            "anomalies": len(anomalies),
            **({"left_out": left_out} if left_out else {}),
        },
    )


def _count(counts: dict[str, int], reason: str, number: int) -> None:
    if number:
        counts[reason] = counts.get(reason, 0) + number


def _holds(operations: Sequence[Operation]) -> list[_Hold]:
    """Return the certain holds, in order of their beginning."""
    ends: dict[int, Operation] = {}
    mine: dict[int | str, Operation] = {}
    for one in operations:
        if one.f == "acquire" and one.outcome is OpType.OK:
            mine[one.process] = one
        elif one.f == "release" and one.process in mine and one.outcome is not OpType.FAIL:
            ends[mine.pop(one.process).index] = one
    found = []
    for one in operations:
        if one.f == "acquire" and one.outcome is OpType.OK and one.completed_ns is not None:
            token, ttl_ms = _answer(one)
            release = ends.get(one.index)
            until = FOREVER if release is None else release.invoked_ns
            if ttl_ms is not None:
                # The lease began at the earliest when it was requested.
                until = min(until, one.invoked_ns + ttl_ms * 1_000_000)
            elif until == FOREVER:
                until = one.completed_ns  # never released: certain at that moment only
            if until >= one.completed_ns:
                found.append(_Hold(one.completed_ns, until, token, one, release))
    return sorted(found, key=lambda hold: hold.since)


def _endless(holds: Sequence[_Hold]) -> Iterator[bool]:
    """Whether no end is known of a hold that another client's acquisition followed."""
    later: set[int | str] = set()
    for hold in reversed(holds):
        others = len(later) - (hold.acquire.process in later)
        yield hold.release is None and hold.until == hold.since and others > 0
        later.add(hold.acquire.process)


def _answer(one: Operation) -> tuple[int | None, int | None]:
    answer: Any = one.output
    token, ttl_ms = (
        (answer.get("token"), answer.get("ttl_ms")) if isinstance(answer, dict) else (answer, None)
    )
    if acknowledges(token, one.input):
        token = None
    numbers = [one for one in (token, ttl_ms) if one is not None]
    if any(isinstance(one, bool) or not isinstance(one, int) for one in numbers):
        raise MalformedHistory(f"op {one.index}: a token and a ttl are numbers")
    return token, ttl_ms


def _overlaps(holds: Sequence[_Hold]) -> list[Anomaly]:
    found = []
    last: _Hold | None = None
    for hold in holds:
        # Holds that only touch may have followed each other: an instant they share is concurrent.
        if last is not None and hold.since < last.until and last.since < hold.until:
            cast = Cast([last.acquire, hold.acquire])
            one, other = cast.name(last.acquire), cast.name(hold.acquire)
            found.append(
                anomaly(
                    "lock-held-twice",
                    f"{who(last.acquire)} and {who(hold.acquire)} held {_name(hold)} at one time.",
                    [
                        (
                            f"Then {who(last.acquire)} held it from {cast.at(last.since)} to "
                            f"{cast.at(last.until)} at least: from the answer to {one} to its own "
                            f"release, or to the earliest end of its lease."
                        ),
                        (
                            f"However, {other} was answered at {cast.at(hold.since)}: then "
                            f"{who(hold.acquire)} held it, too."
                        ),
                    ],
                    cast,
                    shown=_whole(last, hold),
                )
            )
        if last is None or hold.until > last.until:
            last = hold
    return found


def _name(hold: _Hold) -> str:
    return hold.acquire.key if hold.acquire.key is not None else "the lock"


def _whole(*holds: _Hold) -> list[Operation]:
    """Return holds from their acquisition to their release."""
    return [one for hold in holds for one in (hold.acquire, hold.release) if one is not None]


def _tokens(holds: Sequence[_Hold]) -> list[Anomaly]:
    """Tokens rise in real time: an acquisition called after another answered has a greater one."""
    found = []
    fenced = sorted(
        (hold for hold in holds if hold.token is not None), key=lambda hold: hold.acquire.invoked_ns
    )
    answered = sorted(fenced, key=lambda hold: hold.since)
    highest: _Hold | None = None
    at = 0
    for hold in fenced:
        while at < len(answered) and answered[at].since < hold.acquire.invoked_ns:
            if highest is None or (answered[at].token or 0) > (highest.token or 0):
                highest = answered[at]
            at += 1
        if highest is not None and (hold.token or 0) <= (highest.token or 0):
            cast = Cast([highest.acquire, hold.acquire])
            one, other = cast.name(highest.acquire), cast.name(hold.acquire)
            found.append(
                anomaly(
                    "token-not-greater",
                    f"{who(hold.acquire)} was given token {hold.token}, after token "
                    f"{highest.token} had been given.",
                    [
                        (
                            f"Then the token of {other} is greater than that of {one}, because "
                            f"{cast.order(highest.acquire, hold.acquire)}."
                        ),
                        f"However, {one} was given {highest.token} and {other} {hold.token}.",
                    ],
                    cast,
                )
            )
    return found


def _shared_tokens(holds: Sequence[_Hold]) -> list[Anomaly]:
    """No two acquisitions have one token, also where neither came first in real time.

    Pairs in order are left to `_tokens`.
    """
    first: dict[int, _Hold] = {}
    found = []
    for hold in holds:
        if hold.token is None:
            continue
        other = first.setdefault(hold.token, hold)
        if other is hold:
            continue
        if other.since < hold.acquire.invoked_ns or hold.since < other.acquire.invoked_ns:
            continue
        cast = Cast([other.acquire, hold.acquire])
        one, two = cast.name(other.acquire), cast.name(hold.acquire)
        found.append(
            anomaly(
                "token-shared",
                f"{who(other.acquire)} and {who(hold.acquire)} were both given token {hold.token}.",
                [
                    (
                        f"Then {one} and {two} have different tokens, because each acquisition is "
                        f"given a greater one than all before it."
                    ),
                    f"However, both were given {hold.token}.",
                ],
                cast,
            )
        )
    return found


def _late_uses(guarded: Sequence[Operation]) -> list[Anomaly]:
    """A use under a token is refused once a use under a greater one was acknowledged."""
    found = []
    answered = sorted(guarded, key=lambda one: one.completed_ns or 0)
    highest: Operation | None = None
    at = 0
    for one in sorted(guarded, key=lambda one: one.invoked_ns):
        while at < len(answered) and (answered[at].completed_ns or 0) < one.invoked_ns:
            if highest is None or _token(answered[at]) > _token(highest):
                highest = answered[at]
            at += 1
        if highest is not None and _token(one) < _token(highest):
            cast = Cast([highest, one])
            first, second = cast.name(highest), cast.name(one)
            found.append(
                anomaly(
                    "late-holder",
                    f"{who(one)} used {one.key} under token {_token(one)}, after token "
                    f"{_token(highest)} had been used.",
                    [
                        (
                            f"Then {second} is refused, because {cast.order(highest, one)}, "
                            f"under the "
                            f"greater token {_token(highest)}."
                        ),
                        (
                            f"However, {second} was acknowledged with token {_token(one)}; "
                            f"{first} no longer protects what it did."
                        ),
                    ],
                    cast,
                )
            )
    return found


def _token(one: Operation) -> int:
    given = one.input
    if not isinstance(given, list) or not given or not isinstance(given[0], int):
        raise MalformedHistory(f"op {one.index}: a guarded use is [token, value], not {given!r}")
    return given[0]
