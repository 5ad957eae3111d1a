"""Commands on their way while users and roles change."""

from __future__ import annotations

from typing import Any

import pytest

from squall.node.api import auth_interceptor
from squall.node.api.errors import ApiError
from squall.node.api.proposing import apply
from squall.node.mvcc.auth.commands import AuthEnable, RoleAdd, UserAdd, UserDelete, UserGrantRole
from squall.node.mvcc.auth.store import Caller
from squall.node.mvcc.commands import Put
from squall.node.mvcc.results import PutResult
from tests.node.api.alone import Alone


class Meanwhile(Alone):
    """Others change the tables each time before a command of ours is applied."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: list[Any] = []
        auth = self.store.auth
        for user in ("root", "ann"):
            auth.apply(1, UserAdd(user, b""))
            auth.apply(1, UserGrantRole(user, "root"))
        auth.apply(1, AuthEnable())

    async def propose(self, command: bytes) -> Any:
        if self.meanwhile:
            self.store.auth.apply(1, self.meanwhile.pop(0))
        return await super().propose(command)

    async def put_as(self, user: str) -> PutResult:
        auth_interceptor._caller.set(Caller(user, self.store.auth.revision))
        return await apply(self, Put(b"k", b"v"), PutResult)


async def test_a_put_that_met_newer_roles_is_tried_under_them_and_done_once() -> None:
    backend = Meanwhile()
    backend.meanwhile = [RoleAdd("a"), RoleAdd("b")]
    done = await backend.put_as("ann")
    assert done.revision == backend.store.revision == 2


async def test_a_put_whose_user_was_deleted_on_its_way_is_refused() -> None:
    backend = Meanwhile()
    backend.meanwhile = [UserDelete("ann")]
    with pytest.raises(ApiError, match="permission denied"):
        await backend.put_as("ann")
    assert backend.store.revision == 1
