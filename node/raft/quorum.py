"""Majority quorums. Two majorities of one set share a member; Raft's safety depends on it."""

from __future__ import annotations


def majority(voters: int) -> int:
    """The smallest number of voters that any other such number must overlap."""
    return voters // 2 + 1


def agreed(values: list[int]) -> int:
    """The largest value that a majority of `values`, one for each voter, has reached.

    0 when there are no voters.
    """
    if not values:
        return 0
    values.sort()
    return values[len(values) - majority(len(values))]
