"""The command line's settings as the replica's."""

from __future__ import annotations

from squall.node.bootstrap.identity import Identity
from squall.node.config.settings import Config
from squall.node.replica import ReplicaConfig


def replica_config(config: Config, who: Identity) -> ReplicaConfig:
    """Translate the command line's settings into the replica's."""
    return ReplicaConfig(
        cluster_id=who.cluster_id,
        member_id=who.member_id,
        initial_members=who.initial_members,
        heartbeat_us=config.heartbeat_interval * 1000,
        election_us=config.election_timeout * 1000,
        pre_vote=config.pre_vote,
        strict_reconfig=config.strict_reconfig_check,
        snapshot_count=config.snapshot_count,
        snapshot_ahead=_snapshot_ahead(config.snapshot_count, who),
        snapshots_apart=True,
        max_wals=config.max_wals,
        max_snapshots=config.max_snapshots,
        digest_every=config.digest_every,
    )


def _snapshot_ahead(count: int, who: Identity) -> int:
    """Return how much earlier than others this member takes its first snapshot after a start.

    Members that take turns do not hold up the cluster all at once. They are spread over half of
    the time between two, by rank in a new cluster and else by chance of their ids.
    """
    ids = [member.id for member in who.initial_members]
    if who.member_id not in ids:
        return who.member_id % (count // 2 + 1)
    return ids.index(who.member_id) * count // (2 * len(ids))
