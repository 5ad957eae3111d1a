"""What a program prints in a container arrives whole."""

from __future__ import annotations

import asyncio
import re
import struct

import docker
import pytest
from docker.errors import APIError
from requests.exceptions import RequestException

from squall.harness.docker.cluster import DockerCluster
from squall.harness.docker.exec import output_of


def piece(output: int, text: bytes) -> bytes:
    return struct.pack("!BxxxI", output, len(text)) + text


async def asked(answer: bytes) -> bytes:
    """Start a program at an engine that says everything at once."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        # A connection that is closed with something unread is reset, and the answer lost.
        (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        api = docker.APIClient(f"tcp://127.0.0.1:{port}", version="1.41")
        return await asyncio.to_thread(output_of, api, "x")


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"


async def test_an_output_that_comes_with_the_answers_head_is_not_lost() -> None:
    assert await asked(HEAD + piece(1, b"one\n") + piece(2, b"two\n")) == b"one\ntwo\n"
    assert await asked(HEAD) == b""


async def test_a_refusal_of_the_engine_is_no_output() -> None:
    with pytest.raises((APIError, RequestException), match="409"):
        await asked(b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
async def test_programs_at_work_side_by_side_are_all_heard(cluster: DockerCluster) -> None:
    container = cluster._containers["n1"]

    async def says(number: int) -> str:
        return await cluster._call(cluster._exec.run, container, ["echo", str(number)])

    heard = await asyncio.gather(*(says(number) for number in range(40)))
    assert heard == [f"{number}\n" for number in range(40)]
