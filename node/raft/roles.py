"""The roles of a member (§5.1; pre-candidate: thesis §9.6)."""

from __future__ import annotations

from typing import Final

FOLLOWER: Final = 0
PRE_CANDIDATE: Final = 1
CANDIDATE: Final = 2
LEADER: Final = 3
ROLE_NAMES: Final = ("follower", "pre-candidate", "candidate", "leader")
