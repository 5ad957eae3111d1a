"""Squall: faults for a replicated key-value store, and a judge of whether it kept its promises.

As a library, from one's own clients to a verdict:

    from squall import Recorder, check_file

    with Recorder("history.jsonl", model="cas-register") as recorder:
        alice = recorder.client("alice")
        with alice.invoke("write", key="x", value=1) as op:
            store.put("x", 1)
            op.ok()

    verdict = check_file("history.jsonl")
    print(verdict.validity, verdict.reason, *(each.explanation for each in verdict.anomalies))

The names below load their modules when they are first used. Recording and judging load neither
grpc nor docker nor cryptography: an extra of a distribution can add dependencies but not take any
away, so the plain `pip install squall` has all that `squall run` needs, and what judges imports
none of it (`pip install --no-deps squall msgspec sortedcontainers` judges most histories; networkx
draws dependency graphs).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from squall.checkers.assumptions import Initial
    from squall.checkers.budget import UNTIMED, Budget
    from squall.checkers.files import judge_by_model as judge
    from squall.checkers.history import History, MalformedHistory, Op, Operation, OpType
    from squall.checkers.linearizability import models
    from squall.checkers.linearizability.models import Model
    from squall.checkers.registry import UnknownModel
    from squall.checkers.verdict import Anomaly, Validity, Verdict
    from squall.harness.check import check_file
    from squall.harness.recording import Client, Invocation, Recorder

__all__ = [
    "UNTIMED",
    "Anomaly",
    "Budget",
    "Client",
    "History",
    "Initial",
    "Invocation",
    "MalformedHistory",
    "Model",
    "Op",
    "OpType",
    "Operation",
    "Recorder",
    "UnknownModel",
    "Validity",
    "Verdict",
    "check_file",
    "judge",
    "models",
]

_HOMES: Final = {
    "UNTIMED": "squall.checkers.budget:UNTIMED",
    "Anomaly": "squall.checkers.verdict:Anomaly",
    "Budget": "squall.checkers.budget:Budget",
    "Client": "squall.harness.recording:Client",
    "History": "squall.checkers.history:History",
    "Initial": "squall.checkers.assumptions:Initial",
    "Invocation": "squall.harness.recording:Invocation",
    "MalformedHistory": "squall.checkers.history:MalformedHistory",
    "Model": "squall.checkers.linearizability.models:Model",
    "Op": "squall.checkers.history:Op",
    "OpType": "squall.checkers.history:OpType",
    "Operation": "squall.checkers.history:Operation",
    "Recorder": "squall.harness.recording:Recorder",
    "UnknownModel": "squall.checkers.registry:UnknownModel",
    "Validity": "squall.checkers.verdict:Validity",
    "Verdict": "squall.checkers.verdict:Verdict",
    "check_file": "squall.harness.check:check_file",
    "judge": "squall.checkers.files:judge_by_model",
    "models": "squall.checkers.linearizability.models:",
}
"""Where each public name is defined: its module, and what it is called there."""


if not TYPE_CHECKING:  # a type checker knows the names from above, and that there are no others

    def __getattr__(name: str) -> Any:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, called = home.partition(":")
        found = importlib.import_module(module)
        value = getattr(found, called) if called else found
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
