"""Proofs that a register's operations have no order: each conflict found by `zones`, as sentences.

Each kind of conflict has an argument of its own. The operations shown beside it are the witnesses
with the writers of the values they saw: a history that is invalid by itself (`shrink.around`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple

import msgspec

from squall.checkers.history import Operation
from squall.checkers.linearizability.registers import RegisterHistory, freeze, thaw
from squall.checkers.linearizability.shrink import Excerpt, around
from squall.checkers.linearizability.thin_air import could_be_initial
from squall.checkers.linearizability.zones import INITIAL, Conflict
from squall.checkers.text.proof import (
    Cast,
    anomaly,
    had_done,
    observed,
    phrase,
    saw,
    value_phrase,
    who,
    written,
)
from squall.checkers.text.words import listed
from squall.checkers.verdict import Anomaly

FAILED_MAX: Final = 4
"""Failed writes of one value named in a proof."""


class _Proof(NamedTuple):
    """The parts of one proof."""

    key: str
    register: RegisterHistory
    conflict: Conflict
    excerpt: Excerpt
    initial: Hashable = None

    @property
    def before(self) -> Operation:
        """The operation in the conflict's role `before`."""
        return self.register.rows[self.conflict.before]

    @property
    def after(self) -> Operation:
        """The operation in the conflict's role `after`."""
        return self.register.rows[self.conflict.after]

    @property
    def glue(self) -> list[Operation]:
        """The compare-and-sets that link the values of the witnesses."""
        return [self.register.rows[row] for row in self.conflict.chain]

    @property
    def begun(self) -> str:
        """The initial value, as a clause."""
        return value_phrase(thaw(self.initial))

    def cast(self, operations: Sequence[Operation]) -> Cast:
        """Name the operations that the proof mentions."""
        return Cast(operations, self.excerpt.proofs)

    def anomaly(
        self,
        kind: str,
        summary: str,
        sentences: Sequence[str],
        cast: Cast,
        *,
        shown: Sequence[Operation] | None = None,
    ) -> Anomaly:
        """Assemble the anomaly; `shown` are the operations of the lanes, by default the excerpt."""
        data = {} if self.initial is None else {"begun": thaw(self.initial)}
        shown = self.excerpt.operations if shown is None else shown
        return anomaly(kind, summary, sentences, cast, shown=shown, data=data)


def explain_conflict(
    key: str | None, register: RegisterHistory, conflict: Conflict, initial: Hashable = None
) -> Anomaly:
    """Prove a conflict that the zones found among rows; `initial` is the register's first value."""
    rows = (conflict.before, conflict.after, conflict.then, conflict.again, *conflict.chain)
    witnesses = [register.rows[row] for row in rows if row != INITIAL]
    prove = {
        "unwritten-value": _unwritten,
        "lost-update": _lost_update,
        "circular-cas": _circular,
        "future-read": _future,
        "out-of-order": _out_of_order,
        "stale-read": _stale,
    }[conflict.kind]
    name = key if key is not None else "the register"
    excerpt = around(register.rows, witnesses, register)
    return prove(_Proof(name, register, conflict, excerpt, initial))


def _linked(cast: Cast, glue: Sequence[Operation]) -> str:
    """Mention the compare-and-sets that join several values into one chain."""
    if not glue:
        return ""
    links = ", ".join(cast.name(one) for one in glue)
    return f" ({links} replaced one of these values by the next, with nothing in between)"


def _unwritten(proof: _Proof) -> Anomaly:
    reader, key = proof.after, proof.key
    value = freeze(observed(reader))
    failed = proof.register.failed.get(value, [])[:FAILED_MAX]
    text = value_phrase(observed(reader))
    if not failed:
        cast = proof.cast([reader])
        hint = could_be_initial(proof.register, value, proof.initial)
        told = proof.anomaly(
            "unwritten-value",
            f"{who(reader)} found {text} in {key}, which nobody ever wrote there.",
            [
                f"Then {text} was the value of {key} once: {cast.name(reader)} found it.",
                f"However, no operation on {key} wrote {text}, and it was not there at the start.",
            ],
            cast,
        )
        if not hint:
            return told
        return msgspec.structs.replace(told, data={**told.data, "initial": thaw(value)})
    cast = proof.cast([*failed, reader])
    only, *others = failed
    because = f" ({only.error})" if only.error else ""
    write, however = "the only write", f"only {cast.name(only)} would have written {text}, and its "
    however += f"client was told that it did not happen and never will{because}."
    if others:
        write, names = "every write", listed([cast.name(one) for one in failed])
        however = f"all that would have written {text} failed for certain, as {names} did."
    return proof.anomaly(
        "aborted-read",
        f"{who(reader)} found {text} in {key}, although {write} of it had failed.",
        [
            f"Then {text} was the value of {key} once: {cast.name(reader)} found it.",
            f"However, {however}",
        ],
        cast,
        shown=[*failed, *proof.excerpt.operations],
    )


def _lost_update(proof: _Proof) -> Anomaly:
    one, other = sorted((proof.before, proof.after), key=lambda operation: operation.invoked_ns)
    cast = proof.cast([one, other])
    value = value_phrase(observed(one))
    origin = f"{value} was written only once"
    if freeze(observed(one)) == proof.initial:
        origin = f"{value} was there at the start, and nobody wrote it"
        origin = "nobody removed it" if observed(one) is None else origin
    both = f"{cast.name(one)} and {cast.name(other)}"
    return proof.anomaly(
        "lost-update",
        f"{who(one)} and {who(other)} both replaced the same {value} in {proof.key}: "
        f"one update is lost.",
        [
            f"Then {both} each found {value} and replaced it.",
            (
                f"However, {origin}: once the first of them had replaced it, it was gone for good, "
                f"and the second must have been refused."
            ),
        ],
        cast,
    )


def _circular(proof: _Proof) -> Anomaly:
    circle = proof.glue
    cast = proof.cast(circle)
    steps = [
        f"{cast.name(after)} comes after {cast.name(before)}, because it replaced "
        f"{value_phrase(observed(after))}, which only {cast.name(before)} wrote"
        for before, after in zip(circle, circle[1:] + circle[:1], strict=True)
    ]
    return proof.anomaly(
        "circular-cas",
        f"{len(circle)} compare-and-sets on {proof.key} each succeeded on a value that only "
        f"another of them could have written."
        if len(circle) > 1
        else f"A compare-and-set on {proof.key} succeeded on a value that nobody else wrote.",
        [
            "Then " + ";\n    ".join(steps) + ".",
            "However, that is a circle: none of them can have been the first.",
        ],
        cast,
    )


def _future(proof: _Proof) -> Anomaly:
    writer, early = proof.before, proof.after
    cast = proof.cast([writer, *proof.glue, early])
    value = value_phrase(written(writer))
    found = f"what came of {value}{_linked(cast, proof.glue)}" if proof.glue else value
    return proof.anomaly(
        "future-read",
        f"{who(early)} {saw(early)} in {proof.key} before {phrase(writer)} was called.",
        [
            (
                f"Then {cast.name(writer)} came before {cast.name(early)}, because "
                f"{cast.name(early)} found {found}, and nobody else wrote {value}."
            ),
            f"However, {cast.order(early, writer)}.",
        ],
        cast,
    )


def _out_of_order(proof: _Proof) -> Anomaly:
    late, early, glue = proof.before, proof.after, proof.glue
    cast = proof.cast([early, *glue, late])
    value = value_phrase(observed(late))
    replacer = glue[0] if glue else early
    replaced = f"{cast.name(replacer)} replaced {value} by {value_phrase(written(replacer))}"
    if glue:
        replaced += f", and {cast.name(early)} found what came of it{_linked(cast, glue[1:])}"
    return proof.anomaly(
        "stale-read",
        f"{who(late)} {saw(late)} from {proof.key}, after {had_done(early)}.",
        [
            (
                f"Then {cast.name(late)} came before {cast.name(early)}, because {replaced}; and "
                f"{value} was never written again."
            ),
            f"However, {cast.order(early, late)}.",
        ],
        cast,
    )


def _stale(proof: _Proof) -> Anomaly:
    rows, conflict, key = proof.register.rows, proof.conflict, proof.key
    after, then, again = proof.after, rows[conflict.then], rows[conflict.again]
    named = [after, *proof.glue, then, again]
    if conflict.before == INITIAL:
        cast = proof.cast(named)
        sentences = [
            (
                f"Then the time in which {key} was {proof.begun} came before {cast.name(after)}: "
                f"{key} was {proof.begun} at the start, and nobody wrote {proof.begun} again"
                f"{_linked(cast, proof.glue)}."
            )
        ]
    else:
        before = proof.before
        cast = proof.cast([before, *named])
        sentences = [
            (
                f"Then {cast.name(before)} came before {cast.name(after)}, because "
                f"{cast.order(before, after)}."
            ),
            (
                f"And {value_phrase(observed(again))} was written only once, so {key} held it "
                f"during one unbroken stretch of time, which therefore ended before "
                f"{value_phrase(written(after))} took its place{_linked(cast, proof.glue)}."
            ),
        ]
    sentences.append(
        f"However, {cast.order(then, again)}, and {cast.name(again)} still {saw(again)}."
    )
    swap = again.f == "cas" and written(again) is not observed(again)
    kind, where = ("stale-cas", "in") if swap else ("stale-read", "from")
    return proof.anomaly(
        kind, f"{who(again)} {saw(again)} {where} {key}, after {had_done(then)}.", sentences, cast
    )
