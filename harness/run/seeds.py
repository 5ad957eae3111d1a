"""One seed, many independent streams of chance.

Every consumer of randomness asks for a stream by name (`seeds.of("nemesis/partition")`). A stream
is keyed by a stable hash of the run's seed and the name, so adding a draw in one place moves
nothing in any other, and the same seed gives the same run under every PYTHONHASHSEED.
"""

from __future__ import annotations

import hashlib
import random

SEED_BOUND = 1 << 32
"""Drawn seeds are below this: short enough to read aloud, plenty for a nightly."""


class Seeds:
    """The named streams of one run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def of(self, name: str) -> random.Random:
        """Return a fresh stream; the same name always begins at the same place."""
        digest = hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=16).digest()
        return random.Random(int.from_bytes(digest, "big"))


def draw_seed() -> int:
    """Draw a seed from the system, for runs that were given none."""
    return random.SystemRandom().randrange(SEED_BOUND)
