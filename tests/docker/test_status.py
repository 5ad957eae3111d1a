"""A node that answers nonsense, or nothing, is unreachable, with the reason."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator

from squall.harness.docker.status import read_status
from tests.patience import PATIENCE_S


@contextlib.asynccontextmanager
async def answering(response: bytes | None) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if response is None:
            await asyncio.Event().wait()
        writer.write(response or b"")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


async def test_a_status_is_read_with_the_offset_of_the_nodes_clock() -> None:
    said = {"role": "leader", "term": 3, "leader": "n1", "wall_ns": time.time_ns() + 10**12}
    async with answering(ok(json.dumps(said).encode())) as port:
        found = (await read_status("n1", "127.0.0.1", port, PATIENCE_S)).status
    assert (found.reachable, found.role, found.term, found.leader) == (True, "leader", 3, "n1")
    assert abs(found.clock_offset_ns - 10**12) < 10**11


async def test_a_closed_port_is_an_answer() -> None:
    async with answering(b"") as port:
        pass
    found = (await read_status("n1", "127.0.0.1", port, PATIENCE_S)).status
    assert not found.reachable
    assert "Refused" in found.error


async def test_silence_is_an_answer() -> None:
    async with answering(None) as port:
        found = (await read_status("n1", "127.0.0.1", port, timeout_s=0.05)).status
    assert not found.reachable
    assert found.error == "no answer within 0.05 s"


async def test_an_error_page_nonsense_and_a_cut_answer_are_answers() -> None:
    for response in (
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"",
        ok(b"[1, 2]"),
        ok(b"not json"),
        ok(b'{"term": "many"}'),
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{}",
    ):
        async with answering(response) as port:
            found = (await read_status("n1", "127.0.0.1", port, PATIENCE_S)).status
        assert not found.reachable, response
        assert found.error
