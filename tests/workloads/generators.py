"""Small generators for tests of what is put around generators."""

from __future__ import annotations

from collections.abc import Callable

from squall.checkers.history import Op
from squall.workloads.generator import Answer, Context, Invocation


class Repeat:
    """Answers with what `function` returns, for at most `count` invocations."""

    def __init__(self, function: Callable[[Context], Answer], count: float = float("inf")) -> None:
        self._function, self._left = function, count

    def next(self, context: Context) -> Answer:
        if self._left <= 0:
            return None
        answer = self._function(context)
        self._left -= type(answer) is Invocation
        return answer

    def update(self, completion: Op) -> None:
        pass
