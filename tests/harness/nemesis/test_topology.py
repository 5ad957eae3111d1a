"""Who may still make progress, and what the shapes of a partition do."""

from __future__ import annotations

from itertools import permutations
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squall.harness.nemesis import UNREACHABLE, View
from squall.harness.nemesis.cluster_state import ClusterState, Damage, QuorumBudget
from squall.harness.nemesis.kill import Kill
from squall.harness.nemesis.partition import ONE_WAYS, SHAPES, Partition, describe, grudge_of
from squall.harness.nemesis.pause import Pause
from squall.harness.nemesis.sampling import WithoutReplacement

FIVE = ("n1", "n2", "n3", "n4", "n5")
SECOND = 1_000_000_000

PICTURES = """
halves            n3 n4 n5        n1 n2 | n3 n4 n5
isolate-one       n1 n3 n4 n5     n2 | n1 n3 n4 n5
isolate-leader    n2 n3 n4 n5     n1 | n2 n3 n4 n5
bridge            n1 n2 n3 n4 n5  n1 -x- n2, n1 -x- n3, n2 -x- n5, n3 -x- n5
majorities-ring   n1 n2 n3 n4 n5  n1 -x- n3, n1 -x- n4, n2 -x- n4, n2 -x- n5, n3 -x- n5
leader-unheard    n2 n3 n4 n5     n1 -x> n2 n3 n4 n5
leader-deaf       n2 n3 n4 n5     n2 n3 n4 n5 -x> n1
minority-unheard  n3 n4 n5        n1 n2 -x> n3 n4 n5
minority-deaf     n3 n4 n5        n3 n4 n5 -x> n1 n2
"""


@pytest.mark.parametrize("line", [line for line in PICTURES.splitlines() if line])
def test_a_shape_is_labelled_with_who_may_still_lead(line: str):
    """Places are assigned in the order n1..n5, with n1 the leader."""
    name, able, picture = (part.strip() for part in line.split("  ") if part.strip())
    shape = name if name in SHAPES else "one-way"
    grudge = grudge_of({"shape": shape, "way": name, "order": FIVE}, "n1")
    assert describe(FIVE, grudge) == picture
    assert " ".join(ClusterState(nodes=FIVE, grudge=grudge).electable) == able


def test_every_shape_has_its_picture():
    """The table above has every shape."""
    names = {line.split()[0] for line in PICTURES.splitlines() if line}
    assert names == {*SHAPES, *ONE_WAYS} - {"one-way"}


def test_the_two_sides_of_a_bridge_share_one_node_and_nothing_else():
    """The shared node has links to all others; the leader is on one side."""
    grudge = grudge_of({"shape": "bridge", "order": FIVE}, "n1")
    seen = {node: frozenset(FIVE) - grudge.get(node, frozenset()) for node in FIVE}
    assert seen == {
        "n2": {"n2", "n3", "n4"},
        "n3": {"n2", "n3", "n4"},
        "n4": set(FIVE),
        "n5": {"n4", "n5", "n1"},
        "n1": {"n4", "n5", "n1"},
    }


def test_no_two_nodes_of_a_majorities_ring_see_the_same_majority():
    """Every node has links to exactly three of five, itself included."""
    grudge = grudge_of({"shape": "majorities-ring", "order": FIVE}, "")
    seen = {node: frozenset(FIVE) - grudge[node] for node in FIVE}
    assert all(len(each) == 3 for each in seen.values())
    assert len(set(seen.values())) == 5


@given(
    shape=st.sampled_from(SHAPES),
    way=st.sampled_from(ONE_WAYS),
    order=st.sampled_from(list(permutations(FIVE))),
    leader=st.sampled_from(("", *FIVE)),
)
def test_nobody_drops_its_own_packets_and_every_shape_cuts_something(shape, way, order, leader):
    """A grudge never names the node itself, and is never empty."""
    grudge = grudge_of({"shape": shape, "way": way, "order": list(order)}, leader)
    assert any(grudge.values())
    assert all(node not in dropped for node, dropped in grudge.items())
    if leader and shape in ("isolate-one", "bridge", "isolate-leader"):
        assert grudge.get(leader), "a leader is always cut off from somebody"


@given(
    down=st.sets(st.sampled_from(FIVE)),
    paused=st.sets(st.sampled_from(FIVE)),
    links=st.sets(st.permutations(FIVE).map(lambda order: (order[0], order[1]))),
)
def test_who_may_lead_agrees_with_counting_by_hand(down, paused, links):
    """A running node with links in both directions to two other running nodes."""
    grudge = {node: frozenset(b for a, b in links if a == node) for node in FIVE}
    state = ClusterState(nodes=FIVE, down=frozenset(down), paused=frozenset(paused), grudge=grudge)
    running = [node for node in FIVE if node not in down | paused]
    expected = tuple(
        node
        for node in running
        if sum(
            other == node or ((node, other) not in links and (other, node) not in links)
            for other in running
        )
        >= 3
    )
    assert state.electable == expected
    assert state.expect == ("available" if expected else "unavailable")


def test_damages_add_up_and_go_away_one_by_one():
    """Two faults that each leave a quorum may leave none together."""
    state = ClusterState(nodes=FIVE)
    both = state.plus(Damage(down=frozenset({"n1"}))).plus(Damage(paused=frozenset({"n2", "n3"})))
    assert state.plus(Damage(paused=frozenset({"n2", "n3"}))).electable
    assert not both.electable


def test_the_quorum_may_be_taken_away_for_a_quarter_of_the_time():
    """A load without a quorum exercises nothing."""
    dead = ClusterState(nodes=FIVE, down=frozenset(FIVE))
    budget = QuorumBudget(0)
    assert not budget.admits(2 * SECOND, dead, 2 * SECOND)
    assert budget.admits(2 * SECOND, ClusterState(nodes=FIVE), 20 * SECOND)
    assert budget.admits(10 * SECOND, dead, 2 * SECOND)
    budget.note(10 * SECOND, dead)
    budget.note(13 * SECOND, ClusterState(nodes=FIVE))
    assert not budget.admits(13 * SECOND, dead, 2 * SECOND)
    assert budget.share(30 * SECOND) == pytest.approx(0.9)


def view(leader: str = "n1", **state: frozenset[str]) -> View:
    return View(
        nodes=FIVE,
        roles={},
        leader=leader,
        state=ClusterState(nodes=FIVE, **state),  # type: ignore[arg-type]
    )


def test_the_leader_is_hit_when_the_leader_is_meant():
    """Roles are looked up at the moment of the fault."""
    kill = Kill(Random(1), FIVE)
    intent = {"scope": "leader", "order": list(FIVE)}
    resolved = kill.resolve(intent, view(leader="n4"))[0]
    assert (resolved.targets, resolved.detail) == (("n4",), "leader: n4")


def test_a_fault_that_would_cost_too_much_comes_in_a_milder_form():
    """All becomes four, three, two, one: the scheduler takes the first that the budget admits."""
    kill = Kill(Random(1), FIVE)
    sizes = [
        len(each.targets) for each in kill.resolve({"scope": "all", "order": list(FIVE)}, view())
    ]
    assert sizes[:5] == [5, 4, 3, 2, 1]


def test_the_dead_cannot_freeze_but_the_frozen_can_die():
    """Faults of different kinds overlap on one node."""
    intent = {"scope": "all", "order": list(FIVE)}
    paused = Pause(Random(1), FIVE).resolve(intent, view(down=frozenset({"n2"})))
    assert all("n2" not in each.targets for each in paused)
    killed = Kill(Random(1), FIVE).resolve(intent, view(paused=frozenset({"n2"})))
    assert "n2" in killed[0].targets


def test_a_partition_that_would_part_nobody_who_talks_is_not_made():
    """A cut between the dead and the living drops no packet, and would prove nothing."""
    partition = Partition(Random(1), FIVE)
    intent = {"shape": "isolate-one", "order": ["n2", "n3", "n4", "n5", "n1"]}
    found = partition.resolve(intent, view(leader="n1", down=frozenset({"n2"})))
    assert found
    assert all(not each.detail.startswith("isolate-one: n2") for each in found)


def test_nobody_is_parted_while_everybody_still_boots():
    """Right after a kill of all nodes none sends, so no packet would be dropped."""
    partition = Partition(Random(1), FIVE)
    booting = msgspec.structs.replace(view(leader=""), roles=dict.fromkeys(FIVE, UNREACHABLE))
    for shape in SHAPES:
        assert not partition.resolve(
            {"shape": shape, "way": "leader-deaf", "order": list(FIVE)}, booting
        )


def test_what_is_drawn_does_not_depend_on_the_world():
    """Draws precede observation, so a replay draws the same intents."""
    one, other = Partition(Random(9), FIVE), Partition(Random(9), FIVE)
    drawn = []
    for _ in range(20):
        drawn.append(one.draw())
        one.resolve(drawn[-1], view())
    assert drawn == [other.draw() for _ in range(20)]
    assert {intent["shape"] for intent in drawn[:6]} == set(SHAPES)


def test_every_card_comes_up_before_any_comes_up_twice():
    """No variant is left out of a short run."""
    sampler = WithoutReplacement(Random(3), "abcde")
    for _ in range(4):
        assert sorted(sampler.draw() for _ in range(5)) == list("abcde")


@pytest.mark.parametrize("nodes", [3, 5, 7])
def test_every_size_of_cluster_has_shapes_to_draw(nodes: int):
    """A ring of majorities is left out where it would cut nothing cleanly."""
    names = tuple(f"n{at + 1}" for at in range(nodes))
    partition = Partition(Random(1), names)
    here = View(nodes=names, roles={}, leader="n1", state=ClusterState(nodes=names))
    for _ in range(12):
        intent = partition.draw()
        resolved = partition.resolve(intent, here)[0]
        assert any(resolved.damage.grudge.values())
        if nodes >= 5:
            assert here.state.plus(resolved.damage).expect == "available"


def test_a_relay_leaves_the_leader_to_the_majority_that_goes_on() -> None:
    """The laggards are a minority without the leader, or nothing they missed was ever committed."""
    pause = Pause(Random(1), FIVE)
    intent = {"scope": "relay", "order": list(FIVE)}
    relay = pause.resolve(intent, view())[0]
    assert relay.data == {"relay": True}
    assert len(relay.targets) == 2
    assert view().leader not in relay.targets
