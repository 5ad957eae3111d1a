"""One seed, many streams: stable, and independent of one another."""

from __future__ import annotations

import os
import subprocess
import sys

from squall.harness.run.seeds import WorldSeeds


def test_a_stream_depends_on_seed_and_name_alone():
    assert WorldSeeds(7).of("disk", 3).random() == WorldSeeds(7).of("disk", 3).random()
    draws = {WorldSeeds(seed).of(*name).random() for seed in (1, 2) for name in [("a",), ("a", 0)]}
    assert len(draws) == 4


def test_draws_from_one_stream_move_nothing_in_another():
    seeds = WorldSeeds(7)
    for _ in range(100):
        seeds.of("network").random()
    busy = seeds.of("network")
    busy.random()
    assert seeds.of("disk").random() == WorldSeeds(7).of("disk").random()


def test_streams_are_the_same_under_every_hash_seed():
    program = (
        "from squall.harness.run.seeds import WorldSeeds; "
        "print(WorldSeeds(7).of('link', 1, 2).random())"
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
