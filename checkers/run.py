"""What identifies a run and suffices to reproduce it."""

from __future__ import annotations

from typing import Any

import msgspec


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One test run. Written to `run.json`; `parameters` holds every drawn or chosen value.

    `started_at` is UTC, ISO 8601. `versions` are those of squall, Python, image digest and engine.
    """

    id: str
    workload: str
    cluster: str  # docker | sim
    seed: int
    nodes: tuple[str, ...]
    faults: tuple[str, ...]
    time_limit_s: float
    argv: tuple[str, ...] = ()
    parameters: dict[str, Any] = {}
    versions: dict[str, str] = {}
    commit: str = ""
    dirty: bool = False
    host: dict[str, Any] = {}
    started_at: str = ""
    unsupported: dict[str, str] = {}
    format: int = 1
