"""What a sequential object does: the specification a history is measured against.

A model is a record of pure functions, as in Porcupine. A new one takes fifteen lines:

    class Counter:
        name = "counter"
        functions = frozenset({"add", "read"})
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

What an operation of the models here is asked and answered:

    register        read -> value · write value                        None at first
    cas-register    the same · cas [expected, new] -> whether it did   None at first
    kv              get -> text · put text · append text               "" at first
    set             add x · remove x · read -> list of all elements
    counter         add n · read -> total
    fifo-queue      enqueue x · dequeue -> x, the oldest, or None when it was empty
    unordered-queue enqueue x · dequeue -> x, any, or None when it was empty
    mutex           acquire · release
    fenced-mutex    acquire -> token · release
    multi-register  txn of [r, key, value] and [w, key, value]

Each may be made with what it holds at first: a value, a text, elements, a number, a map; not so the
locks. `squall.checkers.etcd.model` is the store of etcd.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
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
    """A deterministic sequential object.

    It may also have `functions`, the names of those it understands: a history that holds others is
    then unknown instead of being handed to `step`.
    """

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
    functions = frozenset({"read", "write"})

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
    functions = frozenset({"read", "write", "cas"})

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


class KeyValue:
    """One key that holds a text, as in Porcupine's tests."""

    name = "kv"
    functions = frozenset({"get", "put", "append"})

    def __init__(self, init: Any = "") -> None:
        self.begun = init
        self.init: Hashable = "" if init is None else str(init)

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Hashable]:
        """Apply one call."""
        f, argument = given
        if f == "get":
            return answer is UNKNOWN or (answer or "") == state, state
        text = "" if argument is None else str(argument)
        return True, state + text if f == "append" else text

    def read_only(self, given: Given, answer: Any) -> bool:  # noqa: ARG002 - the protocol's
        """Only get changes nothing."""
        return given[0] == "get"

    def show(self, state: Any) -> str:
        """Say a state."""
        return repr(state)

    def describe(self, given: Given, answer: Any) -> str:
        """Say it in a few words."""
        return f"get {answer!r}" if given[0] == "get" else f"{given[0]} {given[1]!r}"


class Set:
    """A set whose elements are added, removed and read all at once."""

    name = "set"
    functions = frozenset({"add", "remove", "read"})

    def __init__(self, init: Any = ()) -> None:
        self.begun = [*_elements(init)]
        self.init: Hashable = frozenset(map(freeze, self.begun))

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Hashable]:
        """Apply one call."""
        f, argument = given
        if f == "read":
            if answer is UNKNOWN:
                return True, state
            shown = [*map(freeze, answer or ())]  # an element that is shown twice is not in a set
            return len(shown) == len(state) and frozenset(shown) == state, state
        element = frozenset([freeze(argument)])
        return True, state | element if f == "add" else state - element

    def read_only(self, given: Given, answer: Any) -> bool:  # noqa: ARG002 - the protocol's
        """Only reads change nothing."""
        return given[0] == "read"

    def show(self, state: Any) -> str:
        """Say a state."""
        return f"{{{', '.join(sorted(map(str, state)))}}}" if state else "empty"

    def describe(self, given: Given, answer: Any) -> str:
        """Say it in a few words."""
        return f"read {answer}" if given[0] == "read" else f"{given[0]} {given[1]}"


class Counter:
    """A number to which amounts are added."""

    name = "counter"
    functions = frozenset({"add", "read"})

    def __init__(self, init: Any = 0) -> None:
        self.begun = init
        self.init: Hashable = _amount(init)

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Hashable]:
        """Apply one call."""
        f, amount = given
        if f == "add":
            return True, state + amount
        return answer is UNKNOWN or answer == state, state

    def read_only(self, given: Given, answer: Any) -> bool:  # noqa: ARG002 - the protocol's
        """Only reads change nothing."""
        return given[0] == "read"

    def describe(self, given: Given, answer: Any) -> str:
        """Say it in a few words."""
        return f"read {answer}" if given[0] == "read" else f"add {given[1]}"


class FifoQueue:
    """First in, first out."""

    name = "fifo-queue"
    functions = frozenset({"enqueue", "dequeue"})

    def __init__(self, init: Any = ()) -> None:
        self.begun = [*_elements(init)]
        self.init: Hashable = tuple(map(freeze, self.begun))

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Hashable]:
        """Apply one call."""
        f, argument = given
        if f == "enqueue":
            return True, (*state, freeze(argument))
        first = state[0] if state else None
        return answer is UNKNOWN or freeze(answer) == first, state[1:]

    def read_only(self, given: Given, answer: Any) -> bool:
        """Only finding it empty changes nothing."""
        return given[0] == "dequeue" and answer is None

    def show(self, state: Any) -> str:
        """Say a state."""
        return f"[{', '.join(map(str, state))}]" if state else "empty"

    def describe(self, given: Given, answer: Any) -> str:
        """Say it in a few words."""
        return f"dequeue {answer}" if given[0] == "dequeue" else f"enqueue {given[1]}"


class UnorderedQueue(FifoQueue):
    """Each element comes out at most once, in any order. State: the elements, sorted.

    An unanswered dequeue may have taken any element, so it is no function of the state: without an
    answer it takes nothing here. An order found so is one; where there is none, the rest is open.
    """

    name = "unordered-queue"
    choices = frozenset({"dequeue"})

    def __init__(self, init: Any = ()) -> None:
        self.begun = [*_elements(init)]
        self.init: Hashable = _sorted(map(freeze, self.begun))

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Hashable]:
        """Apply one call."""
        f, argument = given
        if f == "enqueue":
            return True, _sorted((*state, freeze(argument)))
        if answer is UNKNOWN:
            return True, state
        if answer is None:
            return not state, state
        taken = freeze(answer)
        if taken not in state:
            return False, state
        at = state.index(taken)
        return True, (*state[:at], *state[at + 1 :])

    def read_only(self, given: Given, answer: Any) -> bool:
        """Finding it empty, or nothing known at all, changes nothing."""
        return given[0] == "dequeue" and (answer is None or answer is UNKNOWN)


def _elements(given: Any) -> Any:
    if not isinstance(given, list | tuple | set | frozenset):
        raise ValueError(f"it begins with a list of elements, not {given!r}")
    return given


def _amount(given: Any) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise ValueError(f"a counter begins with a whole number, not {given!r}")
    return given


def _sorted(elements: Any) -> tuple[Hashable, ...]:
    return tuple(sorted(elements, key=repr))


class Mutex:
    """A lock that one at a time holds. Who releases it is not asked, as in Knossos."""

    name = "mutex"
    functions = frozenset({"acquire", "release"})
    init: Hashable = False

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Hashable]:
        """Apply one call; an unanswered one that could not succeed changes nothing."""
        acquire = given[0] == "acquire"
        if acquire is state:
            return answer is UNKNOWN, state
        return True, acquire

    def read_only(self, given: Given, answer: Any) -> bool:  # noqa: ARG002 - the protocol's
        """Nothing here is a mere read."""
        return False

    def show(self, state: Any) -> str:
        """Say a state."""
        return "held" if state else "free"

    def describe(self, given: Given, answer: Any) -> str:  # noqa: ARG002 - the protocol's
        """Say it in a few words."""
        return given[0]


class FencedMutex:
    """A lock whose holders get a token, each greater than all before. State: (held, last token).

    The first token may be any number.
    """

    name = "fenced-mutex"
    functions = frozenset({"acquire", "release"})
    init: Hashable = (False, None)

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Hashable]:
        """Apply one call. An unanswered acquire takes a token nobody knows: it raises no bound."""
        held, last = state
        if given[0] == "release":
            return held or answer is UNKNOWN, (False, last)
        if answer is UNKNOWN:
            return True, (True, last)
        return not held and (last is None or answer > last), (True, answer)

    def read_only(self, given: Given, answer: Any) -> bool:  # noqa: ARG002 - the protocol's
        """Nothing here is a mere read."""
        return False

    def show(self, state: Any) -> str:
        """Say a state."""
        held, last = state
        token = "no token yet" if last is None else f"last token {last}"
        return f"{'held' if held else 'free'} ({token})"

    def describe(self, given: Given, answer: Any) -> str:
        """Say it in a few words."""
        return f"acquire, token {answer}" if given[0] == "acquire" else "release"


class MultiRegister:
    """Several registers, read and written by transactions.

    What a register holds at first is, unless given, not stated: whoever reads it first finds it
    out. State: the known registers as sorted pairs. What is given is a map by register, or one
    value that every register holds.
    """

    name = "multi-register"
    functions = frozenset({"txn"})
    init: Hashable = ()

    def __init__(self, init: Any = UNKNOWN) -> None:
        self.begun = init
        self._one = UNKNOWN if isinstance(init, dict) else init
        given = init if isinstance(init, dict) else {}
        values = {freeze(key): freeze(value) for key, value in given.items()}
        self.init = tuple(sorted(values.items(), key=repr))

    def step(self, state: Any, given: Given, answer: Any) -> tuple[bool, Hashable]:
        """Apply one transaction."""
        values = dict(state)
        for f, key, value in given[1] if answer is UNKNOWN else answer:
            key = freeze(key)
            if f == "w":
                values[key] = freeze(value)
            elif answer is not UNKNOWN:
                first = freeze(value) if self._one is UNKNOWN else freeze(self._one)
                if values.setdefault(key, first) != freeze(value):
                    return False, state
        return True, tuple(sorted(values.items(), key=repr))

    def read_only(self, given: Given, answer: Any) -> bool:
        """An unanswered transaction that only reads tells nothing; others may find a value out."""
        return answer is UNKNOWN and all(mop[0] == "r" for mop in given[1])

    def show(self, state: Any) -> str:
        """Say a state."""
        return ", ".join(f"{key}={value}" for key, value in state) or "unknown"

    def describe(self, given: Given, answer: Any) -> str:
        """Say it in a few words."""
        mops = given[1] if answer is UNKNOWN else answer
        return ", ".join(f"{f} {key}={value}" for f, key, value in mops)


REGISTERS: Final = frozenset({Register.name, CasRegister.name})
"""Models that can be decided without search, by their zones."""

MODELS: Final[dict[str, Callable[..., Model]]] = {
    made.name: made
    for made in (
        *(Register, CasRegister, KeyValue, Set, Counter, FifoQueue, UnorderedQueue),
        *(Mutex, FencedMutex, MultiRegister),
    )
}
"""The models of this module by name; those that may be asked for are in `registry.ENTRIES`."""

__all__ = [
    "MODELS",
    "UNKNOWN",
    "CasRegister",
    "Counter",
    "FencedMutex",
    "FifoQueue",
    "Given",
    "KeyValue",
    "Model",
    "MultiRegister",
    "Mutex",
    "Register",
    "Set",
    "UnorderedQueue",
]
