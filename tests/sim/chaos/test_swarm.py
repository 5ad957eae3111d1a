"""What seeds draw: everything comes up, everything is written down."""

from __future__ import annotations

import msgspec

from squall.harness.run.seeds import WorldSeeds
from squall.harness.sim.chaos.churn import Churn
from squall.harness.sim.chaos.swarm import NEMESES, NEVER, BackgroundFaults, Swarm, draw
from squall.harness.sim.chaos.triggers import Action, Trigger, TriggerPoint

SWARMS = [draw(WorldSeeds(seed)) for seed in range(300)]


def test_a_seed_draws_the_same_set_up_every_time():
    assert [draw(WorldSeeds(seed)) for seed in range(20)] == SWARMS[:20]


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
    assert {bool(swarm.churn.every_us) for swarm in SWARMS} == {True, False}
    assert {swarm.churn.rot_p for swarm in SWARMS if swarm.churn.every_us} == {0.0, 0.5, 1.0}
    assert {bool(swarm.link.late_us) for swarm in SWARMS} == {True, False}
    assert {swarm.knobs.max_wals for swarm in SWARMS} == {0, 2, 5}
    assert {t.point for swarm in SWARMS for t in swarm.triggers} == set(TriggerPoint)
    assert {t.action for swarm in SWARMS for t in swarm.triggers} == set(Action)
    for fault in NEMESES:
        assert {fault in swarm.faults for swarm in SWARMS} == {True, False}


def test_elections_have_time_for_some_twenty_messages_at_least():
    for swarm in SWARMS:
        assert swarm.knobs.election_us >= 20 * swarm.link.delay_us


def test_no_seed_draws_a_run_in_which_nothing_is_meant_to_happen():
    assert all(swarm.faults or swarm.triggers for swarm in SWARMS)


def test_a_set_up_says_in_words_what_may_go_wrong_in_it():
    said = Swarm(
        background=BackgroundFaults(clog_every_us=500_000, disk_error_every_us=8_000_000),
        churn=Churn(every_us=2_000_000, rot_p=0.5),
        triggers=(Trigger(point=TriggerPoint.LAPSES, action=Action.DELAY, p=0.3),),
        faults=("kill",),
    ).words()
    for words in (
        "a link clogged every 0.5 s",
        "a disk error every 8 s",
        "a member replaced every 2 s, 50% of them rotten",
        "timed kill",
        "delay its next messages when it leads, and its lease is about to expire (p=0.3)",
    ):
        assert words in said
    assert "snapshot every never" in SWARMS_WITHOUT_SNAPSHOTS[0].words()


SWARMS_WITHOUT_SNAPSHOTS = [swarm for swarm in SWARMS if swarm.knobs.snapshot_count == NEVER]
