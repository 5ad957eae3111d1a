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
from squall.checkers.linearizability.shrink import Surroundings, around
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


class _Scene(NamedTuple):
    """The parts of one proof."""

    key: str
    register: RegisterHistory
    conflict: Conflict
    surroundings: Surroundings
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
        return Cast(operations, self.surroundings.proofs)

    def anomaly(self, kind: str, summary: str, sentences: Sequence[str], cast: Cast) -> Anomaly:
        """Assemble the anomaly."""
        return anomaly(kind, summary, sentences, cast, shown=self.surroundings.operations)


def explain_conflict(
    key: str | None, register: RegisterHistory, conflict: Conflict, initial: Hashable = None
) -> Anomaly:
    """Prove a conflict that the zones found among rows; `initial` is the register's first value."""
    rows = (conflict.before, conflict.after, conflict.then, conflict.again, *conflict.chain)
    witnesses = [register.rows[row] for row in rows if row != INITIAL]
    tell = {
        "unwritten-value": _unwritten,
        "lost-update": _lost_update,
        "circular-cas": _circular,
        "future-read": _future,
        "out-of-order": _out_of_order,
        "stale-read": _stale,
    }[conflict.kind]
    name = key if key is not None else "the register"
    surroundings = around(register.rows, witnesses, register)
    return tell(_Scene(name, register, conflict, surroundings, initial))


def _glued(cast: Cast, glue: Sequence[Operation]) -> str:
    """Mention the compare-and-sets that join several values into one chain."""
    if not glue:
        return ""
    links = ", ".join(cast.name(one) for one in glue)
    return f" ({links} replaced one of these values by the next, with nothing in between)"


def _unwritten(scene: _Scene) -> Anomaly:
    reader, key = scene.after, scene.key
    value = freeze(observed(reader))
    failed = scene.register.failed.get(value, [])[:FAILED_MAX]
    text = value_phrase(observed(reader))
    if not failed:
        cast = scene.cast([reader])
        hint = could_be_initial(scene.register, value, scene.initial)
        told = scene.anomaly(
            "unwritten-value",
            f"{who(reader)} found {text} in {key}, which nobody ever wrote there.",
            [
                f"Then {text} was the value of {key} once: {cast.name(reader)} found it.",
                f"However, no operation on {key} wrote {text}, and it was not there at the start.",
            ],
            cast,
        )
        return msgspec.structs.replace(told, data={"initial": thaw(value)}) if hint else told
    cast = scene.cast([*failed, reader])
    only, *others = failed
    because = f" ({only.error})" if only.error else ""
    write, however = "the only write", f"only {cast.name(only)} would have written {text}, and its "
    however += f"client was told that it did not happen and never will{because}."
    if others:
        write, names = "every write", listed([cast.name(one) for one in failed])
        however = f"all that would have written {text} failed for certain, as {names} did."
    return anomaly(
        "aborted-read",
        f"{who(reader)} found {text} in {key}, although {write} of it had failed.",
        [
            f"Then {text} was the value of {key} once: {cast.name(reader)} found it.",
            f"However, {however}",
        ],
        cast,
        shown=[*failed, *scene.surroundings.operations],
    )


def _lost_update(scene: _Scene) -> Anomaly:
    one, other = sorted((scene.before, scene.after), key=lambda operation: operation.invoked_ns)
    cast = scene.cast([one, other])
    value = value_phrase(observed(one))
    origin = f"{value} was written only once"
    if freeze(observed(one)) == scene.initial:
        origin = f"{value} was there at the start, and nobody wrote it"
        origin = "nobody removed it" if observed(one) is None else origin
    both = f"{cast.name(one)} and {cast.name(other)}"
    return scene.anomaly(
        "lost-update",
        f"{who(one)} and {who(other)} both replaced the same {value} in {scene.key}: "
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


def _circular(scene: _Scene) -> Anomaly:
    circle = scene.glue
    cast = scene.cast(circle)
    steps = [
        f"{cast.name(after)} comes after {cast.name(before)}, because it replaced "
        f"{value_phrase(observed(after))}, which only {cast.name(before)} wrote"
        for before, after in zip(circle, circle[1:] + circle[:1], strict=True)
    ]
    return scene.anomaly(
        "circular-cas",
        f"{len(circle)} compare-and-sets on {scene.key} each succeeded on a value that only "
        f"another of them could have written."
        if len(circle) > 1
        else f"A compare-and-set on {scene.key} succeeded on a value that nobody else wrote.",
        [
            "Then " + ";\n    ".join(steps) + ".",
            "However, that is a circle: none of them can have been the first.",
        ],
        cast,
    )


def _future(scene: _Scene) -> Anomaly:
    writer, early = scene.before, scene.after
    cast = scene.cast([writer, *scene.glue, early])
    value = value_phrase(written(writer))
    found = f"what came of {value}{_glued(cast, scene.glue)}" if scene.glue else value
    return scene.anomaly(
        "future-read",
        f"{who(early)} {saw(early)} in {scene.key} before {phrase(writer)} was called.",
        [
            (
                f"Then {cast.name(writer)} came before {cast.name(early)}, because "
                f"{cast.name(early)} found {found}, and nobody else wrote {value}."
            ),
            f"However, {cast.order(early, writer)}.",
        ],
        cast,
    )


def _out_of_order(scene: _Scene) -> Anomaly:
    late, early, glue = scene.before, scene.after, scene.glue
    cast = scene.cast([early, *glue, late])
    value = value_phrase(observed(late))
    replacer = glue[0] if glue else early
    replaced = f"{cast.name(replacer)} replaced {value} by {value_phrase(written(replacer))}"
    if glue:
        replaced += f", and {cast.name(early)} found what came of it{_glued(cast, glue[1:])}"
    return scene.anomaly(
        "stale-read",
        f"{who(late)} {saw(late)} from {scene.key}, after {had_done(early)}.",
        [
            (
                f"Then {cast.name(late)} came before {cast.name(early)}, because {replaced}; and "
                f"{value} was never written again."
            ),
            f"However, {cast.order(early, late)}.",
        ],
        cast,
    )


def _stale(scene: _Scene) -> Anomaly:
    rows, conflict, key = scene.register.rows, scene.conflict, scene.key
    after, then, again = scene.after, rows[conflict.then], rows[conflict.again]
    named = [after, *scene.glue, then, again]
    if conflict.before == INITIAL:
        cast = scene.cast(named)
        sentences = [
            (
                f"Then the time in which {key} was {scene.begun} came before {cast.name(after)}: "
                f"{key} was {scene.begun} at the start, and nobody wrote {scene.begun} again"
                f"{_glued(cast, scene.glue)}."
            )
        ]
    else:
        before = scene.before
        cast = scene.cast([before, *named])
        sentences = [
            (
                f"Then {cast.name(before)} came before {cast.name(after)}, because "
                f"{cast.order(before, after)}."
            ),
            (
                f"And {value_phrase(observed(again))} was written only once, so {key} held it "
                f"during one unbroken stretch of time, which therefore ended before "
                f"{value_phrase(written(after))} took its place{_glued(cast, scene.glue)}."
            ),
        ]
    sentences.append(
        f"However, {cast.order(then, again)}, and {cast.name(again)} still {saw(again)}."
    )
    swap = again.f == "cas" and written(again) is not observed(again)
    kind, where = ("stale-cas", "in") if swap else ("stale-read", "from")
    return scene.anomaly(
        kind, f"{who(again)} {saw(again)} {where} {key}, after {had_done(then)}.", sentences, cast
    )
