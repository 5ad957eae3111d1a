"""A few conversations of `bench/fuzz_rpc.py`, which runs for as long as it is let."""

from __future__ import annotations

import pytest

from bench import fuzz_rpc


@pytest.mark.parametrize("first", range(0, 200, 20))
async def test_no_conversation_makes_the_server_break_its_rules(first: int) -> None:
    for seed in range(first, first + 20):
        await fuzz_rpc.case(seed)
