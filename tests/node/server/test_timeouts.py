"""What clients are told of requests that timed out."""

from __future__ import annotations

import pytest

from squall.node.replica import Member, Outcome, Reply, Status
from squall.node.server.timeouts import TimeoutErrors

S = 1_000_000
ME, OTHER, THIRD = 1, 2, 3
PLAIN = "etcdserver: request timed out"
LEADER_FAILED = f"{PLAIN}, possibly due to previous leader failure"
CONNECTION_LOST = f"{PLAIN}, possibly due to connection lost"


def told(
    *, elected_s: int = 0, leader: int = OTHER, connected: tuple[int, ...] = (OTHER, THIRD), **reply
) -> str:
    """Return the text, at second 100, for a request that began at second 93."""
    timeout_errors = TimeoutErrors(election_us=1 * S, timeout_us=7 * S)
    timeout_errors.leader_changed(leader, elected_s * S)
    members = {each: Member(each) for each in (ME, OTHER, THIRD)}
    status = Status(ME, "follower", 2, leader, 9, 9, 9, 9, "", members)
    is_proposal = reply.pop("is_proposal", True)
    answer = Reply(1, **({"outcome": Outcome.UNKNOWN, "error": "request timed out"} | reply))
    return timeout_errors.text(answer, status, list(connected), 100 * S, is_proposal=is_proposal)


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ({}, PLAIN),
        ({"elected_s": 94}, LEADER_FAILED),
        ({"elected_s": 97}, PLAIN),
        ({"elected_s": 90}, PLAIN),
        ({"connected": (THIRD,)}, CONNECTION_LOST),
        ({"connected": (THIRD,), "is_proposal": False}, PLAIN),
        ({"leader": ME, "connected": (THIRD,)}, PLAIN),
        ({"leader": ME, "connected": ()}, CONNECTION_LOST),
        ({"leader": 0, "connected": ()}, PLAIN),
    ],
)
def test_a_timeout_says_what_it_may_be_due_to(case: dict, text: str) -> None:
    assert told(**case) == text


def test_what_nobody_knows_is_told_in_no_certain_words() -> None:
    assert told(error="something odd") == PLAIN
    assert told(outcome=Outcome.REFUSED, error="no leader") == "etcdserver: no leader"
    assert told(error="leader changed") == "etcdserver: leader changed"
