"""The header every response begins with."""

from __future__ import annotations

from aetcd.rpc import rpc_pb2

from squall.node.api.backend import Backend
from squall.node.api.convert import Message


def header(backend: Backend, revision: int | None = None) -> Message:
    """Return who answers, in which term, and the store's revision (now, unless it is given)."""
    return rpc_pb2.ResponseHeader(
        cluster_id=backend.cluster_id,
        member_id=backend.member_id,
        revision=backend.store.revision if revision is None else revision,
        raft_term=backend.status().term,
    )
