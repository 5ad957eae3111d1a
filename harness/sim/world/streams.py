"""One seed, split into named streams of chance.

Every concern (a link, a node's disk, one trigger, one client) draws from a stream of its own, whose
seed is a stable hash of the run's seed and the stream's name. So removing one fault from a run
moves no draw of any other, which is what makes a failing schedule shrink; and nothing depends on
`PYTHONHASHSEED`, on the order of set-up, or on how many draws somebody else made.
"""

from __future__ import annotations

import hashlib
from random import Random


def stream(seed: int, *name: str | int) -> Random:
    """Return the stream of chance called `name` of the run `seed`.

    Equal arguments give equal streams on every machine; any difference gives an unrelated one.
    """
    text = "\x1f".join([str(seed), *(str(part) for part in name)])
    digest = hashlib.blake2b(text.encode(), digest_size=16, person=b"squall.stream").digest()
    return Random(int.from_bytes(digest, "big"))


class Streams:
    """The streams of one run: `streams.of("disk", 3)`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def of(self, *name: str | int) -> Random:
        """Return a fresh `Random` at the beginning of the stream `name`."""
        return stream(self.seed, *name)
