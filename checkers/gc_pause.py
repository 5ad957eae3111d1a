"""No looking for garbage while a judge is at work.

Judging a long history makes millions of small objects and no circles among them, so what is done
with is freed at once, and Python's search for circles finds nothing; yet each search walks over all
that is alive. It is put off until the verdict is there.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


def uncollected(judge: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
    """Make a judge run without the cyclic collector; it is turned on again if it was on."""

    @wraps(judge)
    def patient(*args: _Given.args, **kwargs: _Given.kwargs) -> _Found:
        if not gc.isenabled():
            return judge(*args, **kwargs)
        gc.disable()
        try:
            return judge(*args, **kwargs)
        finally:
            gc.enable()

    return patient
