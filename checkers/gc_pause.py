"""Disables the cyclic GC while checking.

Judging a long history allocates millions of small objects without reference cycles: reference
counting frees them at once, and the cyclic GC would traverse every live object without finding
anything. It is enabled again once the verdict is there.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


def uncollected(judge: Callable[_Given, _Found]) -> Callable[_Given, _Found]:
    """Make a judge run with the cyclic GC disabled; it is enabled again if it was before."""

    @wraps(judge)
    def without_gc(*args: _Given.args, **kwargs: _Given.kwargs) -> _Found:
        if not gc.isenabled():
            return judge(*args, **kwargs)
        gc.disable()
        try:
            return judge(*args, **kwargs)
        finally:
            gc.enable()

    return without_gc
