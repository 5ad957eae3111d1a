"""Faults at a moment: they fire there, in bounds, and are mended."""

from __future__ import annotations

from squall.harness.run.seeds import WorldSeeds
from squall.harness.sim.chaos.triggers import (
    MAX_FIRINGS,
    ROUND,
    Action,
    Trigger,
    TriggerPoint,
    Triggers,
)
from squall.harness.sim.world.loop import Loop


class Nodes:
    """Three nodes that can be broken, and a diary."""

    def __init__(self, *triggers: Trigger, max_targets: int = 1) -> None:
        self.loop = Loop()
        self.diary: list[tuple[str, int, Action]] = []
        self.able = True
        self.written = 0
        self.triggers = Triggers(
            triggers, max_targets, self.loop, WorldSeeds(1), self, lambda node, trigger: None
        )
        self.triggers.armed = True

    def break_node(self, node: int, action: Action, mend_us: int) -> bool:
        if self.able:
            self.diary.append(("break", node, action))
        return self.able

    def mend_node(self, node: int, action: Action) -> None:
        self.diary.append(("mend", node, action))

    def revision(self) -> int:
        return self.written


def trigger(p: float = 1.0, **changes: object) -> Trigger:
    return Trigger(point=TriggerPoint.LEADS, action=Action.CRASH, p=p, **changes)


def test_a_trigger_fires_at_its_moment_and_mends_what_it_broke():
    cluster = Nodes(trigger())
    cluster.triggers.reached(1, TriggerPoint.VOTES)
    cluster.triggers.reached(2, TriggerPoint.LEADS)
    cluster.loop.run()
    assert cluster.diary == [("break", 2, Action.CRASH), ("mend", 2, Action.CRASH)]
    assert cluster.loop.now_us >= 300_000


def test_no_more_nodes_suffer_at_a_time_than_allowed():
    cluster = Nodes(trigger(), max_targets=2)
    for node in range(3):
        cluster.triggers.reached(node, TriggerPoint.LEADS)
    cluster.loop.run(until_us=2_000)
    assert len(cluster.diary) == 2


def test_a_trigger_with_probability_a_half_fires_about_half_the_time():
    cluster = Nodes(trigger(p=0.5, mend_us=1))
    for _ in range(300):
        cluster.triggers.reached(0, TriggerPoint.LEADS)
        cluster.loop.run(until_us=cluster.loop.now_us + 10_000)
    assert 110 < cluster.triggers.fired[0] < 190


def test_a_trigger_fires_a_bounded_number_of_times():
    cluster = Nodes(trigger(mend_us=1))
    for _ in range(MAX_FIRINGS + 50):
        cluster.triggers.reached(0, TriggerPoint.LEADS)
        cluster.loop.run(until_us=cluster.loop.now_us + 10_000)
    assert cluster.triggers.fired == [MAX_FIRINGS]


def test_a_trigger_rests_after_its_victim_is_mended():
    cluster = Nodes(trigger(mend_us=100_000))
    for _ in range(100):
        cluster.triggers.reached(0, TriggerPoint.LEADS)
        cluster.loop.run(until_us=cluster.loop.now_us + 10_000)
    broken = sum(event == "break" for event, *_ in cluster.diary)
    assert 1 < broken <= 5


def restless(point: TriggerPoint, action: Action) -> Trigger:
    return Trigger(point=point, action=action, p=1.0, mend_us=1_000, without_cooldown=True)


def pauses(writes_between: int) -> list[int]:
    """How long two restless triggers wait before each firing, in microseconds, for three bouts."""
    cluster = Nodes(
        restless(TriggerPoint.LEADS, Action.CRASH), restless(TriggerPoint.VOTES, Action.PAUSE)
    )
    waited, since_us, before = [], 0, 0
    while sum(cluster.triggers.fired) < 3 * ROUND:
        for moment in (TriggerPoint.LEADS, TriggerPoint.VOTES):
            cluster.triggers.reached(0, moment)
        cluster.loop.run(until_us=cluster.loop.now_us + 500)
        if sum(cluster.triggers.fired) > before:
            waited.append(cluster.loop.now_us - since_us)
            since_us, before = cluster.loop.now_us, sum(cluster.triggers.fired)
            cluster.written += writes_between
    return waited


def test_restless_triggers_rest_together_when_a_bout_let_hardly_any_write_through():
    assert sum(waited > 8_000 for waited in pauses(writes_between=0)) == 2
    assert max(pauses(writes_between=2)) < 8_000


def test_what_could_not_be_broken_is_not_counted_and_not_mended():
    cluster = Nodes(trigger())
    cluster.able = False
    cluster.triggers.reached(0, TriggerPoint.LEADS)
    cluster.loop.run()
    assert (cluster.diary, cluster.triggers.fired) == ([], [0])


def test_disarming_mends_every_victim_at_once_and_nothing_fires_afterwards():
    cluster = Nodes(trigger())
    cluster.triggers.reached(0, TriggerPoint.LEADS)
    cluster.loop.run(until_us=2_000)
    cluster.triggers.disarm()
    assert cluster.diary == [("break", 0, Action.CRASH), ("mend", 0, Action.CRASH)]
    cluster.triggers.reached(1, TriggerPoint.LEADS)
    cluster.loop.run()
    assert len(cluster.diary) == 2


def test_one_trigger_more_moves_no_draw_of_another():
    alone, accompanied = (
        Nodes(trigger(p=0.5)),
        Nodes(trigger(p=0.5), trigger(p=0.5)),
    )
    fired = []
    for cluster in (alone, accompanied):
        cluster.able = False
        draws = []
        cluster.triggers._targets = type(
            "V", (), {"break_node": lambda self, n, a, m, d=draws: d.append(m) is not None}
        )()
        for _ in range(20):
            cluster.triggers.reached(0, TriggerPoint.LEADS)
        cluster.loop.run()
        fired.append(draws)
    assert set(fired[0]) <= set(fired[1])
    assert fired[0]
