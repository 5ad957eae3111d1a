"""What everyone who acts during a run has in hand: one world, one history, one set of dice.

A `Scene` is handed to the interpreter, the nemesis, the observer and the final phase, so that none
of them reaches for a global. It also carries the two things they tell each other: `trouble`
(failures of the harness, which never blame the database) and `stop` (the load should end now).
`calm` tells the nemesis to heal and rest; `load_until_ns` is when that is due. `oks` counts client
operations that succeeded, `kills` how often the nemesis killed each node.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from harness.cluster import Cluster
from harness.options import Options
from harness.progress import Progress, Silent
from harness.recorder import Recorder
from harness.runtime import Event, Runtime
from harness.seeds import Seeds

TROUBLES_MAX = 50
"""More than this many complaints are one complaint; the rest is counted."""


@dataclass
class Scene:
    """The shared surroundings of one run."""

    runtime: Runtime
    cluster: Cluster
    recorder: Recorder
    seeds: Seeds
    options: Options
    stop: Event
    calm: Event
    progress: Progress = field(default_factory=Silent)
    trouble: list[str] = field(default_factory=list)
    load_until_ns: int = 0
    oks: int = 0
    kills: Counter[str] = field(default_factory=Counter)

    def complain(self, text: str) -> None:
        """Note trouble of the harness, once: the run cannot end as a pass."""
        if text not in self.trouble and len(self.trouble) < TROUBLES_MAX:
            self.trouble.append(text)
            self.progress.say(f"trouble: {text}")

    @property
    def quorum(self) -> int:
        """The size of the smallest majority."""
        return len(self.cluster.nodes) // 2 + 1
