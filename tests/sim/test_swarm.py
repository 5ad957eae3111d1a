"""What seeds draw: everything comes up, everything is written down."""

from __future__ import annotations

import msgspec

from harness.sim.streams import Streams
from harness.sim.swarm import NEMESES, Swarm, draw

SWARMS = [draw(Streams(seed)) for seed in range(300)]


def test_a_seed_draws_the_same_set_up_every_time():
    assert [draw(Streams(seed)) for seed in range(20)] == SWARMS[:20]


def test_a_set_up_survives_being_written_down():
    for swarm in SWARMS[:50]:
        assert msgspec.json.decode(msgspec.json.encode(swarm), type=Swarm) == swarm
        assert "\n" not in swarm.words()


def test_every_knob_and_every_fault_comes_up_and_stays_away_in_some_runs():
    assert {swarm.knobs.pre_vote for swarm in SWARMS} == {True, False}
    assert {swarm.knobs.check_quorum for swarm in SWARMS} == {True, False}
    assert {swarm.knobs.max_batch_entries for swarm in SWARMS} >= {1, 2, 64}
    assert len({swarm.knobs.snapshot_count for swarm in SWARMS}) == 4
    assert {swarm.link.reorder for swarm in SWARMS} == {True, False}
    assert {bool(swarm.link.loss_p) for swarm in SWARMS} == {True, False}
    assert {bool(swarm.triggers) for swarm in SWARMS} == {True, False}
    for fault in NEMESES:
        assert {fault in swarm.faults for swarm in SWARMS} == {True, False}


def test_elections_have_time_for_some_twenty_messages_at_least():
    for swarm in SWARMS:
        assert swarm.knobs.election_us >= 20 * swarm.link.delay_us
