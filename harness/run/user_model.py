"""User-defined models: loads the class named by `path/to/file.py:Name`.

The file is executed as Python, with the rights of the user who named it. An error in it is reported
in one line with the place (file:line), as the user has to fix that file and not the history.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from squall.checkers.history import History, MalformedHistory
from squall.checkers.linearizability.checker import check_linearizability
from squall.checkers.linearizability.models import Model
from squall.checkers.registry import ENTRIES, Judge
from squall.checkers.verdict import Budget, Verdict

NEEDED: Final = ("name", "init", "step", "read_only", "describe")
"""The attributes a model must have, see `squall.checkers.linearizability.models.Model`."""

MODULE: Final = "squall_user_model"


class BrokenModel(ValueError):
    """A model that cannot be loaded, or failed; the message is one line with the place."""


def is_path(model: str) -> bool:
    """Whether a model is named by file and class."""
    return ".py:" in model or model.endswith(".py")


def judge_by(model: str) -> Judge:
    """Return the judge `path/to/file.py:Name` stands for; raises BrokenModel."""
    path, _, name = model.rpartition(":")
    make = _load(Path(path or model), name if path else "")

    def judge(history: History, budget: Budget) -> Verdict:
        try:
            return check_linearizability(history, budget, make)
        except MalformedHistory:
            raise
        except Exception as error:
            raise _broken(Path(path), error) from error

    return judge


def _load(path: Path, name: str) -> Callable[[], Model]:
    if not path.is_file():
        raise BrokenModel(f"{path} does not exist")
    spec = importlib.util.spec_from_file_location(MODULE, path)
    if spec is None or spec.loader is None:
        raise BrokenModel(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _broken(path, error) from error
    found = getattr(module, name, None)
    if not isinstance(found, type):
        there = [
            one
            for one, made in vars(module).items()
            if isinstance(made, type) and all(hasattr(made, part) for part in NEEDED)
        ]
        models = f"its models are {', '.join(there)}" if there else "nor any other model"
        raise BrokenModel(f"{path} has no class {name!r}; {models}")
    missing = [part for part in NEEDED if not hasattr(found, part)]
    if missing:
        raise BrokenModel(f"{path}: {name} has no {', '.join(missing)}")
    taken: Any = found.name  # type: ignore[attr-defined]
    if taken in ENTRIES:
        raise BrokenModel(f"{path}: {name} is called {taken!r}, which is a model of Squall's")
    return found


def _broken(path: Path, error: Exception) -> BrokenModel:
    """Return the error in one line: what was raised, and where in the user's file."""
    line = next(
        (
            frame.lineno
            for frame in reversed(traceback.extract_tb(error.__traceback__))
            if Path(frame.filename) == path
        ),
        getattr(error, "lineno", None),
    )
    where = f"{path}:{line}" if line else str(path)
    return BrokenModel(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}")
