"""Tokens by a clock of our own, and passwords."""

from __future__ import annotations

from typing import Any

import pytest

from squall.node.api import auth_interceptor, passwords
from squall.node.api.auth_interceptor import Tokens
from squall.node.api.errors import ApiError
from squall.node.api.passwords import Passwords
from squall.node.mvcc.auth.commands import (
    AuthDisable,
    AuthEnable,
    Authenticate,
    UserAdd,
    UserChangePassword,
    UserGrantRole,
)
from squall.node.mvcc.auth.store import Auth
from squall.node.mvcc.errors import RequestError

TTL_S = 300.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def auth() -> Auth:
    auth = Auth()
    for command in (UserAdd("root", b""), UserGrantRole("root", "root"), UserAdd("ann", b"")):
        auth.apply(1, command)
    auth.apply(1, AuthEnable())
    return auth


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(auth: Auth, clock: Clock) -> Tokens:
    tokens = Tokens(auth, TTL_S, clock)
    tokens.subscribe()
    return tokens


def issue(auth: Auth, name: str, secret: str = "secret") -> str:
    return auth.apply(9, Authenticate(name, secret, auth.revision))


def test_a_token_lives_for_its_time_after_every_use(
    auth: Auth, tokens: Tokens, clock: Clock
) -> None:
    token = issue(auth, "ann")
    for _ in range(3):
        clock.now_s += TTL_S - 1
        assert tokens.user_of(token) == "ann"
    clock.now_s += TTL_S
    assert tokens.user_of(token) is None
    assert tokens.user_of(token) is None, "asking does not bring it back"


def test_a_token_that_was_issued_before_the_node_listened_is_unknown(
    auth: Auth, clock: Clock
) -> None:
    token = issue(auth, "ann")
    tokens = Tokens(auth, TTL_S, clock)
    tokens.subscribe()
    assert tokens.user_of(token) is None


@pytest.mark.parametrize("command", [UserChangePassword("ann", b"new"), AuthDisable()])
def test_a_token_dies_with_what_it_was_given_for(auth: Auth, tokens: Tokens, command: Any) -> None:
    anns, roots = issue(auth, "ann", "a"), issue(auth, "root", "r")
    auth.apply(2, command)
    assert tokens.user_of(anns) is None
    assert (tokens.user_of(roots) == "root") == isinstance(command, UserChangePassword)


def test_the_token_unused_for_longest_gives_way(
    auth: Auth, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth_interceptor, "MAX_TOKENS", 2)
    first, second = issue(auth, "ann", "1"), issue(auth, "ann", "2")
    assert tokens.user_of(first)
    third = issue(auth, "ann", "3")
    assert [tokens.user_of(each) for each in (first, second, third)] == ["ann", None, "ann"]


async def test_a_password_is_checked_against_its_own_hash(auth: Auth) -> None:
    checker = Passwords(auth, bcrypt_cost=4)
    hashed = await checker.hash("right")
    assert hashed != await checker.hash("right"), "every hash has a salt of its own"
    auth.apply(3, UserChangePassword("ann", hashed))
    assert await checker.check("ann", "right") == auth.revision
    for name, password in (("ann", "wrong"), ("ann", ""), ("eve", "right"), ("root", "")):
        with pytest.raises(RequestError, match="invalid user ID or password"):
            await checker.check(name, password)


async def test_only_so_many_passwords_are_checked_at_once(
    auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "MAX_CONCURRENT", 0)
    checker = Passwords(auth, bcrypt_cost=4)
    with pytest.raises(ApiError, match="too many requests"):
        await checker.hash("x")
