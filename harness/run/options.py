"""The options of a run, after every default was filled in."""

from __future__ import annotations

import msgspec

from squall.harness.vocabulary import NS_PER_MS, NS_PER_S

__all__ = ["NS_PER_MS", "NS_PER_S", "Options"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What shapes a run besides its backend, workload, faults and seed.

    Times are of the backend's own clock. `rate` is operations a second over all clients. Every key
    begins with `prefix`, so that two runs never read each other's values.
    """

    prefix: str
    time_limit_ns: int = 60 * NS_PER_S
    rate: float = 200.0
    concurrency: int = 20
    op_timeout_ns: int = 2 * NS_PER_S
    recovery_timeout_ns: int = 60 * NS_PER_S
    observe_every_ns: int = NS_PER_S // 4
