"""One seed, split into named streams of pseudo-random numbers.

Every consumer of randomness has a stream of its own (`seeds.of("nemesis/partition")`), seeded by a
stable hash of the run's seed and the stream's name. Removing one consumer, or one of its draws,
therefore changes no draw of any other: that is what lets a failing fault schedule be shrunk. The
same seed gives the same streams on every machine and under every `PYTHONHASHSEED`.

The simulated machines have streams apart from those of the run (`WorldSeeds`): a name used by both
must not give both the same numbers.
"""

from __future__ import annotations

import hashlib
import random
from typing import ClassVar, Final

SEED_BOUND: Final = 1 << 32
"""Drawn seeds are below this: short enough to read aloud, and enough for nightly runs."""


class Seeds:
    """The streams of one run: `seeds.of("workload/ops")`."""

    _separator: ClassVar = "/"
    _domain: ClassVar = b""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def of(self, *name: str | int) -> random.Random:
        """Return a fresh generator at the beginning of the stream `name`.

        Equal seeds and names give equal streams; any difference gives an unrelated one.
        """
        text = self._separator.join([str(self.seed), *map(str, name)])
        digest = hashlib.blake2b(text.encode(), digest_size=16, person=self._domain).digest()
        return random.Random(int.from_bytes(digest, "big"))


class WorldSeeds(Seeds):
    """The streams of a simulated world: links, disks, clocks, triggers, the swarm's draws.

    Names have several parts, `seeds.of("link", 0, 1)`; the separator occurs in none of them.
    """

    _separator = "\x1f"
    _domain = b"squall.stream"


def draw_seed() -> int:
    """Draw a seed from the system, for runs that were given none."""
    return random.SystemRandom().randrange(SEED_BOUND)
