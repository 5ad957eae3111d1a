"""What each seed draws: network, disks, faults and protocol settings of a run.

Swarm testing (Groce et al., ISSTA 2012): a run in which some faults are absent and some settings
are extreme reaches states that the average of all of them never does. Small limits reach rare
paths: one entry a message, segments of a few records, a snapshot every five entries, timeouts close
to the latency. Everything that is drawn is in the `Swarm`; nothing else is random about a set-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TypeVar

import msgspec

from squall.harness.run.seeds import WorldSeeds
from squall.harness.sim.chaos.churn import Churn
from squall.harness.sim.chaos.triggers import Action, Trigger, TriggerPoint
from squall.harness.sim.world.disk import DiskFaults
from squall.harness.sim.world.network import LinkProfile
from squall.harness.sim.world.watch_limits import WatchLimits, draw_watch_limits
from squall.node.replica.interface import ReplicaSettings

T = TypeVar("T")

KIB = 1024
NEVER = 1 << 40
"""More entries than any run has: no snapshot."""

FEW = 500
"""Entries between snapshots where there must be some."""

RARE_P = 0.05
"""A trigger that fires more rarely may not fire at all."""

APART_P = 0.25
"""Share of seeds that write snapshots beside the log, as servers do; the others in a log batch."""

STRUGGLE_P = 0.25
"""Share of seeds that are repeated contests for leadership (`_struggle`)."""

NEMESES = ("kill", "pause", "partition", "clock")
"""Timed faults, drawn and scheduled by the nemesis, on both backends."""


class Knobs(ReplicaSettings, frozen=True, kw_only=True):
    """The node's own settings, with what suits short simulated runs."""

    segment_bytes: int = 256 * KIB
    max_snapshots: int = 5
    background_snapshots: bool = True


class BackgroundFaults(msgspec.Struct, frozen=True, kw_only=True):
    """Faults that occur by time during the load; means in microseconds, 0 is never.

    A clog delays everything on one directed link for up to `clog_us`. A disk error makes a node's
    next sync fail; the node must stop, and is started again after `outage_us`.
    """

    clog_every_us: int = 0
    clog_us: int = 0
    disk_error_every_us: int = 0
    outage_us: int = 1_000_000


class Swarm(msgspec.Struct, frozen=True, kw_only=True):
    """One set-up: everything that a seed decides except the order of events."""

    knobs: Knobs = Knobs()
    link: LinkProfile = LinkProfile()
    disk: DiskFaults = DiskFaults()
    background: BackgroundFaults = BackgroundFaults()
    drift_ppm: int = 0
    boot_us: int = 100_000
    triggers: tuple[Trigger, ...] = ()
    max_targets: int = 1
    faults: tuple[str, ...] = NEMESES
    churn: Churn = Churn()
    watches: WatchLimits = WatchLimits()

    def words(self) -> str:
        """Say in one line what is special about this set-up."""
        return ", ".join(
            [
                *self._knob_words(),
                *self._background_text(),
                *self._churn_text(),
                *filter(None, [self.watches.words()]),
                *(f"timed {fault}" for fault in self.faults),
                *(f"{t.action} when it {t.point} (p={t.p:g})" for t in self.triggers),
            ]
        )

    def _knob_words(self) -> Iterator[str]:
        knobs, kept = self.knobs, (self.knobs.max_wals, self.knobs.max_snapshots)
        yield f"election {knobs.election_us // 1000} ms"
        yield f"batch {knobs.max_batch_entries}"
        yield f"window {knobs.max_inflight}"
        if knobs.commit_notice_us > knobs.heartbeat_us:
            yield "commits told by heartbeats alone"
        yield f"snapshot every {knobs.snapshot_count if knobs.snapshot_count < NEVER else 'never'}"
        if any(kept):
            yield f"{kept[0] or 'all'} segments and {kept[1] or 'all'} snapshots kept"
        if knobs.background_snapshots and knobs.snapshot_count < NEVER:
            yield "written beside the log"
        if not knobs.pre_vote:
            yield "no pre-vote"
        if not knobs.check_quorum:
            yield "no check-quorum"

    def _background_text(self) -> Iterator[str]:
        link, disk, background = self.link, self.disk, self.background
        yield f"delay {link.delay_us}+{link.tail_us} us"
        if link.slow_p:
            yield f"up to {link.slow_us // 1000} ms more (p={link.slow_p:g})"
        if link.loss_p:
            yield f"loss {link.loss_p:g}"
        if link.duplicate_p:
            late = f" up to {link.late_us // 1000} ms late" if link.late_us else ""
            yield f"duplicates {link.duplicate_p:g}{late}"
        if link.reorder:
            yield "reordering"
        if background.clog_every_us:
            yield f"a link clogged every {background.clog_every_us / 1e6:g} s"
        yield f"sync {disk.sync_us}+{disk.sync_tail_us} us"
        if disk.stall_p:
            yield f"stalls up to {disk.stall_us // 1000} ms (p={disk.stall_p:g})"
        if disk.tear_p:
            garbage = f", garbage behind {disk.garbage_p:.0%}" if disk.garbage_p else ""
            yield f"torn writes (p={disk.tear_p:g}{garbage})"
        if background.disk_error_every_us:
            yield f"a disk error every {background.disk_error_every_us / 1e6:g} s"
        if self.drift_ppm:
            yield f"clocks off by {self.drift_ppm} ppm"

    def _churn_text(self) -> Iterator[str]:
        churn = self.churn
        if churn.every_us:
            yield f"a member replaced every {churn.every_us / 1e6:g} s"
            if churn.rot_p:
                yield f"{churn.rot_p:.0%} of them rotten"


HEALTHY = Swarm(drift_ppm=20)
"""Healthy machines in one rack: the set-up of `squall run --cluster sim`."""


def draw(seeds: WorldSeeds) -> Swarm:
    """Draw the set-up of a run from its stream `swarm`."""
    rng = seeds.of("swarm")
    latency_us, link = _link(rng)
    knobs = _knobs(
        rng,
        latency_us,
        notice_us=_notice(seeds.of("swarm", "notice")),
        apart=seeds.of("swarm", "drafts").random() < APART_P,
    )
    victims = _pick(rng, (1, 1, 2, 3))
    drawn = Swarm(
        knobs=knobs,
        link=link,
        disk=_disk(rng, knobs.election_us),
        background=_background(rng, knobs.election_us),
        drift_ppm=_pick(rng, (0, 50, 5_000, 50_000)),
        boot_us=_pick(rng, (20_000, 100_000, 400_000)),
        triggers=_triggers(seeds.of("swarm", "triggers"), knobs.election_us),
        max_targets=victims,
        faults=_subset(seeds.of("swarm", "faults"), NEMESES),
        churn=_churn(seeds.of("swarm", "turnover"), knobs.election_us),
        watches=draw_watch_limits(seeds.of("swarm", "watches")),
    )
    if drawn.churn.every_us and drawn.knobs.snapshot_count == NEVER:
        # Every new member would be sent the whole log: a cost quadratic in time.
        knobs = msgspec.structs.replace(drawn.knobs, snapshot_count=FEW)
        drawn = msgspec.structs.replace(drawn, knobs=knobs)
    if not drawn.faults and all(trigger.p < RARE_P for trigger in drawn.triggers):
        drawn = msgspec.structs.replace(drawn, faults=("kill",))  # something must happen
    struggle = seeds.of("swarm", "struggle")
    return _struggle(struggle, drawn) if struggle.random() < STRUGGLE_P else drawn


def _struggle(rng: Random, drawn: Swarm) -> Swarm:
    """Turn a set-up into repeated contests for leadership.

    Raft's figure 8 needs three events in a row: a leader is cut off with entries of its own; the
    next one is cut off before any node has its first entry; the first leads again, and is cut off
    while it replicates what it has from its earlier term. One entry a message makes room between
    the old entries and the first of the new term; the triggers cut at exactly these points. Where a
    leader lasts long enough for its first entry to be committed, a short log of a newer term must
    win against a longer one that was cut off: logs may not be compared by length alone (§5.4.1).
    """
    election_us = 100_000
    knobs = msgspec.structs.replace(
        drawn.knobs,
        election_us=election_us,
        heartbeat_us=election_us // 4,
        max_batch_entries=1,
        max_inflight=_pick(rng, (1, 4)),
        snapshot_count=FEW,  # with crashes this frequent, whole logs would be read again and again
    )
    cut = _pick(rng, (Action.ISOLATE, Action.CRASH))
    link = LinkProfile(delay_us=_pick(rng, (300, 1_000)), tail_us=_pick(rng, (100, 1_000)))
    mend_us = _pick(rng, (election_us // 2, election_us))
    lead_us = _pick(rng, (1, election_us // 5))
    cuts = (
        (TriggerPoint.LEADS, Action.ISOLATE, 0.85, lead_us),
        (TriggerPoint.REPLICATES, cut, 0.4, 1_000),
        (TriggerPoint.APPENDS, cut, 0.02, 1_000),  # the first cut of the three
    )
    triggers = tuple(
        Trigger(
            point=point,
            action=action,
            p=p,
            after_us=after_us,
            mend_us=mend_us,
            without_cooldown=True,
        )
        for point, action, p, after_us in cuts
    )
    return msgspec.structs.replace(
        drawn,
        knobs=knobs,
        link=link,
        triggers=triggers,
        max_targets=_pick(rng, (2, 3)),
        faults=(),
        churn=Churn(),
    )


def _link(rng: Random) -> tuple[int, LinkProfile]:
    delay_us = _pick(rng, (100, 300, 1_000, 5_000))
    tail_us = int(delay_us * _pick(rng, (0.1, 1.0, 3.0)))
    slow_p = _pick(rng, (0.0, 0.0, 0.001, 0.02))
    return delay_us + tail_us, LinkProfile(
        delay_us=delay_us,
        tail_us=tail_us,
        slow_p=slow_p,
        slow_us=_pick(rng, (20_000, 200_000, 1_000_000)) if slow_p else 0,
        loss_p=_pick(rng, (0.0, 0.0, 0.001, 0.02, 0.1)),
        duplicate_p=_pick(rng, (0.0, 0.0, 0.01, 0.2)),
        late_us=_pick(rng, (0, 30_000, 500_000)),
        reorder=rng.random() < 0.5,
        codec_p=_pick(rng, (0.0, 0.01, 0.05)),
    )


def _knobs(rng: Random, latency_us: int, *, notice_us: int, apart: bool) -> Knobs:
    # §5.6: broadcast time must be far below the election timeout. Near the edge, not beyond.
    election_us = max(_pick(rng, (100_000, 300_000, 1_000_000)), 20 * latency_us)
    snapshot_count = _pick(rng, (5, 50, FEW, NEVER))
    return Knobs(
        heartbeat_us=election_us // _pick(rng, (4, 10)),
        election_us=election_us,
        commit_notice_us=notice_us,
        pre_vote=rng.random() < 0.7,
        check_quorum=rng.random() < 0.7,
        max_batch_entries=_pick(rng, (1, 2, 64, 1024)),
        max_inflight=_pick(rng, (1, 4, 512)),
        snapshot_count=snapshot_count,
        catch_up_entries=_pick(rng, (0, 5, 100)),
        segment_bytes=_pick(rng, (2 * KIB, 16 * KIB, 256 * KIB)),
        snapshot_chunk_bytes=_pick(rng, (512, 16 * KIB, 256 * KIB)),
        max_apply=_pick(rng, (1, 16, 512)),
        max_wals=_pick(rng, (0, 0, 2, 5)),
        max_snapshots=_pick(rng, (1, 5, 5)),
        background_snapshots=apart,
    )


def _notice(rng: Random) -> int:
    """Draw when followers learn of a commit: soon, or so late that they are mostly behind."""
    return _pick(rng, (5_000, 50_000, NEVER))


def _disk(rng: Random, election_us: int) -> DiskFaults:
    stall_p = _pick(rng, (0.0, 0.0, 0.001, 0.01))
    return DiskFaults(
        sync_us=_pick(rng, (50, 500, 4_000)),
        sync_tail_us=_pick(rng, (10, 500, 8_000)),
        stall_p=stall_p,
        stall_us=election_us * 2 if stall_p else 0,
        tear_p=_pick(rng, (0.0, 0.5, 0.9)),
        garbage_p=_pick(rng, (0.0, 0.3)),
        lose_p=_pick(rng, (0.1, 0.5, 0.9)),
    )


def _background(rng: Random, election_us: int) -> BackgroundFaults:
    return BackgroundFaults(
        clog_every_us=_pick(rng, (0, 0, 500_000, 2_000_000)),
        clog_us=_pick(rng, (election_us // 10, election_us, election_us * 3)),
        disk_error_every_us=_pick(rng, (0, 0, 0, 8_000_000)),
        outage_us=_pick(rng, (200_000, 2_000_000)),
    )


def _churn(rng: Random, election_us: int) -> Churn:
    every_us = _pick(rng, (0, 0, 0, 2_000_000, 6_000_000))
    return Churn(
        every_us=every_us,
        linger_us=_pick(rng, (0, election_us * 4)),
        rot_p=_pick(rng, (0.0, 0.5, 1.0)),
        learner_p=_pick(rng, (0.0, 0.5, 1.0)),
    )


def _triggers(rng: Random, election_us: int) -> tuple[Trigger, ...]:
    p = _pick(rng, (0.0, 0.01, 0.05, 0.3))
    if not p:
        return ()
    return tuple(
        Trigger(
            point=_pick(rng, tuple(TriggerPoint)),
            action=_pick(rng, tuple(Action)),
            p=p,
            after_us=_pick(rng, (1, 1_000, 20_000)),
            mend_us=_pick(rng, (election_us // 4, election_us, election_us * 4)),
        )
        for _ in range(1 + int(rng.random() * 4))
    )


def _pick(rng: Random, choices: tuple[T, ...]) -> T:
    return choices[int(rng.random() * len(choices))]


def _subset(rng: Random, choices: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(choice for choice in choices if rng.random() < 0.7)
