"""Leases: attached keys live at least as long as the lease, and go when it is revoked.

    grant      -> {"id", "ttl_ms"}         keepalive  {"id"} -> {"ttl_ms"} (0: it is gone)
    attach     {"id", "key"}               revoke     {"id"}
    probe      {"key"} -> true | false     whether the key is there, read linearizably

The known end of a lease is a lower bound: it never ends before its ttl has passed since the *call*
of the grant or of the last keepalive that was answered. So a key is certainly present if it was
attached, no revoke was called, and the probe was answered before that end. After a revoke was
acknowledged, a probe called later must not find the key; and what was found gone stays gone: the
key is not found again, the lease is not kept alive. All times are the controller's; node clocks are
not used. That a lease outlives its ttl is not judged: etcd promises no upper bound.

Of a key that was attached several times only its last attachment is judged, and only if the order
of the attachments is certain.
"""

from __future__ import annotations

from typing import Any, Final

from squall.checkers.answers import mismatches, tell_mismatch
from squall.checkers.evidence import Evidence
from squall.checkers.history import History, MalformedHistory, Operation, OpType
from squall.checkers.linearizability.registers import FOREVER
from squall.checkers.text.proof import Cast, anomaly, who
from squall.checkers.text.words import counted, listed
from squall.checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict

CLAIM: Final = "No lease ends before its time, and a revoked one is gone."

ANOMALIES_MAX: Final = 20
"""Anomalies reported in full; the rest is counted."""


UNATTACHED: Final = "the probed key was attached to no lease by then"
"""Why a probe has no part in the verdict."""

DOUBTFUL: Final = "the probed key was attached several times at once: which was last is in doubt"
"""Why a probe has no part in the verdict."""


class _Lease:
    """The known facts of one lease. Times are ns of the controller's clock."""

    def __init__(self) -> None:
        self.renewals: list[tuple[int, Operation]] = []  # (certain until, shown by)
        self.revoke_called: int | None = None
        self.revoked: Operation | None = None


class _Key:
    """The attachments of a key to leases, and the probes of it."""

    def __init__(self) -> None:
        self.attached: list[tuple[Operation, _Lease]] = []
        self.probes: list[Operation] = []

    def last_before(self, probe: Operation) -> tuple[Operation, _Lease] | None:
        """Return the attachment that was certainly the last one when a probe read the key."""
        until = probe.completed_ns or 0
        mine = [one for one in self.attached if one[0].invoked_ns <= until]
        last = max(mine, key=lambda one: one[0].invoked_ns, default=None)
        if last is None or any(
            one is not last and (one[0].completed_ns or FOREVER) >= last[0].invoked_ns
            for one in mine
        ):
            return None
        return last


def leases() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_leases(history)

    return Checker(name="lease", check=check)


def check_leases(history: History) -> Verdict:
    """Judge every lease of a history."""
    known: dict[Any, _Lease] = {}
    keys: dict[str, _Key] = {}
    left_out: dict[str, int] = {}
    strangers: set[str] = set()
    reason: str | None = None
    for one in history.operations:
        if one.f == "probe":
            name = str(_field(one, one.input, "key"))
            if one.outcome is OpType.OK and one.completed_ns is not None:
                if not isinstance(one.output, bool):
                    raise MalformedHistory(f"op {one.index}: a probe answers true or false")
                keys.setdefault(name, _Key()).probes.append(one)
        elif one.f in {"grant", "keepalive", "attach", "revoke"}:
            _learn(one, known, keys)
        else:
            strangers.add(one.f)
    wrong = mismatches(history)
    anomalies = [
        tell_mismatch(one, wrong[one.index]) for one in history.operations if one.index in wrong
    ]
    judged = 0
    for key in keys.values():
        for probe in key.probes:
            last = key.last_before(probe)
            if last is None:
                why = DOUBTFUL if key.attached else UNATTACHED
                left_out[why] = left_out.get(why, 0) + 1
                continue
            judged += 1
            found = _undead(probe, *last) if probe.output else _early(probe, *last)
            if found is not None:
                anomalies.append(found)
        anomalies += _returned(key)
    if strangers:
        reason = f"a lease has no operation {listed(sorted(strangers))}"
    elif not judged:
        reason = "vacuous: no key of a lease was ever probed"
    return Verdict(
        checker="lease",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(len(known), 'lease')}, {counted(judged, 'probe')}",
        reason=None if anomalies else reason,
        method="lower bounds of each lease",
        anomalies=tuple(anomalies[:ANOMALIES_MAX]),
        stats={
            "leases": len(known),
            "probes": judged,
            "anomalies": len(anomalies),
            **({"left_out": left_out} if left_out else {}),
        },
    )


def _field(one: Operation, value: Any, name: str) -> Any:
    if not isinstance(value, dict) or not isinstance(value.get(name), str | int):
        raise MalformedHistory(f"op {one.index}: {one.f} without {name!r}")
    return value[name]


def _learn(one: Operation, known: dict[Any, _Lease], keys: dict[str, _Key]) -> None:
    if one.f == "grant":
        if one.outcome is OpType.OK:
            name = _field(one, one.output, "id")
            if name not in known or known[name].revoke_called is not None:
                known[name] = _Lease()  # an id that was revoked may be given again
            _renew(one, known[name])
        return
    lease = known.setdefault(_field(one, one.input, "id"), _Lease())
    if one.f == "keepalive" and one.outcome is OpType.OK:
        _renew(one, lease)
    elif one.f == "attach" and one.outcome is not OpType.FAIL:
        key = str(_field(one, one.input, "key"))
        keys.setdefault(key, _Key()).attached.append((one, lease))
    elif one.f == "revoke" and one.outcome is not OpType.FAIL:
        called = lease.revoke_called
        lease.revoke_called = one.invoked_ns if called is None else min(called, one.invoked_ns)
        if one.outcome is OpType.OK:
            lease.revoked = one


def _renew(one: Operation, lease: _Lease) -> None:
    ttl_ms = _field(one, one.output, "ttl_ms")
    if not isinstance(ttl_ms, int):
        raise MalformedHistory(f"op {one.index}: a ttl is a number of milliseconds")
    if ttl_ms > 0:
        lease.renewals.append((one.invoked_ns + ttl_ms * 1_000_000, one))


def _early(probe: Operation, attach: Operation, lease: _Lease) -> Anomaly | None:
    """Judge a probe that did not find its key, which may have been certain to be present."""
    if attach.completed_ns is None or attach.completed_ns >= probe.invoked_ns:
        return None
    answered = probe.completed_ns or 0
    if lease.revoke_called is not None and lease.revoke_called <= answered:
        return None
    certain = [
        renewal
        for renewal in lease.renewals
        # A keepalive answered during the probe either came before it or found the lease alive.
        if renewal[0] > answered >= renewal[1].invoked_ns
    ]
    if not certain:
        return None
    until, renewal = certain[0]
    cast = Cast([renewal, attach, probe])
    names = [cast.name(one) for one in (renewal, attach, probe)]
    return anomaly(
        "lease-ended-early",
        f"{who(probe)} did not find {probe.input['key']}, whose lease could not have ended yet.",
        [
            (
                f"Then the lease lasts until {cast.at(until)} at least, because {names[0]} "
                f"was called "
                f"at {cast.at(renewal.invoked_ns)} and promised "
                f"{(until - renewal.invoked_ns) // 1_000_000:,} ms; {names[1]} attached "
                f"{probe.input['key']} to it, and nobody had called a revoke."
            ),
            (
                f"However, {names[2]} had already been answered at {cast.at(answered)} that "
                f"the key "
                f"is "
                f"gone."
            ),
        ],
        cast,
    )


def _undead(probe: Operation, attach: Operation, lease: _Lease) -> Anomaly | None:
    """Judge a probe that found its key although the lease may have been revoked before.

    The time of the attachment does not matter: nothing is attached to a lease that is gone.
    """
    revoke = lease.revoked
    if revoke is None or (revoke.completed_ns or 0) >= probe.invoked_ns:
        return None
    cast = Cast([attach, revoke, probe])
    names = [cast.name(one) for one in (attach, revoke, probe)]
    return anomaly(
        "lease-outlived-revoke",
        f"{who(probe)} found {probe.input['key']}, whose lease had been revoked.",
        [
            (
                f"Then {probe.input['key']} is gone, because {names[0]} had attached it to "
                f"the lease "
                f"which {names[1]} revoked, and {cast.order(revoke, probe)}."
            ),
            f"However, {names[2]} found it.",
        ],
        cast,
    )


def _returned(key: _Key) -> list[Anomaly]:
    """Judge what happened after a key was found gone that had been attached once."""
    gone: tuple[Operation, Operation, _Lease] | None = None
    for probe in sorted(key.probes, key=lambda one: one.completed_ns or 0):
        last = key.last_before(probe)
        if last and not probe.output and (last[0].completed_ns or FOREVER) < probe.invoked_ns:
            gone = (probe, *last)
            break
    if gone is None:
        return []
    absent, attach, lease = gone
    answered = absent.completed_ns or 0
    found = []
    again = next((one for one in key.probes if one.output and one.invoked_ns > answered), None)
    if again is not None and key.last_before(again) == (attach, lease):
        found.append(_back(absent, attach, again))
    for _, renewal in lease.renewals:
        if renewal.f == "keepalive" and renewal.invoked_ns > answered:
            found.append(_kept(absent, attach, renewal))
            break
    return found


def _back(absent: Operation, attach: Operation, again: Operation) -> Anomaly:
    cast = Cast([attach, absent, again])
    names = [cast.name(one) for one in (attach, absent, again)]
    key = again.input["key"]
    return anomaly(
        "lease-key-returned",
        f"{who(again)} found {key}, which was gone with its lease.",
        [
            (
                f"Then {key} stays gone, because {names[1]} no longer found it after {names[0]} "
                f"had attached it, and nobody attached it again."
            ),
            f"However, {names[2]} found it, and {cast.order(absent, again)}.",
        ],
        cast,
    )


def _kept(absent: Operation, attach: Operation, renewal: Operation) -> Anomaly:
    cast = Cast([attach, absent, renewal])
    names = [cast.name(one) for one in (attach, absent, renewal)]
    key = absent.input["key"]
    return anomaly(
        "lease-kept-after-its-end",
        f"{who(renewal)} kept a lease alive whose key {key} was already gone.",
        [
            (
                f"Then the lease had ended, because {names[1]} no longer found {key}, which "
                f"{names[0]} had attached to it."
            ),
            f"However, {names[2]} was told that it lives on, and {cast.order(absent, renewal)}.",
        ],
        cast,
    )
