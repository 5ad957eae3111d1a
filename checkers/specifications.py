"""Models by the name the command line knows them under."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from checkers.models import CasRegister, Model, Register
from checkers.objects import (
    Counter,
    FencedMutex,
    KeyValue,
    MultiRegister,
    Mutex,
    Queue,
    Set,
)

MODELS: Final[dict[str, Callable[[], Model]]] = {
    Register.name: Register,
    CasRegister.name: CasRegister,
    KeyValue.name: KeyValue,
    Set.name: Set,
    Counter.name: Counter,
    Queue.name: Queue,
    Mutex.name: Mutex,
    FencedMutex.name: FencedMutex,
    MultiRegister.name: MultiRegister,
}
"""Every model; a user's own is handed to `check_linearizability` directly."""

FUNCTIONS: Final[dict[str, frozenset[str]]] = {
    Register.name: frozenset({"read", "write"}),
    CasRegister.name: frozenset({"read", "write", "cas"}),
}
"""The registers, which can be decided without search, and what each understands."""
