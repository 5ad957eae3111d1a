"""Counts and latencies of operations; checks that the test exercised every function.

Each function the workload used must have succeeded at least once, and each `kind` of it that the
workload distinguishes (in an invocation's `meta`); otherwise other verdicts rest on nothing, and
this one is unknown. Latencies are of the controller's clock, from invocation to completion.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from squall.checkers.evidence import Evidence
from squall.checkers.history import History, Operation, OpType
from squall.checkers.verdict import Budget, Checker, Validity, Verdict

CLAIM: Final = "Every kind of operation succeeded at least once."

ERRORS_MAX: Final = 20
"""Kinds of error that are listed; the rest is summed up as "other"."""

QUANTILES: Final = (0.5, 0.95, 0.99)

_NUMBERS = re.compile(r"\b(?:0x)?[0-9a-f]*\d[0-9a-f]*(?:\.\d+)?\b")


def statistics() -> Checker:
    """Return the checker."""

    def check(history: History, _evidence: Evidence, _budget: Budget) -> Verdict:
        return check_statistics(history)

    return Checker(name="statistics", check=check)


def check_statistics(history: History) -> Verdict:
    """Count operations by function and outcome."""
    by_f: dict[str, list[Operation]] = {}
    for operation in history.operations:
        by_f.setdefault(_kind(operation), []).append(operation)
    seconds = history.duration_ns / 1e9
    functions = {f: _function(operations, seconds) for f, operations in sorted(by_f.items())}
    never = [f for f, counts in functions.items() if not counts["ok"]]
    total = len(history.operations)
    ok = sum(counts["ok"] for counts in functions.values())
    reason = None
    if not total:
        reason = "no client did anything"
    elif never:
        reason = f"no {' and no '.join(never)} ever succeeded"
    return Verdict(
        checker="statistics",
        validity=Validity.UNKNOWN if reason else Validity.VALID,
        claim=CLAIM,
        evidence=f"{total:,} operations, {ok:,} ok",
        reason=reason,
        stats={
            "operations": total,
            "ok": ok,
            "fail": sum(counts["fail"] for counts in functions.values()),
            "info": sum(counts["info"] for counts in functions.values()),
            "rate_per_s": round(total / seconds, 3) if seconds else 0.0,
            "functions": functions,
            "errors": _errors(history.operations),
        },
    )


def _kind(operation: Operation) -> str:
    kind = (operation.meta or {}).get("kind")
    return f"{operation.f} {kind}" if kind else operation.f


def _function(operations: list[Operation], seconds: float) -> dict[str, Any]:
    """Count one function: outcomes, operations a second, latency quantiles of the ok ones in ms."""
    counts = dict.fromkeys(("ok", "fail", "info"), 0)
    latencies = []
    for operation in operations:
        counts[operation.outcome.value] += 1
        if operation.outcome is OpType.OK and operation.completed_ns is not None:
            latencies.append(operation.completed_ns - operation.invoked_ns)
    return {
        **counts,
        "rate_per_s": round(len(operations) / seconds, 3) if seconds else 0.0,
        "latency_ms": quantiles_ms(latencies),
    }


def quantiles_ms(durations_ns: Sequence[int]) -> dict[str, float]:
    """Return quantiles of some durations in milliseconds (nearest rank); {} for no durations."""
    if not durations_ns:
        return {}
    ordered = sorted(durations_ns)
    found = {f"p{q * 100:g}": quantile(ordered, q) for q in QUANTILES} | {"max": ordered[-1]}
    return {name: round(duration / 1e6, 3) for name, duration in found.items()}


def quantile(ranked: Sequence[int], share: float) -> int:
    """Nearest rank of a sorted, non-empty sequence: the least that `share` of it does not exceed.

    `share` is taken to the thousandth, so that 0.07 of a hundred is the seventh.
    """
    rank = -(-len(ranked) * round(share * 1000) // 1000)
    return ranked[max(1, rank) - 1]


def _errors(operations: Sequence[Operation]) -> dict[str, int]:
    """Count errors by text, numbers and addresses left out, most frequent first."""
    counts: dict[str, int] = {}
    for operation in operations:
        if operation.error:
            text = f"{operation.f} {operation.outcome.value}: {_NUMBERS.sub('#', operation.error)}"
            counts[text] = counts.get(text, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = dict(ordered[:ERRORS_MAX])
    if len(ordered) > ERRORS_MAX:
        listed["other"] = sum(count for _, count in ordered[ERRORS_MAX:])
    return listed
