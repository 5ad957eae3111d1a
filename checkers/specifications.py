"""Models by the name the command line knows them under."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from checkers.etcd import FUNCTIONS as ETCD_FUNCTIONS
from checkers.etcd import EtcdKv
from checkers.models import CasRegister, Model, Register
from checkers.objects import (
    Counter,
    FencedMutex,
    FifoQueue,
    KeyValue,
    MultiRegister,
    Mutex,
    Set,
    UnorderedQueue,
)

MODELS: Final[dict[str, Callable[..., Model]]] = {
    Register.name: Register,
    CasRegister.name: CasRegister,
    KeyValue.name: KeyValue,
    Set.name: Set,
    Counter.name: Counter,
    FifoQueue.name: FifoQueue,
    UnorderedQueue.name: UnorderedQueue,
    Mutex.name: Mutex,
    FencedMutex.name: FencedMutex,
    MultiRegister.name: MultiRegister,
    EtcdKv.name: EtcdKv,
}
"""Every model; a user's own is handed to `check_linearizability` directly."""

BEGINS: Final = frozenset(
    {
        *(Register.name, CasRegister.name, KeyValue.name, Set.name, Counter.name),
        *(FifoQueue.name, UnorderedQueue.name, MultiRegister.name),
    }
)
"""Models that can be made with what the object holds at first."""

FUNCTIONS: Final[dict[str, frozenset[str]]] = {
    Register.name: frozenset({"read", "write"}),
    CasRegister.name: frozenset({"read", "write", "cas"}),
    KeyValue.name: frozenset({"get", "put", "append"}),
    Set.name: frozenset({"add", "remove", "read"}),
    Counter.name: frozenset({"add", "read"}),
    FifoQueue.name: frozenset({"enqueue", "dequeue"}),
    UnorderedQueue.name: frozenset({"enqueue", "dequeue"}),
    Mutex.name: frozenset({"acquire", "release"}),
    FencedMutex.name: frozenset({"acquire", "release"}),
    MultiRegister.name: frozenset({"txn"}),
    EtcdKv.name: ETCD_FUNCTIONS,
}
"""What operations each model understands."""

REGISTERS: Final = frozenset({Register.name, CasRegister.name})
"""Models that can be decided without search, by their zones."""
