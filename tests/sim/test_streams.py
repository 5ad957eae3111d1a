"""One seed, many streams: stable, and independent of one another."""

from __future__ import annotations

import os
import subprocess
import sys

from squall.harness.sim.world.streams import Streams


def test_a_stream_depends_on_seed_and_name_alone():
    assert Streams(7).of("disk", 3).random() == Streams(7).of("disk", 3).random()
    draws = {Streams(seed).of(*name).random() for seed in (1, 2) for name in [("a",), ("a", 0)]}
    assert len(draws) == 4


def test_draws_from_one_stream_move_nothing_in_another():
    streams = Streams(7)
    for _ in range(100):
        streams.of("network").random()
    busy = streams.of("network")
    busy.random()
    assert streams.of("disk").random() == Streams(7).of("disk").random()


def test_streams_are_the_same_under_every_hash_seed():
    program = (
        "from squall.harness.sim.world.streams import Streams; "
        "print(Streams(7).of('link', 1, 2).random())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "random")
    }
    assert len(outputs) == 1
