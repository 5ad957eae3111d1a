"""Leases: what was attached to one lives at least as long as promised, and goes when revoked.

    grant      -> {"id", "ttl_ms"}         keepalive  {"id"} -> {"ttl_ms"} (0: it is gone)
    attach     {"id", "key"}               revoke     {"id"}
    probe      {"key"} -> true | false     whether the key is there, read linearizably

A lease's end is a lower bound only: it never ends before its ttl has passed since the *call* of the
grant or of the last keepalive that was answered. So a key is certainly there when it was attached,
nobody called a revoke, and the probe was answered before that moment. When a revoke was
acknowledged, a probe called later must not find the key. All times are the controller's: no node's
clock counts.
"""

from __future__ import annotations

from typing import Any, Final

from checkers.evidence import Evidence
from checkers.explain import Cast, anomaly, who
from checkers.history import History, MalformedHistory, Operation, OpType
from checkers.verdict import Anomaly, Budget, Checker, Validity, Verdict
from checkers.words import counted

CLAIM: Final = "No lease ends before its time, and a revoked one is gone."

ANOMALIES_MAX: Final = 20
"""Anomalies told in full; the rest is counted."""


class _Lease:
    """What is known of one lease. Times are ns of the controller's clock."""

    def __init__(self) -> None:
        self.renewals: list[tuple[int, Operation]] = []  # (certain until, by whom)
        self.revoke_called: int | None = None
        self.revoked: Operation | None = None
        self.attached: dict[str, Operation] = {}


def leases() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_leases(history)

    return Checker(name="lease", check=check)


def check_leases(history: History) -> Verdict:
    """Judge every lease of a history."""
    known: dict[Any, _Lease] = {}
    of_key: dict[str, _Lease] = {}
    probes: list[Operation] = []
    for one in history.operations:
        if one.f == "probe":
            if one.outcome is OpType.OK:
                probes.append(one)
        elif one.f in {"grant", "keepalive", "attach", "revoke"}:
            _learn(one, known, of_key)
    anomalies: list[Anomaly] = []
    judged = 0
    for probe in probes:
        lease = of_key.get(str(_field(probe, probe.input, "key")))
        if lease is None or probe.completed_ns is None:
            continue
        judged += 1
        found = _early(probe, lease) if not probe.output else _undead(probe, lease)
        if found is not None:
            anomalies.append(found)
    reason = None if judged else "vacuous: no key of a lease was ever probed"
    return Verdict(
        checker="lease",
        validity=Validity.INVALID if anomalies else Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{counted(len(known), 'lease')}, {counted(judged, 'probe')}",
        reason=reason,
        method="lower bounds of each lease",
        anomalies=tuple(anomalies[:ANOMALIES_MAX]),
        stats={"leases": len(known), "probes": judged, "anomalies": len(anomalies)},
    )


def _field(one: Operation, value: Any, name: str) -> Any:
    if not isinstance(value, dict) or not isinstance(value.get(name), str | int):
        raise MalformedHistory(f"op {one.index}: {one.f} without {name!r}")
    return value[name]


def _learn(one: Operation, known: dict[Any, _Lease], of_key: dict[str, _Lease]) -> None:
    if one.f == "grant":
        if one.outcome is OpType.OK:
            lease = known.setdefault(_field(one, one.output, "id"), _Lease())
            _renew(one, lease)
        return
    lease = known.setdefault(_field(one, one.input, "id"), _Lease())
    if one.f == "keepalive" and one.outcome is OpType.OK:
        _renew(one, lease)
    elif one.f == "attach" and one.outcome is OpType.OK:
        key = str(_field(one, one.input, "key"))
        lease.attached[key] = one
        of_key[key] = lease
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


def _early(probe: Operation, lease: _Lease) -> Anomaly | None:
    """Judge a key that was not found: it may have been certain to be there."""
    attach = lease.attached[str(probe.input["key"])]
    if attach.completed_ns is None or attach.completed_ns >= probe.invoked_ns:
        return None
    answered = probe.completed_ns or 0
    if lease.revoke_called is not None and lease.revoke_called <= answered:
        return None
    certain = [
        renewal
        for renewal in lease.renewals
        if renewal[0] > answered and (renewal[1].completed_ns or 0) < probe.invoked_ns
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


def _undead(probe: Operation, lease: _Lease) -> Anomaly | None:
    """Judge a key that was found: its lease may have been revoked before."""
    revoke = lease.revoked
    attach = lease.attached[str(probe.input["key"])]
    if revoke is None or (revoke.completed_ns or 0) >= probe.invoked_ns:
        return None
    if attach.invoked_ns >= revoke.invoked_ns or (attach.completed_ns or 0) >= revoke.invoked_ns:
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
