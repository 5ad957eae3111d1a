"""From a file's content, or a history at hand, to a verdict that accounts for every operation.

    check_file("history.edn", data, None, budget)

detects format and model, judges, reads the proofs again, and says by which path it was decided and
what became of every operation that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from squall.checkers.assumptions import (
    NOTHING_SAID,
    Assumptions,
    Initial,
)
from squall.checkers.budget import Budget, Meter, OutOfBudget
from squall.checkers.collections.queues import (
    FIFO,
    UNNAMED,
    UNORDERED,
)
from squall.checkers.formats.foreign import Foreign, load
from squall.checkers.history import Accounting, History, MalformedHistory, Op, Operation, OpType
from squall.checkers.judge import ALL
from squall.checkers.linearizability.models import (
    Model,
)
from squall.checkers.linearizability.registers import IGNORED
from squall.checkers.proof_check.self_check import self_checked
from squall.checkers.registry import (
    BANK,
    BANK_ORDER,
    ENTRIES,
    Entry,
    Judge,
    UnknownModel,
    entry_of,
    judge_by,
    judge_of,
    undecided,
)
from squall.checkers.text.lanes import value_text
from squall.checkers.transactions.isolation import (
    SERIALIZABLE,
    edges_of,
    level_of,
)
from squall.checkers.verdict import Validity, Verdict


def check_file(
    name: str,
    data: bytes,
    model: str | None,
    budget: Budget,
    assume: Assumptions = NOTHING_SAID,
    *,
    strict: bool = False,
) -> Verdict:
    """Judge a file of any known format; `model` None judges it by what it looks like.

    `assume` is what the user said about it beside that.

    Raises MalformedHistory (whose message begins with the file and the line) and UnknownModel.
    The verdict's `stats` say `format` and `model`, and under `accounting` what became of every
    operation. A history in which nothing could contradict what is claimed is unknown: whoever calls
    that a pass has checked nothing. `strict`: one from which anything was left out is, too.
    """
    meter = Meter(budget)
    if model:
        judge_of(model, initial=assume.initial)  # told before a long file is read
    try:
        found = read_file(name, data, model, meter, assume)
    except OutOfBudget as spent:
        return undecided(model or "none", f"{name}: {spent}")
    left = msgspec.structs.replace(budget, time_s=meter.remaining_s)
    return judge_file(name, found, left, assume=assume, strict=strict)


def read_file(
    name: str,
    data: bytes,
    model: str | None,
    meter: Meter,
    assume: Assumptions = NOTHING_SAID,
    *,
    by_workload: Callable[[str], str] | None = None,
) -> Foreign:
    """Read a file of any known format and settle its model; "" when nothing tells.

    `by_workload` returns the model that judges a workload's histories: a header may name the
    workload instead of the model. None leaves workloads aside.

    Raises MalformedHistory, whose message is one line that begins with the file and the line,
    UnknownModel when the header names a model that there is not, and OutOfBudget.
    """
    return settled(
        name,
        lambda base: load(data, name, base, meter=meter, assume=assume),
        model,
        by_workload,
    )


def settled(
    name: str,
    read: Callable[[str | None], Foreign],
    model: str | None,
    by_workload: Callable[[str], str] | None = None,
) -> Foreign:
    """Read something and settle by what it is judged; raises as `read_file` does.

    `read` takes the model's own name, without its level.
    """
    try:
        found = read(_base(model))
    except MalformedHistory as error:
        raise _in_one_line(error) from None
    model = model or _by_header(found.history, by_workload) or found.model
    if not found.timed:
        base, _, level = model.partition(":")
        if level and edges_of(level_of(level)):
            raise MalformedHistory(
                f"{name}: nothing in this file is invoked, so it says nothing about time and "
                f"clients, by which {level} is judged; ask for {base}:{SERIALIZABLE}"
            )
        model = f"{base}:{level or SERIALIZABLE}"
    return found._replace(model=model)


def judge_file(
    name: str,
    found: Foreign,
    budget: Budget,
    judge: Judge | None = None,
    assume: Assumptions = NOTHING_SAID,
    *,
    strict: bool = False,
) -> Verdict:
    """Judge what was read from a file; raises MalformedHistory and UnknownModel.

    `judge` judges instead of the catalogue's; the model is then only what it is called.
    """
    stats = {"format": found.format, "model": found.model}
    if not found.model:
        functions = sorted({one.f for one in found.history.operations})
        if functions:
            raise MalformedHistory(
                f"{name}: no model is known for operations called {', '.join(functions[:8])}; "
                f"name one of {', '.join(sorted(ENTRIES))}, or a model of your own as "
                f"path/to/file.py:Name"
            )
        return accounted(found, undecided("none", VACUOUS, stats), strict=strict)
    judge = judge or judge_of(
        found.model, closed=found.format == "jsonl", initial=assume.initial, file=name
    )
    if not any(one.outcome is not OpType.FAIL for one in found.history.operations):
        return accounted(found, undecided(found.model, VACUOUS, stats), strict=strict)
    meter = Meter(budget)
    try:
        verdict = judge(found.history, budget)
    except MalformedHistory as error:
        raise _in_one_line(MalformedHistory(f"{name}: {error}")) from None
    except OutOfBudget as spent:
        verdict = undecided(found.model, str(spent))
    took_s = meter.now_s() + budget.time_s - meter.until_s
    verdict = _read_again(verdict, found, budget, took_s)
    if verdict.validity is Validity.INVALID and verdict.reason is None and assume.initial is None:
        left = msgspec.structs.replace(budget, time_s=meter.remaining_s)
        hint = initial_hint(found, left)
        verdict = msgspec.structs.replace(verdict, reason=hint)
    if _base(found.model) == BANK and verdict.validity is Validity.VALID:
        found = found._replace(accounting=_noted(found.accounting, SUMS_ONLY))
    spent_s = meter.now_s() + budget.time_s - meter.until_s
    verdict = msgspec.structs.replace(
        verdict, stats={**verdict.stats, **stats}, elapsed_s=verdict.elapsed_s or spent_s
    )
    return accounted(found, verdict, strict=strict)


def judge_by_model(
    history: Sequence[Op],
    model: str | Callable[[], Model],
    budget: Budget | None = None,
    *,
    initial: Initial | None = None,
    strict: bool = False,
) -> Verdict:
    """Judge a complete history, or its events in order of time, against a model.

    `model` is a name of `ENTRIES`, with what may follow a colon, or what makes a model of your own.
    `budget` is `Budget()` if it is not given. `initial` is what every object holds at first.
    `strict` makes unknown what would be valid while any operation was not judged.

    Raises MalformedHistory and UnknownModel, both ValueErrors.
    """
    name, own = judge_by(model, initial=initial)
    whole = history if isinstance(history, History) else History(history)
    counts = Accounting(events=len(whole), operations=len(whole.operations))
    judge = own or judge_of(name, initial=initial, file=HERE)
    return judge_file(
        HERE,
        Foreign(whole, name, "history", counts),
        budget or Budget(),
        judge,
        Assumptions(initial=initial),
        strict=strict,
    )


HERE: Final = "the history"
"""What messages call a history that is in no file."""


def _read_again(verdict: Verdict, found: Foreign, budget: Budget, took_s: float) -> Verdict:
    """Read the proofs again: those about an independent key by what is known of that key alone."""
    history = found.history
    entry = _entry(found.model)
    if entry is None or not entry.apart or len(history.by_key) < 2 or not verdict.anomalies:
        return self_checked(verdict, history, None, budget, took_s)
    key_of = {op.index: op.key for op in history}
    checked = []
    for key in dict.fromkeys(key_of[one.ops[0]] for one in verdict.anomalies if one.ops):
        mine = tuple(one for one in verdict.anomalies if one.ops and key_of[one.ops[0]] == key)
        part = History([op for op in history if op.key == key], header=history.header)
        of_key = msgspec.structs.replace(verdict, anomalies=mine)
        checked.append(self_checked(of_key, part, None, budget, took_s))
    sound = [one for one in checked if one.validity is Validity.INVALID]
    if not sound:
        return checked[0] if checked else verdict
    flaws = [flaw for one in checked for flaw in one.stats.get("proof_flaws", ())]
    return msgspec.structs.replace(
        verdict,
        anomalies=tuple(found for one in sound for found in one.anomalies),
        stats={**verdict.stats, **({"proof_flaws": flaws} if flaws else {})},
    )


SUMS_ONLY: Final = (
    f"{BANK} claims sums only; which moment each read shows is judged by --model {BANK_ORDER}"
)
"""What is said of a bank that was found to be right."""


def _noted(told: Accounting, note: str) -> Accounting:
    return msgspec.structs.replace(told, notes=(*told.notes, note))


HINT_OPERATIONS_MAX: Final = 2_000
"""Histories longer than this are not judged again to learn what may have been there at first."""


def initial_hint(found: Foreign, budget: Budget) -> str | None:
    """Say how to name what an object may have held at first, if that would explain everything."""
    operations = found.history.operations
    entry = ENTRIES.get(found.model)
    if entry is None or not entry.hinted or len(operations) > HINT_OPERATIONS_MAX:
        return None
    answers = [one for one in operations if one.outcome is OpType.OK and one.output is not None]
    if found.model in {FIFO, UNORDERED, UNNAMED}:
        put = [one.input for one in operations if one.f == "enqueue"]
        candidate: Any = [
            one.output for one in answers if one.f == "dequeue" and one.output not in put
        ]
    else:
        first = next((one.output for one in answers if one.f in {"read", "get"}), None)
        candidate = first
    if candidate in (None, []) or (found.model == "kv" and not isinstance(candidate, str)):
        return None
    try:
        judged = judge_of(found.model, initial=Initial.of(candidate))(found.history, budget)
    except (MalformedHistory, UnknownModel, OutOfBudget):
        return None
    if judged.validity is not Validity.VALID:
        return None
    return f"if it was there at the start, say so with --initial '{value_text(candidate)}'"


def accounted(found: Foreign, verdict: Verdict, *, strict: bool = False) -> Verdict:
    """Say in a verdict's `stats` what became of every operation, and pass nothing unseen.

    A history that nothing could have contradicted is no pass; nor, if `strict`, one of which a part
    was left out.
    """
    told = found.accounting
    left_out = dict(told.left_out)
    for one in _parts(verdict):
        for reason, count in one.stats.get("left_out", {}).items():
            left_out[reason] = left_out.get(reason, 0) + count
    told = msgspec.structs.replace(told, left_out=left_out)
    stats = {**verdict.stats, "accounting": {**msgspec.to_builtins(told), "judged": told.judged}}
    verdict = msgspec.structs.replace(verdict, stats=stats)
    missing = "; ".join(f"{count} left out: {reason}" for reason, count in left_out.items())
    if missing and (verdict.reason or "").startswith("vacuous") and not verdict.children:
        verdict = msgspec.structs.replace(verdict, reason=f"{verdict.reason} ({missing})")
    if verdict.validity is not Validity.VALID:
        return verdict
    if not any(_observes(one, found.model) for one in found.history.operations):
        because = f" ({missing})" if missing else ""
        return _no_pass(verdict, f"{UNSEEN}{because}")
    return _no_pass(verdict, f"strict: {missing}") if strict and missing else verdict


def _parts(verdict: Verdict) -> list[Verdict]:
    """The verdicts whose omissions add up to those of a file.

    Several checkers of one history leave different operations out: the first of them judges it as a
    whole, what others leave out is their own business, and stands in their own `stats`.
    """
    children = verdict.children[:1] if verdict.checker == ALL else verdict.children
    return [verdict, *(one for child in children for one in _parts(child))]


def _no_pass(verdict: Verdict, reason: str) -> Verdict:
    """Turn a pass into an unknown, with the checker that says so among the others."""
    if not verdict.children:
        return msgspec.structs.replace(verdict, validity=Validity.UNKNOWN, reason=reason)
    child = undecided("accounting", reason)
    return msgspec.structs.replace(
        verdict,
        validity=Validity.UNKNOWN,
        reason=f"{child.checker}: {reason}",
        children=(*verdict.children, child),
    )


def _observes(one: Operation, model: str) -> bool:
    """Whether an operation's answer could contradict what is claimed.

    An acknowledged write says only that it happened, whatever its name is, unless a model of the
    user's own lets it answer something; a transaction says what its reads returned. An answer of
    etcd's has a revision, and a lock's has a holder.
    """
    if one.outcome is not OpType.OK or one.f in IGNORED:
        return False
    if one.f == "txn" and isinstance(one.output, list | tuple):
        return any(isinstance(mop, list | tuple) and mop[:1] == ["r"] for mop in one.output)
    entry = ENTRIES.get(model.partition(":")[0])
    if one.f not in BLIND or (entry is not None and entry.telling):
        return True
    return entry is None and one.output is not None and one.output != one.input


BLIND: Final = frozenset(
    {"write", "put", "append", "add", "inc", "increment", "dec", "decrement", "remove", "delete"}
    | {"broadcast", "enqueue", "push", "send", "publish", "transfer", "insert", "update"}
)
"""Functions whose acknowledgement shows nothing of the state."""

UNSEEN: Final = "vacuous: nothing was read, so nothing could have contradicted it"
"""Why a history of writes only is unknown."""


def _in_one_line(error: MalformedHistory) -> MalformedHistory:
    """What a file calls things may hold anything; the message is one line."""
    return MalformedHistory("".join(one if one.isprintable() else " " for one in str(error)))


def _by_header(history: History, by_workload: Callable[[str], str] | None) -> str:
    """The model that a history's header asks for, by its name or a workload's; "" if none.

    Raises UnknownModel for a model that there is not: another one would be judged instead.
    """
    model = str(history.header.get("model") or "")
    if model:
        judge_of(model)
        return model
    name = by_workload(str(history.header.get("workload", ""))) if by_workload is not None else ""
    try:
        judge_of(name)
    except UnknownModel:
        return ""
    return name


def _entry(model: str) -> Entry | None:
    """The entry of a model that may have a level; None of a user's own."""
    try:
        return entry_of(model.partition(":")[0])
    except UnknownModel:
        return None


def _base(model: str | None) -> str | None:
    """The model's own name, without its level and under the name it has here."""
    if not model:
        return None
    entry = _entry(model)
    return entry.name if entry is not None else model.partition(":")[0]


VACUOUS: Final = "vacuous: there is no operation to judge"
"""Why a history in which nothing happened is unknown."""
