"""What a sequential object does: the specification a history is measured against.

A model is a record of pure functions, as in Porcupine. A new one takes fifteen lines:

    class Counter:
        name = "counter"
        init = 0
        def step(self, state, given, answer):
            f, amount = given
            if f == "add":
                return True, state + amount
            return answer is UNKNOWN or answer == state, state
        def read_only(self, given, answer):
            return given[0] == "read"
        def describe(self, given, answer):
            return f"{given[0]} {given[1]} -> {answer}"

`given` is the pair (function, argument); `answer` is what came back, or UNKNOWN when nothing did.
States are immutable and hashable. A method `show(state)` may say a state in words, for proofs. Of
an object made with what it holds at first `begun` is that, as JSON. `choices` are functions whose
unanswered call may leave one of several states, while `step` knows one of them.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, Protocol

from squall.checkers.linearizability.registers import freeze, swapped

Given = tuple[str, Any]


class _Unknown:
    """The type of UNKNOWN: the answer nobody got."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()


class Model(Protocol):
    """A deterministic sequential object."""

    name: str
    init: Hashable

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Hashable]:
        """Say whether `answer` is right for `given` in `state`, and return the state after it.

        With answer UNKNOWN any answer is right and only the effect matters.
        """
        ...

    def read_only(self, given: Given, answer: Any) -> bool:
        """Whether this call changes no state, in whatever state. False is always safe, but slow."""
        ...

    def describe(self, given: Given, answer: Any) -> str:
        """Say it in a few words, for the explanation."""
        ...


class Register:
    """A register that is read and written."""

    name = "register"

    def __init__(self, init: Any = None) -> None:
        self.begun = init
        self.init: Hashable = freeze(init)

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Hashable]:
        """Apply one call."""
        f, argument = given
        if f == "write":
            return True, freeze(argument)
        return answer is UNKNOWN or freeze(answer) == state, state

    def read_only(self, given: Given, answer: Any) -> bool:  # noqa: ARG002 - the protocol's
        """Reads change nothing."""
        return given[0] == "read"

    def describe(self, given: Given, answer: Any) -> str:
        """Say it in a few words."""
        return f"write {given[1]}" if given[0] == "write" else f"read {answer}"


class CasRegister:
    """A register with compare-and-set, whose refusal may or may not tell what it saw."""

    name = "cas-register"

    def __init__(self, init: Any = None) -> None:
        self.begun = init
        self.init: Hashable = freeze(init)

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Hashable]:
        """Apply one call."""
        f, argument = given
        if f == "cas":
            expected, new = freeze(argument[0]), freeze(argument[1])
            if answer is UNKNOWN:
                return True, new if state == expected else state
            if swapped(answer):
                return state == expected, new
            if isinstance(answer, dict) and "seen" in answer and freeze(answer["seen"]) != state:
                return False, state
            return state != expected, state
        return _REGISTER.step(state, given, answer)

    def read_only(self, given: Given, answer: Any) -> bool:
        """Reads and refused compare-and-sets change nothing."""
        if given[0] == "cas":
            return answer is not UNKNOWN and not swapped(answer)
        return given[0] == "read"

    def describe(self, given: Given, answer: Any) -> str:
        """Say it in a few words."""
        if given[0] != "cas":
            return _REGISTER.describe(given, answer)
        expected, new = given[1]
        if answer is UNKNOWN:
            return f"cas {expected} -> {new}, unanswered"
        if swapped(answer):
            return f"cas {expected} -> {new}"
        seen = (
            answer.get("seen", "something else") if isinstance(answer, dict) else "something else"
        )
        return f"cas {expected} -> {new} refused, saw {seen}"


_REGISTER = Register()

__all__ = ["UNKNOWN", "CasRegister", "Given", "Model", "Register"]
