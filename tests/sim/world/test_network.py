"""Links: what arrives, when, how often, and what a cut drops."""

from __future__ import annotations

from functools import partial

import pytest

from squall.harness.run.seeds import WorldSeeds
from squall.harness.sim.world.loop import Loop
from squall.harness.sim.world.network import LinkProfile, Network

PLAIN = LinkProfile(delay_us=100, tail_us=100, codec_p=0.0)


class Wire:
    """A network of three, and a list of what arrived."""

    def __init__(self, profile: LinkProfile = PLAIN, seed: int = 1) -> None:
        self.loop = Loop()
        self.arrived: list[tuple[int, int, int, object]] = []
        self.network = Network(
            self.loop,
            WorldSeeds(seed),
            [partial(self.receive, target) for target in range(3)],
            profile,
            lambda message: ("recoded", message),
        )

    def receive(self, target: int, source: int, message: object) -> None:
        self.arrived.append((self.loop.now_us, source, target, message))

    def send(self, count: int, source: int = 0, target: int = 1) -> None:
        for i in range(count):
            self.network.send(source, target, i)
            self.loop.run(until_us=self.loop.now_us + 20)

    def messages(self) -> list[object]:
        self.loop.run()
        return [message for *_, message in self.arrived]


def test_a_link_without_faults_delivers_everything_once_in_order():
    wire = Wire()
    wire.send(500)
    assert wire.messages() == list(range(500))
    assert wire.arrived[0][0] >= 100


def test_a_reordering_link_delivers_everything_once_in_some_order():
    wire = Wire(LinkProfile(delay_us=100, tail_us=1000, reorder=True, codec_p=0.0))
    wire.send(500)
    assert sorted(wire.messages()) == list(range(500))
    assert wire.messages() != list(range(500))


def test_loss_and_duplication_come_at_about_their_rates():
    wire = Wire(LinkProfile(loss_p=0.2, duplicate_p=0.3, codec_p=0.0))
    wire.send(2000)
    arrived = wire.messages()
    assert 1500 < len(set(arrived)) < 1700
    assert 350 < len(arrived) - len(set(arrived)) < 600


def test_a_late_duplicate_arrives_after_what_was_sent_behind_its_twin():
    wire = Wire(LinkProfile(duplicate_p=1.0, late_us=100_000, codec_p=0.0))
    wire.send(50)
    arrived = wire.messages()
    assert sorted(arrived) == sorted([*range(50), *range(50)])
    first = list(dict.fromkeys(arrived))
    assert arrived != [each for number in first for each in (number, number)]
    assert wire.arrived[-1][0] > 50_000


def test_a_link_counts_what_overtook_and_what_was_held_back():
    wire = Wire(LinkProfile(delay_us=100, tail_us=0, reorder=True, codec_p=0.0))
    wire.network.hold_next(0, 1, delay_us=9_000)
    wire.send(3)
    assert wire.messages() == [1, 2, 0]
    totals = wire.network.totals()
    assert (totals["held"], totals["overtook"]) == (1, 2)


def test_whoever_takes_the_place_of_a_node_gets_nothing_that_was_meant_for_it():
    wire = Wire()
    wire.network.send(0, 1, "for the old")
    wire.network.send(1, 0, "from the old")
    wire.network.drop_in_flight(1)
    wire.network.send(0, 1, "for the new")
    assert sorted(wire.messages()) == ["for the new", "from the old"]


def test_a_one_way_cut_drops_one_way_also_what_is_under_way_and_counts_it():
    wire = Wire()
    wire.network.send(0, 1, "under way")
    wire.network.cut(1, 1 << 0)
    wire.network.send(0, 1, "after")
    wire.network.send(1, 0, "other way")
    wire.network.send(2, 1, "other link")
    assert sorted(wire.messages()) == ["other link", "other way"]
    assert wire.network.heal() == {(0, 1): 2}
    wire.network.send(0, 1, "healed")
    assert wire.messages()[-1] == "healed"
    assert wire.network.heal() == {}


def test_a_clogged_link_delivers_late_and_loses_nothing():
    wire = Wire()
    wire.network.clog(0, 1, until_us=50_000)
    wire.send(3)
    assert wire.messages() == [0, 1, 2]
    assert wire.arrived[0][0] > 50_000


def test_a_held_message_is_late_once():
    wire = Wire(LinkProfile(delay_us=100, tail_us=0, reorder=True, codec_p=0.0))
    wire.network.hold_next(0, 1, delay_us=9_000)
    wire.send(2)
    assert wire.messages() == [1, 0]


def test_a_sampled_message_goes_through_the_codec():
    wire = Wire(LinkProfile(codec_p=1.0))
    wire.send(1)
    assert wire.messages() == [("recoded", 0)]


@pytest.mark.parametrize("faults", [{"loss_p": 0.5}, {"duplicate_p": 0.5}])
def test_faults_on_one_link_move_nothing_on_another(faults):
    plain, faulty = Wire(), Wire()
    profile = LinkProfile(delay_us=100, tail_us=100, codec_p=0.0, **faults)
    faulty.network.links[0][2].set_profile(profile)
    times = []
    for wire in (plain, faulty):
        for i in range(50):
            wire.network.send(0, 2, i)
            wire.network.send(0, 1, i)
        wire.messages()
        times.append([event for event in wire.arrived if event[2] == 1])
    assert times[0] == times[1]
