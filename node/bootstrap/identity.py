"""Determines a node's member and cluster id before it has a replica.

They are read from the log if there is one, and computed from the flags for a new cluster. Those of
a member that was added later cannot be computed: its id has a time in it, and the cluster's id
comes from the initial members. So a node that joins asks the peers on its command line for the
members, as etcd does, and finds its own id there by its peer URLs.
"""

from __future__ import annotations

import asyncio
import ssl

import msgspec

from squall.node.config.endpoints import endpoint
from squall.node.config.settings import Config
from squall.node.peer.handshake import PROTOCOL_VERSION, Hello, MemberList, ask
from squall.node.raft.membership import Member
from squall.node.storage import frames, wal
from squall.node.storage.disk import Disk

ASK_TIMEOUT_S = 1.0
"""For one peer to answer."""
ATTEMPTS = 5
"""Rounds over all peers before a node without data gives up."""
PAUSE_S = 0.5

JOIN_REQUEST = Hello(PROTOCOL_VERSION, 0, 0, 0)
"""The hello of a node that is to join."""
_header = msgspec.msgpack.Decoder(tuple[int, int, int, int])


class CannotJoinError(Exception):
    """The cluster did not answer, or does not have this member. The text says what to do."""


class Identity(msgspec.Struct, frozen=True):
    """A node's ids.

    `initial_members` start the log of a new cluster; `peers` are the members to connect to until
    the log has the membership.
    """

    cluster_id: int
    member_id: int
    initial_members: tuple[Member, ...] = ()
    peers: tuple[Member, ...] = ()


def of_new_cluster(config: Config) -> Identity:
    """Compute the identity from the command line alone."""
    members = tuple(Member(m.id, "", m.peer_urls) for m in config.members)
    return Identity(config.cluster_id, config.member.id, members)


async def identify(config: Config, disk: Disk, tls: ssl.SSLContext | None = None) -> Identity:
    """Determine this node's identity; raises CannotJoinError."""
    recorded = _recorded(disk)
    if config.force_new_cluster:
        if recorded is None:
            raise CannotJoinError(
                f"--force-new-cluster begins with the data of a member, and {config.data_dir} has "
                "none: check --data-dir and --wal-dir, or leave the flag out"
            )
        return Identity(*recorded)
    if config.initial_cluster_state == "new":
        identity = of_new_cluster(config)
        if recorded is None:
            await _refuse_to_forget(identity, config, tls)
        return identity
    listed = await _ask_for_members(config, tls, attempts=ATTEMPTS if recorded is None else 1)
    if recorded is not None:
        return Identity(*recorded, peers=listed.members if listed else ())
    if listed is None:
        raise CannotJoinError(
            "no peer of --initial-cluster answered, so the existing cluster cannot be joined: "
            "check that its members run and that the peer URLs are right"
        )
    mine = sorted(config.initial_advertise_peer_urls)
    me = next((m for m in listed.members if sorted(m.peer_urls) == mine), None)
    if me is None:
        raise CannotJoinError(
            f"the cluster has no member with the peer URLs {','.join(mine)}: add this one first "
            "(etcdctl member add), with the same URLs as --initial-advertise-peer-urls"
        )
    return Identity(listed.cluster_id, me.id, peers=listed.members)


async def _refuse_to_forget(identity: Identity, config: Config, tls: ssl.SSLContext | None) -> None:
    """Raise CannotJoinError when this member has been part of the cluster before.

    With an empty data directory it has lost its votes and the entries it acknowledged. Under the
    same id it could vote twice in a term, or help to commit against what it acknowledged.
    """
    listed = await _ask_for_members(config, tls, attempts=1)
    if listed is None or listed.cluster_id != identity.cluster_id:
        return
    known = next((m for m in listed.members if m.id == identity.member_id), None)
    if known is None or known.name:
        raise CannotJoinError(
            f"member {identity.member_id:x} has already been part of this cluster, and this data "
            "directory is empty. Restore the directory, or remove the member (etcdctl member "
            "remove), add it anew, and start with --initial-cluster-state existing"
        )


def _recorded(disk: Disk) -> tuple[int, int] | None:
    """Read (cluster id, member id) from the log; None when there is no log yet."""
    disk.makedirs(wal.DIRECTORY)
    for name in sorted(disk.listdir(wal.DIRECTORY)):
        record = frames.body_at(disk.read(f"{wal.DIRECTORY}/{name}"), 0, 0)
        if record is not None and record[0][0] == frames.SEGMENT_HEADER:
            _, cluster_id, member_id, _ = _header.decode(record[0][1:])
            return cluster_id, member_id
    return None


async def _ask_for_members(
    config: Config, tls: ssl.SSLContext | None, attempts: int
) -> MemberList | None:
    others = [
        endpoint(url)
        for name, urls in config.initial_cluster.items()
        if name != config.name
        for url in urls
    ]
    for attempt in range(attempts):
        if attempt:
            await asyncio.sleep(PAUSE_S)
        # Concurrently: a peer that does not answer must not delay the start.
        for listed in await asyncio.gather(
            *(ask(other, JOIN_REQUEST, MemberList, tls, ASK_TIMEOUT_S) for other in others)
        ):
            if listed is not None and listed.members:
                return listed
    return None
