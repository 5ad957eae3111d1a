"""The per-run context: cluster, runtime, recorder, seeds and options of one run.

The interpreter, the nemesis, the observer and the final phase are given the same `RunContext`, so
that none of them uses a global. It also holds the state they share: `trouble` (failures of the
harness, which never blame the database), `stop` (end the load now), `load_over` (the load has
ended: the nemesis heals and returns), `load_until_ns` (when the load is due to end), `oks` (client
operations that succeeded) and `kills` (how often the nemesis killed each node).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from squall.harness.cluster import Cluster
from squall.harness.run.options import Options
from squall.harness.run.progress import Progress, Silent
from squall.harness.run.recorder import Recorder
from squall.harness.run.runtime import Event, Runtime
from squall.harness.run.seeds import Seeds

TROUBLES_MAX = 50
"""Entries of `trouble` that are kept; later ones are dropped, as the run cannot pass by then."""


@dataclass
class RunContext:
    """Per-run context, shared by everything that acts during the run."""

    runtime: Runtime
    cluster: Cluster
    recorder: Recorder
    seeds: Seeds
    options: Options
    stop: Event
    load_over: Event
    progress: Progress = field(default_factory=Silent)
    trouble: list[str] = field(default_factory=list)
    load_until_ns: int = 0
    oks: int = 0
    kills: Counter[str] = field(default_factory=Counter)

    def note_trouble(self, text: str) -> None:
        """Note trouble of the harness, once: the run cannot end as a pass."""
        if text not in self.trouble and len(self.trouble) < TROUBLES_MAX:
            self.trouble.append(text)
            self.progress.say(f"trouble: {text}")

    @property
    def quorum(self) -> int:
        """The size of the smallest majority."""
        return len(self.cluster.nodes) // 2 + 1
