"""The roles of a member, as small integers, and the words around them."""

from __future__ import annotations

from typing import Final

from squall.node.raft.messages import AppendEntries, Heartbeat, InstallSnapshot

FOLLOWER: Final = 0
PRE_CANDIDATE: Final = 1
CANDIDATE: Final = 2
LEADER: Final = 3
ROLE_NAMES: Final = ("follower", "pre-candidate", "candidate", "leader")

NOBODY: Final = 0  # the member id of no member
NEVER_US: Final = 1 << 62

FROM_LEADER: Final = frozenset({AppendEntries, Heartbeat, InstallSnapshot})  # only a leader says
